"""The networks inside couplings: plain functional Keras models that start at zero, where each flow is the identity."""

import keras
import tensorflow as tf


def conditioner(input_shape, output_shape, condition_shape=None, *, width, depth, dtype=None) -> keras.Model:
    """The default network of a coupling: dense for vectors, convolutional for images.

    Args:
        input_shape: `(D,)` or `(H, W, C)`, without the batch axis; D may be 0.
        output_shape: `(D',)` or `(H, W, C')`.
        condition_shape: `(C,)`, joined to a vector and added as a bias to every pixel; `(H, W, C)`, joined to an image.
        width: units or filters of the hidden layers.
        depth: hidden layers: of an image, a 3×3 convolution and 1×1 after it.
        dtype: Keras dtype policy; the last layer is float32.

    Returns:
        A `keras.Model` from `[B, *input_shape]` (and `[B, *condition_shape]`) to `[B, *output_shape]`.
    """
    build = _dense if len(input_shape) == 1 else _convolutional
    return build(tuple(input_shape), tuple(output_shape), condition_shape, width, depth, dtype)


def _dense(input_shape, output_shape, condition_shape, width, depth, dtype):
    layers = keras.layers
    x = inputs = keras.Input(input_shape)
    if condition_shape is not None:
        condition = keras.Input(condition_shape)
        inputs = [x, condition]
        x = condition if input_shape == (0,) else layers.Concatenate(dtype=dtype)([x, condition])
    elif input_shape == (0,):
        x = One(dtype=dtype)(x)
    for _ in range(depth):
        x = layers.Dense(width, activation="relu", kernel_initializer="he_normal", dtype=dtype)(x)
    x = layers.Dense(output_shape[-1], kernel_initializer="zeros", dtype="float32")(x)
    return keras.Model(inputs, x, name="conditioner")


def _convolutional(input_shape, output_shape, condition_shape, width, depth, dtype):
    layers = keras.layers
    x = inputs = keras.Input(input_shape)
    vector = None
    if condition_shape is not None:
        condition = keras.Input(condition_shape)
        inputs = [x, condition]
        if len(condition_shape) == 3:
            x = layers.Concatenate(dtype=dtype)([x, condition])
        else:
            vector = condition

    def biased(x, initializer):
        """The first convolution's output and, of the condition, a bias of each filter."""
        if vector is None:
            return x
        bias = layers.Dense(x.shape[-1], use_bias=False, kernel_initializer=initializer, dtype=dtype)(vector)
        return layers.Add(dtype=dtype)([x, layers.Reshape((1, 1, x.shape[-1]), dtype=dtype)(bias)])

    for index in range(depth):
        x = layers.Conv2D(width, 1 if index else 3, padding="same", kernel_initializer="he_normal", dtype=dtype)(x)
        x = x if index else biased(x, "glorot_uniform")
        x = layers.ReLU(dtype=dtype)(x)
    x = layers.Conv2D(output_shape[-1], 3, padding="same", kernel_initializer="zeros", dtype=dtype)(x)
    x = x if depth else biased(x, "zeros")
    # A 3×3 filter sums nine times the units that a dense layer does. Without this Adam's first steps are nine times as
    # long, and blow up a deep flow of affine couplings, each of which multiplies.
    return keras.Model(inputs, layers.Rescaling(1 / 9, dtype="float32")(x), name="conditioner")


@keras.saving.register_keras_serializable(package="genmodels")
class One(keras.layers.Layer):
    """A single one for each example, `[B, 1]`: the input of a network that sees nothing."""

    def call(self, x):
        """`[B, D]` to `[B, 1]`."""
        return tf.ones([tf.shape(x)[0], 1], self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """`(B, 1)`."""
        return (input_shape[0], 1)
