"""Random changes of a discriminator's images through which gradients flow, so that it cannot memorize a small data set.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", and the strengths of its
PyTorch code.
"""

import dataclasses

import keras
import tensorflow as tf

__all__ = ["DiffAugment", "get"]


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class DiffAugment:
    """Color, translation and cutout, drawn for every example by itself.

    Apply it to whatever the discriminator sees: real and generated images, and in the generator's loss too.
    Augmenting real images alone would teach the generator to draw augmented ones.

    - "color" adds U(-0.5, 0.5), scales the difference from each pixel's mean over channels (the saturation) by
      U(0, 2), then the difference from the image's mean (the contrast) by U(0.5, 1.5). Images of one channel have no
      saturation, and only the other two change.
    - "translation" shifts by whole pixels, uniform up to 1/8 of height and width, rounded, and fills with zero.
    - "cutout" sets a rectangle of half the height and half the width, rounded up, to zero. Its center is uniform over
      the image, so that a part of it may lie outside.

    Args:
        policy: names of what is done, in this order, with commas between them.

    Raises:
        ValueError: `policy` is empty, or has a name that is unknown or repeated.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.models.gans.augmentation import DiffAugment
        >>> from genmodels.sampling import Streams, make_seed
        >>> images = tf.zeros([4, 32, 32, 3])
        >>> DiffAugment("color,cutout")(images, Streams(make_seed(0), 0, 4)).shape
        TensorShape([4, 32, 32, 3])
    """

    policy: str = "color,translation,cutout"

    def __post_init__(self):
        names = self.policy.split(",") if isinstance(self.policy, str) else []
        if not names or len(set(names)) < len(names) or not set(names) <= set(AUGMENTATIONS):
            choices = ", ".join(AUGMENTATIONS)
            raise ValueError(
                f"the policy of `augment` must name some of {choices}, each once, with commas and no spaces between; "
                f"got {self.policy!r}."
            )

    def __call__(self, x, streams):
        """Augmented images, of the shape and dtype of x; differentiable in x as often as is wanted.

        Args:
            x: images of floats in [-1, 1], [B, H, W, C].
            streams: `Streams` of B examples. Each has the same changes whatever the batch around it.

        Raises:
            ValueError: x are no images of floats, or `streams` are not as many.
        """
        x = tf.convert_to_tensor(x)
        if x.shape.rank != 4 or not x.shape[1:].is_fully_defined() or not x.dtype.is_floating:
            raise ValueError(
                f"DiffAugment needs images of floats, [batch, height, width, channels]; got shape {x.shape} of "
                f"{x.dtype.name}."
            )
        for name in self.policy.split(","):
            # A name's numbers are the same in every policy.
            x = AUGMENTATIONS[name](x, streams.fold([*AUGMENTATIONS].index(name)))
        return x

    def get_config(self):
        """The policy, so that a model built with it can be saved."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The augmentation of this policy."""
        return cls(**config)


def get(augment):
    """An augmentation from None, a policy, or an object that is called as `DiffAugment` is.

    Args:
        augment: None for none, a policy such as "color,cutout", or a callable object with `get_config` and
            `from_config`, by which Keras can save and load it.

    Returns:
        None or the augmentation.

    Raises:
        ValueError: `augment` is none of these.

    Example:
        >>> from genmodels.models.gans.augmentation import get
        >>> get("translation")
        DiffAugment(policy='translation')
    """
    if isinstance(augment, str):
        return DiffAugment(augment)
    saved = all(hasattr(augment, name) for name in ("__call__", "get_config", "from_config"))
    if augment is not None and (not saved or isinstance(augment, type)):
        raise ValueError(
            f"`augment` must be None, a policy such as 'color,translation,cutout', or a callable object with "
            f"`get_config` and `from_config`; got {augment!r}."
        )
    return augment


def color(x, streams):
    """Brightness b, saturation s, contrast c."""
    b, s, c = (tf.cast(u[:, None, None, None], x.dtype) for u in _uniforms(x, streams, 3))
    b, s, c = b - 0.5, 2.0 * s, c + 0.5
    # With m(x) a pixel's mean and M(x) the image's: m(x + b) = m(x) + b, the saturation keeps m, the contrast M.
    # The three in turn are c (s (x - m) + m - M) + M + b.
    image = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    if x.shape[3] == 1:
        return c * (x - image) + (image + b)
    pixel = tf.reduce_mean(x, axis=3, keepdims=True)
    return c * s * (x - pixel) + (c * (pixel - image) + (image + b))


def translation(x, streams):
    """Shifts of at most (n + 4) // 8, which is n / 8 rounded."""
    most = [(n + 4) // 8 for n in x.shape[1:3]]
    u, v = _uniforms(x, streams, 2)
    return _translated(x, _integers(u, 2 * most[0] + 1) - most[0], _integers(v, 2 * most[1] + 1) - most[1])


def cutout(x, streams):
    """A rectangle of (n + 1) // 2, which is n / 2 rounded up."""

    def inside(u, n):
        size = (n + 1) // 2
        # [B, n]; an even size has one more place, which makes its distribution symmetric.
        place = tf.range(n) - _integers(u, n + 1 - size % 2)[:, None] + size // 2
        return (place >= 0) & (place < size)

    u, v = _uniforms(x, streams, 2)
    cut = inside(u, x.shape[1])[:, :, None] & inside(v, x.shape[2])[:, None, :]
    return x * tf.cast(~cut, x.dtype)[..., None]


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


def _uniforms(x, streams, num):
    """`num` tensors of one number an example, [B] float32."""
    u = streams.uniform((num,))
    if not u.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(f"DiffAugment needs a stream for each of {x.shape[0]} examples; got {u.shape[0]}.")
    return tf.unstack(u, axis=1)


def _integers(u, num):
    """Uniform on 0 … num-1. The product is below `num` also after rounding, as u is at most 1 - 2⁻²⁴."""
    return tf.cast(u * num, tf.int32)


def _translated(x, down, right):
    """Images shifted down and right by [B] pixels."""

    # The transpose of a shift is the shift back: a gather, where autodiff would scatter.
    @tf.custom_gradient
    def shifted(x):
        return _shifted(x, down, right), lambda upstream: _translated(upstream, -down, -right)

    return shifted(x)


def _shifted(x, down, right):
    height, width = x.shape[1:3]
    row = tf.range(height) - down[:, None]  # [B, H], where it comes from
    column = tf.range(width) - right[:, None]  # [B, W]
    exists = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    x = tf.gather(x, tf.clip_by_value(row, 0, height - 1), axis=1, batch_dims=1)
    x = tf.gather(x, tf.clip_by_value(column, 0, width - 1), axis=2, batch_dims=1)
    return x * tf.cast(exists, x.dtype)[..., None]
