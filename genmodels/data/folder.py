"""A folder of pictures: decoded once into a cache, then read from there as a memory map."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from genmodels.data import pictures
from genmodels.data.dataset import Dataset
from genmodels.data.files import cache_folder
from genmodels.data.splits import Splits, stratified_order

FORMAT = 1  # of the cache: raise it when decoding changes
BLOCK = 512  # pictures decoded before they are written
SILENT = 5.0  # seconds between the lines that say how far it is
SPLIT_NAMES = {"train", "test", "val", "valid", "validation"}


def load_folder(folder: Path, size, channels: int | None, seed: int, strict: bool) -> Splits:
    """Loads every picture below a folder; its subfolders are the classes, where all pictures are in some.

    The decoded pictures lie in `$GENMODELS_CACHE` (default `~/.cache/genmodels`), in the stratified order of the
    seed, under a name made of the files' paths, sizes and times.

    Args:
        folder: where the pictures are.
        size: (height, width), or None where all pictures have one.
        channels: 1, or 3 (None: 3).
        seed: of the order.
        strict: refuse pictures that cannot be read, instead of leaving them out with a warning.

    Returns:
        Splits whose train holds everything, ordered.

    Raises:
        ValueError: no pictures, or of several sizes without `size`, or unreadable under strict.
    """
    channels = 3 if channels is None else channels
    paths, labels, classes = _scan(folder)
    order = stratified_order(labels, len(paths), seed)
    paths = [paths[i] for i in order]
    stem = _cache_stem(folder, paths, size, channels)
    if not stem.with_suffix(".json").exists():
        _decode_all(folder, paths, size, channels, stem)
    failed = json.loads(stem.with_suffix(".json").read_text())
    _report(folder, failed, len(paths), strict)
    if labels is not None:
        labels = labels[order][[path not in failed for path in paths]]
    examples = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    return Splits(Dataset(examples, labels, 256, folder.resolve().name, classes), ordered=True)


def _scan(folder):
    """(paths relative to the folder, labels `[N]` or None, class names or None), sorted."""
    found, unread, visited = [], set(), set()
    for base, folders, files in os.walk(folder, followlinks=True):
        place = os.stat(base)
        if (place.st_dev, place.st_ino) in visited:  # a link leads back, or to what is there already
            folders[:] = []
            continue
        visited.add((place.st_dev, place.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen = [Path(base, name).relative_to(folder).as_posix() for name in files if not name.startswith(".")]
        found += [name for name in seen if name.lower().endswith(pictures.SUFFIXES)]
        unread |= {name for name in seen if name.lower().endswith(pictures.UNREAD)}
    if unread:
        kinds = ", ".join(sorted({Path(name).suffix.lower() for name in unread}))
        warnings.warn(f"{len(unread)} files of {folder} are of kinds that are not read ({kinds}).", stacklevel=4)
    if not found:
        raise ValueError(f"no pictures ({' '.join(pictures.SUFFIXES)}) are in the folder {folder}.")
    found.sort()
    at_top = [path for path in found if "/" not in path]
    if len(at_top) == len(found):
        return found, None, None
    owners = [path.split("/")[0] for path in found if "/" in path]
    classes = sorted(set(owners))
    if "train" in classes and set(classes) <= SPLIT_NAMES:
        raise ValueError(f"the subfolders of {folder} are splits ({', '.join(classes)}), not classes: load each "
                         "of them alone.")  # fmt: skip
    if at_top:
        warnings.warn(f"{folder} holds {len(at_top)} pictures itself and {len(found) - len(at_top)} in subfolders, "
                      "which are no classes then: put all in class subfolders to have them.", stacklevel=4)  # fmt: skip
        return found, None, None
    if len(classes) == 1:
        warnings.warn(f"all pictures of {folder} are in its one subfolder {classes[0]!r}, so there is one class; to "
                      f"have the subfolders of {classes[0]!r} as classes, give that folder.", stacklevel=4)  # fmt: skip
    return found, np.array([classes.index(owner) for owner in owners], np.int32), tuple(classes)


def _cache_stem(folder, paths, size, channels):
    stats = [os.stat(folder / path) for path in paths]
    files = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in zip(paths, stats)]
    key = json.dumps([FORMAT, str(folder.resolve()), size, channels, files])
    # A suffix is appended later, so the name must hold no dot.
    return cache_folder() / f"folder-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _decode_all(folder, paths, size, channels, stem):
    """Writes the cache: the pictures as .npy, then what failed as .json, which says that both are whole."""

    def decode(path):
        try:
            return pictures.decode(folder / path, size, channels)
        except Exception as error:  # Pillow raises many kinds for broken files; each is reported by name
            # Pillow names the path, as it was given now; the cache may be read from another folder.
            return f"{type(error).__name__}: {error}".replace(f" {str(folder / path)!r}", "")

    failed, shape, count, said = {}, None, 0, time.monotonic()
    with _written(stem.with_suffix(".npy")) as file, ThreadPoolExecutor(os.cpu_count()) as workers:
        for start in range(0, len(paths), BLOCK):
            if time.monotonic() - said > SILENT:
                said = time.monotonic()
                print(f"reading pictures into {stem.parent}: {start} of {len(paths)}", file=sys.stderr, flush=True)
            block = paths[start : start + BLOCK]
            for path, result in zip(block, workers.map(decode, block)):
                if isinstance(result, str):
                    failed[path] = result
                    continue
                if shape is None:
                    shape, first = result.shape, path
                    _write_header(file, len(paths), shape)
                if result.shape != shape:
                    raise ValueError(f"pictures differ in size: {first} is {shape[:2]}, {path} is "
                                     f"{result.shape[:2]} (height, width); give `size`.")  # fmt: skip
                file.write(result.tobytes())
                count += 1
        if shape is None:
            raise ValueError(f"none of the {len(paths)} pictures in {folder} can be read: {_listed(failed)}.")
        file.seek(0)
        _write_header(file, count, shape)
    with _written(stem.with_suffix(".json")) as file:
        file.write(json.dumps(failed).encode())


def _write_header(file, count, shape):
    # numpy pads the header so that a new length of the first axis fits in place.
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)


class _written:
    """A file that appears under its name only when it is complete."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, self.temporary = tempfile.mkstemp(dir=self.path.parent, prefix="partial-")
        except OSError as error:
            raise OSError(f"the picture cache {self.path.parent} cannot be written ({error}): set "
                          "GENMODELS_CACHE to a folder that can.") from error  # fmt: skip
        self.file = os.fdopen(handle, "wb")
        return self.file

    def __exit__(self, kind, error, trace):
        self.file.close()
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            os.unlink(self.temporary)


def _report(folder, failed, total, strict):
    if not failed:
        return
    text = f"{len(failed)} of {total} pictures in {folder} cannot be read"
    if strict:
        raise ValueError(f"{text}: {_listed(failed)}.")
    warnings.warn(f"{text}, and left out: {_listed(failed)}.", stacklevel=4)


def _listed(failed, most=10):
    named = [f"{path} ({reason})" for path, reason in sorted(failed.items())]
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")
