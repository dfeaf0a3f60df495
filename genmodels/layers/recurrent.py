"""Long short-term memories over the pixels of an image, as layers that respect the raster order.

They carry states from one pixel to others: an LSTM is one cell, and two ways of choosing the earlier states that it
takes. Each layer scans whole images in as few steps as its order permits (rows, or diagonals), and gives the cached
sampler the same cell for one pixel.
"""

import keras
import tensorflow as tf

from genmodels.layers.causal import CausalLayer, Sees

__all__ = ["DiagonalLSTM", "RowLSTM"]


class PixelLSTM(CausalLayer):
    """What the LSTMs over pixels share: the cell (van den Oord et al. 2016a, equation 3) and its kernel.

    The input holds what the image gives to the gates, their bias included: `[B, H, W, 4 · units]`, made by a
    `CausalConv2D` before the layer. States beyond the border are zero.
    """

    def __init__(self, units, taps, **options):
        super().__init__(**options)
        self.units, self.taps = units, taps

    @property
    def states(self):
        """What the cached sampler keeps: channels by name."""
        return {"h": self.units, "c": self.units}

    def build(self, shape):
        """Makes the state-to-state kernel for inputs `[B, H, W, 4 · units]`."""
        if shape[-1] != 4 * self.units:
            raise ValueError(
                f"layer {self.name!r} of {self.units} units takes {4 * self.units} channels, those of its four gates "
                f"side by side; got {shape[-1]}. A CausalConv2D before it makes them."
            )
        size = (self.taps * self.units, 4 * self.units)
        self.kernel = self.add_weight(name="kernel", shape=size, initializer="glorot_uniform")

    def sees(self, x):
        """As the input."""
        if x == Sees.CHANNELS:
            raise ValueError(f"layer {self.name!r} keeps states of whole pixels; its input sees some channels.")
        return x

    def cell(self, z, hidden, c):
        """One step of the LSTM, at any number of pixels.

        [o, f, i] = σ(z + K h), g = tanh(z + K h), c' = f c + i g, h' = o tanh(c').

        Args:
            z: the inputs, `[…, 4 · units]`.
            hidden: the `taps` earlier states that the kernel K reads, `[…, units]` each.
            c: the earlier cell state, float32 `[…, units]`.

        Returns:
            h' in the type of z, and c' in float32.
        """
        h = tf.reshape(tf.concat(hidden, -1), [-1, self.taps * self.units])
        # The kernel is cast here, inside the scan: so its gradient sums over the steps in float32.
        gates = z + tf.reshape(h @ tf.convert_to_tensor(self.kernel), [-1, *z.shape[1:]])
        ofi, g = tf.split(tf.cast(gates, tf.float32), [3 * self.units, self.units], -1)
        o, f, i = tf.split(tf.sigmoid(ofi), 3, -1)
        c = f * c + i * tf.tanh(g)
        return tf.cast(o * tf.tanh(c), z.dtype), c

    def scan(self, step, inputs, reverse=False):
        """The states h of `step((h, c), input) -> (h, c)`, along the first axis of the inputs, from zeros.

        Args:
            step: the function.
            inputs: one tensor or several, `[steps, B, n, ·]` each; z is the first.
            reverse: from the last to the first.
        """
        z = inputs[0] if isinstance(inputs, tuple) else inputs
        nothing = tf.zeros_like(z[0, :, :, : self.units])
        return tf.scan(step, inputs, (nothing, tf.cast(nothing, tf.float32)), reverse=reverse)[0]

    def compute_output_shape(self, shape):
        """`[B, H, W, units]`."""
        return (*shape[:-1], self.units)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="genmodels")
class RowLSTM(PixelLSTM):
    """The Row LSTM (van den Oord et al. 2016a, "Pixel Recurrent Neural Networks"): from each row to the next.

    The state of a pixel follows from those of the row above, through a convolution over 2 · side + 1 columns of h and
    the column's own c. A pixel sees a triangle above it, with its tip in the pixel.

    Args:
        units: channels of the state.
        side: columns to either side that the state-to-state convolution reads; the paper's kernel of 3 is 1.
        **options: for `keras.Layer`.

    Example:
        >>> z = gm.layers.CausalConv2D(4 * 16, left=1)(tf.zeros([2, 8, 8, 3]))
        >>> RowLSTM(16)(z).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, units, side=1, **options):
        super().__init__(units, 2 * side + 1, **options)
        self.side = side

    def call(self, z):
        """On whole images: a scan over rows, all columns at once."""
        beside = [[0, 0], [self.side, self.side], [0, 0]]

        def step(state, z):  # [B, W, ·] each
            return self.cell(z, self.windows(tf.pad(state[0], beside)), state[1])

        rows = self.scan(step, tf.transpose(z, [1, 0, 2, 3]))
        return tf.transpose(rows, [1, 0, 2, 3])

    def at(self, here):
        """At one row or pixel of the cached sampler."""
        above = here.state("h", above=1, left=self.side, right=self.side)[:, :1]  # [B, 1, side + w + side, units]
        h, c = self.cell(here.read(0), self.windows(above), here.state("c", above=1)[:, :1])
        here.keep("h", h)
        here.keep("c", c)
        return h

    def windows(self, h):
        """The taps of the convolution: `[…, side + w + side, units]` as 2 · side + 1 of `[…, w, units]`."""
        width = h.shape[-2] - 2 * self.side
        return [h[..., j : j + width, :] for j in range(self.taps)]

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package="genmodels")
class DiagonalLSTM(PixelLSTM):
    """One direction of the Diagonal BiLSTM (van den Oord et al. 2016a, "Pixel Recurrent Neural Networks").

    The state of a pixel follows from h of the pixels above and to the left, and c of that to the left, so that it
    sees all pixels above and to the left. In reverse, columns run from right to left, and the output is that of the
    row above: a pixel sees all pixels above, in its column and to the right.

    In the cached sampler a layer of which complete rows are known, always so in reverse, computes a row at a time: a
    scan over its columns from right to left, or left to right.

    Args:
        units: channels of the state.
        reverse: from right to left, and one row down.
        **options: for `keras.Layer`.

    Example:
        >>> z = gm.layers.CausalConv2D(4 * 16)(tf.zeros([2, 8, 8, 3]))
        >>> DiagonalLSTM(16)(z).shape, DiagonalLSTM(16, reverse=True)(z).shape
        (TensorShape([2, 8, 8, 16]), TensorShape([2, 8, 8, 16]))
    """

    def __init__(self, units, reverse=False, **options):
        super().__init__(units, 2, above=int(reverse), **options)
        self.reverse = reverse

    def sees(self, x):
        """As the input; in reverse the rows above."""
        return min(super().sees(x), Sees.ROWS) if self.reverse else super().sees(x)

    def call(self, z):
        """On whole images: a scan over diagonals, all rows at once."""
        if self.reverse:
            # Moved down before the scan rather than after: a state of zeros stays zero where z is.
            z = tf.reverse(tf.pad(z, [[0, 0], [1, 0], [0, 0], [0, 0]])[:, :-1], [2])

        def step(state, z):  # [B, H, ·] each, along a diagonal
            h, c = state
            above = tf.pad(h, [[0, 0], [1, 0], [0, 0]])[:, :-1]
            return self.cell(z, [above, h], c)

        # Left of the image z is zero and so is the state; what is right of it is seen by nothing in the image.
        diagonals = self.scan(step, tf.transpose(skewed(z), [2, 0, 1, 3]))  # [H + W - 1, B, H, units]
        h = unskewed(tf.transpose(diagonals, [1, 2, 0, 3]))
        return tf.reverse(h, [2]) if self.reverse else h

    def at(self, here):
        """At one row or pixel of the cached sampler."""
        z = here.read(0, above=int(self.reverse))[:, :1]  # in reverse the row above, as in `call`
        above = here.state("h", above=1)[:, :1]  # [B, 1, w, units]
        if here.column is None:
            h = self.along_row(z, above)
        else:
            left = here.state("h", left=1)[:, :, :1]
            h, c = self.cell(z, [above, left], here.state("c", left=1)[:, :, :1])
            here.keep("c", c)
        here.keep("h", h)
        return h

    def along_row(self, z, above):
        """One row, given the states h above it: a scan over columns.

        Args:
            z: `[B, 1, W, 4 · units]`.
            above: `[B, 1, W, units]`.
        """

        def step(state, inputs):  # [B, 1, ·] each
            z, above = inputs
            return self.cell(z, [above, state[0]], state[1])

        columns = tuple(tf.transpose(x, [2, 0, 1, 3]) for x in (z, above))
        return tf.transpose(self.scan(step, columns, self.reverse), [1, 2, 0, 3])

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "reverse": self.reverse}


def skewed(x):
    """Each row one column further right than that above: `[B, H, W, C]` to `[B, H, H + W - 1, C]`, with zeros."""
    height, width, channels = x.shape[1:]
    # With H zeros after each row, rows of H + W pixels; cut into rows of one pixel less, each begins one later.
    x = tf.reshape(tf.pad(x, [[0, 0], [0, 0], [0, height], [0, 0]]), [-1, height * (height + width), channels])
    return tf.reshape(x[:, :-height], [-1, height, height + width - 1, channels])


def unskewed(x):
    """The image that was `skewed`: `[B, H, H + W - 1, C]` to `[B, H, W, C]`."""
    height, long, channels = x.shape[1:]
    x = tf.pad(tf.reshape(x, [-1, height * long, channels]), [[0, 0], [0, height], [0, 0]])
    return tf.reshape(x, [-1, height, long + 1, channels])[:, :, : long + 1 - height]
