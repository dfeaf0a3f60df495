"""Builders of functional Keras networks.

Every builder returns a `keras.Model` that knows nothing of generative models. All layers are Keras' own but the one
that makes a decoder's image, in whose place `export.plain` puts Keras'. Models call them when the user gives no network
of their own. A network built with `num_classes` takes a second input, a one-hot label `[B, num_classes]`, joined to its
features.

The last layer is always float32, so that losses are computed in float32 under mixed precision.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import keras

from genmodels import files
from genmodels.layers import FastConv2DTranspose

__all__ = ["check", "conv_decoder", "conv_encoder", "decoder", "encoder", "given", "mlp", "on_backbone"]

# Of convolutions leaky ReLU: beside SiLU a bound of 15 to 20 nats more on Fashion-MNIST after as many steps, each of
# which takes seven tenths of the time on a CPU in bfloat16; see docs/performance.md.
CONV_ACTIVATION, MLP_ACTIVATION = "leaky_relu", "silu"
FILTERS = (32, 64, 64, 64, 64)  # channels of the default stages, largest image first

# Factor and offset of each channel, from 0 … 255, as the networks of keras.applications were trained; "caffe" has the
# colours in the order blue, green, red. Means and deviations of ImageNet.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = {
    "none": (1.0, 0.0),
    "tf": (1 / 127.5, -1.0),
    "torch": ([1 / (255 * d) for d in DEVIATION], [-m / d for m, d in zip(MEAN, DEVIATION)]),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


def mlp(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    widths: Sequence[int] = (512, 512),
    num_classes: int | None = None,
    dropout: float = 0.0,
    dtype=None,
    name: str = "mlp",
) -> keras.Model:
    """A multilayer perceptron between any two shapes.

    Args:
        input_shape: shape of one example, without the batch axis; flattened.
        output_shape: shape of one output.
        widths: units of each hidden layer.
        num_classes: with a number, the network takes a one-hot label as second input.
        dropout: rate after every hidden layer.
        dtype: Keras dtype policy of the hidden layers; the output is float32.
        name: name of the network.

    Returns:
        A `keras.Model` from `[B, *input_shape]` (and `[B, num_classes]`) to `[B, *output_shape]`.

    Example:
        >>> mlp((28, 28, 1), (64,)).output_shape
        (None, 64)
    """
    layers = keras.layers
    x = image = keras.Input(tuple(input_shape))
    if len(input_shape) > 1:
        x = layers.Flatten(dtype=dtype)(x)
    x, inputs = _join_label(x, image, num_classes, dtype)
    for width in widths:
        x = layers.Dense(width, activation=MLP_ACTIVATION, dtype=dtype)(x)
        if dropout:
            x = layers.Dropout(dropout, dtype=dtype)(x)
    x = layers.Dense(math.prod(output_shape), dtype="float32")(x)
    if len(output_shape) != 1:
        x = layers.Reshape(tuple(output_shape), dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def conv_encoder(
    event_shape: Sequence[int],
    outputs: int,
    *,
    filters: Sequence[int] = (32, 64, 64),
    blocks: int = 1,
    hidden: int = 256,
    num_classes: int | None = None,
    dropout: float = 0.0,
    dtype=None,
    name: str = "encoder",
) -> keras.Model:
    """A residual convolutional encoder from an image to a vector.

    The first convolution halves the image; each further entry of `filters` is a stage at half the size of the
    one before (rounded up), with `blocks` pre-activation residual blocks (He et al. 2016).

    Args:
        event_shape: `(height, width, channels)`.
        outputs: length of the output vector.
        filters: channels of each stage; as many stages as the image has halvings down to about 4 pixels.
        blocks: residual blocks a stage.
        hidden: units of the dense layer before the output.
        num_classes: with a number, the network takes a one-hot label as second input.
        dropout: rate before the dense layers and inside the residual blocks.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Returns:
        A `keras.Model` from `[B, H, W, C]` (and `[B, num_classes]`) to `[B, outputs]`.

    Example:
        >>> conv_encoder((28, 28, 1), 64).output_shape
        (None, 64)
    """
    layers = keras.layers
    image = keras.Input(tuple(event_shape))
    x = layers.Flatten(dtype=dtype)(halved(image, filters, blocks, dropout, dtype))
    x, inputs = _join_label(x, image, num_classes, dtype)
    if dropout:
        x = layers.Dropout(dropout, dtype=dtype)(x)
    x = layers.Dense(hidden, activation=CONV_ACTIVATION, dtype=dtype)(x)
    return keras.Model(inputs, layers.Dense(outputs, dtype="float32")(x), name=name)


def conv_decoder(
    latent_dim: int,
    output_shape: Sequence[int],
    *,
    filters: Sequence[int] = (64, 64, 32),
    blocks: int = 1,
    hidden: int = 256,
    num_classes: int | None = None,
    dropout: float = 0.0,
    dtype=None,
    name: str = "decoder",
) -> keras.Model:
    """A residual convolutional decoder from a vector to an image of any size, the mirror of `conv_encoder`.

    Each stage doubles the image by a transposed convolution of kernel 4 and stride 2 (a kernel that the stride
    divides leaves no checkerboard), cropped where the size asked for is odd.

    Args:
        latent_dim: length of the input vector.
        output_shape: `(height, width, channels)` of the output: data channels times parameters a channel.
        filters: channels of each stage, the smallest image first.
        blocks: residual blocks a stage.
        hidden: units of the dense layer after the input.
        num_classes: with a number, the network takes a one-hot label as second input.
        dropout: rate after the dense layer and inside the residual blocks.
        dtype: Keras dtype policy of the inner layers; the output is float32.
        name: name of the network.

    Returns:
        A `keras.Model` from `[B, latent_dim]` (and `[B, num_classes]`) to `[B, *output_shape]`.

    Example:
        >>> conv_decoder(32, (28, 28, 1)).output_shape
        (None, 28, 28, 1)
    """
    layers = keras.layers
    height, width = halvings(output_shape[:2], len(filters))[0]
    latent = keras.Input((latent_dim,))
    x, inputs = _join_label(latent, latent, num_classes, dtype)
    x = layers.Dense(hidden, activation=CONV_ACTIVATION, dtype=dtype)(x)
    if dropout:
        x = layers.Dropout(dropout, dtype=dtype)(x)
    x = layers.Dense(height * width * filters[0], dtype=dtype)(x)
    x = layers.Reshape((height, width, filters[0]), dtype=dtype)(x)
    return keras.Model(inputs, doubled(x, output_shape, filters, blocks, dropout, dtype), name=name)


def halvings(size, count) -> list[tuple[int, int]]:
    """The sizes that halving (rounded up) passes through, smallest first.

    Example:
        >>> halvings((28, 28), 3)
        [(4, 4), (7, 7), (14, 14), (28, 28)]
    """
    sizes = [tuple(size)]
    for _ in range(count):
        sizes.insert(0, tuple((n + 1) // 2 for n in sizes[0]))
    return sizes


def halved(x, filters, blocks, dropout, dtype):
    """Features of an image, halved by a convolution for each entry of `filters`, with `blocks` residual blocks."""
    for width in filters:
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", dtype=dtype)(x)  # [B, H/2, W/2, width]
        for _ in range(blocks):
            x = _residual_block(x, width, dropout, dtype)
    return keras.layers.Activation(CONV_ACTIVATION, dtype=dtype)(x)


def doubled(x, output_shape, filters, blocks, dropout, dtype):
    """The mirror of `halved`: an image `[B, *output_shape]` in float32 of features of its smallest size."""
    layers = keras.layers
    sizes = halvings(output_shape[:2], len(filters))[1:]
    for index, (stage, size) in enumerate(zip(filters, sizes)):
        for _ in range(blocks):
            x = _residual_block(x, stage, dropout, dtype)
        x = layers.Activation(CONV_ACTIVATION, dtype=dtype)(x)
        last = index == len(filters) - 1
        width_out = output_shape[-1] if last else filters[index + 1]
        # Two odd sides need no crop, whose gradient is slow.
        fitting = {"output_padding": 1} if all(n % 2 for n in size) else {}
        options = {"strides": 2, "padding": "same", "dtype": "float32" if last else dtype}
        kind = FastConv2DTranspose if last else layers.Conv2DTranspose
        x = kind(width_out, 4, **options, **fitting)(x)
        spare = [have - want for have, want in zip(x.shape[1:3], size)]
        if any(spare):
            x = layers.Cropping2D(((0, spare[0]), (0, spare[1])), dtype="float32" if last else dtype)(x)
    return x


def encoder(event_shape, outputs, architecture="auto", **options) -> keras.Model:
    """The default encoder of an example to a vector: `conv_encoder` or `mlp`, with their options.

    Args:
        event_shape: `(height, width, channels)` or `(dimensions,)`.
        outputs: length of the output vector.
        architecture: "conv", "mlp", or "auto" for "conv" on images.
        **options: `num_classes`, `dropout`, `dtype`.
    """
    if _architecture(architecture, event_shape) == "mlp":
        return mlp(event_shape, (outputs,), name="encoder", **options)
    return conv_encoder(event_shape, outputs, filters=FILTERS[: _halvings(event_shape)], **options)


def decoder(latent_dim, output_shape, architecture="auto", **options) -> keras.Model:
    """The default decoder of a vector to an example's parameters, the mirror of `encoder`.

    Args:
        latent_dim: length of the input vector.
        output_shape: shape of an example with its last axis as long as the likelihood needs.
        architecture: "conv", "mlp", or "auto" for "conv" on images.
        **options: `num_classes`, `dropout`, `dtype`.
    """
    if _architecture(architecture, output_shape) == "mlp":
        return mlp((latent_dim,), output_shape, name="decoder", **options)
    return conv_decoder(latent_dim, output_shape, filters=FILTERS[: _halvings(output_shape)][::-1], **options)


def on_backbone(
    backbone: keras.Model,
    event_shape: Sequence[int],
    outputs: int,
    *,
    preprocessing: str = "none",
    value_range: Sequence[float] = (-1.0, 1.0),
    trainable: bool = False,
    num_classes: int | None = None,
    name: str = "encoder",
) -> keras.Model:
    """A network of `keras.applications`, or another that takes images, as an encoder of images to a vector.

    The image is resized to the backbone's own size where that is fixed (bilinearly, antialiased where it shrinks; the
    ratio of the sides is not kept), a single channel is repeated where the backbone takes three, features are averaged
    over the pixels, and a dense layer gives the output. XLA cannot compile the antialiased resizing.

    Args:
        backbone: a Keras model from images `[B, h, w, C]` to features `[B, h', w', F]` or `[B, F]`, such as
            `keras.applications.MobileNetV2(include_top=False, input_shape=(32, 32, 3))`. It becomes a part of the
            encoder, and its `trainable` is set.
        event_shape: `(height, width, channels)` of the images.
        outputs: length of the output vector.
        preprocessing: what the backbone expects: "none" for 0 … 255 (MobileNetV3, EfficientNet and ConvNeXt scale
            inside), "tf" for -1 … 1 (MobileNet, MobileNetV2, Inception, Xception, ResNet V2), "torch" for ImageNet's
            mean 0 and deviation 1 (DenseNet), "caffe" for blue, green, red less their means (VGG, ResNet).
        value_range: black and white as the encoder is given them; models give theirs -1 and 1.
        trainable: whether the backbone is trained too; a frozen one also keeps its batch norm's averages.
        num_classes: with a number, the network takes a one-hot label as second input.
        name: name of the network.

    Returns:
        A `keras.Model` from `[B, H, W, C]` (and `[B, num_classes]`) to `[B, outputs]`, float32.

    Raises:
        ValueError: for a backbone that is not one, channels that do not go together, or unknown preprocessing.

    Example:
        >>> backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
        >>> on_backbone(backbone, (28, 28, 1), 64, preprocessing="tf").output_shape
        (None, 64)
    """
    layers = keras.layers
    height, width, channels = _checked_backbone(backbone, event_shape, preprocessing)
    low, high = value_range
    if not low < high:
        raise ValueError(f"`value_range` must be two numbers, black and then white; got {value_range!r}.")
    x = image = keras.Input(tuple(event_shape))
    wanted = (height or event_shape[0], width or event_shape[1])
    if wanted != tuple(event_shape[:2]):
        shrinks = wanted[0] < event_shape[0] or wanted[1] < event_shape[1]
        x = layers.Resizing(*wanted, antialias=shrinks, dtype="float32")(x)
    x = layers.Rescaling(255.0 / (high - low), -255.0 * low / (high - low), dtype="float32")(x)
    if event_shape[-1] != channels:
        x = layers.Concatenate(dtype="float32")([x] * channels)
    if preprocessing == "caffe":
        x = keras.ops.flip(x, axis=-1)
    x = layers.Rescaling(*PREPROCESSING[preprocessing], dtype="float32")(x)
    backbone.trainable = trainable
    x = backbone(x)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x) if len(x.shape) == 4 else x
    x, inputs = _join_label(x, image, num_classes, "float32")
    return keras.Model(inputs, layers.Dense(outputs, dtype="float32")(x), name=name)


def given(owner, role, network):
    """A network given as a constructor argument: itself, or what a `.keras` or `.h5` file holds.

    What was loaded takes the path's place in the record of the owner's arguments, whose files then need no other.

    Args:
        owner: the model or bijection that is being made.
        role: the constructor argument.
        network: a Keras model, the path of its file (`str` or `Path`), or None.

    Returns:
        The model, or None.

    Raises:
        ValueError: for a file that `genmodels.files.load_network` refuses.
    """
    if not isinstance(network, str | Path):
        return network
    try:
        loaded = files.load_network(network)
    except ValueError as error:
        raise ValueError(f"`{role}`: {error}") from None
    if owner._arguments.get(role) is network:  # a subclass may build a network from arguments of its own
        owner._arguments[role] = loaded
    return loaded


def check(role, network, input_shapes, output_shape) -> None:
    """Checks a user's network against the shapes that a model needs.

    Args:
        role: the constructor argument it was given as, for the message.
        network: a Keras model.
        input_shapes: shapes of its inputs, without the batch axis.
        output_shape: shape of its output, without the batch axis.

    Raises:
        ValueError: when it is no Keras model, or a shape differs, both of which are named, or it takes integers.
    """
    wanted = [tuple(shape) for shape in input_shapes]
    if not isinstance(network, keras.Model) or not network.built:
        raise ValueError(
            f"`{role}` must be a keras.Model with known shapes (functional, or built); got {network!r}. It must take "
            f"inputs of shapes {wanted} and give outputs of shape {tuple(output_shape)} (without the batch axis)."
        )
    inputs = [keras.KerasTensor((None, *shape)) for shape in wanted]
    taken = [tuple(x.shape[1:]) for x in getattr(network, "inputs", None) or inputs]
    if len(taken) != len(wanted) or any(not _fits(t, w) for t, w in zip(taken, wanted)):
        raise ValueError(f"`{role}` must take inputs of shapes {wanted} (without the batch axis); it takes {taken}.")
    kinds = sorted({x.dtype for x in getattr(network, "inputs", None) or () if "float" not in x.dtype})
    if kinds:  # Keras would round the numbers between -1 and 1 to 0
        raise ValueError(f"`{role}` must take real numbers (float32 inputs); it takes {', '.join(kinds)}.")
    try:
        outputs = network.compute_output_spec(inputs if len(inputs) > 1 else inputs[0])
    except Exception as error:  # of a subclassed network, which does not say what it takes
        raise ValueError(f"`{role}` must take inputs of shapes {wanted} (without the batch axis): {error}") from error
    gives = keras.tree.map_structure(lambda x: tuple(x.shape[1:]), outputs)
    if gives != tuple(output_shape):
        raise ValueError(f"`{role}` must give outputs of shape {tuple(output_shape)}; it gives {gives}.")


def _fits(given, wanted):
    return len(given) == len(wanted) and all(g in (None, w) for g, w in zip(given, wanted))


def _checked_backbone(backbone, event_shape, preprocessing):
    """Height, width and channels that the backbone takes; sides are None where it takes any."""
    if preprocessing not in PREPROCESSING:
        raise ValueError(f"`preprocessing` must be one of {', '.join(PREPROCESSING)}; got {preprocessing!r}.")
    inputs = getattr(backbone, "inputs", None) or ()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(backbone.output_shape) not in (2, 4):
        raise ValueError(f"`backbone` must be a Keras model of one image to features; got {backbone!r}.")
    height, width, channels = inputs[0].shape[1:]
    fits = channels == 3 or (channels is not None and preprocessing == "none")
    if len(event_shape) != 3 or event_shape[-1] not in (1, channels) or not fits:
        raise ValueError(
            f"`backbone` takes {channels} channels with preprocessing {preprocessing!r}, which is of 3 but for "
            f'"none"; the data have shape {tuple(event_shape)}, and must be images of as many channels, or one.'
        )
    return height, width, channels


def _architecture(architecture, event_shape):
    if architecture not in ("auto", "conv", "mlp"):
        raise ValueError(f'`architecture` must be "auto", "conv" or "mlp"; got {architecture!r}.')
    if architecture == "conv" and len(event_shape) != 3:
        raise ValueError(f'architecture "conv" needs images; the data have shape {tuple(event_shape)}.')
    return ("conv" if len(event_shape) == 3 else "mlp") if architecture == "auto" else architecture


def _halvings(event_shape):
    """Stages that bring the longer side to about 4 pixels: 8 -> 1, 28 and 32 -> 3, 64 -> 4."""
    return min(max(round(math.log2(max(event_shape[:2]) / 4)), 1), len(FILTERS))


def _join_label(x, image, num_classes, dtype):
    """The features with the one-hot label beside them, and the network's inputs."""
    if num_classes is None:
        return x, image
    label = keras.Input((num_classes,))
    return keras.layers.Concatenate(dtype=dtype)([x, label]), [image, label]


def _residual_block(x, width, dropout, dtype):
    """Pre-activation residual block: act, 3×3, act, 3×3, plus the input. `[B, H, W, width]` in and out."""
    layers = keras.layers
    y = layers.Activation(CONV_ACTIVATION, dtype=dtype)(x)
    y = layers.Conv2D(width, 3, padding="same", dtype=dtype)(y)
    y = layers.Activation(CONV_ACTIVATION, dtype=dtype)(y)
    if dropout:
        y = layers.Dropout(dropout, dtype=dtype)(y)
    # Zero: every block starts as the identity, so depth costs no stability.
    y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros", dtype=dtype)(y)
    return layers.Add(dtype=dtype)([x, y])
