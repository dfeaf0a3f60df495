"""What fit accepts: arrays, tuples, data sets and streams, and the words for what does not fit."""

import numpy as np
import pytest
import tensorflow as tf
from test_data import equal, first, index_of, numbered

from genmodels.data import Dataset, Stream, as_dataset, batches, once

EXPECTED = {"event_shape": (2, 2, 1), "levels": 256}


def test_arrays_tensors_tuples_and_datasets_are_one():
    data = numbered(12)
    x, y = data.examples, data.labels
    for given in [
        as_dataset(data, **EXPECTED, num_classes=3),
        as_dataset(x, y, **EXPECTED, num_classes=3),
        as_dataset((x, list(y)), **EXPECTED, num_classes=3),
        as_dataset(tf.constant(x), tf.constant(y), **EXPECTED, num_classes=3),
        as_dataset(x.astype(np.int64), y, **EXPECTED, num_classes=3),
    ]:
        assert given.fingerprint() == data.fingerprint()
    assert as_dataset(data, **EXPECTED).labels is None
    assert as_dataset(x, y, **EXPECTED).labels is None
    assert as_dataset(data, **EXPECTED, num_classes=3) is data
    points = as_dataset(np.random.default_rng(0).normal(size=[5, 2]), event_shape=(2,), levels=None, name="p")
    assert points.examples.dtype == np.float32 and points.name == "p"


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (np.zeros([3, 28, 28], np.uint8), {"event_shape": (28, 28, 1)},
         r"data have shape \(28, 28\) an example; the model expects \(28, 28, 1\)"),
        (numbered(3), {"event_shape": (4, 4, 1)}, r"shape \(2, 2, 1\) an example"),
        (np.zeros([3, 2, 2, 1]), {}, "float64 but the model has levels=256: give integers 0 … 255"),
        (np.zeros([3, 2, 2, 1], np.uint8), {"levels": None}, r"uint8 but the model has levels=None"),
        (np.full([3, 2, 2, 1], 300), {}, "0 … 255; found 300"),
        (np.full([3, 2, 2, 1], -1), {}, "0 … 255; found -1"),
        (np.full([3, 2, 2, 1], np.inf), {"levels": None}, "finite"),
        (np.array([None, "a"]), {}, "must be numbers; got object"),
        (None, {}, "missing"),
        (numbered(3), {"levels": 2}, "levels=256 but the model has levels=2; binarize"),
        (numbered(3, levels=17), {}, "levels=17 but the model has levels=256"),
        (numbered(3).examples, {"num_classes": 10}, "num_classes=10 but the data carry no labels"),
        (numbered(3), {"num_classes": 2}, "0 … 1; found 0 … 2"),
        ((1, 2, 3), {}, "got 3 parts"),
        ((numbered(3).examples, np.ones([3, 4])), {"num_classes": 4},
         "num_classes=4 but the data carry vectors of 4 numbers"),
        ((numbered(3).examples, np.ones(3)), {"num_classes": 4}, r"must be integers \(3,\), or floating.*float64"),
        (numbered(3), {"condition_dim": 2}, "condition_dim=2 but the data carry class labels"),
        (numbered(3).examples, {"condition_dim": 2}, "condition_dim=2 but the data carry no labels"),
        ((numbered(3).examples, [0.5, 1, 2]), {"condition_dim": 1}, r"vectors of shape \(3, 1\).* of shape \(3,\)"),
        ((numbered(3).examples, [["a"]] * 3), {"condition_dim": 1}, "got <U1 of shape"),
        ((numbered(3).examples, [[1e60]] * 3), {"condition_dim": 1}, "must be finite; that of example 0 is not"),
        (numbered(3), {"num_classes": 3, "condition_dim": 2}, "either num_classes or condition_dim; got 3 and 2"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused_in_words(given, options, words):
    with pytest.raises(ValueError, match=words):
        as_dataset(given, **{**EXPECTED, **options})


def test_labels_twice_are_refused():
    with pytest.raises(ValueError, match="carries its labels itself"):
        as_dataset(numbered(3), [0, 1, 2], **EXPECTED)


def test_condition_vectors_of_any_kind_of_number_become_float32():
    x, c = numbered(5).examples, np.arange(10).reshape(5, 2)
    data = Dataset(x, c.astype(np.float32), 256)
    for y in (c, c.tolist(), c.astype(np.float64), tf.constant(c), np.asfortranarray(c)):
        given = as_dataset(x, y, **EXPECTED, condition_dim=2)
        assert given.labels.dtype == np.float32 and given.fingerprint() == data.fingerprint()
    assert as_dataset(data, **EXPECTED, condition_dim=2) is data
    assert as_dataset(data, **EXPECTED).labels is None


# Streams


def source(num=10, batch=None):
    data = numbered(num)
    stream = tf.data.Dataset.from_tensor_slices((data.examples.astype(np.int32), data.labels.astype(np.int64)))
    return stream.batch(batch) if batch else stream


@pytest.mark.parametrize("batch", [None, 3, 4, 16])
def test_streams_are_rebatched(batch):
    stream = as_dataset(source(batch=batch), **EXPECTED, num_classes=3)
    assert isinstance(stream, Stream) and stream.labelled
    got = first(batches(stream, 4, seed=0), 5)
    assert [len(x) for x, _ in got] == [4] * 5 and got[0][0].dtype == np.uint8 and got[0][1].dtype == np.int32
    assert np.concatenate([index_of(x) for x, _ in got]).tolist() == list(range(10)) * 2
    assert equal(first(batches(stream, 4, seed=0, start=2), 3), got[2:])
    evaluated = list(once(stream, 4))
    assert [len(x) for x, _ in evaluated] == [4, 4, 2]
    assert np.concatenate([y for _, y in evaluated]).tolist() == [i % 3 for i in range(10)]
    assert as_dataset(stream, **EXPECTED, num_classes=3) is stream


def test_streams_drop_labels_that_the_model_does_not_use():
    stream = as_dataset(source(), **EXPECTED)
    assert not stream.labelled
    assert batches(stream, 4, seed=0).element_spec.shape.as_list() == [4, 2, 2, 1]
    assert len(stream.fingerprint()) == 8
    labelled = as_dataset(source(), **EXPECTED, num_classes=3)
    assert not as_dataset(labelled, **EXPECTED).labelled


def vectors(y):
    return tf.stack([tf.cast(y, tf.float64), 0.5 * tf.cast(y, tf.float64)], -1)


@pytest.mark.parametrize("batch", [None, 3])
def test_streams_of_condition_vectors(batch):
    dataset = source(batch=batch).map(lambda x, y: (x, vectors(y)))
    stream = as_dataset(dataset, **EXPECTED, condition_dim=2)
    assert stream.labelled and as_dataset(stream, **EXPECTED, condition_dim=2) is stream
    for got in (first(batches(stream, 4, seed=0), 5), list(once(stream, 4))):
        for x, y in got:
            assert y.dtype == np.float32
            np.testing.assert_array_equal(y, np.outer(index_of(x) % 3, [1, 0.5]))
    assert batches(stream, 4, seed=0).element_spec[1].shape == [4, 2]
    plain = as_dataset(stream, **EXPECTED)
    assert not plain.labelled and plain.fingerprint() != stream.fingerprint()
    for other in ({"num_classes": 3}, {"condition_dim": 3}):
        with pytest.raises(ValueError, match="labels must be"):
            as_dataset(stream, **EXPECTED, **other)


@pytest.mark.parametrize(
    ("stream", "options", "words"),
    [
        (source(), {"event_shape": (3, 3, 1)}, r"shape \(2, 2, 1\) an example"),
        (source(), {"event_shape": (2,)}, "known rank"),
        (source(), {"levels": None}, "levels=None"),
        (source().map(lambda x, y: tf.cast(x, tf.float32)), {}, "float32 but the model has levels=256"),
        (source().map(lambda x, y: x), {"num_classes": 3}, "no labels"),
        (source().map(lambda x, y: (x, tf.one_hot(y, 3))), {"num_classes": 3}, "labels must be integers"),
        (source().map(lambda x, y: x), {"condition_dim": 3}, "condition_dim=3 but the data carry no labels"),
        (source(), {"condition_dim": 3}, r"condition_dim=3: labels must be real vectors \(3,\)"),
        (source(batch=3), {"condition_dim": 3}, r"labels must be real vectors \(3,\)"),
        (source().map(lambda x, y: (x, vectors(y) > 0)), {"condition_dim": 2}, "labels must be real vectors"),
        (source().map(lambda x, y: (x, y, y)), {}, "3 parts"),
        (source().map(lambda x, y: {"x": x}), {}, "must yield tensors"),
        (source().take(0), {}, "empty"),
    ],
)
def test_streams_are_checked_by_their_form(stream, options, words):
    with pytest.raises(ValueError, match=words):
        as_dataset(stream, **{**EXPECTED, **options})


def test_streams_are_checked_as_they_arrive():
    bright = source().map(lambda x, y: (x + 300, y))
    with pytest.raises(tf.errors.InvalidArgumentError, match="pixels must lie"):
        next(iter(batches(as_dataset(bright, **EXPECTED), 4, seed=0)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must lie"):
        next(iter(batches(as_dataset(source(), **EXPECTED, num_classes=2), 4, seed=0)))
    broken = source().map(lambda x, y: (x, vectors(y) / 0.0))
    with pytest.raises(tf.errors.InvalidArgumentError, match="condition vectors must be finite"):
        next(iter(batches(as_dataset(broken, **EXPECTED, condition_dim=2), 4, seed=0)))
    points = tf.data.Dataset.from_tensors([1.0, float("nan")])
    with pytest.raises(tf.errors.InvalidArgumentError, match="finite"):
        next(iter(batches(as_dataset(points, event_shape=(2,), levels=None), 1, seed=0)))


def test_an_endless_stream_cannot_be_evaluated():
    with pytest.raises(ValueError, match="has none"):
        once(as_dataset(source().repeat(), **EXPECTED), 4)
