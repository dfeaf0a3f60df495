"""The Dataset, and the order in which training reads it."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from genmodels.data import Augment, Dataset, batches, once
from genmodels.data.splits import hold_out


def numbered(num, levels=256, **options):
    """Images of 2×2×1 whose first two pixels spell their index."""
    examples = np.zeros([num, 2, 2, 1], np.uint8)
    examples[:, 0, 0, 0], examples[:, 0, 1, 0] = np.divmod(np.arange(num), levels)
    return Dataset(examples, np.arange(num) % 3, levels, **options)


def index_of(batch):
    batch = np.asarray(batch, int)
    return batch[:, 0, 0, 0] * 256 + batch[:, 0, 1, 0]


def first(dataset, num):
    return [tuple(np.asarray(part) for part in element) for element in itertools.islice(dataset, num)]


def equal(left, right):
    return len(left) == len(right) and all(
        np.array_equal(a, b) for x, y in zip(left, right) for a, b in zip(x, y)
    )  # fmt: skip


def test_every_epoch_is_a_permutation_of_its_own():
    data = numbered(300)
    order = np.concatenate([index_of(x) for x, _ in first(batches(data, 50, seed=3), 24)]).reshape(4, 300)
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(300), (4, 1)))
    other = np.concatenate([index_of(x) for x, _ in first(batches(data, 50, seed=4), 6)])
    for a, b in itertools.combinations([*order, other, np.arange(300)], 2):
        assert np.mean(a == b) < 0.05  # 1/300 by chance


def test_batches_straddle_epochs_and_keep_their_labels():
    data = numbered(10)
    got = first(batches(data, 7, seed=0), 10)
    assert all(x.shape == (7, 2, 2, 1) and x.dtype == np.uint8 for x, _ in got)
    assert all(np.array_equal(y, index_of(x) % 3) and y.dtype == np.int32 for x, y in got)
    assert np.bincount(np.concatenate([index_of(x) for x, _ in got])).tolist() == [7] * 10


def test_batches_may_be_larger_than_the_data():
    x, _ = first(batches(numbered(3), 12, seed=0), 1)[0]
    assert np.bincount(index_of(x)).tolist() == [4, 4, 4]


def test_one_example_is_enough():
    assert index_of(first(batches(numbered(1), 2, seed=0), 1)[0][0]).tolist() == [0, 0]


def test_every_place_sees_every_example_equally_often():
    # Chi-square of the first place over 3000 epochs; index_shuffle, seeded by the epoch, fails it.
    order = np.concatenate([index_of(x) for x, _ in first(batches(numbered(20), 1000, seed=1), 60)])
    counts = np.bincount(order.reshape(3000, 20)[:, 0], minlength=20)
    assert np.sum((counts - 150) ** 2 / 150) < 45  # 19 expected; 43.8 is the 0.1 % point


@pytest.mark.parametrize("kind", ["plain", "varied", "memmap"])
def test_resuming_at_a_batch_continues_bit_for_bit(kind, tmp_path):
    rng = np.random.default_rng(0)
    examples = rng.integers(0, 256, [45, 6, 6, 3], dtype=np.uint8)
    if kind == "memmap":
        np.save(tmp_path / "x.npy", examples)
        examples = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = Dataset(examples, rng.integers(0, 3, 45), 256)
    if kind == "varied":
        data = data.augmented(flip=True, shift=2, brightness=0.2, contrast=0.2, saturation=0.2).binarized("dynamic")
    whole = first(batches(data, 8, seed=5), 80)
    for start in (1, 32, 37, 64):
        assert equal(first(batches(data, 8, seed=5, start=start), 80 - start), whole[start:])
    assert not equal(first(batches(data, 8, seed=6), 80), whole)


def test_seeds_are_told_apart_beyond_32_bits():
    data = numbered(64)
    orders = [tuple(index_of(first(batches(data, 64, seed=s), 1)[0][0])) for s in (1, 1 + 2**32, 1 - 2**62, -1)]
    assert len(set(orders)) == 4


def test_a_memory_map_gives_what_the_array_gives(tmp_path):
    data = numbered(100)
    np.save(tmp_path / "x.npy", data.examples)
    mapped = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), data.labels, 256)
    assert isinstance(mapped.take(50).examples, np.memmap)
    assert equal(first(batches(mapped, 8, seed=0), 20), first(batches(data, 8, seed=0), 20))
    assert equal(list(once(mapped, 8)), list(once(data, 8)))


def test_batch_shapes_are_static():
    data = numbered(10)
    assert [spec.shape.as_list() for spec in batches(data, 4, seed=0).element_spec] == [[4, 2, 2, 1], [4]]
    assert [spec.shape.as_list() for spec in once(data, 4).element_spec] == [[None, 2, 2, 1], [None]]
    dynamic = Dataset(data.examples, None, 256).binarized("dynamic")
    assert batches(dynamic, 4, seed=0).element_spec.shape.as_list() == [4, 2, 2, 1]
    assert once(dynamic, 4).element_spec.shape.as_list() == [None, 2, 2, 1]


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_once_covers_all_in_order(batch_size):
    data = numbered(130).augmented(flip=True)
    got = list(once(data, batch_size))
    assert [len(x) for x, _ in got][:-1] == [batch_size] * (math.ceil(130 / batch_size) - 1)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in got]), data.examples)
    np.testing.assert_array_equal(np.concatenate([y for _, y in got]), data.labels)


def test_once_binarizes_the_same_whatever_the_batch_size():
    grey = Dataset(np.random.default_rng(0).integers(0, 256, [150, 4, 4, 1], dtype=np.uint8), None, 256)
    data = grey.binarized("dynamic")
    passes = [np.concatenate(list(once(data, size, seed=2))) for size in (1, 7, 64, 100, 1000)]
    assert all(np.array_equal(passes[0], other) for other in passes[1:])
    assert not np.array_equal(passes[0], np.concatenate(list(once(data, 64, seed=3))))


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_pixels_are_one_as_often_as_they_are_bright(how):
    values = np.repeat(np.array([0, 1, 4, 8, 15, 16], np.uint8), 4000)
    data = Dataset(np.tile(values, (3, 1)), None, 17).binarized(how)
    assert data.levels == 2
    draws = np.stack(first(batches(data, 3, seed=0), 1)[0]) if how == "dynamic" else data.examples
    means = draws.reshape(3, 6, 4000).mean((0, 2))
    deviation = np.sqrt(values[::4000] / 16 * (1 - values[::4000] / 16) / 12000)
    assert np.all(np.abs(means - values[::4000] / 16) <= 4 * deviation)
    assert set(np.unique(draws)) == {0, 1}


def test_dynamic_binarization_differs_between_visits_and_static_does_not():
    grey = Dataset(np.full([8, 5, 5, 1], 128, np.uint8), None, 256)
    x, y = (np.stack(list(itertools.islice(batches(grey.binarized("dynamic"), 8, seed=0), 2))))
    assert 0.3 < np.mean(x != y) < 0.7
    assert grey.binarized("static").name == f"{grey.name}, statically binarized"
    static = grey.binarized("static", seed=1).examples
    assert np.array_equal(static, grey.binarized("static", seed=1).examples)
    assert not np.array_equal(static, grey.binarized("static", seed=2).examples)


# Augmentation


def visits(num=400, **changes):
    """A picture with every pixel different, and what training makes of it."""
    image = np.random.default_rng(0).permutation(np.arange(6 * 6 * 3, dtype=np.uint8)).reshape(6, 6, 3) + 20
    data = Dataset(np.repeat(image[None], num, 0), None, 128).augmented(**changes)
    return image, next(iter(batches(data, num, seed=0))).numpy()


def test_half_of_the_images_are_mirrored():
    image, seen = visits(flip=True)
    mirrored = (seen == image[:, ::-1]).all((1, 2, 3))
    assert np.array_equal(mirrored, ~(seen == image).all((1, 2, 3)))
    assert 150 < mirrored.sum() < 250


def test_a_shift_moves_the_content_and_repeats_the_edge():
    image, seen = visits(shift=2)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "edge")
    moves = {(i, j): padded[i : i + 6, j : j + 6] for i in range(5) for j in range(5)}
    found = [next(move for move, moved in moves.items() if np.array_equal(moved, x)) for x in seen]
    assert set(found) == set(moves)  # all 25 moves occur, and nothing else


def test_mirror_and_shift_together():
    image, seen = visits(shift=1, flip=True)
    allowed = [np.pad(x, ((1, 1), (1, 1), (0, 0)), "edge") for x in (image, image[:, ::-1])]
    allowed = {p[i : i + 6, j : j + 6].tobytes() for p in allowed for i in range(3) for j in range(3)}
    assert {x.tobytes() for x in seen} == allowed


def test_jitter_keeps_type_and_range():
    _, seen = visits(brightness=0.9, contrast=0.9, saturation=0.9)
    assert seen.dtype == np.uint8
    assert seen.max() <= 127
    assert len({x.tobytes() for x in seen}) > 300


def test_each_jitter_does_what_it_says():
    image, seen = visits(brightness=0.1)  # at most 12.7 of 127, nothing clipped upward beyond 20 … 127
    shifts = seen.astype(int) - image
    inside = (shifts.min((1, 2, 3)) == shifts.max((1, 2, 3)))[image.max() + shifts.max((1, 2, 3)) < 127]
    assert inside.all() and np.abs(shifts).max() <= 13 and shifts.std() > 3
    image, seen = visits(contrast=0.2)
    ratio = (seen - image.mean()).std((1, 2, 3)) / image.std()
    assert 0.79 < ratio.min() < 0.85 and 1.1 < ratio.max() < 1.21
    image, seen = visits(saturation=0.5)
    grey = (image @ [0.299, 0.587, 0.114])[..., None]
    inside = (seen > 0) & (seen < 127)
    scale = (inside * (seen - grey) * (image - grey)).sum((1, 2, 3)) / (inside * (image - grey) ** 2).sum((1, 2, 3))
    off = seen - grey - scale[:, None, None, None] * (image - grey)
    assert np.abs(off[inside]).max() < 1.2  # rounding, of the pixel and in the scale
    assert 0.49 < scale.min() < 0.55 and 1.45 < scale.max() < 1.51


def test_real_valued_images_may_be_mirrored_and_shifted():
    data = Dataset(np.random.default_rng(0).normal(size=[4, 5, 5, 1]).astype(np.float32), None, None)
    seen = next(iter(batches(data.augmented(flip=True, shift=1), 64, seed=0)))
    assert seen.dtype == tf.float32 and set(np.unique(seen)) <= set(np.unique(data.examples))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shift": 6}, "out of sight"),
        ({"shift": -1}, "integer ≥ 0"),
        ({"shift": 1.5}, "integer ≥ 0"),
        ({"brightness": -0.1}, "fraction from 0 to 1"),
        ({"contrast": float("nan")}, "fraction from 0 to 1"),
        ({"rotate": 3}, "augmentation knows"),
    ],
)
def test_augmentation_refuses(changes, words):
    with pytest.raises(ValueError, match=words):
        visits(**changes)


def test_augmentation_refuses_what_is_no_image():
    with pytest.raises(ValueError, match="needs images"):
        Dataset(np.zeros([3, 2], np.float32), None, None).augmented(flip=True)
    with pytest.raises(ValueError, match="RGB"):
        numbered(3).augmented(saturation=0.5)
    with pytest.raises(ValueError, match="levels=None"):
        Dataset(np.zeros([3, 4, 4, 1], np.float32), None, None).augmented(contrast=0.5)


# The Dataset


def test_take_and_subset():
    data = numbered(20, classes=("a", "b", "c"))
    assert index_of(data.take(5).examples).tolist() == [0, 1, 2, 3, 4]
    assert len(set(index_of(data.take(5, seed=1).examples))) == 5
    assert index_of(data.take(5, seed=1).examples).tolist() != [0, 1, 2, 3, 4]
    part = data.subset([7, 3])
    assert index_of(part.examples).tolist() == [7, 3] and part.labels.tolist() == [1, 0]
    assert len(data.subset(data.labels == 2)) == 6
    assert data.num_classes == 3 and data.event_shape == (2, 2, 1) and len(data) == 20
    assert repr(data) == "Dataset('data', 20 × (2, 2, 1), levels=256, 3 classes)"


def test_labels_may_be_vectors(tmp_path):
    plain = numbered(100)
    vectors = np.stack([np.arange(100), np.arange(100) / 7], 1)  # of example i: (i, i / 7)
    data = Dataset(plain.examples, vectors, 256)
    assert data.labels.dtype == np.float32 and data.condition_dim == 2 and data.num_classes is None
    assert plain.condition_dim is None and Dataset(plain.examples, None, 256).condition_dim is None
    assert repr(data) == "Dataset('data', 100 × (2, 2, 1), levels=256, condition_dim=2)"
    np.save(tmp_path / "x.npy", data.examples)
    mapped = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), data.labels, 256)
    train, test = hold_out(data, 0.2, seed=0)
    assert len(train) == 80 and sorted([*index_of(train.examples), *index_of(test.examples)]) == list(range(100))
    whole = first(batches(data, 8, seed=0), 14)
    assert equal(first(batches(data, 8, seed=0, start=5), 9), whole[5:])
    assert equal(first(batches(mapped, 8, seed=0), 14), whole)
    assert all(np.array_equal(x, y) for (x, _), (y, _) in zip(whole, first(batches(plain, 8, seed=0), 14)))
    parts = [(part.examples, part.labels) for part in (train, test, data.take(9, seed=1), data.binarized("dynamic"))]
    for x, y in [*whole, *once(mapped, 30), *parts]:
        np.testing.assert_array_equal(y, vectors.astype(np.float32)[index_of(x)])


def test_fingerprints_tell_contents_apart(tmp_path):
    data = numbered(500)
    changed = data.examples.copy()
    changed[250, 1, 1, 0] = 9
    np.save(tmp_path / "x.npy", data.examples)
    mapped = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), data.labels, 256)
    prints = [
        data.fingerprint(),
        Dataset(changed, data.labels, 256).fingerprint(),
        Dataset(data.examples, None, 256).fingerprint(),
        data.binarized("dynamic").fingerprint(),
        data.augmented(flip=True).fingerprint(),
        data.take(499).fingerprint(),
        mapped.fingerprint(),
        mapped.take(499).fingerprint(),
        Dataset(data.examples, np.zeros(500, int), 256).fingerprint(),
        Dataset(data.examples, np.zeros([500, 1]), 256).fingerprint(),
        Dataset(data.examples, np.eye(500)[:, :1], 256).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert numbered(500, name="other").fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("examples", "labels", "options", "words"),
    [
        ([[1]], None, {"levels": 2}, "must be a numpy array; got list"),
        (np.array([[None]]), None, {"levels": 2}, "must be uint8 where levels=2; got object"),
        (np.zeros([2, 2]), None, {"levels": None}, "must be float32 where levels=None; got float64"),
        (np.zeros([2, 2], np.int64), None, {"levels": 256}, "must be uint8"),
        (np.zeros([2], np.uint8), None, {"levels": 256}, r"\[N, \*event_shape\]; got shape \(2,\)"),
        (np.zeros([0, 2], np.uint8), None, {"levels": 256}, "no examples"),
        (np.full([2, 2], 17, np.uint8), None, {"levels": 17}, r"must lie in 0 … 16 .* found 17"),
        (np.array([[0, 1], [0, np.nan]], np.float32), None, {"levels": None}, "example 1 holds NaN"),
        (np.zeros([2, 2], np.uint8), None, {"levels": 1}, "integer from 2 to 256, or None .* got 1"),
        (np.zeros([2, 2], np.uint8), None, {"levels": 2.0}, "integer from 2 to 256"),
        (np.zeros([2, 2], np.uint8), [0], {"levels": 2}, r"shape \(2,\), one an example; got \(1,\)"),
        (np.zeros([2, 2], np.uint8), [0, 0.5], {"levels": 2}, "labels must be integers"),
        (np.zeros([2, 2], np.uint8), [0, -1], {"levels": 2}, "found -1 … 0"),
        (np.zeros([2, 2], np.uint8), np.ones([3, 4]), {"levels": 2}, r"vectors of shape \(2, 4\).*shape \(3, 4\)"),
        (np.zeros([2, 2], np.uint8), np.ones([2, 0]), {"levels": 2}, r"vectors of shape \(2, 1\).*shape \(2, 0\)"),
        (np.zeros([2, 2], np.uint8), np.ones([2, 1, 1]), {"levels": 2}, r"labels must be integers \(2,\), or"),
        (np.zeros([2, 2], np.uint8), [[0.0], [np.nan]], {"levels": 2}, "finite; that of example 1 is not"),
        (np.zeros([2, 2], np.uint8), [[0.0], [1.0]], {"levels": 2, "classes": ("a", "b")}, "2 classes .* are vectors"),
        (np.zeros([2, 2], np.uint8), [0, 2], {"levels": 2, "classes": ("a", "b")}, "0 … 1; found 0 … 2"),
        (np.zeros([2, 2], np.uint8), None, {"levels": 2, "classes": ("a",)}, "no labels"),
        (np.zeros([2, 2], np.float32), None, {"levels": None, "dynamic": True}, "needs pixels"),
        (np.zeros([2, 2], np.uint8), None, {"levels": 2, "stored_levels": 9}, "only dynamic"),
    ],
)
def test_a_dataset_refuses(examples, labels, options, words):
    with pytest.raises(ValueError, match=words):
        Dataset(examples, labels, **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda data: data.take(0), "from 1 to 20"),
        (lambda data: data.take(21), "from 1 to 20"),
        (lambda data: data.subset([20]), "below 20"),
        (lambda data: data.subset([0.5]), "vector of integers"),
        (lambda data: data.subset([]), "vector of integers"),
        (lambda data: data.subset([True, False]), "2 booleans"),
        (lambda data: data.binarized("random"), "'static' or 'dynamic'"),
        (lambda data: data.binarized("static").binarized("static"), "binary already"),
        (lambda data: batches(data, 0, seed=0), "batch_size"),
        (lambda data: batches(data, 2, seed=2**63), "64 bits"),
        (lambda data: batches(data, 2, seed=0.5), "64 bits"),
        (lambda data: batches(data, 2, seed=0, start=-1), "start"),
        (lambda data: once(data, 2.0), "batch_size"),
        (lambda data: Augment(flip=1), "`flip` must be True or False; got 1"),
    ],
)
def test_wrong_use_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(numbered(20))
