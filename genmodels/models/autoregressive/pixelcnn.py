"""The PixelCNN."""

import keras

from genmodels.layers import CausalConv2D
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
class PixelCNN(AutoregressiveModel):
    """PixelCNN (van den Oord et al. 2016a, "Pixel Recurrent Neural Networks").

    A 7×7 convolution masked to the pixels before, residual blocks of masked 3×3 convolutions (ReLU, 1×1 to half the
    width, 3×3, 1×1 back), and a softmax over the levels. Stacked raster masks leave a blind spot: on pictures more
    than four pixels wide, some of those above and to the right are not seen (`GatedPixelCNN` sees all).

    Channels of a colour picture are modelled in order; see `genmodels.layers.ChannelHead`.

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1.
        filters: channels of the features, 2h in the paper.
        blocks: residual blocks.
        likelihood: of a pixel: "auto" for Bernoulli at 2 levels and a softmax over the levels otherwise; or a name or
            object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model; every block sees the label.
        dropout: rate, on what each block adds.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.PixelCNN(train.event_shape, levels=train.levels, filters=32, blocks=2)
        >>> history = model.fit(train, steps=10, verbose=0)
        >>> model.sample(16, seed=1).shape
        TensorShape([16, 8, 8, 1])
    """

    title, paper, year = "PixelCNN", "van den Oord et al., arXiv:1601.06759", 2016

    def __init__(
        self, event_shape, *, levels=256, filters=64, blocks=7, likelihood="auto", num_classes=None, dropout=0.0,
        dtype=None, name=None,
    ):  # fmt: skip
        network = masked_stack(
            event_shape, pixel_likelihood(likelihood, levels), checked_count("filters", filters, 2),
            checked_count("blocks", blocks, 1), num_classes, dropout, dtype,
        )  # fmt: skip
        super().__init__(
            event_shape, network, levels=levels, likelihood=likelihood, num_classes=num_classes, dtype=dtype, name=name
        )


def masked_stack(event_shape, likelihood, filters, blocks, num_classes, dropout, dtype):
    """The masked convolutions and the head as a functional Keras model."""
    image, label = network_inputs(event_shape, num_classes)
    x = CausalConv2D(filters, above=3, left=3, right=3, mask="A", dtype=dtype)(image)
    for _ in range(blocks):
        y = CausalConv2D(filters // 2, dtype=dtype)(keras.layers.ReLU(dtype=dtype)(conditioned(x, label, dtype)))
        y = keras.layers.ReLU(dtype=dtype)(y)
        y = CausalConv2D(filters // 2, above=1, left=1, right=1, mask="B", dtype=dtype)(y)
        y = CausalConv2D(filters, dtype=dtype)(keras.layers.ReLU(dtype=dtype)(y))
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype)(y)
        x = keras.layers.Add(dtype=dtype)([x, y])
    return functional(image, label, pixel_head(x, image, likelihood, filters, dtype))
