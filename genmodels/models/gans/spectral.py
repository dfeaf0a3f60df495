"""Spectral normalization (Miyato et al. 2018): a layer whose kernel is divided by its largest singular value."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="genmodels")
class SpectralNormalized(keras.layers.Wrapper):
    """A dense or convolutional layer with the kernel W / σ(W), σ by one power iteration a training call.

    Unlike `keras.layers.SpectralNormalization`, which writes the quotient back into the kernel, this is a
    reparametrization: W stays free, and gradients go through σ, as in the paper. A convolution's kernel is taken as the
    matrix `[height · width · inputs, outputs]`.

    Args:
        layer: a `Dense` or a convolution.
        name: name of the layer.

    Example:
        >>> SpectralNormalized(keras.layers.Dense(3))(tf.zeros([2, 5])).shape
        TensorShape([2, 3])
    """

    changes_in_training = True  # the vector: `Recompute` must not do it twice

    def __init__(self, layer, *, name=None, **options):
        # float32, and inputs as they come: the inner layer casts what it reads.
        super().__init__(layer, name=name or f"spectral_{layer.name}", **{**options, "dtype": "float32"})
        self.autocast = False

    def build(self, input_shape):
        """Creates the layer's weights and the left-hand vector of the power iteration."""
        super().build(input_shape)
        self.vector = self.add_weight(
            (1, self.layer.kernel.shape[-1]), initializer="random_normal", trainable=False, name="vector"
        )

    def call(self, x, training=False):
        """The layer's output with the normalized kernel; `training` improves the estimate of σ."""
        kernel = self.layer.kernel
        value = tf.convert_to_tensor(kernel.value)
        matrix = tf.reshape(value, [-1, value.shape[-1]])  # [I, O]
        fixed = tf.stop_gradient(matrix)
        right = tf.math.l2_normalize(tf.matmul(self.vector.value, fixed, transpose_b=True), epsilon=1e-12)  # [1, I]
        left = tf.math.l2_normalize(tf.matmul(right, fixed), epsilon=1e-12)  # [1, O]
        if training:
            self.vector.assign(left)
        sigma = tf.reduce_sum(tf.matmul(right, matrix) * left)
        with keras.StatelessScope([(kernel, value / tf.maximum(sigma, 1e-12))]):
            return self.layer(x)


def spectral_normalized(network):
    """A network with every dense and convolutional layer wrapped; it shares all weights with the given one.

    Raises:
        ValueError: for a network that is not functional or sequential, and so cannot be taken apart, and for a layer
            with kernels of another kind, such as a transposed or a depthwise convolution.

    Example:
        >>> critic = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> [type(layer).__name__ for layer in spectral_normalized(critic).layers]
        ['SpectralNormalized', 'SpectralNormalized']
    """
    if not isinstance(network, keras.Sequential) and not hasattr(network, "operations"):
        raise ValueError(
            f"spectral normalization needs a functional or sequential keras.Model, whose layers can be wrapped; got "
            f"{network!r}."
        )
    return keras.models.clone_model(network, clone_function=_wrapped, recursive=True)


def _wrapped(layer):
    if not isinstance(layer, keras.layers.Layer):  # an operation of keras.ops, which has no weights
        return layer
    convolutions = keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.Conv3D
    if isinstance(layer, keras.layers.Dense | convolutions):
        return SpectralNormalized(layer)
    normalized = isinstance(layer, SpectralNormalized | keras.layers.SpectralNormalization)
    kernels = [] if normalized else [v.path for v in layer.trainable_variables if "kernel" in v.name]
    if kernels:
        raise ValueError(
            f"spectral normalization is of dense layers and plain convolutions; {layer.name!r} is a "
            f"{type(layer).__name__} with {', '.join(kernels)}."
        )
    return layer
