"""The sets that are known by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from genmodels.data.dataset import Dataset
from genmodels.data.files import read_npz
from genmodels.data.splits import Splits, hold_out

DIGITS_TEST = 0.2
DIGITS_SEED = 0  # the test set is the same whatever the caller's seed

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
    "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree",
    "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree",
    "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
    "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe",
    "whale", "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

AMAT = "binarized_mnist_{}.amat"  # Larochelle's files

# name → (class names, where Keras keeps the file below its root)
KERAS = {
    "mnist": (DIGITS, "datasets/mnist.npz"),
    "fashion_mnist": (CLOTHES, "datasets/fashion-mnist/*.gz"),
    "cifar10": (CIFAR10, "datasets/cifar-10-batches-py-target_archive"),
    "cifar100": (CIFAR100, "datasets/cifar-100-python-target_archive"),
}


def place(name: str) -> str:
    """Where a named set lies: "built in", a path that is there, or where one was looked for and none is.

    Args:
        name: of `data_names()`.

    Returns:
        Text; a missing file's begins with "missing: ".

    Example:
        >>> place("digits")
        'built in'
    """
    if name == "binarized_mnist":
        folder = os.environ.get("GENMODELS_DATA")
        path = _binarized_mnist_in(folder or "$GENMODELS_DATA")
        return str(path) if folder and path.exists() else f"missing: {path}"
    if name not in KERAS:
        return "built in"
    root = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    found = sorted(root.glob(KERAS[name][1]))
    if not found:
        return f"missing: {root / KERAS[name][1]} (downloaded at first use)"
    return str(found[0] if len(found) == 1 else found[0].parent)


def digits(test_fraction: float | None) -> Splits:
    """The 1797 handwritten digits that come with scikit-learn: (8, 8, 1), 17 levels, 10 classes.

    Args:
        test_fraction: the part set apart, always the same images for the same fraction (None: a fifth).

    Returns:
        Splits without valid.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = found.images.astype(np.uint8)[..., None]  # [1797, 8, 8, 1]
    data = Dataset(images, found.target, 17, "digits", DIGITS)
    return Splits(*hold_out(data, DIGITS_TEST if test_fraction is None else test_fraction, DIGITS_SEED))


def keras_set(name: str) -> Splits:
    """A set of `keras.datasets`, from its cache or, where there is a network, downloaded.

    Args:
        name: a key of `KERAS`.

    Returns:
        Splits without valid.

    Raises:
        FileNotFoundError: Keras has no such file and cannot download it; the text says where it looks.
    """
    import keras

    classes, place = KERAS[name]
    try:
        parts = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise FileNotFoundError(f"{name} is not at hand: Keras looks for {place} below $KERAS_HOME, as it was "
                                "when Keras was imported (default ~/.keras), and could not download it: "
                                f"{error}") from None  # fmt: skip

    def dataset(x, y):
        return Dataset(x if x.ndim == 4 else x[..., None], np.reshape(y, -1), 256, name, classes)

    return Splits(*(dataset(x, y) for x, y in parts))


def binarized_mnist(path=None) -> Splits:
    """Larochelle's static binarization of MNIST (Larochelle and Murray 2011): (28, 28, 1), 2 levels, no labels.

    The test split is sorted by class: evaluate on all of it, or on a random part.

    Args:
        path: of the folder that holds the three files as they were published, `binarized_mnist_train.amat`,
            `…_valid.amat` and `…_test.amat`; or of an `.npz` file of uint8 `train`, `valid` and `test`, whose rows are
            the 784 bits of an image packed by `np.packbits`. None: `binarized_mnist.npz` in `$GENMODELS_DATA`, or else
            the three files there.

    Returns:
        The official splits: 50 000 train, 10 000 test, 10 000 valid.

    Raises:
        FileNotFoundError: there are no such files.
        ValueError: they hold something else.
    """
    wanted = (f"{AMAT.format('{train,valid,test}')} as they were published, or binarized_mnist.npz with uint8 `train` "
              "(50000, 98), `valid` (10000, 98) and `test` (10000, 98), the 784 bits of each image packed by "
              "np.packbits")  # fmt: skip
    if path is None and not os.environ.get("GENMODELS_DATA"):
        raise FileNotFoundError(f"binarized_mnist needs {wanted}: give `path`, or set the environment variable "
                                "GENMODELS_DATA to the folder that holds them.")  # fmt: skip
    path = _binarized_mnist_in(os.environ["GENMODELS_DATA"]) if path is None else Path(path)
    if path.is_dir():
        bits = (_bits_of_text(path / AMAT.format(split), wanted) for split in ("train", "test", "valid"))
    elif path.is_file():
        bits = _bits_of_npz(path, wanted)
    else:
        raise FileNotFoundError(f"binarized_mnist needs {wanted}; there is no file {path}.")
    return Splits(*(Dataset(part.reshape(-1, 28, 28, 1), None, 2, "binarized_mnist") for part in bits))


def _binarized_mnist_in(folder):
    """The .npz file in a folder, or the folder itself where it holds the text files instead."""
    path = Path(folder, "binarized_mnist.npz")
    return Path(folder) if not path.is_file() and Path(folder, AMAT.format("train")).is_file() else path


def _bits_of_text(path, wanted):
    if not path.is_file():
        raise FileNotFoundError(f"binarized_mnist needs {wanted}; there is no file {path}.")
    letters = np.fromfile(path, np.uint8)
    digits = (letters == ord("0")) | (letters == ord("1"))
    others = set(letters[~digits].tolist())
    if digits.sum() == 0 or digits.sum() % 784 or not others <= set(b" \t\r\n"):
        raise ValueError(f"{path} must hold 784 digits, 0 or 1, with spaces, for each picture; it holds other things.")
    return letters[digits] - ord("0")


def _bits_of_npz(path, wanted):
    splits = ("train", "test", "valid")
    arrays, names = read_npz(path, set(splits))
    for split in splits:
        if split not in arrays:
            raise ValueError(f"{path} must be {wanted}; it holds {', '.join(names)}.")
        if arrays[split].dtype != np.uint8 or arrays[split].shape[1:] != (98,):
            found = f"{arrays[split].dtype} {arrays[split].shape}"
            raise ValueError(f"{path} must be {wanted}; its `{split}` is {found}.")
    return (np.unpackbits(arrays[split], axis=1) for split in splits)
