"""Gates and other activations, each one pass over memory forward and one back.

On a CPU a gate costs more than the convolution before it when TensorFlow runs it operation by operation: split,
tanh, sigmoid and product each read and write the whole tensor. Here XLA fuses them, inside an ordinary graph.
"""

import keras
import tensorflow as tf

from genmodels.layers.causal import CausalLayer

__all__ = ["ConcatELU", "Gate", "LinearGate"]


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


@keras.saving.register_keras_serializable(package="genmodels")
class LinearGate(CausalLayer):
    """a · σ(b) of the input (a, b), a gated linear unit (Dauphin et al. 2017), `[…, 2 C]` to `[…, C]`.

    Example:
        >>> LinearGate()(tf.constant([[[[4.0, 0.0]]]])).numpy().tolist()  # 4 σ(0)
        [[[[2.0]]]]
    """

    def window(self, x):
        """On each pixel alone."""
        return _linear_gate(x)

    def compute_output_shape(self, x_shape):
        """Half the channels."""
        return (*x_shape[:-1], x_shape[-1] // 2)


@keras.saving.register_keras_serializable(package="genmodels")
class ConcatELU(CausalLayer):
    """ELU(x) beside ELU(−x) (after the concatenated ReLU of Shang et al. 2016), `[…, C]` to `[…, 2 C]`.

    Example:
        >>> ConcatELU()(tf.ones([1, 2, 2, 4])).shape
        TensorShape([1, 2, 2, 8])
    """

    def window(self, x):
        """On each pixel alone."""
        return _concat_elu(x)

    def compute_output_shape(self, x_shape):
        """Twice the channels."""
        return (*x_shape[:-1], 2 * x_shape[-1])


# Below, two outputs are joined outside: XLA fuses neither a concatenation nor its like on CPU.


@tf.custom_gradient
def _gate(*inputs):
    def gradient(upstream):
        return [tf.concat(_gate_back(upstream, *inputs), -1)] * len(inputs)

    return _gate_forward(*inputs), gradient


@tf.function(jit_compile=True, autograph=False)
def _gate_forward(*inputs):
    a, b = _halves(*inputs)
    return tf.cast(tf.tanh(a) * _sigmoid(b), inputs[0].dtype)


@tf.function(jit_compile=True, autograph=False)
def _gate_back(upstream, *inputs):
    a, b = _halves(*inputs)
    t, s = tf.tanh(a), _sigmoid(b)
    g = tf.cast(upstream, tf.float32)
    return tuple(tf.cast(d, upstream.dtype) for d in (g * s * (1 - t * t), g * t * s * (1 - s)))


@tf.custom_gradient
def _linear_gate(x):
    return _linear_gate_forward(x), lambda upstream: tf.concat(_linear_gate_back(upstream, x), -1)


@tf.function(jit_compile=True, autograph=False)
def _linear_gate_forward(x):
    a, b = _halves(x)
    return tf.cast(a * _sigmoid(b), x.dtype)


@tf.function(jit_compile=True, autograph=False)
def _linear_gate_back(upstream, x):
    a, b = _halves(x)
    s, g = _sigmoid(b), tf.cast(upstream, tf.float32)
    return tuple(tf.cast(d, upstream.dtype) for d in (g * s, g * a * s * (1 - s)))


@tf.custom_gradient
def _concat_elu(x):
    return tf.concat(_concat_elu_forward(x), -1), lambda upstream: _concat_elu_back(upstream, x)


@tf.function(jit_compile=True, autograph=False)
def _concat_elu_forward(x):
    wide = tf.cast(x, tf.float32)
    return tuple(tf.cast(tf.nn.elu(y), x.dtype) for y in (wide, -wide))


@tf.function(jit_compile=True, autograph=False)
def _concat_elu_back(upstream, x):
    g, h = _halves(upstream)
    x = tf.cast(x, tf.float32)
    fall = tf.exp(-tf.abs(x))  # the slope of the ELU whose argument is negative; the other's is 1
    return tf.cast(tf.where(x > 0, g - h * fall, g * fall - h), upstream.dtype)


def _halves(*inputs):
    """Both halves of the sum of the inputs, in float32."""
    return tf.split(tf.add_n([tf.cast(x, tf.float32) for x in inputs]), 2, axis=-1)


def _sigmoid(x):
    """σ(x) = ½ + ½ tanh(x / 2) is the cheaper form."""
    return 0.5 + 0.5 * tf.tanh(0.5 * x)
