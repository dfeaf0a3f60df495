"""Augmentation of integer pixel batches: a pure function of the batch and a seed."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of Pillow's "L"


@dataclasses.dataclass(frozen=True)
class Augment:
    """What may be done to a training image at each visit, drawn anew for each image.

    Call it on a batch of images: integers `[B, H, W, C]` in 0 … levels-1 give the same type in the same range.

    Args:
        flip: mirror left and right with probability one half.
        shift: move by up to this many pixels in each direction; the edge pixel fills what comes into view.
        brightness: add up to this fraction of the range, either way.
        contrast: scale the distance to the image's mean by a factor in 1 ± contrast.
        saturation: scale the distance to grey by a factor in 1 ± saturation (RGB only).

    Raises:
        ValueError: a negative or non-finite amount, contrast or saturation above 1, a shift that is no integer, and a
            flip that is neither True nor False.

    Example:
        >>> images = tf.zeros([4, 8, 8, 1], tf.uint8)
        >>> Augment(flip=True, shift=1)(images, levels=17, seed=[0, 7]).shape
        TensorShape([4, 8, 8, 1])
    """

    flip: bool = False
    shift: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self):
        if not isinstance(self.flip, bool):
            raise ValueError(f"`flip` must be True or False; got {self.flip!r}.")
        if isinstance(self.shift, bool) or not isinstance(self.shift, int) or self.shift < 0:
            raise ValueError(f"`shift` must be a number of pixels, an integer ≥ 0; got {self.shift!r}.")
        for name, most in (("brightness", math.inf), ("contrast", 1), ("saturation", 1)):
            amount = getattr(self, name)
            if not (math.isfinite(amount) and 0 <= amount <= most):
                raise ValueError(f"`{name}` must be a fraction from 0 to 1; got {amount!r}.")

    @property
    def jitters(self) -> bool:
        """Whether colours change, not positions alone."""
        return bool(self.brightness or self.contrast or self.saturation)

    def check(self, event_shape: tuple[int, ...], levels: int | None) -> None:
        """Raises ValueError where these changes make no sense for such examples.

        Args:
            event_shape: shape of one example.
            levels: the number of pixel values, or None for real-valued data.
        """
        if len(event_shape) != 3:
            raise ValueError(f"augmentation needs images (height, width, channels); got {event_shape}.")
        if self.shift >= min(event_shape[:2]):
            raise ValueError(f"`shift`={self.shift} moves an image of {event_shape} out of sight.")
        if self.jitters and levels is None:
            raise ValueError("brightness, contrast and saturation need integer pixels; got levels=None.")
        if self.saturation and event_shape[-1] != 3:
            raise ValueError(f"`saturation` needs RGB images; got {event_shape[-1]} channel(s).")

    def __call__(self, images: tf.Tensor, levels: int | None, seed) -> tf.Tensor:
        """Augments a batch.

        Args:
            images: `[B, H, W, C]`.
            levels: the number of pixel values, or None for real-valued data.
            seed: two integers; the result is a function of them and the images.

        Returns:
            A batch of the same shape and type, inside 0 … levels-1 where levels is set.
        """
        # One call draws all that a batch needs: [6, B] numbers in [0, 1).
        draws = tf.random.stateless_uniform([6, tf.shape(images)[0]], seed, alg="philox")
        images = self._move(images, draws[:3])
        return self._jitter(images, levels, draws[3:]) if self.jitters else images

    def _move(self, images, draws):
        def seen(length, draw):  # [B, length]: where each output row or column looks, the edges repeated
            by = tf.cast(draw * (2 * self.shift + 1), tf.int32) - self.shift
            return tf.clip_by_value(tf.range(length) - by[:, None], 0, length - 1)

        height, width = images.shape[1:3]
        if self.shift:
            images = tf.gather(images, seen(height, draws[1]), axis=1, batch_dims=1)
        if self.shift or self.flip:
            columns = seen(width, draws[2])
            mirrored = self.flip & (draws[0] < 0.5)[:, None]
            columns = tf.where(mirrored, width - 1 - columns, columns)
            images = tf.gather(images, columns, axis=2, batch_dims=1)
        return images

    def _jitter(self, images, levels, draws):
        brightness, contrast, saturation = tf.unstack((2 * draws - 1)[..., None, None, None])  # [B, 1, 1, 1]
        x = tf.cast(images, tf.float32)
        if self.brightness:
            x += self.brightness * brightness * (levels - 1)
        if self.contrast:
            mean = tf.reduce_mean(x, [1, 2, 3], keepdims=True)
            x = mean + (x - mean) * (1 + self.contrast * contrast)
        if self.saturation:
            grey = tf.reduce_sum(x * LUMA, -1, keepdims=True)
            x = grey + (x - grey) * (1 + self.saturation * saturation)
        return tf.cast(tf.clip_by_value(tf.round(x), 0, levels - 1), images.dtype)
