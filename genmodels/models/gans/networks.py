"""Networks of GANs: plain functional Keras models, in pairs.

A generator maps a latent `[B, latent_dim]` to an example, images in [-1, 1]; a critic maps an example to one unbounded
value, or more where a model asks for more. With `num_classes` each takes a one-hot label `[B, num_classes]` as second
input: a generator beside its latent; a critic by projection, ⟨V y, φ(x)⟩ added to its value, with φ its
last features (Miyato & Koyama 2018).
"""

import math

import keras

from genmodels.layers.convolution import FastConv2D, FastConv2DTranspose
from genmodels.layers.normalization import FusedBatchNormalization

ARCHITECTURES = ("mlp", "dcgan", "residual")
LARGEST = 8  # of a stage's width, in widths of the first
SLOPE = 0.2  # of LeakyReLU below zero


def generator(architecture, latent_dim, event_shape, **options) -> keras.Model:
    """The generator of an architecture: `mlp_generator`, `dcgan_generator` or `residual_generator`."""
    builder = {"mlp": mlp_generator, "dcgan": dcgan_generator, "residual": residual_generator}
    return builder[architecture](latent_dim, event_shape, **options)


def critic(architecture, event_shape, *, spectral=False, **options) -> keras.Model:
    """The critic of an architecture: `mlp_critic`, `dcgan_critic` or `residual_critic`.

    Spectral normalization takes the last layer's scale, so that a mean over pixels is another critic than a sum.
    """
    if architecture == "residual":
        return residual_critic(event_shape, summed=spectral, **options)
    return {"mlp": mlp_critic, "dcgan": dcgan_critic}[architecture](event_shape, **options)


# ---------------------------------------------------------------------- multilayer perceptrons


def mlp_generator(
    latent_dim, event_shape, *, width=128, depth=3, bounded=True, num_classes=None, dtype=None, name="generator"
) -> keras.Model:
    """A perceptron with ReLU from a latent to an example of any shape.

    Args:
        latent_dim: length of the latent.
        event_shape: shape of an example.
        width: units of a hidden layer.
        depth: hidden layers.
        bounded: end with tanh.
        num_classes: with a number, a one-hot label is the second input.
        dtype: Keras dtype policy of the hidden layers; the output is float32.
        name: name of the network.

    Example:
        >>> mlp_generator(2, (2,), bounded=False).output_shape
        (None, 2)
    """
    x, inputs = _latent(latent_dim, num_classes, dtype)
    for _ in range(depth):
        x = keras.layers.Dense(width, "relu", dtype=dtype)(x)
    x = keras.layers.Dense(math.prod(event_shape), "tanh" if bounded else None, dtype="float32")(x)
    if len(event_shape) > 1:
        x = keras.layers.Reshape(tuple(event_shape), dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def mlp_critic(
    event_shape, *, width=128, depth=3, outputs=1, normalization=None, num_classes=None, dtype=None, name="critic"
) -> keras.Model:
    """A perceptron with LeakyReLU from an example of any shape to a value.

    Args:
        event_shape: shape of an example.
        width: units of a hidden layer.
        depth: hidden layers.
        outputs: values.
        normalization: of hidden layers but the first: "batch", "layer", or None.
        num_classes: with a number, a one-hot label is the second input.
        dtype: Keras dtype policy of the hidden layers; the output is float32.
        name: name of the network.

    Example:
        >>> mlp_critic((28, 28, 1)).output_shape
        (None, 1)
    """
    x = example = keras.Input(tuple(event_shape))
    if len(event_shape) > 1:
        x = keras.layers.Flatten(dtype=dtype)(x)
    for index in range(depth):
        norm = normalization if index else None
        x = keras.layers.Dense(width, use_bias=norm is None, dtype=dtype)(x)
        x = keras.layers.LeakyReLU(SLOPE, dtype=dtype)(_normalized(x, norm, dtype))
    return _judge(example, x, outputs, num_classes, name)


# ---------------------------------------------------------------------- DCGAN


def dcgan_generator(
    latent_dim, event_shape, *, width=64, bounded=True, num_classes=None, dtype=None, name="generator"
) -> keras.Model:
    """Transposed convolutions, batch norm and ReLU, by the rules of Radford et al. 2015 ("DCGAN").

    The latent is projected to about 4×4 pixels (2×2 for 8×8); each stage doubles the size and halves the channels, the
    last one gives the image through tanh. Kernels are 4×4, which the stride divides; the paper's 5×5 leave a pattern.

    Args:
        latent_dim: length of the latent.
        event_shape: `(height, width, channels)`, from 8 to 128 pixels a side.
        width: channels of the stage before the image; twice as many at every halving, up to eight times.
        bounded: end with tanh.
        num_classes: with a number, a one-hot label is the second input.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Example:
        >>> dcgan_generator(100, (28, 28, 1)).output_shape
        (None, 28, 28, 1)
    """
    sizes, filters = _stages(event_shape, width)
    x, inputs = _latent(latent_dim, num_classes, dtype)
    x = keras.layers.Dense(math.prod(sizes[-1]) * filters[-1], use_bias=False, **_start(dtype))(x)
    x = keras.layers.Reshape((*sizes[-1], filters[-1]), dtype=dtype)(x)
    for stage in reversed(range(len(filters))):
        x = keras.layers.ReLU(dtype=dtype)(_normalized(x, "batch", dtype))
        wanted = event_shape[-1] if stage == 0 else filters[stage - 1]
        kind = "float32" if stage == 0 else dtype
        # 4 becomes 7, not 8, where 7 halves to 4; Keras' padding is of both sides or of none.
        odd = all(size % 2 for size in sizes[stage])
        x = FastConv2DTranspose(
            wanted, 4, strides=2, padding="same", use_bias=stage == 0, output_padding=1 if odd else None, **_start(kind)
        )(x)  # fmt: skip
        x = _cropped(x, sizes[stage], kind)
    if bounded:
        x = keras.layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def dcgan_critic(
    event_shape, *, width=64, outputs=1, normalization="batch", num_classes=None, dtype=None, name="critic"
) -> keras.Model:
    """Strided convolutions and LeakyReLU, the mirror of `dcgan_generator` (Radford et al. 2015).

    Args:
        event_shape: `(height, width, channels)`, from 8 to 128 pixels a side.
        width: channels of the first stage; twice as many at every halving, up to eight times.
        outputs: values.
        normalization: of all stages but the first: "batch", "layer", or None.
        num_classes: with a number, a one-hot label is the second input.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Example:
        >>> dcgan_critic((64, 64, 3)).output_shape
        (None, 1)
    """
    # Without batch norm nothing else would set the scale: He's, as in WGAN-GP's code.
    start = _start(dtype) if normalization == "batch" else {"kernel_initializer": "he_normal", "dtype": dtype}
    x = image = keras.Input(tuple(event_shape))
    for index, channels in enumerate(_stages(event_shape, width)[1]):
        norm = normalization if index else None
        x = FastConv2D(channels, 4, strides=2, padding="same", use_bias=norm is None, **start)(x)
        x = keras.layers.LeakyReLU(SLOPE, dtype=dtype)(_normalized(x, norm, dtype))
    x = keras.layers.Flatten(dtype=dtype)(x)
    return _judge(image, x, outputs, num_classes, name, _start("float32") if normalization == "batch" else None)


# ---------------------------------------------------------------------- residual


def residual_generator(
    latent_dim, event_shape, *, width=64, attention=(), bounded=True, num_classes=None, dtype=None, name="generator"
) -> keras.Model:
    """Residual blocks that double the image (Gulrajani et al. 2017, appendix F; Miyato et al. 2018, table 4).

    Args:
        latent_dim: length of the latent.
        event_shape: `(height, width, channels)`, from 8 to 128 pixels a side.
        width: channels of the largest image; twice as many at every halving, up to eight times.
        attention: heights, of those between the image's and the smallest, at which self-attention follows the block
            (Zhang et al. 2018).
        bounded: end with tanh.
        num_classes: with a number, a one-hot label is the second input.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Example:
        >>> residual_generator(128, (32, 32, 3)).output_shape
        (None, 32, 32, 3)
    """
    layers = keras.layers
    sizes, filters = _stages(event_shape, width)
    x, inputs = _latent(latent_dim, num_classes, dtype)
    x = layers.Dense(math.prod(sizes[-1]) * filters[-1], dtype=dtype)(x)
    x = layers.Reshape((*sizes[-1], filters[-1]), dtype=dtype)(x)
    _check_attention(attention, sizes)
    for stage in reversed(range(len(filters))):
        x = _block_up(x, filters[max(stage - 1, 0)], sizes[stage], dtype)
        x = _attended(x, dtype) if sizes[stage][0] in attention else x
    x = layers.ReLU(dtype=dtype)(_normalized(x, "batch", dtype))
    x = FastConv2D(event_shape[-1], 3, padding="same", dtype="float32")(x)
    if bounded:
        x = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def residual_critic(
    event_shape, *, width=64, attention=(), outputs=1, normalization=None, num_classes=None, summed=False, dtype=None,
    name="critic",
) -> keras.Model:  # fmt: skip
    """Residual blocks that halve the image, one that does not, and a mean over pixels; of the papers as its generator.

    Args:
        event_shape: `(height, width, channels)`, from 8 to 128 pixels a side.
        width: channels of the first block; twice as many at every halving, up to eight times.
        attention: heights at which self-attention follows the block, as of its generator.
        outputs: values.
        normalization: of all blocks but the first: "batch", "layer", or None.
        num_classes: with a number, a one-hot label is the second input.
        summed: the sum over pixels of Miyato et al. 2018, in place of the mean of Gulrajani et al. 2017.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Example:
        >>> residual_critic((32, 32, 3)).output_shape
        (None, 1)
    """
    layers = keras.layers
    sizes, filters = _stages(event_shape, width)
    _check_attention(attention, sizes)
    x = image = keras.Input(tuple(event_shape))
    for stage, channels in enumerate(filters):
        x = _block_down(x, channels, normalization, dtype) if stage else _first_block(x, channels, dtype)
        x = _attended(x, dtype) if sizes[stage + 1][0] in attention else x
    x = layers.ReLU(dtype=dtype)(_block(x, normalization, dtype))
    pixels = math.prod(x.shape[1:3])
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Rescaling(pixels, dtype="float32")(x) if summed else x
    return _judge(image, x, outputs, num_classes, name)


def _block_up(x, channels, size, dtype):
    """Norm, ReLU, double, 3×3, norm, ReLU, 3×3; beside it double, 1×1."""
    layers = keras.layers
    y = layers.ReLU(dtype=dtype)(_normalized(x, "batch", dtype))
    y = _doubled(y, size, dtype)
    y = FastConv2D(channels, 3, padding="same", use_bias=False, dtype=dtype)(y)
    y = layers.ReLU(dtype=dtype)(_normalized(y, "batch", dtype))
    y = FastConv2D(channels, 3, padding="same", dtype=dtype)(y)
    # The 1×1 convolution and the doubling commute; before it, it has a quarter of the pixels.
    x = _doubled(FastConv2D(channels, 1, dtype=dtype)(x), size, dtype)
    return layers.Add(dtype=dtype)([x, y])


def _block_down(x, channels, normalization, dtype):
    """Norm, ReLU, 3×3, norm, ReLU, 3×3, halve; beside it halve, 1×1."""
    layers = keras.layers
    y = layers.ReLU(dtype=dtype)(_normalized(x, normalization, dtype))
    y = FastConv2D(channels, 3, padding="same", dtype=dtype)(y)
    y = layers.ReLU(dtype=dtype)(_normalized(y, normalization, dtype))
    y = _halved(FastConv2D(channels, 3, padding="same", dtype=dtype)(y), dtype)
    x = FastConv2D(channels, 1, dtype=dtype)(_halved(x, dtype))
    return layers.Add(dtype=dtype)([x, y])


def _first_block(x, channels, dtype):
    """As `_block_down`, without what would come before the first convolution: the image is not to be rectified."""
    layers = keras.layers
    y = FastConv2D(channels, 3, padding="same", dtype=dtype)(x)
    y = FastConv2D(channels, 3, padding="same", dtype=dtype)(layers.ReLU(dtype=dtype)(y))
    x = FastConv2D(channels, 1, dtype=dtype)(_halved(x, dtype))
    return layers.Add(dtype=dtype)([x, _halved(y, dtype)])


def _block(x, normalization, dtype):
    """Norm, ReLU, 3×3, twice, plus the input."""
    layers = keras.layers
    y = x
    for _ in range(2):
        y = layers.ReLU(dtype=dtype)(_normalized(y, normalization, dtype))
        y = FastConv2D(x.shape[-1], 3, padding="same", dtype=dtype)(y)
    return layers.Add(dtype=dtype)([x, y])


def a_fourth(event_shape):
    """Where SAGAN attends: at a fourth of the image's height, or a half where that is the smallest.

    Example:
        >>> a_fourth((28, 28, 1)), a_fourth((8, 8, 1))
        ((7,), (4,))
    """
    sizes = _stages(event_shape, 1)[0]
    return (sizes[min(2, len(sizes) - 2)][0],)


def _check_attention(attention, sizes):
    heights = [height for height, _ in sizes[1:-1]]
    if not set(attention) <= set(heights):
        raise ValueError(f"`attention` must name heights among {heights}; got {attention}.")


def _attended(x, dtype):
    """Self-attention among all pixels, keys and values of half the size, by a gain that starts at 0; plus the input.

    As in the code of Zhang et al. 2018: an eighth of the channels for queries and keys, half of them for values.
    """
    layers = keras.layers
    channels = x.shape[-1]
    narrow, half = max(channels // 8, 1), max(channels // 2, 1)

    def pixels(z):
        return layers.Reshape((math.prod(z.shape[1:3]), z.shape[-1]), dtype=dtype)(z)

    def smaller(z):
        return layers.MaxPooling2D(2, padding="same", dtype=dtype)(z)

    query, key, value = (FastConv2D(n, 1, use_bias=False, dtype=dtype)(x) for n in (narrow, narrow, half))
    y = layers.Attention(dtype="float32")([pixels(query), pixels(smaller(value)), pixels(smaller(key))])
    y = layers.Reshape((*x.shape[1:3], half), dtype=dtype)(y)
    y = Gain(dtype=dtype)(FastConv2D(channels, 1, use_bias=False, dtype=dtype)(y))
    return layers.Add(dtype=dtype)([x, y])


@keras.saving.register_keras_serializable(package="genmodels")
class Gain(keras.layers.Layer):
    """The input times one number that is learned, at first 0.

    Example:
        >>> float(keras.ops.max(Gain()(keras.ops.ones([2, 3]))))
        0.0
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.gain = self.add_weight(shape=(), initializer="zeros", name="gain")
        self.built = True

    def call(self, x):
        """The product."""
        return keras.ops.cast(self.gain, x.dtype) * x


def _doubled(x, size, dtype):
    return _cropped(keras.layers.UpSampling2D(dtype=dtype)(x), size, dtype)  # nearest


def _cropped(x, size, dtype):
    """Without the last row and column, where they are one more than `size`."""
    spare = [have - want for have, want in zip(x.shape[1:3], size)]
    return keras.layers.Cropping2D(((0, spare[0]), (0, spare[1])), dtype=dtype)(x) if any(spare) else x


def _halved(x, dtype):
    return keras.layers.AveragePooling2D(2, padding="same", dtype=dtype)(x)


# ---------------------------------------------------------------------- what they share


def _stages(event_shape, width):
    """Image sizes from the event's on, halved (rounded up) to about 4 pixels, at least twice; channels a stage.

    (28, 28, 1) and 64 give [(28, 28), (14, 14), (7, 7), (4, 4)] and [64, 128, 256].
    """
    if len(event_shape) != 3:
        raise ValueError(f"convolutional networks need images (height, width, channels); got {tuple(event_shape)}.")
    side = max(event_shape[:2])
    if min(event_shape[:2]) < 8 or side > 128:
        raise ValueError(f"convolutional networks need images of 8 to 128 pixels a side; got {tuple(event_shape)}.")
    halvings = max(round(math.log2(side / 4)), 2)
    sizes = [tuple(event_shape[:2])]
    for _ in range(halvings):
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes, [width * min(2**i, LARGEST) for i in range(halvings)]


def _latent(latent_dim, num_classes, dtype):
    """The latent with the one-hot label beside it, and the network's inputs.

    As it is: an embedding as loud as the latent drowns it, and every class has one image.
    """
    latent = keras.Input((latent_dim,))
    if num_classes is None:
        return latent, latent
    label = keras.Input((num_classes,))
    return keras.layers.Concatenate(dtype=dtype)([latent, label]), [latent, label]


def _judge(example, features, outputs, num_classes, name, start=None):
    """The network from an example to its value, with a label's projection, and to further outputs; float32."""
    start = start or {"dtype": "float32"}
    value, inputs = keras.layers.Dense(1, **start)(features), example
    if num_classes is not None:
        label = keras.Input((num_classes,))
        embedded = keras.layers.Dense(features.shape[-1], use_bias=False, **start)(label)
        product = keras.layers.Dot(1, dtype="float32")([embedded, features])  # [B, 1]
        value, inputs = keras.layers.Add(dtype="float32")([value, product]), [example, label]
    if outputs > 1:
        more = keras.layers.Dense(outputs - 1, dtype="float32")(features)
        value = keras.layers.Concatenate(dtype="float32")([value, more])
    return keras.Model(inputs, value, name=name)


def _normalized(x, normalization, dtype):
    if normalization == "batch":
        scale = keras.initializers.RandomNormal(1.0, 0.02)
        # Momentum and epsilon of the original code.
        return FusedBatchNormalization(0.9, 1e-5, gamma_initializer=scale, dtype=dtype)(x)
    return keras.layers.LayerNormalization(dtype=dtype)(x) if normalization == "layer" else x


def _start(dtype):
    """Weights of DCGAN's layers start as N(0, 0.02²)."""
    return {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.02), "dtype": dtype}
