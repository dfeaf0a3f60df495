"""Batch and group normalization in as few passes over the numbers as they take."""

import math

import keras
import tensorflow as tf

from genmodels.compiling import kernel
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of the last axis in one kernel (Ioffe & Szegedy 2015).

    Keras composes it of elementwise operations in float32; the kernel passes once over the numbers, also of bfloat16.
    The moving variance is of unbiased estimates, as in PyTorch.

    Args:
        momentum: of the moving averages.
        epsilon: added to the variance.
        **options: of `keras.layers.BatchNormalization`, but for those that the kernel has not: another axis than the
            last, masks, and renormalization. With `synchronized` several replicas compute as Keras does.

    Raises:
        ValueError: for those options.

    Example:
        >>> layer = FusedBatchNormalization()
        >>> float(abs(keras.ops.mean(layer(tf.random.normal([64, 3]), training=True)))) < 1e-5
        True
    """

    def __init__(self, momentum=0.99, epsilon=1e-3, **options):
        super().__init__(momentum=momentum, epsilon=epsilon, **options)
        if self.axis != -1 or self.renorm:
            raise ValueError("the fused kernel normalizes the last axis, without `renorm`.")

    def call(self, inputs, training=None, mask=None):
        """The normalized inputs; `training` takes the batch's statistics and moves the averages."""
        if mask is not None:
            raise ValueError("the fused kernel takes no mask.")
        if self.synchronized and training and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            return super().call(inputs, training=training)  # Keras' own, whose moments are of all replicas
        channels = inputs.shape[-1]
        scale = tf.ones([channels]) if self.gamma is None else self.gamma.value
        offset = tf.zeros([channels]) if self.beta is None else self.beta.value
        x = tf.reshape(inputs, [-1, 1, 1, channels]) if inputs.shape.rank != 4 else inputs
        batch = bool(training) and self.trainable
        known = [tf.zeros([0])] * 2 if batch else [self.moving_mean.value, self.moving_variance.value]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=known[0], variance=known[1], epsilon=self.epsilon, is_training=batch
        )
        if batch:
            self.moving_mean.assign_add((1.0 - self.momentum) * (mean - self.moving_mean.value))
            self.moving_variance.assign_add((1.0 - self.momentum) * (variance - self.moving_variance.value))
        return y if inputs.shape.rank == 4 else tf.reshape(y, tf.shape(inputs))


def synchronize_batch_norm(model: keras.Model) -> int:
    """Lets every batch normalization of a model take its statistics over the whole batch, not one device's part.

    For training on several devices, before `fit`; see docs/scaling.md.

    Returns:
        How many layers there are.

    Raises:
        ValueError: where there is none.

    Example:
        >>> import genmodels as gm
        >>> synchronize_batch_norm(gm.DCGAN((8, 8, 1), levels=17)) > 0
        True
    """
    found = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if not found:
        raise ValueError(f"{type(model).__name__} has no batch normalization to synchronize.")
    for layer in found:
        layer.synchronized = True
    return len(found)


@keras.saving.register_keras_serializable(package="genmodels")
class FusedGroupNormalization(keras.layers.Layer):
    """Group normalization of the last axis (Wu & He 2018), a modulation and an activation in one kernel each way.

    y = act((1 + s) · (γ x̂ + β) + b), where x̂ has mean 0 and variance 1 in each group of channels of an example, and s
    and b, one of each an example and channel, are the second input `[B, 2 C]` where it is given: a scale and a shift
    that an embedding of time or class sets (Dhariwal & Nichol 2021). Statistics and arithmetic are of float32.

    Args:
        groups: of channels; None for 32, or fewer so that each has at least 4 channels and they divide the channels.
        activation: "silu" or None.
        epsilon: added to the variance.
        **options: of `keras.layers.Layer`.

    Raises:
        ValueError: for groups that do not divide the channels, and for another activation.

    Example:
        >>> layer = FusedGroupNormalization(4, activation=None)
        >>> bool(abs(tf.reduce_mean(layer(tf.random.normal([2, 8, 8, 16])))) < 1e-5)
        True
    """

    def __init__(self, groups=None, *, activation="silu", epsilon=1e-5, **options):
        super().__init__(**options)
        if activation not in ("silu", None):
            raise ValueError(f'`activation` must be "silu" or None; got {activation!r}.')
        self.groups = checked_count("groups", groups, 1, "None for as many as suit the channels")
        self.activation, self.epsilon = activation, epsilon

    def build(self, x_shape, modulation_shape=None):
        """γ and β, one a channel."""
        channels = x_shape[-1]
        self.parts = self.groups or max(n for n in range(1, min(32, max(channels // 4, 1)) + 1) if channels % n == 0)
        if channels % self.parts:
            raise ValueError(f"`groups` must divide the {channels} channels; got {self.parts}.")
        if modulation_shape is not None and modulation_shape[-1] != 2 * channels:
            raise ValueError(f"the second input must have 2 x {channels} numbers; got {modulation_shape[-1]}.")
        self.gamma = self.add_weight(shape=(channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")

    def compute_output_shape(self, x_shape, modulation_shape=None):
        """As of the first input."""
        return x_shape

    def call(self, x, modulation=None):
        """`[B, …, C]` normalized, modulated by `[B, 2 C]`, and activated."""
        scale, shift = tf.cast(self.gamma.value, tf.float32)[None], tf.cast(self.beta.value, tf.float32)[None]
        if modulation is not None:
            more, added = tf.split(tf.cast(modulation, tf.float32), 2, axis=-1)
            scale, shift = (1.0 + more) * scale, (1.0 + more) * shift + added  # [B, C]
        else:  # one kernel serves both
            scale, shift = (tf.broadcast_to(t, [tf.shape(x)[0], x.shape[-1]]) for t in (scale, shift))
        flat = tf.reshape(x, [tf.shape(x)[0], math.prod(x.shape[1:-1]), x.shape[-1]])
        return tf.reshape(
            group_normalized(flat, scale, shift, self.parts, self.epsilon, self.activation == "silu"), tf.shape(x)
        )

    def get_config(self):
        """The constructor's arguments."""
        own = {"groups": self.groups, "activation": self.activation, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


def group_normalized(x, scale, shift, groups, epsilon, silu):
    """act(scale · x̂ + shift) of `[B, N, C]`, with scale and shift `[B or 1, C]`.

    Four kernels: moments and what follows of them, the elementwise rest, and the same two backwards. In one kernel the
    compiler computes the numbers of a group anew for every element.
    """

    @tf.custom_gradient
    def normalized(x, scale, shift):
        moments, a, b = _affine(x, scale, shift, groups=groups, epsilon=epsilon)

        def gradient(upstream):
            constant, slope, *small = _small_gradients(
                x, upstream, a, b, moments, scale, shift, groups=groups, epsilon=epsilon, silu=silu
            )
            return _large_gradient(x, upstream, a, b, constant, slope, silu=silu), *small

        return _applied(x, a, b, silu=silu), gradient

    return normalized(x, scale, shift)


@kernel
def _affine(x, scale, shift, *, groups, epsilon):
    """Means of x and x² over the pixels `[2, B, C]`, and a, b `[B, C]` for which the result is act(a x + b)."""
    wide = tf.cast(x, tf.float32)
    moments = tf.stack([_sum_over_pixels(wide), _sum_over_pixels(tf.square(wide))]) / x.shape[1]
    return moments, *_coefficients(moments, scale, shift, groups, epsilon)


@kernel
def _applied(x, a, b, *, silu):
    u = tf.cast(x, tf.float32) * a[:, None] + b[:, None]
    return tf.cast(u * tf.sigmoid(u) if silu else u, x.dtype)


@kernel
def _small_gradients(x, upstream, a, b, moments, scale, shift, *, groups, epsilon, silu):
    """k and l `[B, C]` of the gradient through the moments, k + l x; and the gradients of scale and shift."""
    wide, through = _through_activation(x, upstream, a, b, silu)
    of_a, of_b = _sum_over_pixels(through * wide), _sum_over_pixels(through)
    with tf.GradientTape() as tape:
        tape.watch([moments, scale, shift])
        outputs = _coefficients(moments, scale, shift, groups, epsilon)
    of_moments, *small = tape.gradient(outputs, [moments, scale, shift], [of_a, of_b])
    return of_moments[0] / x.shape[1], of_moments[1] * (2.0 / x.shape[1]), *small


@kernel
def _large_gradient(x, upstream, a, b, constant, slope, *, silu):
    wide, through = _through_activation(x, upstream, a, b, silu)
    return tf.cast(through * a[:, None] + constant[:, None] + slope[:, None] * wide, x.dtype)


def _through_activation(x, upstream, a, b, silu):
    """x, and the gradient of u = a x + b; float32."""
    wide, through = tf.cast(x, tf.float32), tf.cast(upstream, tf.float32)
    if not silu:
        return wide, through
    u = wide * a[:, None] + b[:, None]
    s = tf.sigmoid(u)
    return wide, through * s * (1.0 + u * (1.0 - s))


def _coefficients(moments, scale, shift, groups, epsilon):
    """a and b of the moments `[2, B, C]` of each channel."""
    shape = tf.shape(moments)
    split = tf.reshape(moments, [2, -1, groups, moments.shape[-1] // groups])
    mean, square = tf.unstack(tf.reshape(tf.reduce_mean(split, -1, keepdims=True) + tf.zeros_like(split), shape))
    # What cancels here is lost where the mean is a thousand deviations off.
    a = scale * tf.math.rsqrt(tf.maximum(square - tf.square(mean), 0.0) + epsilon)
    return a, shift - mean * a


def _sum_over_pixels(x):
    """`[B, N, C]` to `[B, C]`, in two steps: the compiler makes vectors of the first, a sum of a few slices."""
    size = x.shape[1]
    parts = max(n for n in range(1, 9) if size % n == 0)
    slices = tf.unstack(tf.reshape(x, [-1, parts, size // parts, x.shape[2]]), axis=1)
    return tf.reduce_sum(tf.add_n(slices), axis=1)
