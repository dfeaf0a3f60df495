"""`load_data`: one door to named sets, synthetic densities, `.npz` files and folders of pictures."""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path

import numpy as np

from genmodels.data import synthetic
from genmodels.data.dataset import Dataset
from genmodels.data.files import load_npz
from genmodels.data.folder import load_folder
from genmodels.data.named import KERAS, binarized_mnist, digits, keras_set
from genmodels.data.pictures import as_size, conform
from genmodels.data.splits import VALIDATION, Splits, hold_out, part_size

TEST = 0.1  # set apart where a source has no test split
POINTS = 20_000  # of a synthetic density, in each split
ROLES = ("train", "valid", "test")  # a split's place here enters its seeds

# Which options a kind of source understands; another one is refused rather than ignored.
PICTURES = {"size", "channels", "binarize"}
OPTIONS = {
    "digits": PICTURES | {"test_fraction"},
    "keras": PICTURES,
    "binarized_mnist": {"size", "channels", "path"},
    "density": {"num"},
    "npz": PICTURES | {"test_fraction"},
    "folder": PICTURES | {"test_fraction", "strict"},
}


def data_names() -> list[str]:
    """The names that `load_data` knows.

    Returns:
        A sorted list.

    Example:
        >>> "mnist" in data_names()
        True
    """
    return sorted(["digits", "binarized_mnist", *KERAS, *synthetic.DENSITIES])


def load_data(
    source,
    *,
    size=None,
    channels: int | None = None,
    binarize: str | None = None,
    validation: bool = False,
    path=None,
    test_fraction: float | None = None,
    num: int | None = None,
    seed: int = 0,
    strict: bool = False,
) -> tuple[Dataset, ...]:
    """Loads data and their splits.

    Args:
        source: a name of `data_names()`; a folder of pictures, whose subfolders are classes; or an `.npz` file.
        size: of pictures, in pixels or (height, width): the short side is resized, then the centre cut out.
        channels: 1 for grey, 3 for RGB; None keeps a set's own, and means 3 for a folder.
        binarize: "static" or "dynamic", see `Dataset.binarized`.
        validation: give a validation split too: the set's own, else a seeded tenth of train.
        path: of the file of "binarized_mnist", or of the folder of its three text files.
        test_fraction: the part set apart where there is no test split (None: 0.1; "digits": 0.2).
        num: points in each split of a synthetic density (None: 20 000).
        seed: of splits, of static binarization and of synthetic points. The test set of "digits" is fixed.
        strict: refuse a folder with pictures that cannot be read, instead of leaving them out with a warning.

    Returns:
        (train, test), or (train, validation, test) where validation is set.

    Raises:
        ValueError: an unknown source, an option that the source does not have, or data that are not as described.
        FileNotFoundError: a known set whose file is not there; the text says where it should be.

    Example:
        >>> train, test = load_data("digits")
        >>> train
        Dataset('digits', 1438 × (8, 8, 1), levels=17, 10 classes)
    """
    given = {"size": size, "channels": channels, "binarize": binarize, "path": path,
             "test_fraction": test_fraction, "num": num, "strict": strict or None}  # fmt: skip
    kind, place = _resolve(source)
    for option, value in given.items():
        if value is not None and option not in OPTIONS[kind]:
            raise ValueError(f"`{option}` does not apply to {str(source)!r}, which takes "
                             f"{', '.join(sorted(OPTIONS[kind]))}.")  # fmt: skip
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be an integer ≥ 0; got {seed!r}.")
    size = as_size(size)
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be 1 (grey) or 3 (RGB); got {channels!r}.")
    if binarize not in (None, "static", "dynamic"):
        raise ValueError(f"`binarize` must be 'static' or 'dynamic'; got {binarize!r}.")
    if test_fraction is not None:
        part_size(1 << 30, test_fraction)  # refuses what is no fraction before any work

    if kind == "density":
        return _points(place, POINTS if num is None else num, seed, validation)
    if kind == "folder":
        splits = load_folder(place, size, channels, seed, strict)
    elif kind == "npz":
        splits = load_npz(place)
    elif kind == "digits":
        splits = digits(test_fraction)
    elif kind == "binarized_mnist":
        splits = binarized_mnist(path)
    else:
        splits = keras_set(place)
    if splits.test is not None and kind == "npz" and test_fraction is not None:
        raise ValueError(f"{place} has a test split of its own; `test_fraction` does not apply.")
    parts = _divided(splits, test_fraction or TEST, seed, validation)
    if kind != "folder":
        parts = {role: _conformed(part, size, channels) for role, part in parts.items()}
    if binarize:
        parts = {role: part.binarized(binarize, seed + ROLES.index(role)) for role, part in parts.items()}
    return tuple(parts.values())


def load_test(source, **options) -> Dataset:
    """The test split of a source that has one of its own; of another all that it holds.

    Args:
        source: as of `load_data`.
        **options: as of `load_data`, but for `validation`.

    Raises:
        ValueError: as `load_data`.
        FileNotFoundError: as `load_data`.

    Example:
        >>> np.savez("points.npz", x=np.random.randn(100, 2))
        >>> len(load_test("points.npz")), len(load_test("digits"))
        (100, 359)
    """
    train, valid, test = load_data(source, validation=True, **options)
    kind, place = _resolve(source)
    if kind != "folder" and (kind != "npz" or load_npz(place).test is not None):
        return test
    parts = test, valid, train
    if isinstance(test.examples, np.memmap):
        examples = np.load(test.examples.filename, mmap_mode="r")  # the cache, which has the parts in this order
    else:
        examples = np.concatenate([part.examples for part in parts])
    labels = None if test.labels is None else np.concatenate([part.labels for part in parts])
    return dataclasses.replace(test, examples=examples, labels=labels)


def _resolve(source):
    """(kind, what its loader needs)."""
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"`source` must be a name, a folder or a file; got {type(source).__name__}. Arrays go to "
                         "fit, evaluate and log_prob as they are.")  # fmt: skip
    if isinstance(source, str):
        name = source.lower().replace("-", "_")
        if name in ("digits", "binarized_mnist"):
            return name, name
        if name in KERAS or name in synthetic.DENSITIES:
            return ("keras" if name in KERAS else "density"), name
    place = Path(source).expanduser()
    if place.is_dir():
        return "folder", place
    if place.is_file() and place.suffix == ".npz":
        return "npz", place
    if place.is_file():
        raise ValueError(f"{place} is neither a folder of pictures nor an .npz file.")
    if place.suffix or len(place.parts) > 1:
        raise ValueError(f"there is no folder or .npz file {place}.")
    here = [path.name for path in Path().iterdir() if path.is_dir() or path.suffix == ".npz"]
    near = difflib.get_close_matches(str(source), [*data_names(), *here], 1)
    near = near or difflib.get_close_matches(str(source).lower().replace("-", "_"), data_names(), 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no data are called {str(source)!r}, and there is no such folder or file.{hint} There are "
                     f"{', '.join(data_names())}, or give a folder of pictures or an .npz file.")  # fmt: skip


def _divided(splits: Splits, test_fraction, seed, validation):
    """{role: Dataset}, in the order in which they are returned."""
    train, test, valid, ordered = splits
    if test is None:
        train, test = hold_out(train, test_fraction, seed, ordered)
    if not validation:
        return {"train": train, "test": test}
    if valid is None:
        train, valid = hold_out(train, VALIDATION, seed, ordered)
    return {"train": train, "valid": valid, "test": test}


def _points(name, num, seed, validation):
    roles = [role for role in ROLES if validation or role != "valid"]
    draws = (synthetic.sample(name, num, [seed, ROLES.index(role)]) for role in roles)
    return tuple(Dataset(points, None, None, name) for points in draws)


def _conformed(data, size, channels):
    if size is None and channels is None:
        return data
    if data.levels is None:
        raise ValueError("`size` and `channels` need pixels; the data are real-valued.")
    return dataclasses.replace(data, examples=conform(data.examples, size, channels, data.levels))
