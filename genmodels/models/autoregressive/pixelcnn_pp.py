"""PixelCNN++."""

import functools

import keras
import tensorflow as tf

from genmodels.layers import (
    CausalConv2D,
    CausalLayer,
    ChannelHead,
    ConcatELU,
    LinearGate,
    Shift,
    SpaceFromDepth,
)
from genmodels.likelihoods import LogisticMixture
from genmodels.models.autoregressive.autoregressive import (
    AutoregressiveModel,
    conditioned,
    functional,
    network_inputs,
    pixel_likelihood,
)
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class PixelCNNPlusPlus(AutoregressiveModel):
    """PixelCNN++ (Salimans et al. 2017).

    Two streams of gated residual blocks: the vertical one sees all rows above a pixel, the horizontal one the pixels
    to its left and, through a 1×1 convolution in every block, the vertical one. Both go down to coarser resolutions
    by strides of 2 and up again, with short-cuts from each block on the way down to one on the way up. A pixel is a
    mixture of logistics which couples its channels (`genmodels.likelihoods.LogisticMixture`). With `num_classes`
    every block sees the label.

    Not as in the paper: no weight normalization, and no initialization from data; instead the last convolution of
    each block starts small, so that blocks start near the identity. A coarse pixel becomes 2×2 finer ones by a 1×1
    convolution, not a transposed one of 2×3. The resolution is halved only while both sides have two pixels. The
    defaults are smaller than the paper's 160 filters and 5 blocks; there the learning rate falls slowly and weights
    are averaged (`compile(ema=0.9995)`).

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1.
        filters: channels of each stream.
        blocks: residual blocks a resolution on the way down; on the way up the finer ones have one more.
        resolutions: how many, each half as fine as the one before, at most.
        mixtures: logistics of a pixel.
        likelihood: of a pixel: "auto" for the mixture; or a name or object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model.
        dropout: rate, between the two convolutions of each block.
        dtype: Keras dtype policy of training; likelihoods and samples are computed in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.PixelCNNPlusPlus((8, 8, 3), filters=16, blocks=1, resolutions=2)
        >>> model.log_prob(np.zeros([4, 8, 8, 3], "uint8")).shape
        TensorShape([4])
    """

    title, paper, year = "PixelCNN++", "Salimans et al., arXiv:1701.05517", 2017

    def __init__(
        self, event_shape, *, levels=256, filters=64, blocks=3, resolutions=3, mixtures=10, likelihood="auto",
        num_classes=None, dropout=0.5, dtype=None, name=None,
    ):  # fmt: skip
        if likelihood in ("auto", "logistic_mixture"):
            likelihood = LogisticMixture(levels, mixtures)
        network = two_streams(
            event_shape, pixel_likelihood(likelihood, levels), checked_count("filters", filters, 1),
            checked_count("blocks", blocks, 1), checked_count("resolutions", resolutions, 1), num_classes, dropout,
            dtype,
        )  # fmt: skip
        super().__init__(
            event_shape, network, levels=levels, likelihood=likelihood, num_classes=num_classes, dtype=dtype, name=name
        )


@keras.saving.register_keras_serializable(package="genmodels")
class WithOnes(CausalLayer):
    """A channel of ones beside the image's, by which convolutions tell a pixel from the border of zeros.

    Example:
        >>> WithOnes()(tf.zeros([1, 1, 1, 2])).numpy().tolist()
        [[[[0.0, 0.0, 1.0]]]]
    """

    def window(self, x):
        """On each pixel alone."""
        return tf.concat([x, tf.ones_like(x[..., :1])], -1)


def two_streams(event_shape, likelihood, filters, blocks, resolutions, num_classes, dropout, dtype):
    """The two streams, down and up, and the head as a functional Keras model."""
    vertical_window, horizontal_window = {"above": 1, "left": 1, "right": 1}, {"above": 1, "left": 1}

    @functools.cache  # several layers read one tensor's
    def unit(x):
        return ConcatELU(dtype=dtype)(x)

    def add(tensors):
        return keras.layers.Add(dtype=dtype)(tensors)

    def conv(x, outputs=filters, **options):
        return CausalConv2D(outputs, **options, dtype=dtype)(x)

    def block(x, window, *others):
        """x + a · σ(b), (a, b) from two convolutions; the others come in through 1×1 convolutions."""
        y = [conv(unit(x), **window), *(conv(unit(other), use_bias=False) for other in others)]
        y = unit(add(y) if others else y[0])
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype)(y)
        y = conv(y, 2 * filters, kernel_initializer=keras.initializers.VarianceScaling(0.01), **window)
        return add([x, LinearGate(dtype=dtype)(conditioned(y, label, dtype))])

    def finer(x, size):
        return SpaceFromDepth(size, dtype=dtype)(conv(x, 4 * filters))

    image, label = network_inputs(event_shape, num_classes)
    pixels = WithOnes(dtype=dtype)(image)
    down, right = Shift("down", dtype=dtype)(pixels), Shift("right", dtype=dtype)(pixels)
    # After the shifts: two rows of three columns above; and one such row with two pixels of the column to the left.
    vertical = conv(down, **vertical_window)
    horizontal = add([conv(down, left=1, right=1), conv(right, above=1, use_bias=False)])
    passed = [[(vertical, horizontal)]]  # of each resolution
    while True:
        for _ in range(blocks):
            vertical = block(vertical, vertical_window)
            horizontal = block(horizontal, horizontal_window, vertical)
            passed[-1].append((vertical, horizontal))
        if len(passed) == resolutions or min(vertical.shape[1:3]) < 2:
            break
        vertical = conv(vertical, stride=2, **vertical_window)
        horizontal = conv(horizontal, stride=2, **horizontal_window)
        passed.append([(vertical, horizontal)])

    vertical, horizontal = passed[-1].pop()
    while True:
        for short_vertical, short_horizontal in reversed(passed.pop()):
            vertical = block(vertical, vertical_window, short_vertical)
            horizontal = block(horizontal, horizontal_window, vertical, short_horizontal)
        if not passed:
            break
        size = passed[-1][-1][0].shape[1:3]
        vertical, horizontal = finer(vertical, size), finer(horizontal, size)
    return functional(image, label, head(horizontal, image, likelihood, filters, dtype))


def head(features, image, likelihood, filters, dtype):
    """ELU and 1×1 to the likelihood's parameters; channels in their order, also where the likelihood couples none."""
    features = keras.layers.ELU(dtype=dtype)(features)
    channels = image.shape[-1]
    if channels > 1 and not likelihood.couples_channels:
        own = {"kinds_apart": likelihood.kinds_apart, "dtype": dtype}
        return ChannelHead(filters, likelihood.parameters(1), **own)(features, image)
    # A random bias: mixtures must differ from the start also where features are zero, as at the first pixel.
    bias = keras.initializers.RandomUniform(-0.5, 0.5)
    return keras.layers.Dense(likelihood.parameters(channels), bias_initializer=bias, dtype=dtype)(features)
