"""The PixelRNN."""

import keras

from genmodels.layers import CausalConv2D, DiagonalLSTM, RowLSTM
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
class PixelRNN(AutoregressiveModel):
    """PixelRNN (van den Oord et al. 2016a, "Pixel Recurrent Neural Networks").

    A 7×7 convolution masked to the pixels before, residual layers of two-dimensional LSTMs, and a softmax over the
    levels. The Row LSTM runs over rows and sees a triangle above each pixel. The Diagonal BiLSTM runs over diagonals
    in both directions, sees all pixels before, and is the slower. (With the paper's masks alone it would miss the last
    pixel of the row just above; here the direction from the right also reads the image.)

    Channels of a colour picture are modelled in order; see `genmodels.layers.ChannelHead`.

    Args:
        event_shape: `(height, width, channels)`.
        kind: "row" for the Row LSTM, "diagonal" for the Diagonal BiLSTM.
        levels: pixels are 0 … levels-1.
        filters: units of each LSTM, h in the paper; the features between the layers have 2h channels.
        layers: LSTM layers; the paper's MNIST model has 7.
        likelihood: of a pixel: "auto" for Bernoulli at 2 levels and a softmax over the levels otherwise; or a name or
            object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model; every layer sees the label.
        dropout: rate, on what each layer adds.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.PixelRNN((8, 8, 1), kind="diagonal", levels=17, filters=16)
        >>> model.log_prob(np.zeros([4, 8, 8, 1], "uint8")).shape
        TensorShape([4])
    """

    title, paper, year = "PixelRNN", "van den Oord et al., arXiv:1601.06759", 2016

    def __init__(
        self, event_shape, *, kind="row", levels=256, filters=32, layers=2, likelihood="auto", num_classes=None,
        dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        if kind not in LSTMS:
            raise ValueError(f'`kind` must be "row" or "diagonal"; got {kind!r}.')
        network = recurrent_stack(
            event_shape, LSTMS[kind], pixel_likelihood(likelihood, levels), checked_count("filters", filters, 1),
            checked_count("layers", layers, 1), num_classes, dropout, dtype,
        )  # fmt: skip
        super().__init__(
            event_shape, network, levels=levels, likelihood=likelihood, num_classes=num_classes, dtype=dtype, name=name
        )


def recurrent_stack(event_shape, lstm, likelihood, units, layers, num_classes, dropout, dtype):
    """The masked convolution, the LSTM layers and the head as a functional Keras model."""
    image, label = network_inputs(event_shape, num_classes)
    x = CausalConv2D(2 * units, above=3, left=3, right=3, mask="A", dtype=dtype)(image)
    for _ in range(layers):
        y = CausalConv2D(2 * units, dtype=dtype)(lstm(conditioned(x, label, dtype), image, units, dtype))
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype)(y)
        x = keras.layers.Add(dtype=dtype)([x, y])
    return functional(image, label, pixel_head(x, image, likelihood, 2 * units, dtype))


def row_lstm(x, image, units, dtype):
    """`[B, H, W, ·]` to `[B, H, W, units]`; the masked input-to-state convolution of width 3 is one of width 2."""
    return RowLSTM(units, dtype=dtype)(CausalConv2D(4 * units, left=1, dtype=dtype)(x))


def diagonal_bilstm(x, image, units, dtype):
    """`[B, H, W, ·]` to `[B, H, W, units]`: the sum of both directions, each with its own input-to-state."""
    from_left = DiagonalLSTM(units, dtype=dtype)(CausalConv2D(4 * units, dtype=dtype)(x))
    # From the right, the output is moved down by a row: its input may see the pixel itself, and must, or the last
    # pixel of the row above would be missed.
    whole = keras.layers.Concatenate(dtype=dtype)([x, image])
    from_right = DiagonalLSTM(units, reverse=True, dtype=dtype)(CausalConv2D(4 * units, dtype=dtype)(whole))
    return keras.layers.Add(dtype=dtype)([from_left, from_right])


LSTMS = {"row": row_lstm, "diagonal": diagonal_bilstm}
