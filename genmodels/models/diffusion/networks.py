"""Denoising networks: plain functional Keras models of (x, t) or (x, t, label)."""

import functools
import math
from collections.abc import Sequence

import keras

from genmodels.layers import FusedGroupNormalization, Recompute, SinusoidalEmbedding
from genmodels.settings import checked_count, checked_nonnegative

MOST_CHANNELS = (1, 2, 2, 2, 4)  # of each size in units of the width, the largest image first


def unet(
    event_shape: Sequence[int],
    *,
    width: int = 64,
    multipliers: Sequence[int] | None = None,
    blocks: int = 2,
    attention: Sequence[int] | None = None,
    heads: int = 4,
    dropout: float = 0.0,
    outputs: int | None = None,
    num_classes: int | None = None,
    recompute: bool = False,
    dtype=None,
    name: str = "unet",
) -> keras.Model:
    """The U-Net of DDPM (Ho et al. 2020, appendix B), time and class as scale and shift (Nichol & Dhariwal 2021).

    Residual blocks (norm, SiLU, 3×3, twice) at every size on the way down and, beside what was kept there, on the way
    up. Images of any size: halves are rounded up, and the surplus is cropped after doubling.

    Args:
        event_shape: `(height, width, channels)`.
        width: channels of the largest size.
        multipliers: channels of each size in units of `width`, the image's own size first; None for as many sizes as
            halve the longer side to about 8 pixels, at least two: (1, 2) for 8 pixels, (1, 2, 2) for 28 and 32,
            (1, 2, 2, 2) for 64.
        blocks: residual blocks a size on the way down; one more on the way up.
        attention: heights at which self-attention follows each block; None for the smallest size alone. 14 × 14 pixels
            take four times the time of 7 × 7.
        heads: of the attention.
        dropout: rate inside the residual blocks.
        outputs: channels of the output; None for as many as the image has.
        num_classes: with a number, a one-hot label `[B, num_classes]` is the third input; zeros stand for no class.
        recompute: compute the residual blocks again for the gradient, in place of keeping their activations: less
            memory, for one more forward pass. Not with dropout.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Returns:
        A `keras.Model` from x `[B, H, W, C]`, t `[B]` from 0 to 1 (and labels) to `[B, H, W, outputs]`.

    Raises:
        ValueError: for shapes that are no images, multipliers that are no counts, attention at heights that do not
            occur, heads that do not divide its channels, and dropout with `recompute`.

    Example:
        >>> unet((28, 28, 1), width=16).output_shape
        (None, 28, 28, 1)
    """
    sizes, multipliers = _sizes(event_shape, multipliers)
    blocks = checked_count("blocks", blocks, 1)
    attention = [sizes[-1][0]] if attention is None else list(attention)
    if not set(attention) <= {height for height, _ in sizes}:
        raise ValueError(f"`attention` must name heights among {[height for height, _ in sizes]}; got {attention}.")
    layers = keras.layers
    image = keras.Input(tuple(event_shape), name="x")
    embedding, inputs = _embedding(image, 4 * width, num_classes, dtype)

    def residual(x, channels, name):
        make = functools.partial(_residual_block, channels=channels, dropout=dropout, dtype=dtype, name=name)
        return _recomputed(make, x, embedding, f"{name}_block") if recompute else make(x, embedding)

    def stage(x, channels, name):
        x = residual(x, channels, name)
        return _attention(x, heads, dtype, f"{name}_attention") if x.shape[1] in attention else x

    # Named, since TensorFlow orders some sums by name: two such networks compute the same to the last bit.
    x = layers.Conv2D(width, 3, padding="same", dtype=dtype, name="in")(image)
    kept = [x]
    for index, multiplier in enumerate(multipliers):
        if index:
            x = layers.Conv2D(x.shape[-1], 3, strides=2, padding="same", dtype=dtype, name=f"halve{index}")(x)
            kept.append(x)
        for block in range(blocks):
            x = stage(x, multiplier * width, f"down{index}_{block}")
            kept.append(x)
    x = residual(x, x.shape[-1], "middle0")
    x = _attention(x, heads, dtype, "middle_attention")
    x = residual(x, x.shape[-1], "middle1")
    for index in reversed(range(len(multipliers))):
        for block in range(blocks + 1):
            here = f"up{index}_{block}"
            x = layers.Concatenate(dtype=dtype, name=f"{here}_join")([x, kept.pop()])
            x = stage(x, multipliers[index] * width, here)
        if index:
            x = layers.UpSampling2D(dtype=dtype, name=f"double{index}")(x)  # nearest
            spare = [have - want for have, want in zip(x.shape[1:3], sizes[index - 1])]
            if any(spare):
                x = layers.Cropping2D(((0, spare[0]), (0, spare[1])), dtype=dtype, name=f"crop{index}")(x)
            x = layers.Conv2D(x.shape[-1], 3, padding="same", dtype=dtype, name=f"doubled{index}")(x)
    x = FusedGroupNormalization(dtype=dtype, name="out_norm")(x)
    # Zero: the first estimate is no opinion, not noise.
    last = {"kernel_initializer": "zeros", "dtype": "float32", "name": "out"}
    return keras.Model(inputs, layers.Conv2D(outputs or event_shape[-1], 3, padding="same", **last)(x), name=name)


def mlp_denoiser(
    event_shape: Sequence[int],
    *,
    width: int = 256,
    depth: int = 4,
    outputs: int | None = None,
    num_classes: int | None = None,
    dtype=None,
    name: str = "mlp",
) -> keras.Model:
    """A residual perceptron for points, modulated by time and class at every layer.

    Args:
        event_shape: `(dimensions,)`.
        width: units of a layer.
        depth: residual layers.
        outputs: length of the output; None for that of a point.
        num_classes: with a number, a one-hot label `[B, num_classes]` is the third input; zeros stand for no class.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Returns:
        A `keras.Model` from x `[B, D]`, t `[B]` from 0 to 1 (and labels) to `[B, outputs]`.

    Raises:
        ValueError: for shapes that are no points.

    Example:
        >>> mlp_denoiser((2,)).output_shape
        (None, 2)
    """
    if len(event_shape) != 1:
        raise ValueError(f"the perceptron denoises points (dimensions,); got {tuple(event_shape)}.")
    layers = keras.layers
    point = keras.Input(tuple(event_shape), name="x")
    embedding, inputs = _embedding(point, width, num_classes, dtype)
    x = layers.Dense(width, dtype=dtype, name="in")(point)
    for index in range(depth):
        modulation = layers.Dense(width, dtype=dtype, name=f"modulation{index}")(embedding)
        y = layers.Add(dtype=dtype, name=f"modulated{index}")([x, modulation])
        y = layers.Activation("silu", dtype=dtype, name=f"silu{index}")(y)
        y = layers.Dense(width, activation="silu", dtype=dtype, name=f"first{index}")(y)
        y = layers.Dense(width, dtype=dtype, name=f"second{index}")(y)
        x = layers.Add(dtype=dtype, name=f"add{index}")([x, y])
    x = layers.Activation("silu", dtype=dtype, name="silu")(x)
    last = {"kernel_initializer": "zeros", "dtype": "float32", "name": "out"}
    return keras.Model(inputs, layers.Dense(outputs or event_shape[0], **last)(x), name=name)


def asked(width, multipliers, dropout, recompute) -> dict:
    """What a model's settings ask of its default network, checked, without what the network does anyway."""
    checked_count("width", width, 4, "None for the network's own")
    if dropout is not None and checked_nonnegative("dropout", dropout) >= 1:
        raise ValueError(f"`dropout` must be below 1; got {dropout!r}.")
    if recompute not in (None, False, True):
        raise ValueError(f"`recompute` must be True or False; got {recompute!r}.")
    settings = {"width": width, "multipliers": multipliers, "dropout": dropout, "recompute": recompute}
    return {name: value for name, value in settings.items() if value not in (None, False)}


def _sizes(event_shape, multipliers):
    """Image sizes, halved (rounded up) as often as there are multipliers after the first; and the multipliers."""
    if len(event_shape) != 3:
        raise ValueError(f"the U-Net needs images (height, width, channels); got {tuple(event_shape)}.")
    if multipliers is None:
        halvings = max(round(math.log2(max(event_shape[:2]) / 8)), 1)
        multipliers = (*MOST_CHANNELS, *[MOST_CHANNELS[-1]] * halvings)[: halvings + 1]
    if not isinstance(multipliers, Sequence) or isinstance(multipliers, str) or not multipliers:
        raise ValueError(f"`multipliers` must be counts, one a size, such as (1, 2, 2); got {multipliers!r}.")
    multipliers = tuple(checked_count("multipliers", multiplier, 1) for multiplier in multipliers)
    sizes = [tuple(event_shape[:2])]
    for _ in multipliers[1:]:
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes, multipliers


def _embedding(example, width, num_classes, dtype):
    """The vector that modulates every block, `[B, width]`, of time and class; and the network's inputs."""
    layers = keras.layers
    time = keras.Input((), name="t")
    x = SinusoidalEmbedding(max(width // 4 * 2, 4), dtype=dtype, name="time")(time)
    x = layers.Dense(width, activation="silu", dtype=dtype, name="time1")(x)
    x = layers.Dense(width, dtype=dtype, name="time2")(x)
    inputs = [example, time]
    if num_classes is not None:
        label = keras.Input((num_classes,), name="label")
        inputs.append(label)
        # Of one-hot vectors: rows as loud as the time's vector.
        loud = keras.initializers.RandomNormal(stddev=0.5)
        y = layers.Dense(width, use_bias=False, kernel_initializer=loud, dtype=dtype, name="class")(label)
        x = layers.Add(dtype=dtype, name="time_and_class")([x, y])
    return layers.Activation("silu", dtype=dtype, name="embedding")(x), inputs


def _residual_block(x, embedding, channels, dropout, dtype, name):
    """Norm, SiLU, 3×3, norm modulated by the embedding, SiLU, 3×3; plus the input."""
    layers = keras.layers
    y = FusedGroupNormalization(dtype=dtype, name=f"{name}_norm1")(x)
    y = layers.Conv2D(channels, 3, padding="same", dtype=dtype, name=f"{name}_conv1")(y)
    modulation = layers.Dense(2 * channels, dtype=dtype, name=f"{name}_modulation")(embedding)
    y = FusedGroupNormalization(dtype=dtype, name=f"{name}_norm2")(y, modulation)
    if dropout:
        y = layers.Dropout(dropout, dtype=dtype, name=f"{name}_dropout")(y)
    # Zero: every block starts as the identity, so depth costs no stability.
    last = {"kernel_initializer": "zeros", "dtype": dtype, "name": f"{name}_conv2"}
    y = layers.Conv2D(channels, 3, padding="same", **last)(y)
    if x.shape[-1] != channels:
        x = layers.Conv2D(channels, 1, dtype=dtype, name=f"{name}_beside")(x)
    return layers.Add(dtype=dtype, name=f"{name}_add")([x, y])


def _recomputed(make, x, embedding, name):
    """A block as a network of its own, whose activations the gradient computes again."""
    inputs = [keras.Input(t.shape[1:], dtype=t.dtype) for t in (x, embedding)]
    return Recompute(keras.Model(inputs, make(*inputs), name=name), name=f"{name}_recomputed")([x, embedding])


def _attention(x, heads, dtype, name):
    """Self-attention among all pixels; plus the input."""
    layers = keras.layers
    _, height, width, channels = x.shape
    if channels % heads:
        raise ValueError(f"`heads` must divide the {channels} channels of the attention; got {heads}.")
    y = FusedGroupNormalization(activation=None, dtype=dtype, name=f"{name}_norm")(x)
    split, parts = (height * width, heads, channels // heads), []
    for part in ("query", "key", "value"):
        z = layers.Dense(channels, dtype=dtype, name=f"{name}_{part}")(y)
        parts.append(layers.Reshape(split, dtype=dtype, name=f"{name}_{part}_heads")(z))
    y = keras.ops.dot_product_attention(*parts)
    y = layers.Reshape((height, width, channels), dtype=dtype, name=f"{name}_joined")(y)
    y = layers.Dense(channels, kernel_initializer="zeros", dtype=dtype, name=f"{name}_out")(y)
    return layers.Add(dtype=dtype, name=f"{name}_add")([x, y])
