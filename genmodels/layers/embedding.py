"""Numbers as vectors."""

import math

import keras
import tensorflow as tf

from genmodels.settings import checked_count, checked_positive


@keras.saving.register_keras_serializable(package="genmodels")
class SinusoidalEmbedding(keras.layers.Layer):
    """A number t as cosines and sines of `scale · t` at `dim / 2` frequencies from 1 to 1/10 000 (Vaswani et al. 2017).

    Diffusion models embed the time so (Ho et al. 2020); with t from 0 to 1 a scale of 1000 gives their discrete steps.

    Args:
        dim: length of the vector, even.
        scale: factor of t.
        **options: of `keras.layers.Layer`. Angles are computed in float32 whatever the policy.

    Raises:
        ValueError: for a length that is odd or below 4, and a scale that is not above 0.

    Example:
        >>> SinusoidalEmbedding(64)(tf.constant([0.0, 0.5, 1.0])).shape
        TensorShape([3, 64])
    """

    def __init__(self, dim, *, scale=1000.0, **options):
        super().__init__(**options, autocast=False)  # bfloat16 tells no two neighbouring times apart
        self.dim, self.scale = checked_count("dim", dim, 4), checked_positive("scale", scale)
        if dim % 2:
            raise ValueError(f"`dim` must be even; got {dim}.")

    def compute_output_spec(self, inputs):
        """`[B]` to `[B, dim]`."""
        return keras.KerasTensor((*inputs.shape, self.dim), dtype=self.compute_dtype)

    def call(self, inputs):
        """The embedding of `[B]` numbers, `[B, dim]`."""
        half = self.dim // 2
        frequencies = tf.exp(-math.log(10_000.0) * tf.range(half, dtype=tf.float32) / (half - 1))
        angles = self.scale * tf.cast(inputs, tf.float32)[..., None] * frequencies
        return tf.cast(tf.concat([tf.cos(angles), tf.sin(angles)], -1), self.compute_dtype)

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "dim": self.dim, "scale": self.scale}
