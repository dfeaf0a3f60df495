"""Gated activations, each one pass over memory forward and one back.

On a CPU a gate costs more than the convolution before it when TensorFlow runs it operation by operation: split,
tanh, sigmoid and product each read and write the whole tensor. Here XLA fuses them, inside an ordinary graph.
"""

import keras
import tensorflow as tf

from genmodels.layers.causal import CausalLayer

__all__ = ["Gate"]


@keras.saving.register_keras_serializable(package="genmodels")
class Gate(CausalLayer):
    """tanh(a) · σ(b) of the sum (a, b) of its inputs (van den Oord et al. 2016b), `[…, 2 C]` each to `[…, C]`.

    Example:
        >>> Gate()(tf.zeros([1, 2, 2, 8]), tf.zeros([1, 2, 2, 8])).shape
        TensorShape([1, 2, 2, 4])
    """

    def window(self, *inputs):
        """On each pixel alone."""
        return _gate(*inputs)

    def compute_output_shape(self, x_shape):
        """Half the channels."""
        return (*x_shape[:-1], x_shape[-1] // 2)


@tf.custom_gradient
def _gate(*inputs):
    def gradient(upstream):
        # Two outputs, joined outside: XLA fuses neither a concatenation nor its like on CPU.
        return [tf.concat(_backward(upstream, *inputs), -1)] * len(inputs)

    return _forward(*inputs), gradient


@tf.function(jit_compile=True)
def _forward(*inputs):
    t, s = _parts(inputs)
    return tf.cast(t * s, inputs[0].dtype)


@tf.function(jit_compile=True)
def _backward(upstream, *inputs):
    t, s = _parts(inputs)
    g = tf.cast(upstream, tf.float32)
    return tuple(tf.cast(d, upstream.dtype) for d in (g * s * (1 - t * t), g * t * s * (1 - s)))


def _parts(inputs):
    """tanh(a) and σ(b) in float32; σ(b) = ½ + ½ tanh(b / 2) is the cheaper form."""
    a, b = tf.split(tf.add_n([tf.cast(x, tf.float32) for x in inputs]), 2, axis=-1)
    return tf.tanh(a), 0.5 + 0.5 * tf.tanh(0.5 * b)
