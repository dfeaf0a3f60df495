"""The order in which data are read: a pure function of seed and position, so that any position can be resumed."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from genmodels.data.dataset import Dataset
from genmodels.data.inputs import Stream

CHUNK = 64  # examples that `once` reads and binarizes together, whatever the batch size
SORTED = 1024  # at least so many indices are shuffled in one call, of several epochs where the data are few
BLOCK_BATCHES = 32  # at most, read and augmented in one call, whose overhead is that of a small training step
BLOCK_BYTES = 1 << 22  # at most, of one block
PREFETCH = 2
ENDLESS = 2**48  # blocks or epochs; `Dataset.counter` would trace functions of its own


def batches(data: Dataset | Stream, batch_size: int, *, seed: int, start: int = 0) -> tf.data.Dataset:
    """Endless training batches: every example once an epoch, in an order that (seed, epoch) determines.

    Batch k holds positions p = k·B … k·B + B-1; position p is place p mod n of the permutation of epoch p // n,
    so batches may straddle epochs. Augmentation and dynamic binarization are functions of (seed, B, k).
    Hence `batches(…, start=k)` continues bit for bit the stream from 0. For a Stream the order is the user's own: it
    is repeated, and start skips what comes before.

    Args:
        data: a Dataset or a Stream.
        batch_size: B.
        seed: an integer of up to 64 bits.
        start: the number of the first batch.

    Returns:
        A `tf.data.Dataset` of x `[B, *event_shape]`, or (x, labels `[B]` int32, or vectors `[B, D]` float32) where the
        data are labelled; x is uint8, or float32 where levels is None.

    Raises:
        ValueError: a batch size below 1, a start below 0, a seed beyond 64 bits.

    Example:
        >>> data = Dataset(np.zeros([10, 8, 8, 1], np.uint8), None, levels=17)
        >>> next(iter(batches(data, 4, seed=0))).shape
        TensorShape([4, 8, 8, 1])
    """
    _check_sizes(batch_size, seed)
    if not _is_integer(start) or start < 0:
        raise ValueError(f"`start` must be a batch number, an integer ≥ 0; got {start}.")
    if isinstance(data, Stream):
        return data.read(batch_size, endless=True).skip(start).prefetch(PREFETCH)
    read = _reader(data)
    together = _block_batches(data, batch_size)
    size = together * batch_size

    def block(number, indices):
        x, *labels = read(indices)
        x = tf.ensure_shape(x, [size, *data.event_shape])
        if data.augment is not None:
            x = data.augment(x, data.stored_levels, [seed, 3 * number + 1])
        if data.dynamic:
            x = _binarized(x, data.stored_levels, [seed, 3 * number + 2])
        parts = tuple(tf.reshape(part, [together, batch_size, *part.shape[1:]]) for part in (x, *labels))
        return parts if labels else parts[0]

    first, skipped = divmod(start, together)
    numbers = tf.data.Dataset.range(first, ENDLESS)
    indices = _shuffled(len(data), seed, first * size).rebatch(size, drop_remainder=True)
    blocks = tf.data.Dataset.zip(numbers, indices).map(block).prefetch(PREFETCH)
    return _plain(blocks.unbatch().skip(skipped) if skipped else blocks.unbatch())


def once(data: Dataset | Stream, batch_size: int, *, seed: int = 0) -> tf.data.Dataset:
    """One pass in order, for evaluation: no augmentation, and the last batch may be smaller.

    Args:
        data: a Dataset or a finite Stream.
        batch_size: the largest batch; it changes nothing else.
        seed: of the draws of dynamic binarization, which depend on it and the position alone.

    Returns:
        A `tf.data.Dataset` of x `[B, *event_shape]`, or (x, labels) where the data are labelled, as in `batches`.

    Raises:
        ValueError: a batch size below 1, a seed beyond 64 bits, an endless stream.

    Example:
        >>> data = Dataset(np.zeros([10, 8, 8, 1], np.uint8), None, levels=17)
        >>> [len(x) for x in once(data, 4)]
        [4, 4, 2]
    """
    _check_sizes(batch_size, seed)
    check_end(data)
    if isinstance(data, Stream):
        return data.read(batch_size, endless=False).prefetch(PREFETCH)
    read = _reader(data)
    size = CHUNK if data.dynamic else batch_size

    def chunk(number):
        x, *labels = read(tf.range(number * size, tf.minimum((number + 1) * size, len(data))))
        if data.dynamic:
            x = _binarized(x, data.stored_levels, [seed, number], drawn=size)
        x = tf.ensure_shape(x, [None, *data.event_shape])
        return (x, *labels) if labels else x

    chunks = tf.data.Dataset.range(-(-len(data) // size)).map(chunk)
    return _plain(chunks.rebatch(batch_size) if data.dynamic else chunks).prefetch(PREFETCH)


def check_end(data: Dataset | Stream) -> None:
    """Raises ValueError for a stream that is known to have no end.

    Args:
        data: what is to be gone through once.
    """
    if isinstance(data, Stream) and data.dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"evaluation needs an end, and the stream {data.name!r} has none: use .take(n).")


def _check_sizes(batch_size, seed):
    if not _is_integer(batch_size) or batch_size < 1:
        raise ValueError(f"`batch_size` must be an integer ≥ 1; got {batch_size}.")
    if not _is_integer(seed) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"`seed` must be an integer of up to 64 bits; got {seed}.")


def _is_integer(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _block_batches(data, batch_size):
    """How many batches to read in one call; a function of the data's form alone, so that a resumed run agrees."""
    size = batch_size * data.examples.dtype.itemsize * math.prod(data.event_shape)
    return max(1, min(BLOCK_BATCHES, BLOCK_BYTES // size))


def _plain(dataset):
    """Without the autotuning, whose book-keeping costs more than a small batch."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _shuffled(num, seed, first):
    """The indices of an endless run over num examples from a position on, a permutation in each epoch; vectors."""
    # Sorting random keys costs less than TensorFlow's index_shuffle, whose cipher walks through 2¹⁶ values for each
    # of a few examples, and whose successive epochs may share permutations.
    together = -(-SORTED // num)
    begin, used = divmod(first, together * num)

    def epochs(number):
        keys = tf.random.stateless_uniform([together, num], [seed, 3 * number], None, None, tf.int64, alg="philox")
        indices = tf.reshape(tf.argsort(keys, axis=1), [-1])
        return indices[tf.where(number == begin, used, 0) :]

    return tf.data.Dataset.range(begin, ENDLESS).map(epochs)


def _reader(data):
    """A function from indices `[B]` to (x,) or (x, labels)."""
    with tf.device("CPU:0"):  # where tf.data gathers
        labels = () if data.labels is None else (tf.constant(data.labels),)
    if not isinstance(data.examples, np.memmap):
        held = (data.tensor, *labels)
        return lambda at: tuple(tf.gather(part, at) for part in held)

    def read(at):
        # A memory map stays on disk: numpy fetches the rows of this batch alone.
        (x,) = tf.numpy_function(lambda i: (np.asarray(data.examples[i]),), [at], [data.examples.dtype])
        return (x, *(tf.gather(part, at) for part in labels))

    return read


def _binarized(x, levels, seed, drawn=None):
    """Pixels `[B, …]` → 0/1 with probability value / (levels - 1); `drawn` ≥ B draws are made, the first B used."""
    shape = tf.concat([[tf.shape(x)[0] if drawn is None else drawn], tf.shape(x)[1:]], 0)
    noise = tf.random.stateless_uniform(shape, seed, alg="philox")[: tf.shape(x)[0]]
    return tf.cast(noise * (levels - 1) < tf.cast(x, tf.float32), tf.uint8)
