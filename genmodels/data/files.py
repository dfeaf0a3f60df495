"""Arrays in `.npz` files."""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from genmodels.data.dataset import Dataset, check_levels
from genmodels.data.splits import Splits

# The names that the parts of a file may have: (examples, labels) of train, test and validation.
TRAIN = (("x_train", "y_train"), ("train", "train_labels"))
TEST = (("x_test", "y_test"), ("test", "test_labels"))
VALID = (("x_valid", "y_valid"), ("x_val", "y_val"), ("valid", "valid_labels"))
WHOLE = tuple((x, y) for x in ("examples", "images", "x") for y in ("labels", "y"))
MOST_CLASSES = 100_000
ENTRIES = {"levels", "classes"}.union(*TRAIN, *TEST, *VALID, *WHOLE)


def load_npz(path: Path) -> Splits:
    """Loads `x_train`, `y_train`, `x_test`, `y_test`; or `train`, `test`, `valid`; or `examples`, `x` or `images`.

    Integers are pixels: of two levels where none exceeds 1, else of 256, or as an entry `levels` says. Floating-
    point numbers are real-valued data, as they are. `[N, H, W]` gets a channel axis. Labels are integers `[N]`, whose
    classes an entry `classes` may name, or floating-point vectors `[N, D]`.

    Args:
        path: of the file.

    Returns:
        Splits; test and valid are None where the file has none.

    Raises:
        ValueError: no such entries, entries that do not fit one another, or Python objects.

    Example:
        >>> np.savez("points.npz", x=np.random.randn(100, 2))
        >>> load_npz(Path("points.npz")).train.event_shape
        (2,)
    """
    arrays, names = read_npz(path, ENTRIES)
    train = _pair(arrays, TRAIN) or _pair(arrays, WHOLE)
    if train is None:
        raise ValueError(f"{path} must hold x_train (y_train, x_test, y_test), train (test, valid), or one of "
                         f"examples, x, images (labels or y); it holds "
                         f"{', '.join(names) or 'nothing'}.")  # fmt: skip
    pairs = [pair for pair in (train, _pair(arrays, TEST), _pair(arrays, VALID)) if pair]
    levels = _levels(arrays, [x for x, _ in pairs])
    classes = tuple(str(name) for name in arrays["classes"]) if "classes" in arrays else None
    classes = _numbered(path, [y for _, y in pairs if y is not None]) if classes is None else classes
    parts = [_dataset(path, pair, levels, classes) for pair in (train, _pair(arrays, TEST), _pair(arrays, VALID))]
    for part in parts[1:]:
        if part is not None and part.event_shape != parts[0].event_shape:
            raise ValueError(f"the splits in {path} have examples of different shapes: {parts[0].event_shape} "
                             f"and {part.event_shape}.")  # fmt: skip
    return Splits(*parts)


def read_npz(path: Path, wanted) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads arrays of numbers or strings, never Python objects.

    Args:
        path: of an `.npz` file.
        wanted: the names to read, where they are there.

    Returns:
        ({name: array}, the names of all that the file holds).

    Raises:
        ValueError: the file is no whole `.npz`, or an entry holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a whole .npz file.")
    arrays = {}
    with np.load(path, allow_pickle=False) as file:
        for name in wanted & set(file.files):
            try:
                arrays[name] = file[name]
            except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"the entry {name!r} of {path} cannot be read as an array: {error}") from error
        return arrays, file.files


def _pair(arrays, names):
    """(x, y or None) under the first names that are there; names with labels come before those without."""
    for x, y in names:
        if x in arrays and y in arrays:
            return arrays[x], arrays[y]
    for x, _ in names:
        if x in arrays:
            return arrays[x], None
    return None


def _levels(arrays, examples):
    if "levels" in arrays:
        check_levels(levels := arrays["levels"].item())
        for x in examples:
            if x.dtype.kind not in "iub":
                raise ValueError(f"with levels={levels} examples must be integers; got {x.dtype}.")
        return levels
    kinds = {x.dtype.kind for x in examples}
    if not kinds <= set("iub") and kinds != {"f"}:
        raise ValueError("examples must be all integers or all floating-point; got "
                         f"{', '.join(str(x.dtype) for x in examples)}.")  # fmt: skip
    if kinds == {"f"}:
        first = examples[0][:100]
        if first.ndim > 2 and first.max(initial=0) > 1 and np.array_equal(first, np.rint(first)):
            warnings.warn("the pictures hold whole numbers as floating-point, so they are taken as real-valued: store "
                          "pixels as uint8.", stacklevel=4)  # fmt: skip
        return None
    return 2 if max(x.max(initial=0) for x in examples) <= 1 else 256


def _numbered(path, labels):
    """Names of integer labels that have none, the same for all splits; None for vectors and what `Dataset` refuses."""
    if not labels or any(y.dtype.kind not in "iu" or not y.size or y.min() < 0 for y in labels):
        return None
    count = int(max(y.max() for y in labels)) + 1
    if count > MOST_CLASSES:
        raise ValueError(f"labels in {path} go up to {count - 1}; classes have numbers from 0 to {MOST_CLASSES - 1}.")
    return tuple(str(label) for label in range(count))


def _dataset(path, pair, levels, classes):
    if pair is None:
        return None
    x, y = pair
    if x.ndim == 3:  # [N, H, W]
        x = x[..., None]
    if levels is None:
        x = x.astype(np.float32)
    elif x.size and (x.min() < 0 or x.max() >= levels):
        raise ValueError(f"pixels in {path} must lie in 0 … {levels - 1}; found {x.min()} … {x.max()}.")
    else:
        x = x.astype(np.uint8)
    integers = y is not None and y.dtype.kind in "iu"
    y = y.reshape(-1) if integers and y.shape[1:] == (1,) else y
    return Dataset(x, y, levels, path.stem, None if y is None else classes)


def cache_folder() -> Path:
    """Where decoded pictures and classifiers of data sets are kept: `$GENMODELS_CACHE`, or ~/.cache/genmodels."""
    return Path(os.environ.get("GENMODELS_CACHE") or Path.home() / ".cache" / "genmodels")
