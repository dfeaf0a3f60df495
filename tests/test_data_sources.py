"""Named sets, `.npz` files, and what is said where they are missing."""

import keras
import numpy as np
import pytest

from genmodels.data import data_names, load_data, load_test, place
from genmodels.data.splits import stratified_order


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    train, test = load_data("digits")
    assert (len(train), len(test)) == (1438, 359)
    assert train.event_shape == (8, 8, 1) and train.levels == 17 and train.classes == tuple("0123456789")
    found = load_digits()
    pixels = {(image.astype(np.uint8).tobytes(), label) for image, label in zip(found.images, found.target)}
    assert {(x.tobytes(), y) for part in (train, test) for x, y in zip(part.examples, part.labels)} == pixels
    share = np.bincount(test.labels) / np.bincount(found.target)
    assert share.min() > 0.19 and share.max() < 0.21


def test_the_test_digits_do_not_depend_on_the_seed():
    first, second = load_data("digits", validation=True), load_data("digits", validation=True, seed=1)
    assert [len(part) for part in first] == [1294, 144, 359]
    assert first[2].fingerprint() == second[2].fingerprint() == load_data("digits")[1].fingerprint()
    assert first[1].fingerprint() != second[1].fingerprint()


def test_options_of_a_named_set():
    train, test = load_data("digits", size=16, channels=3, test_fraction=0.5)
    assert train.event_shape == (16, 16, 3) and len(test) == 898 and train.examples.max() == 16
    static = load_data("digits", binarize="static")
    assert static[0].levels == 2 and set(np.unique(static[0].examples)) == {0, 1}
    assert load_data("digits", binarize="static", validation=True)[2].fingerprint() == static[1].fingerprint()
    assert load_data("digits", binarize="dynamic")[0].dynamic


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("mnist", (28, 28), 10), ("fashion-mnist", (28, 28), 10), ("cifar10", (32, 32, 3), 10),
     ("CIFAR100", (32, 32, 3), 100)],
)  # fmt: skip
def test_keras_sets(monkeypatch, name, shape, classes):
    rng = np.random.default_rng(0)

    def load():
        def part(num):
            labels = np.arange(num, dtype=np.uint8) % classes
            return rng.integers(0, 256, [num, *shape], dtype=np.uint8), labels[:, None] if len(shape) == 3 else labels

        return part(400), part(100)

    module = getattr(keras.datasets, name.lower().replace("-", "_"))
    monkeypatch.setattr(module, "load_data", load)
    train, valid, test = load_data(name, validation=True)
    assert (len(train), len(valid), len(test)) == (360, 40, 100)
    assert train.event_shape == ((28, 28, 1) if len(shape) == 2 else shape)
    assert train.levels == 256 and train.num_classes == classes == len(set(train.classes))
    assert train.labels.dtype == np.int32 and train.labels.shape == (360,)


def test_keras_sets_without_a_network(monkeypatch):
    def load():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load)
    with pytest.raises(FileNotFoundError, match=r"datasets/mnist.npz below \$KERAS_HOME.*URL fetch failure"):
        load_data("mnist")


def packed(num, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2, [num, 784], dtype=np.uint8)
    return bits.reshape(num, 28, 28, 1), np.packbits(bits, axis=1)


def test_binarized_mnist_keeps_its_official_splits(tmp_path, monkeypatch):
    sizes = {"train": 50, "valid": 10, "test": 12}
    bits = {name: packed(num, num) for name, num in sizes.items()}
    np.savez(tmp_path / "binarized_mnist.npz", **{name: pack for name, (_, pack) in bits.items()})
    parts = load_data("binarized-mnist", path=tmp_path / "binarized_mnist.npz", validation=True)
    for name, part in zip(("train", "valid", "test"), parts):
        np.testing.assert_array_equal(part.examples, bits[name][0])
    assert parts[0].levels == 2 and parts[0].labels is None
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    assert [len(part) for part in load_data("binarized_mnist")] == [50, 12]


def test_all_of_a_source_is_test_data_unless_it_has_a_test_split_of_its_own(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20))
    np.savez(tmp_path / "split.npz", x_train=np.zeros([20, 2]), x_test=np.ones([5, 2]))
    whole = load_test(tmp_path / "whole.npz")
    order = np.argsort(whole.labels)
    np.testing.assert_array_equal(whole.labels[order], np.arange(20))
    np.testing.assert_array_equal(whole.examples[order], np.arange(40.0).reshape(20, 2))
    assert load_test(tmp_path / "split.npz").examples.tolist() == np.ones([5, 2]).tolist()
    assert load_test("digits").fingerprint() == load_data("digits")[1].fingerprint()


def test_binarized_mnist_reads_the_files_as_they_were_published(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    bits = {split: rng.integers(0, 2, (n, 784)) for split, n in (("train", 5), ("valid", 3), ("test", 2))}
    for split, rows in bits.items():
        np.savetxt(tmp_path / f"binarized_mnist_{split}.amat", rows, fmt="%d")
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    assert place("binarized_mnist") == str(tmp_path)
    parts = load_data("binarized_mnist", validation=True)
    for part, split in zip(parts, ("train", "valid", "test"), strict=True):
        np.testing.assert_array_equal(part.examples.reshape(-1, 784), bits[split])
    (tmp_path / "binarized_mnist_test.amat").write_text("0 1 0.5\n")
    with pytest.raises(ValueError, match="784 digits"):
        load_data("binarized_mnist")
    (tmp_path / "binarized_mnist_test.amat").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*test\.amat"):
        load_data("binarized_mnist")


def test_binarized_mnist_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.delenv("GENMODELS_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"\(50000, 98\).*give `path`, or set .* GENMODELS_DATA"):
        load_data("binarized_mnist")
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*binarized_mnist\.npz"):
        load_data("binarized_mnist")
    path = tmp_path / "binarized_mnist.npz"
    np.savez(path, train=packed(3)[1])
    with pytest.raises(ValueError, match="it holds train"):
        load_data("binarized_mnist")
    np.savez(path, train=packed(3)[1], test=np.zeros([3, 784], np.uint8), valid=packed(3)[1])
    with pytest.raises(ValueError, match=r"its `test` is uint8 \(3, 784\)"):
        load_data("binarized_mnist")
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"not a whole \.npz"):
        load_data("binarized_mnist")


def test_densities():
    train, test = load_data("two-moons", num=500, seed=3)
    assert train.examples.shape == test.examples.shape == (500, 2)
    assert train.examples.dtype == np.float32 and train.levels is None and train.labels is None
    parts = load_data("two_moons", num=500, seed=3, validation=True)
    assert len({part.fingerprint() for part in parts}) == 3
    assert parts[0].fingerprint() == train.fingerprint() and parts[2].fingerprint() == test.fingerprint()
    assert load_data("two_moons", num=500, seed=4)[0].fingerprint() != train.fingerprint()
    assert len(load_data("circles")[0]) == 20_000


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


IMAGES = np.random.default_rng(0).integers(0, 256, [40, 5, 4], dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.mark.parametrize(
    ("arrays", "lengths", "labelled"),
    [
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:8], "y_test": LABELS[:8]}, (36, 4, 8), True),
        ({"x_train": IMAGES, "x_test": IMAGES[:8]}, (36, 4, 8), False),
        ({"train": IMAGES, "test": IMAGES[:8], "valid": IMAGES[:6]}, (40, 6, 8), False),
        ({"x_train": IMAGES, "x_val": IMAGES[:6], "x_test": IMAGES[:8]}, (40, 6, 8), False),
        ({"examples": IMAGES, "labels": LABELS}, (32, 4, 4), True),
        ({"x": IMAGES[..., None], "y": LABELS[:, None], "other": LABELS}, (32, 4, 4), True),
        ({"images": IMAGES.astype(np.int64)}, (32, 4, 4), False),
        ({"train": IMAGES}, (32, 4, 4), False),
    ],
)
def test_npz_files(tmp_path, arrays, lengths, labelled):
    parts = load_data(saved(tmp_path, **arrays), validation=True)
    assert tuple(map(len, parts)) == lengths
    for part in parts:
        assert part.event_shape == (5, 4, 1) and part.levels == 256 and part.name == "set"
        assert part.examples.dtype == np.uint8 and (part.labels is not None) == labelled


def test_what_npz_numbers_mean(tmp_path):
    assert load_data(saved(tmp_path, x=np.random.default_rng(0).normal(size=[40, 3])))[0].levels is None
    assert load_data(saved(tmp_path, x=IMAGES > 100))[0].levels == 2
    assert load_data(saved(tmp_path, x=IMAGES // 32, levels=8))[0].levels == 8
    train, _ = load_data(saved(tmp_path, x=IMAGES, y=LABELS, classes=np.array(list("abcd"))), size=8)
    assert train.classes == tuple("abcd") and train.event_shape == (8, 8, 1)


def test_classes_of_an_npz_are_those_of_all_its_splits(tmp_path):
    zeros = np.zeros([10, 4, 4], np.uint8)
    np.savez(tmp_path / "few.npz", x_train=zeros, y_train=np.arange(10) % 3, x_test=zeros, y_test=np.arange(10) % 5)
    assert [part.num_classes for part in load_data(tmp_path / "few.npz")] == [5, 5]
    np.savez(tmp_path / "names.npz", x=zeros, y=np.arange(10) + 1_000_000_007)
    with pytest.raises(ValueError, match="go up to 1000000016"):
        load_data(tmp_path / "names.npz")


@pytest.mark.parametrize("dim", [1, 3])
def test_npz_labels_may_be_vectors(tmp_path, dim):
    x = np.arange(40.0)[:, None]
    parts = load_data(saved(tmp_path, x=x, y=x + np.arange(dim)), validation=True)
    assert tuple(map(len, parts)) == (32, 4, 4)
    for part in parts:
        assert part.condition_dim == dim and part.classes is None
        np.testing.assert_array_equal(part.labels, part.examples + np.arange(dim))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": IMAGES, "y": LABELS / 2}, r"labels must be integers \(40,\), or floating-point vectors"),
        ({"x": IMAGES, "y": np.ones([40, 2]), "classes": ["a", "b"]}, "2 classes are named but the labels are vectors"),
        ({"pictures": IMAGES, "tags": LABELS}, "it holds pictures, tags"),
        ({"x": np.array([None, "a"], object)}, "'x' .* cannot be read as an array.*allow_pickle"),
        ({"x": IMAGES, "y": LABELS[:-1]}, r"shape \(40,\)"),
        ({"x_train": IMAGES, "x_test": IMAGES[:, :-1]}, "different shapes"),
        ({"x_train": IMAGES, "x_test": IMAGES / 255}, "all integers or all floating-point"),
        ({"x": IMAGES.astype(int) * 2}, "0 … 255; found"),
        ({"x": IMAGES, "levels": 8}, "0 … 7; found"),
        ({"x": IMAGES, "levels": 1}, "integer from 2 to 256"),
        ({"x": IMAGES[:0]}, "no examples"),
        ({"x": np.array(["a", "b"])}, "all integers or all floating-point; got <U1"),
        ({"x": np.array([[1.0], [np.nan]])}, "finite"),
        ({"x": IMAGES[:1]}, "too few"),
    ],
)
def test_npz_files_that_cannot_be_loaded(tmp_path, arrays, words):
    with pytest.raises(ValueError, match=words):
        load_data(saved(tmp_path, **arrays))


def test_a_test_fraction_needs_a_set_without_a_test_split(tmp_path):
    with pytest.raises(ValueError, match="test split of its own"):
        load_data(saved(tmp_path, train=IMAGES, test=IMAGES), test_fraction=0.5)
    assert len(load_data(saved(tmp_path, x=IMAGES), test_fraction=0.5)[1]) == 20


def test_unknown_sources(tmp_path):
    with pytest.raises(ValueError, match=r"no data are called 'minst', .*Did you mean 'mnist'\? There are .*digits"):
        load_data("minst")
    with pytest.raises(ValueError, match=r"no folder or \.npz file"):
        load_data(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"no folder or \.npz file"):
        load_data("nothing.npz")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"neither a folder of pictures nor an \.npz"):
        load_data(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="got ndarray"):
        load_data(IMAGES)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("digits", {"num": 5}),
        ("digits", {"path": "x"}),
        ("digits", {"strict": True}),
        ("mnist", {"test_fraction": 0.1}),
        ("binarized_mnist", {"binarize": "static"}),
        ("circles", {"binarize": "static"}),
        ("circles", {"size": 8}),
    ],
)
def test_options_that_do_not_apply_are_refused(source, options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` does not apply to '{source}'"):
        load_data(source, **options)


def test_names():
    assert data_names() == sorted(data_names())
    assert {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "binarized_mnist", "two_moons"} <= set(
        data_names()
    )


def test_every_stretch_of_a_stratified_order_is_a_sample():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = stratified_order(labels, 1000, 0)
    assert sorted(order) == list(range(1000))
    for start in range(0, 1000, 100):
        counts = np.bincount(labels[order[start : start + 100]], minlength=3)
        assert np.abs(counts - [60, 30, 10]).max() <= 2
    assert not np.array_equal(order, stratified_order(labels, 1000, 1))
    assert sorted(stratified_order(None, 50, 0)) == list(range(50))
