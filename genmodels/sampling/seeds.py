"""Random streams: sample i of seed s is its own stream.

A draw for samples 100 … 199 gives the rows that a draw for 0 … 999 would have given them, so samples do not
depend on the batch size. Philox (Salmon et al. 2011) is a counter-based generator: number k of a stream is a
function of (key, k) alone, so a later row is reached by adding to the counter.

Integers are drawn and turned into floats here, not by TensorFlow: its own conversion of Philox bits to floats
differs between XLA and the other modes, the bits do not. Uniforms are therefore bit-equal in eager, graph and
XLA and whatever the rows around them; normals agree to the rounding of log and cos, whose vectorized forms round
otherwise than their scalar ones.
"""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

PHILOX = 1  # tf.random.Algorithm.PHILOX, in the form the raw operations take
SCRAMBLE = 0x02461E293EC8F720  # the key by which TensorFlow makes key and counter of a seed


def make_seed(seed: int) -> tf.Tensor:
    """The `[2]` int32 seed of stateless operations from a Python integer of up to 64 bits.

    Raises:
        ValueError: for what is no integer from 0 to 2⁶⁴ - 1.

    Example:
        >>> make_seed(7).numpy().tolist()
        [7, 0]
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be an integer from 0 to 2**64 - 1; got {seed!r}.")
    words = [seed & 0xFFFFFFFF, seed >> 32]
    return tf.constant([w - 2**32 if w >= 2**31 else w for w in words], tf.int32)


def fold(seed: tf.Tensor, data) -> tf.Tensor:
    """A new `[2]` int32 seed from a seed and an integer (a step, an objective, a tag): independent streams.

    Example:
        >>> bool(tf.reduce_all(fold(make_seed(7), 1) == fold(make_seed(7), 2)))
        False
    """
    if isinstance(data, int):
        low = data & 0x7FFFFFFF
    else:
        low = tf.cast(tf.bitwise.bitwise_and(tf.cast(data, tf.int64), 0x7FFFFFFF), tf.int32)
    return tf.stack([_integers(seed, [], tf.int32), low])


@dataclasses.dataclass(frozen=True)
class Streams:
    """Random streams of the samples `start … start + num - 1` of one seed.

    Attributes:
        seed: `[2]` int32, from `make_seed`.
        start: index of the first sample, an integer or a scalar tensor.
        num: how many samples.

    Example:
        >>> whole = Streams(make_seed(0), 0, 10).uniform((3,))
        >>> part = Streams(make_seed(0), 4, 2).uniform((3,))
        >>> bool(tf.reduce_all(whole[4:6] == part))
        True
    """

    seed: tf.Tensor
    start: int | tf.Tensor
    num: int | tf.Tensor

    def fold(self, data) -> "Streams":
        """Independent streams for the same samples: one per layer of noise, solver step, chunk."""
        return Streams(fold(self.seed, data), self.start, self.num)

    def uniform(self, shape: Sequence[int] = ()) -> tf.Tensor:
        """Uniform numbers in the open interval (0, 1), `[num, *shape]` float32."""
        return self._shaped(self._uniform(math.prod(shape)), shape)

    def normal(self, shape: Sequence[int] = ()) -> tf.Tensor:
        """Standard normal numbers, `[num, *shape]` float32, by the Box–Muller transform."""
        uniform = self._uniform(math.prod(shape))
        u, v = tf.unstack(tf.reshape(uniform, [-1, uniform.shape[1] // 2, 2]), axis=-1)
        radius, angle = tf.sqrt(-2.0 * tf.math.log(u)), 2.0 * math.pi * v
        pairs = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)
        return self._shaped(tf.reshape(pairs, [-1, uniform.shape[1]]), shape)

    def _shaped(self, numbers: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        """The first numbers of each row, as `[num, *shape]`; without operations that would change nothing."""
        size = math.prod(shape)
        if size < numbers.shape[1]:
            numbers = numbers[:, :size]
        return numbers if len(shape) == 1 else tf.reshape(numbers, [self.num, *shape])

    def _uniform(self, size: int) -> tf.Tensor:
        """`[num, size rounded up to whole Philox blocks of four]`."""
        blocks = max(-(-size // 4), 1)
        key, high = tf.split(_integers(self.seed, [2], tf.uint64), 2)
        counter = tf.concat([[tf.cast(self.start, tf.uint64) * blocks], high], 0)
        bits = _bits([self.num, 4 * blocks], key, counter, tf.uint32)
        # The 23 bits of a float32 mantissa, at the middle of their interval: never 0, never 1.
        mantissa = tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32))
        return (tf.cast(mantissa, tf.float32) + 0.5) * 2.0**-23


def _integers(seed, shape, dtype):
    """What `tf.random.stateless_uniform(shape, seed, None, None, dtype, alg="philox")` draws, in fewer operations."""
    key, high = tf.split(_bits([2], [SCRAMBLE], tf.cast(seed, tf.uint64), tf.uint64), 2)
    return _bits(shape, key, tf.concat([tf.zeros([1], tf.uint64), high], 0), dtype)


def _bits(shape, key, counter, dtype):
    return tf.raw_ops.StatelessRandomUniformFullIntV2(shape=shape, key=key, counter=counter, alg=PHILOX, dtype=dtype)
