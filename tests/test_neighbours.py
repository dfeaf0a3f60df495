"""Nearest neighbours against brute force in float64, scikit-learn, and by construction."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

import genmodels as gm
from genmodels.latent import nearest_neighbours


def brute_force(samples, data, k):
    """All distances in float64; a stable sort keeps the lowest index first among equals."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (samples, data))
    distances = np.linalg.norm(a[:, None] - b[None], axis=-1)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(distances, indices, 1)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, [7, 6, 5, 2], dtype=np.uint8), rng.integers(0, 256, [230, 6, 5, 2], dtype=np.uint8)


@pytest.mark.parametrize("k", [1, 5, 230])
def test_pixels_agree_with_brute_force_and_scikit_learn(images, k):
    samples, data = images
    indices, distances = nearest_neighbours(samples, data, k, batch_size=50)
    expected = brute_force(samples, data, k)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    assert (indices.shape, indices.dtype, distances.dtype) == ((7, k), np.int64, np.float32)
    search = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(data.reshape(230, -1))
    theirs, their_indices = search.kneighbors(samples.reshape(7, -1))
    np.testing.assert_array_equal(indices, their_indices)
    np.testing.assert_allclose(distances, theirs, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64, 229, 230, 10_000])
def test_the_batch_size_changes_nothing(images, batch_size):
    samples, data = (x.astype(np.float32) / 255 for x in images)
    expected = nearest_neighbours(samples, data, 4)
    for ours, theirs in zip(nearest_neighbours(samples, data, 4, batch_size=batch_size), expected):
        np.testing.assert_array_equal(ours, theirs)


def test_a_copy_is_found_at_distance_zero_far_from_the_origin(images):
    _, data = images
    data = data.astype(np.float32) / 255 + 1000  # |a|² + |b|² − 2ab in float32 would be off by tens
    samples = data[[200, 3]].copy()
    samples[1, 0, 0, 0] += 2**-10
    indices, distances = nearest_neighbours(samples, data)
    np.testing.assert_array_equal(indices, [[200], [3]])
    np.testing.assert_array_equal(distances, [[0], [2**-10]])


@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_equally_near_examples_come_in_the_order_of_the_data(batch_size):
    rng = np.random.default_rng(1)
    samples = rng.normal(size=[3, 11])
    data = rng.normal(size=[4, 11])[np.array([2, 0, 3, 0, 1, 0, 2, 3, 0, 1])]  # the same rows again and again
    indices, distances = nearest_neighbours(samples, data, 6, batch_size=batch_size)
    np.testing.assert_array_equal(indices, brute_force(samples, data, 6)[0])
    same = distances[:, 1:] == distances[:, :-1]
    assert same.sum() >= 6 and (np.diff(indices, axis=1)[same] > 0).all()


def test_features_are_of_batches_in_the_datas_own_type(images):
    samples, data = images
    projection = np.random.default_rng(2).normal(size=[60, 3])
    seen = []

    def features(x):
        seen.append((x.dtype, x.shape[1:], len(x)))
        return tf.constant(x.reshape(len(x), -1) @ projection)

    indices, distances = nearest_neighbours(samples, data, 3, features=features, batch_size=100)
    expected = brute_force(samples.reshape(7, -1) @ projection, data.reshape(230, -1) @ projection, 3)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    assert seen == [(np.uint8, (6, 5, 2), n) for n in (7, 100, 100, 30)]


def test_a_dataset_is_searched():
    train, test = gm.load_data("digits")
    indices, distances = nearest_neighbours(test.examples[:5], train, 2)
    expected = brute_force(test.examples[:5], train.examples, 2)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    with pytest.raises(ValueError, match="binarized anew"):
        nearest_neighbours(test.examples[:5], train.binarized("dynamic"))


@pytest.mark.parametrize("count", [5, 11])
def test_rounding_in_the_search_for_candidates_breaks_no_tie(count):
    rng = np.random.default_rng(3)
    for _ in range(10):
        # A matrix product sums the last of these equal columns in another order.
        data = np.repeat(rng.normal(size=[1, 100]), count, axis=0)
        indices, _ = nearest_neighbours(rng.normal(size=[7, 100]), data, 3)
        np.testing.assert_array_equal(indices, [[0, 1, 2]] * 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": np.zeros([2, 4])}, r"the data's shape, \('batch', 3\); got \(2, 4\) for data of \(5, 3\)"),
        ({"samples": np.zeros([0, 3])}, r"got \(0, 3\)"),
        ({"samples": np.zeros(3)}, r"got \(3,\)"),
        ({"k": 6}, "`k` must be an integer from 1 to 5, the number of examples in the data; got 6"),
        ({"k": 0}, "`k` must be .*; got 0"),
        ({"k": 1.0}, "`k` must be .*; got 1.0"),
        ({"batch_size": 0}, "`batch_size` must be an integer ≥ 1; got 0"),
        ({"samples": np.full([2, 3], np.nan)}, "`samples` must be finite"),
        ({"data": np.full([5, 3], np.inf)}, "`data` must be finite"),
        ({"features": lambda x: x[:, 0]}, r"`features` must give \[2, F\], a vector an example; got \(2,\)"),
        ({"features": lambda x: x[:1]}, r"`features` must give \[2, F\], a vector an example; got \(1, 3\)"),
        ({"features": lambda x: x[:, : len(x)]}, "`features` gave 2 numbers a sample and 3 an example"),
    ],
)
def test_wrong_input_is_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        nearest_neighbours(**{"samples": np.ones([2, 3]), "data": np.ones([5, 3]), **options})
