"""Attention over the pixels before, and what it needs beside it: positions, and a step along the raster order.

These layers look back over the whole image. The cached sampler keeps their inputs whole, so that at a pixel it
computes one query in place of all; keys and values are computed once, where their own pixel is.
"""

import keras
import tensorflow as tf

from genmodels.layers.causal import CausalLayer, Sees
from genmodels.settings import checked_count

__all__ = ["CausalAttention", "PositionEmbedding", "RasterShift"]

QUERIES = 128  # at a time: what comes after the last of them is not computed, and half of all pairs is nobody's


class LookingBack(CausalLayer):
    """What reads all of an image that is known, in raster order."""

    @property
    def states(self):
        """None of its own; the sampler keeps such layers at full resolution."""
        return {}

    def build(self, shape, *others):
        """Checks that inputs `[B, H, W, ·]` have one grid, and that it is known."""
        grids = {tuple(s[1:3]) for s in (shape, *others)}
        if len(grids) > 1 or None in shape[1:3]:
            raise ValueError(f"layer {self.name!r} takes images of one known size; got {[shape, *others]}.")

    def places(self, here, width):
        """The numbers in raster order of the pixels that are computed in `at`: of a row, or one."""
        first = here.row * width
        return first + tf.range(width) if here.column is None else first[None] + here.column


@keras.saving.register_keras_serializable(package="genmodels")
class CausalAttention(LookingBack):
    """Attention (Vaswani et al. 2017, "Attention Is All You Need") of every pixel to those before it in raster order.

    Queries, keys and values are `[B, H, W, ·]`, made by Dense layers; heads lie side by side in their channels. There
    are (H W)² / 2 pairs of pixels, 300 000 at 28×28, for each head and example.

    Args:
        heads: how many times attention is made, each of its own share of the channels.
        mask: "B" lets a pixel attend to itself too; "A" only to those before, so that keys and values may come from the
            image itself. The first pixel then attends to nothing, and its output is 0.
        **options: for `keras.Layer`.

    Raises:
        ValueError: for another mask, and channels that are not a multiple of the heads.

    Example:
        >>> q, k, v = tf.zeros([2, 5, 4, 8]), tf.zeros([2, 5, 4, 8]), tf.ones([2, 5, 4, 6])
        >>> CausalAttention(heads=2)(q, k, v).shape
        TensorShape([2, 5, 4, 6])
    """

    kept_whole = (1, 2)

    def __init__(self, heads=1, mask="B", **options):
        super().__init__(**options)
        if mask not in ("A", "B"):
            raise ValueError(f'`mask` must be "A" or "B"; got {mask!r}.')
        self.heads, self.mask = checked_count("heads", heads, 1), mask

    def build(self, queries_shape, keys_shape, values_shape):
        """Checks the channels."""
        super().build(queries_shape, keys_shape, values_shape)
        channels = [shape[-1] for shape in (queries_shape, keys_shape, values_shape)]
        if any(c % self.heads for c in channels) or channels[0] != channels[1]:
            raise ValueError(
                f"layer {self.name!r} of {self.heads} heads takes queries and keys of as many channels, a multiple of "
                f"the heads, as those of the values; got {channels[0]}, {channels[1]} and {channels[2]}."
            )

    def sees(self, queries, keys, values):
        """As what it reads; behind mask A of keys and values at most the pixels before."""
        if Sees.CHANNELS in (queries, keys, values):
            raise ValueError(f"layer {self.name!r} reads whole pixels; an input sees some channels.")
        if Sees.LABELS in (keys, values):
            raise ValueError(f"layer {self.name!r} attends to pixels: keys and values must see some.")
        read = max(keys, values)
        return max(queries, min(read, Sees.PIXELS) if self.mask == "A" else read)

    def call(self, queries, keys, values):
        """On whole images."""
        height, width = queries.shape[1:3]
        q, k, v = (tf.reshape(x, [-1, height * width, x.shape[-1]]) for x in (queries, keys, values))
        outputs = []
        for start in range(0, height * width, QUERIES):
            stop = min(start + QUERIES, height * width)
            outputs.append(self.attend(q[:, start:stop], k[:, :stop], v[:, :stop], tf.range(start, stop)))
        return tf.reshape(tf.concat(outputs, 1), [-1, height, width, values.shape[-1]])

    def at(self, here):
        """At one row or pixel of the cached sampler."""
        queries, keys, values = here.read(0), here.memory(1), here.memory(2)
        q, k, v = (tf.reshape(x, [x.shape[0], -1, x.shape[-1]]) for x in (queries, keys, values))
        y = self.attend(q, k, v, self.places(here, keys.shape[2]))
        return tf.reshape(y, [*queries.shape[:3], -1])

    def attend(self, q, k, v, places):
        """softmax(q kᵀ / √d) v over the keys that a query may see; the weights in float32.

        Args:
            q: queries, `[B, n, heads · d]`.
            k: keys of the first m pixels, `[B, m, heads · d]`.
            v: their values, `[B, m, heads · d']`.
            places: the numbers of the queries' pixels, `[n]`.

        Returns:
            `[B, n, heads · d']`.
        """
        q, k, v = (
            tf.transpose(tf.reshape(x, [-1, x.shape[1], self.heads, x.shape[2] // self.heads]), [0, 2, 1, 3])
            for x in (q, k, v)
        )  # [B, heads, ·, d]
        last = places if self.mask == "B" else places - 1
        seen = tf.range(k.shape[2]) <= last[:, None]  # [n, m]
        logits = tf.cast(tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True), tf.float32)
        weights = tf.nn.softmax(tf.where(seen, logits, -1e30))
        y = tf.transpose(tf.matmul(tf.cast(weights, v.dtype), v), [0, 2, 1, 3])
        if self.mask == "A":
            y *= tf.cast(last >= 0, y.dtype)[:, None, None]  # the first pixel sees none
        return tf.reshape(y, [-1, y.shape[1], self.heads * y.shape[3]])

    def compute_output_shape(self, queries_shape, keys_shape, values_shape):
        """The values' channels."""
        return (*queries_shape[:-1], values_shape[-1])

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "heads": self.heads, "mask": self.mask}


@keras.saving.register_keras_serializable(package="genmodels")
class RasterShift(LookingBack):
    """Moves an image by one pixel in raster order, a zero first: rows begin with the last pixel of the row above.

    Example:
        >>> RasterShift()(tf.reshape(tf.range(1.0, 7.0), [1, 2, 3, 1]))[0, :, :, 0].numpy().tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """

    kept_whole = (0,)

    def sees(self, x):
        """The pixels before, or what the input sees where that is less."""
        return min(x, Sees.PIXELS)

    def call(self, x):
        """On whole images."""
        height, width, channels = x.shape[1:]
        return tf.reshape(self.moved(x)[:, :-1], [-1, height, width, channels])

    def at(self, here):
        """At one row or pixel of the cached sampler."""
        x = here.memory(0)
        return tf.gather(self.moved(x), self.places(here, x.shape[2]), axis=1)[:, None]

    def moved(self, x):
        """`[B, H, W, C]` to `[B, 1 + H W, C]`: what each pixel gets, and then what the pixel after the last would."""
        height, width, channels = x.shape[1:]
        return tf.pad(tf.reshape(x, [-1, height * width, channels]), [[0, 0], [1, 0], [0, 0]])


@keras.saving.register_keras_serializable(package="genmodels")
class PositionEmbedding(CausalLayer):
    """Adds a learned vector of each pixel's place: `[B, H, W, C]` to the same.

    Example:
        >>> PositionEmbedding()(tf.zeros([2, 5, 4, 3])).shape
        TensorShape([2, 5, 4, 3])
    """

    def build(self, shape):
        """Makes the vectors for inputs of known size, normal with a deviation of 0.01, as Image GPT's authors do."""
        if None in shape[1:]:
            raise ValueError(f"layer {self.name!r} takes images of one known size; got {shape}.")
        normal = keras.initializers.RandomNormal(stddev=0.01)
        self.table = self.add_weight(name="table", shape=shape[1:], initializer=normal)

    def call(self, x):
        """On whole images."""
        return x + tf.convert_to_tensor(self.table)

    def at(self, here):
        """At one row or pixel of the cached sampler."""
        place, width = (0, self.table.shape[1]) if here.column is None else (here.column, 1)
        table = tf.slice(self.table, tf.stack([here.row, place, 0]), [1, width, self.table.shape[2]])
        return here.read(0) + table[None]
