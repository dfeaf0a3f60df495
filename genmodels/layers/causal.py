"""Causal layers: computations on images that respect the raster order, stated once and run in two ways.

A `CausalLayer` says what it computes on a window: from `[B, above + h, left + w + right, C]` to `[B, h, w, C']`. On
a whole image the window is the image with a border of zeros. In the cached sampler (`genmodels.sampling.incremental`)
it is one row, or one pixel, with what the layer needs of its surroundings. Both come from `window`, so a new layer
gets the fast sampler for nothing.

What a tensor may know at a position is its `Sees`. A layer says what its output sees, given what its inputs see;
an arrangement that looks ahead is refused when the sampler or the model reads the graph, before any training.
"""

import enum

import keras
import numpy as np
import tensorflow as tf

__all__ = ["CausalConv2D", "CausalLayer", "Sees", "Shift", "SpaceFromDepth"]


class Sees(enum.IntEnum):
    """What a tensor at row r and column c depends on; each includes those above it.

    Example:
        >>> CausalConv2D(8, left=1, mask="A").sees(Sees.EVERYTHING).name
        'PIXELS'
    """

    LABELS = 0  # no pixel at all
    ROWS = 1  # rows above r
    PIXELS = 2  # and the pixels of row r to the left of c
    CHANNELS = 3  # and, for channel k, the channels of the pixel itself that come before k
    EVERYTHING = 4  # the pixel itself


class CausalLayer(keras.Layer):
    """A layer whose output at a pixel depends on a window around the same pixel of its inputs.

    A subclass sets the window's reach and gives `window`; it needs no `call`. With a reach of zero it acts on each
    pixel alone, and may take several inputs.

    Args:
        above: rows above that the window holds.
        left: columns to the left.
        right: columns to the right.
        stride: rows and columns of the input a step of the output; 2 halves the image.
        **options: for `keras.Layer`.

    Raises:
        TypeError: when called without a `window` of the subclass.

    Example:
        >>> class Average(CausalLayer):  # of a pixel and its left neighbour
        ...     def __init__(self, **options):
        ...         super().__init__(left=1, **options)
        ...     def window(self, x):  # [B, h, 1 + w, C]
        ...         return (x[:, :, 1:] + x[:, :, :-1]) / 2
        >>> Average()(tf.ones([1, 1, 3, 1]))[0, 0, :, 0].numpy().tolist()
        [0.5, 1.0, 1.0]
    """

    kept_whole = ()  # numbers of the inputs that the sampler keeps whole, for `here.memory`

    def __init__(self, *, above=0, left=0, right=0, stride=1, **options):
        super().__init__(**options)
        self.above, self.left, self.right, self.stride = above, left, right, stride

    def window(self, *inputs):
        """The computation: `[B, above + h, left + w + right, C]` each to `[B, h, w, C']`; w is 1 in the sampler."""
        raise TypeError(f"{type(self).__name__} must define `window(x)`.")

    def sees(self, *inputs: Sees) -> Sees:
        """What the output sees, given what the inputs see."""
        sees = max(inputs)
        if self.right and sees > Sees.ROWS:
            raise ValueError(
                f"layer {self.name!r} reads pixels to the right in a row that is not yet complete: a CausalConv2D "
                'masks them with mask="B".'
            )
        return sees

    def call(self, x, *others):
        """On whole images, `[B, H, W, C]` each."""
        inputs = (x, *others)
        if not (self.above or self.left or self.right):
            return self.window(*inputs)
        border = [[0, 0], [self.above, 0], [self.left, self.right], [0, 0]]
        return self.window(*(tf.pad(x, border) for x in inputs))

    def at(self, here):
        """At one row or pixel of the cached sampler; `here.read` gives an input's window there."""
        return self.window(*(here.read(i, self.above, self.left, self.right) for i in range(here.inputs)))


@keras.saving.register_keras_serializable(package="genmodels")
class CausalConv2D(CausalLayer):
    """A convolution over the present row and those above it, with zeros beyond the border.

    Args:
        filters: channels of the output.
        above: rows above the present one.
        left: columns to the left.
        right: columns to the right.
        mask: "B" masks the present row's columns to the right, "A" also the present pixel, as PixelCNN does: from then
            on a pixel is not seen by itself. None fits tensors that see complete rows, or a reach of none to the right.
        stride: 2 halves the image.
        use_bias: add a bias.
        kernel_initializer: of the kernel `[above + 1, left + 1 + right, C, filters]`.
        **options: for `keras.Layer`.

    Raises:
        ValueError: for another mask.

    Example:
        >>> CausalConv2D(8, above=1, left=1, right=1, mask="A")(tf.zeros([2, 5, 4, 3])).shape
        TensorShape([2, 5, 4, 8])
    """

    def __init__(
        self, filters, *, above=0, left=0, right=0, mask=None, stride=1, use_bias=True,
        kernel_initializer="he_uniform", **options,
    ):  # fmt: skip
        super().__init__(above=above, left=left, right=right, stride=stride, **options)
        if mask not in (None, "A", "B"):
            raise ValueError(f'`mask` must be "A", "B" or None; got {mask!r}.')
        self.filters, self.mask, self.use_bias = filters, mask, use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, shape):
        """Makes the kernel for inputs `[B, H, W, C]`."""
        size = (self.above + 1, self.left + 1 + self.right)
        self.kernel = self.add_weight(
            name="kernel", shape=(*size, shape[-1], self.filters), initializer=self.kernel_initializer
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def sees(self, *inputs):
        """As the input, where a mask or complete rows permit it; behind mask A at most the pixels before."""
        if self.mask is None:
            return super().sees(*inputs)
        return min(max(inputs), Sees.PIXELS) if self.mask == "A" else max(inputs)

    def window(self, x):
        """`[B, above + h, left + w + right, C]` to `[B, h, w, filters]`."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.mask is not None:
            # On the kernel in the forward pass: a mask put on the variable would not survive an update.
            kernel = kernel * tf.constant(self._open_taps(), kernel.dtype)
        y = convolved(x, kernel, self.stride)
        return tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)) if self.use_bias else y

    def _open_taps(self):
        """1 where the mask lets a tap through, `[above + 1, left + 1 + right, 1, 1]`."""
        taps = np.ones((self.above + 1, self.left + 1 + self.right, 1, 1))
        taps[-1, self.left + (self.mask == "B") :] = 0
        return taps

    def compute_output_shape(self, shape):
        """`[B, ⌈H / stride⌉, ⌈W / stride⌉, filters]`."""
        return (shape[0], *(None if n is None else -(-n // self.stride) for n in shape[1:3]), self.filters)

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(), "filters": self.filters, "above": self.above, "left": self.left,
            "right": self.right, "mask": self.mask, "stride": self.stride, "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }  # fmt: skip


def convolved(x, kernel, stride=1):
    """A convolution without border; one matrix product where the window is a single pixel's, as in the sampler.

    Args:
        x: `[B, H, W, C]`.
        kernel: `[rows, columns, C, C']`.
        stride: of rows and columns.
    """
    if x.shape[1:3] != kernel.shape[:2]:
        return tf.nn.conv2d(x, kernel, stride, "VALID")
    filters = kernel.shape[-1]
    flat = tf.reshape(x, [-1, np.prod(kernel.shape[:3])]) @ tf.reshape(kernel, [-1, filters])
    return tf.reshape(flat, [-1, 1, 1, filters])


@keras.saving.register_keras_serializable(package="genmodels")
class Shift(CausalLayer):
    """Moves an image by one row down or one column right, zeros first: from then on a pixel is not seen by itself.

    Args:
        direction: "down", the output sees the rows above; "right", it sees the pixels before.
        **options: for `keras.Layer`.

    Raises:
        ValueError: for another direction.

    Example:
        >>> Shift("right")(tf.ones([1, 1, 3, 1]))[0, 0, :, 0].numpy().tolist()
        [0.0, 1.0, 1.0]
    """

    def __init__(self, direction, **options):
        if direction not in ("down", "right"):
            raise ValueError(f'`direction` must be "down" or "right"; got {direction!r}.')
        super().__init__(above=int(direction == "down"), left=int(direction == "right"), **options)
        self.direction = direction

    def sees(self, x):
        """Down: rows. Right: pixels, or rows where the input sees no more."""
        return min(x, Sees.ROWS if self.above else Sees.PIXELS)

    def window(self, x):
        """All but the last row, or the last column."""
        return x[:, :-1] if self.above else x[:, :, :-1]

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "direction": self.direction}


@keras.saving.register_keras_serializable(package="genmodels")
class SpaceFromDepth(CausalLayer):
    """Doubles an image, the channels in four parts becoming 2×2 pixels: `[B, h, w, 4 C]` to `[B, *size, C]`.

    Args:
        size: height and width of the output; an odd size loses the last row or column.
        **options: for `keras.Layer`.

    Example:
        >>> SpaceFromDepth((5, 6))(tf.ones([2, 3, 3, 8])).shape
        TensorShape([2, 5, 6, 2])
    """

    def __init__(self, size, **options):
        super().__init__(stride=0.5, **options)
        self.size = tuple(size)

    def call(self, x):
        """On whole images."""
        return tf.nn.depth_to_space(x, 2)[:, : self.size[0], : self.size[1]]

    def at(self, here):
        """The row's, or the pixel's, part of the coarser pixel above it."""
        x = here.read(0, 0, 0, 0)  # [B, 1, w, 4 C]
        width, channels = x.shape[2:]
        x = tf.gather(tf.reshape(x, [-1, width, 2, 2, channels // 4]), here.row % 2, axis=2)  # [B, w, 2, C]
        if here.column is not None:
            return tf.gather(x, here.column % 2, axis=2)[:, None]
        return tf.reshape(x, [-1, 1, 2 * width, channels // 4])[:, :, : self.size[1]]

    def compute_output_shape(self, shape):
        """`[B, *size, C]`."""
        return (shape[0], *self.size, shape[-1] // 4)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "size": self.size}
