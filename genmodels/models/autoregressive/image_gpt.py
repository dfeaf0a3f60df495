"""Image GPT."""

import keras

from genmodels.layers import CausalAttention, PositionEmbedding, RasterShift
from genmodels.models.autoregressive.autoregressive import (
    AutoregressiveModel,
    conditioned,
    functional,
    network_inputs,
    pixel_head,
    pixel_likelihood,
)
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class ImageGPT(AutoregressiveModel):
    """Image GPT (Chen et al. 2020, "Generative Pretraining from Pixels"): a transformer over pixels in raster order.

    A pixel's features begin as those of the pixel before it and a learned vector of its place. Blocks add what
    attention finds in all pixels before, and a layer of 4 · width units; each normalizes its input first. A pixel's
    value comes in by a linear map, and 0 before the first, where the authors have learned vectors of 512 colours and of
    the start; and the last layers are those of the other models here, where theirs is one linear map.

    Training computes and keeps attention between all pairs of pixels: for 28×28 and 2 heads some 3 MB an example and
    block in float32, half as much again in bfloat16. `sample` keeps keys and values, and computes one query a pixel.

    Channels of a colour picture are modelled in order; see `genmodels.layers.ChannelHead`.

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1.
        width: features of a pixel, a multiple of the heads.
        blocks: blocks of attention.
        heads: heads of each attention.
        likelihood: of a pixel: "auto" for Bernoulli at 2 levels and a softmax over the levels otherwise; or a name or
            object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model; the features of every pixel begin with the label's.
        dropout: rate, on what each block adds.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.ImageGPT((8, 8, 1), levels=17, width=16, blocks=2)
        >>> model.sample(16, seed=1).shape
        TensorShape([16, 8, 8, 1])
    """

    title, paper, year = "Image GPT", "Chen et al., ICML 2020", 2020

    def __init__(
        self, event_shape, *, levels=256, width=64, blocks=4, heads=2, likelihood="auto", num_classes=None,
        dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        heads, blocks = checked_count("heads", heads, 1), checked_count("blocks", blocks, 1)
        if checked_count("width", width, 1) % heads:
            raise ValueError(f"`width` must be a multiple of the {heads} heads; got {width}.")
        of_pixels = pixel_likelihood(likelihood, levels)
        image, label = network_inputs(event_shape, num_classes)
        features = transformer(image, label, width, blocks, heads, dropout, dtype)
        outputs = pixel_head(features, image, of_pixels, width, dtype)
        super().__init__(
            event_shape, functional(image, label, outputs), levels=levels, likelihood=likelihood,
            num_classes=num_classes, dtype=dtype, name=name,
        )  # fmt: skip


def transformer(image, label, width, blocks, heads, dropout, dtype):
    """Features of every pixel that see those before it, `[B, H, W, width]`."""
    layers = keras.layers

    def normalized(x):
        return layers.LayerNormalization(epsilon=1e-5, dtype=dtype)(x)

    def added(x, y):
        return layers.Add(dtype=dtype)([x, layers.Dropout(dropout, dtype=dtype)(y) if dropout else y])

    x = PositionEmbedding(dtype=dtype)(layers.Dense(width, dtype=dtype)(RasterShift(dtype=dtype)(image)))
    x = conditioned(x, label, dtype)
    for _ in range(blocks):
        y = normalized(x)
        y = CausalAttention(heads, dtype=dtype)(*(layers.Dense(width, dtype=dtype)(y) for _ in range(3)))
        x = added(x, layers.Dense(width, dtype=dtype)(y))
        y = layers.Dense(4 * width, "gelu", dtype=dtype)(normalized(x))
        x = added(x, layers.Dense(width, dtype=dtype)(y))
    return normalized(x)
