"""The gated PixelCNN."""

import keras

from genmodels.layers import CausalConv2D, Gate, Shift
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
class GatedPixelCNN(AutoregressiveModel):
    """Gated PixelCNN (van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders").

    Two stacks of convolutions: the vertical one sees all rows above a pixel, the horizontal one the pixels to its
    left and, through a 1×1 convolution in every block, the vertical one. Together they have no blind spot. Units
    are gated, tanh(a) · σ(b), and with `num_classes` every gate of both stacks sees the label.

    Channels of a colour picture are modelled in order; see `genmodels.layers.ChannelHead`.

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1.
        filters: channels of each stack.
        blocks: gated blocks; the first reads 7×7 pixels.
        kernel_size: side of the square that each other block reads, an odd number.
        likelihood: of a pixel: "auto" for Bernoulli at 2 levels and a softmax over the levels otherwise; or a name or
            object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model.
        dropout: rate, on what each block adds to the horizontal stack.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.GatedPixelCNN((8, 8, 1), levels=17, filters=16, blocks=3)
        >>> model.sample(16, seed=1).shape
        TensorShape([16, 8, 8, 1])
    """

    title, paper, year = "Gated PixelCNN", "van den Oord et al., arXiv:1606.05328", 2016

    def __init__(
        self, event_shape, *, levels=256, filters=64, blocks=8, kernel_size=3, likelihood="auto", num_classes=None,
        dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        if checked_count("kernel_size", kernel_size, 3) % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd; got {kernel_size}.")
        filters, blocks = checked_count("filters", filters, 1), checked_count("blocks", blocks, 1)
        of_pixels = pixel_likelihood(likelihood, levels)
        image, label = network_inputs(event_shape, num_classes)
        features = gated_stacks(image, label, filters, blocks, kernel_size, dropout, dtype)
        outputs = pixel_head(features, image, of_pixels, filters, dtype)
        super().__init__(
            event_shape, functional(image, label, outputs), levels=levels, likelihood=likelihood,
            num_classes=num_classes, dtype=dtype, name=name,
        )  # fmt: skip


def gated_stacks(x, label, filters, blocks, kernel_size, dropout, dtype):
    """What the horizontal of the two stacks makes of an image and a label or None, `[B, H, W, filters]`."""
    vertical, horizontal = Shift("down", dtype=dtype)(x), Shift("right", dtype=dtype)(x)
    for block in range(blocks):
        first = block == 0
        # After the shifts, 7×7 about a pixel are three rows of seven columns above, and three pixels to the left.
        side, shifted = (3, 1) if first else (kernel_size // 2, 0)
        above = CausalConv2D(2 * filters, above=side - shifted, left=side, right=side, dtype=dtype)(vertical)
        beside = CausalConv2D(2 * filters, left=side - shifted, use_bias=False, dtype=dtype)(horizontal)
        link = CausalConv2D(2 * filters, dtype=dtype)(above)
        vertical = Gate(dtype=dtype)(conditioned(above, label, dtype))
        update = CausalConv2D(filters, dtype=dtype)(Gate(dtype=dtype)(beside, conditioned(link, label, dtype)))
        if dropout:
            update = keras.layers.Dropout(dropout, dtype=dtype)(update)
        # The first block has no residual: its input is the image.
        horizontal = update if first else keras.layers.Add(dtype=dtype)([horizontal, update])
    return horizontal
