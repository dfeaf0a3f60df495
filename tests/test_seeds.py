"""Random streams against Philox written out in NumPy, exact moments, and themselves under other batchings."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from genmodels.sampling import Streams, fold, make_seed, seeds

NUM = 20_000


def correlation_bound(num):
    """4.5 standard errors of the correlation of `num` independent pairs."""
    return 4.5 / np.sqrt(num)


def philox(counters, key):
    """Philox4x32-10 (Salmon et al. 2011), `[n, 4]` uint32 from `[n, 4]` and `[2]`."""
    words = [np.asarray(c, np.uint64) for c in np.transpose(counters)]
    key, mask = [int(k) for k in key], np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        high_a, low_a, high_b, low_b = a >> np.uint64(32), a & mask, b >> np.uint64(32), b & mask
        words = [high_b ^ words[1] ^ np.uint64(key[0]), low_b, high_a ^ words[3] ^ np.uint64(key[1]), low_a]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return np.stack(words, -1).astype(np.uint32)


# ------------------------------------------------------------------------------------------- seeds


def test_a_seed_is_its_64_bits():
    for seed in (0, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1):
        words = make_seed(seed)
        assert words.dtype == tf.int32 and words.shape == (2,)
        low, high = words.numpy().view(np.uint32).tolist()
        assert low + (high << 32) == seed
        assert np.isfinite(Streams(words, 0, 3).normal((2,)).numpy()).all()


@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, None, "1"])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer from 0 to 2\*\*64 - 1; got"):
        make_seed(seed)


def test_every_half_of_a_seed_counts():
    draws = {Streams(make_seed(s), 0, 1).uniform((4,)).numpy().tobytes() for s in (0, 1, 2**31, 2**32, 2**32 + 1)}
    assert len(draws) == 5


# ------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (5,), (2, 3)])
@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_rows_do_not_depend_on_start_and_num(shape, draw):
    seed = make_seed(11)
    whole = getattr(Streams(seed, 0, 12), draw)(shape).numpy()
    assert whole.shape == (12, *shape) and whole.dtype == np.float32
    assert len(np.unique(whole)) == whole.size
    for start, num in ((0, 1), (5, 1), (5, 7), (tf.constant(9, tf.int64), tf.constant(3))):
        part = getattr(Streams(seed, start, num), draw)(shape).numpy()
        # Uniforms to the bit; the last bit of a logarithm depends on its place in a vector register.
        tolerance = 0 if draw == "uniform" else 1e-6
        np.testing.assert_allclose(part, whole[int(start) : int(start) + int(num)], rtol=tolerance, atol=tolerance)


def test_rows_far_along_are_rows_of_the_same_stream():
    """Past 32 bits of the index, and past 32 bits of the counter, which is three times the index here."""
    for start in (2**32 - 2, 2**32 // 3 - 1, 2**40):
        whole = Streams(make_seed(1), start, 5).uniform((12,)).numpy()
        np.testing.assert_array_equal(Streams(make_seed(1), start + 3, 2).uniform((12,)).numpy(), whole[3:])
        assert not np.isin(whole, Streams(make_seed(1), 0, 5).uniform((12,)).numpy()).any()


def test_uniforms_are_philox_counted_by_row():
    """Row i of five numbers is the blocks 2i and 2i + 1 of Philox; the key and the high words come of the seed."""
    np.testing.assert_array_equal(  # the authors' known answer
        philox([[0, 0, 0, 0]], [0, 0])[0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    )
    seed = make_seed(2**40 + 3)
    words = tf.random.stateless_uniform([4], seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox").numpy()
    counters = [[block, 0, words[2], words[3]] for block in range(2 * 7, 2 * (7 + 3))]
    bits = philox(counters, words[:2]).reshape(3, 8)[:, :5]
    expected = ((bits >> 9) + 0.5) / 2**23  # float64: the middles of 2²³ intervals
    np.testing.assert_array_equal(Streams(seed, 7, 3).uniform((5,)).numpy().astype(np.float64), expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_draw_what_eager_draws(jit_compile):
    def draw(seed, start, step):
        streams = Streams(seed, start, 300)
        inner = streams.fold(step)
        return streams.uniform((5,)), streams.normal((5,)), inner.uniform(()), inner.normal((2, 3))

    # Seeds come in as arguments: constants would be folded before XLA sees them.
    arguments = make_seed(2**63 + 9), tf.constant(1000, tf.int64), tf.constant(4)
    eager, traced = draw(*arguments), tf.function(draw, jit_compile=jit_compile)(*arguments)
    for index in (0, 2):
        np.testing.assert_array_equal(eager[index].numpy(), traced[index].numpy())
    for index in (1, 3):
        np.testing.assert_allclose(eager[index].numpy(), traced[index].numpy(), rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------- distributions


def test_no_bits_give_0_or_1_or_an_infinite_normal(monkeypatch):
    extremes = np.array([[0, 0, 2**32 - 1, 2**32 - 1], [2**32 - 1, 0, 0, 2**32 - 1]], np.uint32)
    draw = seeds._bits

    def extreme(shape, key, counter, dtype):  # keys are drawn as 64-bit words
        return tf.constant(extremes) if dtype == tf.uint32 else draw(shape, key, counter, dtype)

    monkeypatch.setattr(seeds, "_bits", extreme)
    streams = Streams(make_seed(0), 0, 2)
    uniform = streams.uniform((4,)).numpy()
    assert uniform.min() > 0 and uniform.max() < 1
    assert uniform.min() == 1 - uniform.max()  # symmetric about one half
    normal = streams.normal((4,)).numpy()
    assert np.isfinite(normal).all() and 5 < np.abs(normal).max() < 6


def test_uniforms_are_uniform_and_independent():
    u = Streams(make_seed(5), 0, NUM).uniform((6,)).numpy().astype(np.float64)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4
    assert abs(u.mean() - 1 / 2) < 4.5 / np.sqrt(12 * u.size)
    assert abs(u.var() - 1 / 12) < 4.5 / np.sqrt(180 * u.size)
    # Pairs of columns, within and across Philox blocks of four: 10 × 10 cells of equal probability.
    for a, b in ((0, 1), (2, 3), (3, 4), (0, 4)):
        counts = np.histogram2d(u[:, a], u[:, b], bins=10, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(counts.ravel()).pvalue > 1e-4, (a, b)


def test_normals_are_normal_and_independent():
    n = Streams(make_seed(5), 0, NUM).normal((6,)).numpy().astype(np.float64)
    assert stats.kstest(n.ravel(), "norm").pvalue > 1e-4
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        variance = {1: 1, 2: 2, 3: 15, 4: 96, 6: 10170}[power]  # E n^2p − (E n^p)²
        assert abs((n**power).mean() - moment) < 4.5 * np.sqrt(variance / n.size), power
    # Box–Muller pairs share a radius and an angle: neither values nor sizes may be correlated.
    for values in (n, n**2, np.abs(n)):
        matrix = np.corrcoef(values.T) - np.eye(6)
        assert np.abs(matrix).max() < correlation_bound(NUM)
    # Their product has the distribution of a product of independent normals, sign and size.
    both = np.sign(n[:, 0]) * np.sign(n[:, 1])
    assert abs(np.corrcoef(both, n[:, 0] ** 2)[0, 1]) < correlation_bound(NUM)


def test_neighbouring_samples_are_uncorrelated():
    n = Streams(make_seed(8), 0, NUM).normal((3,)).numpy().astype(np.float64)
    for lag in (1, 2, 64):
        for values in (n, n**2):
            assert np.abs(np.corrcoef(values[:-lag].T, values[lag:].T)[:3, 3:]).max() < correlation_bound(NUM - lag)


# ------------------------------------------------------------------------------------------- folding


def test_folded_streams_are_independent_of_each_other():
    base = Streams(make_seed(3), 0, NUM)
    streams = {
        "base": base, "fold 0": base.fold(0), "fold 1": base.fold(1), "fold 2**30": base.fold(2**30),
        "fold 0, 1": base.fold(0).fold(1), "fold 1, 0": base.fold(1).fold(0),
        "seed + 1": Streams(make_seed(4), 0, NUM), "seed + 1, fold 1": Streams(make_seed(4), 0, NUM).fold(1),
    }  # fmt: skip
    draws = np.stack([s.normal().numpy() for s in streams.values()]).astype(np.float64)
    for values in (draws, draws**2):
        assert np.abs(np.corrcoef(values) - np.eye(len(draws))).max() < correlation_bound(NUM)
    for name, draw in zip(streams, draws):
        assert stats.kstest(draw, "norm").pvalue > 1e-4, name


def test_fold_is_a_function_of_seed_and_number():
    seed = make_seed(3)
    np.testing.assert_array_equal(fold(seed, 5), fold(make_seed(3), tf.constant(5, tf.int64)))
    assert len({fold(seed, step).numpy().tobytes() for step in range(200)}) == 200
    for number in (0, 1, 2**31 - 1):
        theirs = tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
        np.testing.assert_array_equal(fold(seed, number), theirs)
    whole, part = Streams(seed, 0, 9).fold(2), Streams(seed, 4, 5).fold(2)
    np.testing.assert_array_equal(whole.uniform((3,)).numpy()[4:], part.uniform((3,)).numpy())
