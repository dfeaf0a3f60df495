"""Batch normalization through TensorFlow's fused kernel."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="genmodels")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of the last axis in one kernel (Ioffe & Szegedy 2015).

    Keras composes it of elementwise operations in float32; the kernel passes once over the numbers, also of bfloat16.
    The moving variance is of unbiased estimates, as in PyTorch.

    Args:
        momentum: of the moving averages.
        epsilon: added to the variance.
        **options: of `keras.layers.BatchNormalization`, but for those that the kernel has not: another axis than the
            last, masks, renormalization, and statistics over replicas.

    Raises:
        ValueError: for those options.

    Example:
        >>> layer = FusedBatchNormalization()
        >>> float(abs(keras.ops.mean(layer(tf.random.normal([64, 3]), training=True)))) < 1e-5
        True
    """

    def __init__(self, momentum=0.99, epsilon=1e-3, **options):
        super().__init__(momentum=momentum, epsilon=epsilon, **options)
        if self.axis != -1 or self.renorm or self.synchronized:
            raise ValueError("the fused kernel normalizes the last axis, without `renorm` and `synchronized`.")

    def call(self, inputs, training=None, mask=None):
        """The normalized inputs; `training` takes the batch's statistics and moves the averages."""
        if mask is not None:
            raise ValueError("the fused kernel takes no mask.")
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
