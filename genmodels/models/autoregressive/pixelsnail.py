"""PixelSNAIL."""

import keras

from genmodels.layers import CausalAttention, CausalConv2D, ConcatELU, LinearGate, PositionEmbedding, Shift
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
class PixelSNAIL(AutoregressiveModel):
    """PixelSNAIL (Chen et al. 2017, "PixelSNAIL: An Improved Autoregressive Generative Model").

    A block is a few gated residual convolutions of 2×2, which see what is near, and one attention, which sees all that
    is before: its queries are made of a pixel's features and place, its keys and values of these and of the pixels
    themselves. A place is a learned vector, where the authors have two coordinates; and 1×1 convolutions make queries,
    keys and values, where the authors have a gated residual layer before these.

    Training computes and keeps attention between all pairs of pixels: for 28×28 some 1.5 MB an example and
    block in float32, half as much again in bfloat16.

    Channels of a colour picture are modelled in order; see `genmodels.layers.ChannelHead`.

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1.
        filters: channels of the features.
        blocks: blocks, each with an attention; the paper's models have 12.
        convolutions: gated residual convolutions of a block.
        keys: channels of queries and keys.
        likelihood: of a pixel: "auto" for Bernoulli at 2 levels and a softmax over the levels otherwise; or a name or
            object of `genmodels.likelihoods`: the paper's is "logistic_mixture".
        num_classes: number of classes of a conditional model; every convolution's gate sees the label.
        dropout: rate, inside each gated residual layer; the paper's is 0.5.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.PixelSNAIL((8, 8, 1), levels=17, filters=16, blocks=1)
        >>> model.sample(16, seed=1).shape
        TensorShape([16, 8, 8, 1])
    """

    title, paper, year = "PixelSNAIL", "Chen et al., arXiv:1712.09763", 2017

    def __init__(
        self, event_shape, *, levels=256, filters=32, blocks=4, convolutions=4, keys=16, likelihood="auto",
        num_classes=None, dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        of_pixels = pixel_likelihood(likelihood, levels)
        image, label = network_inputs(event_shape, num_classes)
        features = attending_blocks(
            image, label, checked_count("filters", filters, 2), checked_count("blocks", blocks, 1),
            checked_count("convolutions", convolutions, 1), checked_count("keys", keys, 1), dropout, dtype,
        )  # fmt: skip
        outputs = pixel_head(features, image, of_pixels, filters, dtype)
        super().__init__(
            event_shape, functional(image, label, outputs), levels=levels, likelihood=likelihood,
            num_classes=num_classes, dtype=dtype, name=name,
        )  # fmt: skip


def attending_blocks(image, label, filters, blocks, convolutions, keys, dropout, dtype):
    """Features of every pixel that see those before it, `[B, H, W, filters]`."""
    near = {"above": 1, "left": 1}

    def conv(x, outputs=filters, **window):
        return CausalConv2D(outputs, **window, dtype=dtype)(x)

    def unit(x):
        return ConcatELU(dtype=dtype)(x)

    def residual(x, other=None, **window):
        """x + a · σ(b), (a, b) from two convolutions; another tensor comes in between them through a 1×1."""
        y = conv(unit(x), **window)
        if other is not None:
            y = keras.layers.Add(dtype=dtype)([y, conv(unit(other))])
        y = unit(y)
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype)(y)
        gated = LinearGate(dtype=dtype)(conditioned(conv(y, 2 * x.shape[-1], **window), label, dtype))
        return keras.layers.Add(dtype=dtype)([x, gated])

    # After the shifts: two rows of three columns above, and two pixels to the left.
    above = conv(Shift("down", dtype=dtype)(image), above=1, left=1, right=1)
    x = keras.layers.Add(dtype=dtype)([above, conv(Shift("right", dtype=dtype)(image), left=1)])
    for _ in range(blocks):
        for _ in range(convolutions):
            x = residual(x, **near)
        placed = PositionEmbedding(dtype=dtype)(x)
        memory = unit(conv(keras.layers.Concatenate(dtype=dtype)([placed, image])))
        attended = CausalAttention(mask="A", dtype=dtype)(
            conv(unit(placed), keys), conv(memory, keys), conv(memory, filters // 2)
        )
        x = residual(x, attended)
    return x
