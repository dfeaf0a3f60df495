"""The data set: an array of examples, what its numbers mean, and how training may vary them."""

from __future__ import annotations

import dataclasses
import functools
import zlib

import numpy as np
import tensorflow as tf

from genmodels.data.augment import Augment

CHUNK = 1 << 12  # examples checked or binarized at a time, to keep temporary arrays small
SAMPLED = 64  # examples of a memory map that enter its fingerprint


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples, with labels where there are any.

    Args:
        examples: `[N, *event_shape]`: uint8 pixels in 0 … levels-1, or float32 where levels is None. A
            `np.memmap` is read as it is needed.
        labels: classes `[N]` int32; vectors `[N, D]` float32, for models with condition_dim=D; or None.
        levels: the number of pixel values that a model sees, 2 … 256; None for real-valued data.
        name: what reports call the data.
        classes: the names of the classes.
        dynamic: draw each pixel anew at every visit, 1 with probability value / (stored_levels - 1). Then
            `levels` is 2.
        augment: changes that training, never evaluation, makes to an image at each visit.
        stored_levels: the number of values in `examples`; it differs from levels where dynamic.

    Raises:
        ValueError: the parts do not fit one another, or the numbers are not what levels says.

    Example:
        >>> Dataset(np.zeros([10, 8, 8, 1], np.uint8), None, levels=17).event_shape
        (8, 8, 1)
    """

    examples: np.ndarray
    labels: np.ndarray | None
    levels: int | None
    name: str = "data"
    classes: tuple[str, ...] | None = None
    dynamic: bool = False
    augment: Augment | None = None
    stored_levels: int | None = None

    def __post_init__(self):
        if self.stored_levels is None:
            object.__setattr__(self, "stored_levels", self.levels)
        if self.dynamic:
            if self.stored_levels is None:
                raise ValueError("dynamic binarization needs pixels; got real-valued data (levels=None).")
            object.__setattr__(self, "levels", 2)
        elif self.stored_levels != self.levels:
            raise ValueError(f"`stored_levels`={self.stored_levels} differs from levels={self.levels}, which "
                             "only dynamic binarization allows.")  # fmt: skip
        check_levels(self.levels)
        check_levels(self.stored_levels)
        _check_examples(self.examples, self.stored_levels)
        classes = None if self.classes is None else tuple(str(name) for name in self.classes)
        object.__setattr__(self, "classes", classes)
        if self.labels is not None:
            object.__setattr__(self, "labels", checked_labels(self.labels, len(self), self.num_classes))
            if classes is not None and self.condition_dim is not None:
                raise ValueError(f"{len(classes)} classes are named but the labels are vectors.")
        elif classes is not None:
            raise ValueError(f"{len(classes)} classes are named but the data carry no labels.")
        if self.augment is not None:
            self.augment.check(self.event_shape, self.stored_levels)

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        parts = [repr(self.name), f"{len(self)} × {self.event_shape}", f"levels={self.levels}"]
        parts += [f"{self.num_classes} classes"] if self.classes else []
        if self.condition_dim is not None:
            parts += [f"condition_dim={self.condition_dim}"]
        elif self.labels is not None and not self.classes:
            parts += ["labelled"]
        parts += ["dynamic"] if self.dynamic else []
        parts += [str(self.augment)] if self.augment else []
        return f"Dataset({', '.join(parts)})"

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.examples.shape[1:])

    @property
    def num_classes(self) -> int | None:
        """The number of named classes, or None."""
        return None if self.classes is None else len(self.classes)

    @property
    def condition_dim(self) -> int | None:
        """The size of the vectors that are the labels; None where they are classes, or there are none."""
        return None if self.labels is None or self.labels.ndim == 1 else self.labels.shape[1]

    @functools.cached_property
    def tensor(self) -> tf.Tensor:
        """The examples in host memory as a tensor, copied once; not for memory maps."""
        with tf.device("CPU:0"):
            return tf.constant(self.examples)

    def take(self, num: int, seed: int | None = None) -> Dataset:
        """The first examples, or with a seed a random choice of as many.

        A set may be sorted by class (the binarized MNIST test split is): give a seed to measure on a part.

        Args:
            num: how many, 1 … len(self).
            seed: an integer, or None for the first ones.

        Returns:
            A Dataset of num examples; without a seed it shares memory with this one.

        Raises:
            ValueError: there are not so many.
        """
        if not 1 <= num <= len(self):
            raise ValueError(f"`num` must be from 1 to {len(self)}, the size of {self.name!r}; got {num}.")
        if seed is not None:
            return self.subset(np.sort(np.random.default_rng(seed).permutation(len(self))[:num]))
        return self.subset(slice(num))

    def subset(self, indices) -> Dataset:
        """The examples at these positions, in this order.

        Args:
            indices: integers or booleans `[M]`, which copy; or a slice, which shares memory.

        Returns:
            A Dataset of M examples.

        Raises:
            ValueError: a position is outside the data, or none is left.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            if indices.ndim != 1 or indices.dtype.kind not in "iub":
                raise ValueError("`indices` must be a vector of integers or booleans, or a slice; got "
                                 f"{indices.dtype} of shape {indices.shape}.")  # fmt: skip
            if indices.dtype == bool and len(indices) != len(self):
                raise ValueError(f"{len(indices)} booleans cannot choose from {len(self)} examples.")
            if indices.dtype != bool and indices.size and not (
                -len(self) <= indices.min() and indices.max() < len(self)
            ):  # fmt: skip
                raise ValueError(f"`indices` must be below {len(self)}; got {indices.min()} … {indices.max()}.")
        labels = None if self.labels is None else self.labels[indices]
        return dataclasses.replace(self, examples=self.examples[indices], labels=labels)

    def binarized(self, how: str, seed: int = 0) -> Dataset:
        """Black and white pixels: each is 1 with probability value / (levels - 1).

        Args:
            how: "static" draws them once, here; "dynamic" draws them anew whenever training visits an image.
            seed: of the static draw.

        Returns:
            A Dataset with levels=2, whose name says how.

        Raises:
            ValueError: the data are real-valued or binary already, or the word is another. What is dynamically
                binarized may be drawn once and for all.

        Example:
            >>> train, test = gm.load_data("digits")
            >>> train.binarized("dynamic").levels
            2
        """
        if how not in ("static", "dynamic"):
            raise ValueError(f"`how` must be 'static' or 'dynamic'; got {how!r}.")
        if self.levels is None:
            raise ValueError("only pixels can be binarized; the data are real-valued (levels=None).")
        if self.dynamic and how == "static":
            name = self.name.removesuffix(", dynamically binarized")
            grey = dataclasses.replace(self, dynamic=False, levels=self.stored_levels, name=name)
            return grey.binarized("static", seed)
        if self.levels == 2:
            raise ValueError(f"{self.name!r} is binary already.")
        named = dataclasses.replace(self, name=f"{self.name}, {how}ally binarized")  # reports name what they measured
        if how == "dynamic":
            return dataclasses.replace(named, dynamic=True)
        rng = np.random.default_rng(seed)
        bits = np.empty(self.examples.shape, np.uint8)
        for i in range(0, len(self), CHUNK):
            pixels = self.examples[i : i + CHUNK]
            bits[i : i + CHUNK] = rng.random(pixels.shape, np.float32) * (self.levels - 1) < pixels
        return dataclasses.replace(named, examples=bits, levels=2, stored_levels=2)

    def augmented(self, **changes) -> Dataset:
        """The same data, varied at each visit of training.

        Args:
            **changes: the fields of `Augment`: flip, shift, brightness, contrast, saturation.

        Returns:
            A Dataset whose `augment` is set.

        Raises:
            ValueError: a change is unknown or makes no sense for these examples.

        Example:
            >>> train, test = gm.load_data("digits")
            >>> train.augmented(shift=1).augment.shift
            1
        """
        known = {field.name for field in dataclasses.fields(Augment)}
        if not set(changes) <= known:
            raise ValueError(f"augmentation knows {sorted(known)}; got {sorted(set(changes) - known)}.")
        return dataclasses.replace(self, augment=Augment(**changes))

    def fingerprint(self) -> str:
        """A short stable name of the content: two data sets that differ have different ones, nearly surely.

        Returns:
            Eight hexadecimal digits. Of a memory map only some examples are read.
        """
        examples = self.examples
        if isinstance(examples, np.memmap):
            examples = examples[np.linspace(0, len(self) - 1, SAMPLED).astype(int)]
        meaning = (self.examples.shape, str(self.examples.dtype), self.levels, self.stored_levels, self.augment)
        crc = zlib.crc32(repr(meaning).encode())
        crc = zlib.crc32(np.ascontiguousarray(examples), crc)
        if self.labels is not None:
            crc = zlib.crc32(self.labels, crc)
        if self.condition_dim is not None:  # vectors of zeros have the bytes of classes 0
            crc = zlib.crc32(str(self.condition_dim).encode(), crc)
        return f"{crc:08x}"


def check_levels(levels: int | None) -> None:
    """Raises ValueError unless levels is None or an integer from 2 to 256.

    Args:
        levels: the number of pixel values.
    """
    integer = isinstance(levels, int | np.integer) and not isinstance(levels, bool)
    if levels is not None and not (integer and 2 <= levels <= 256):
        raise ValueError(f"`levels` must be an integer from 2 to 256, or None for real-valued data; "
                         f"got {levels!r}.")  # fmt: skip


def _check_examples(examples, levels):
    if not isinstance(examples, np.ndarray):
        raise ValueError(f"`examples` must be a numpy array; got {type(examples).__name__}.")
    wanted = np.dtype(np.float32 if levels is None else np.uint8)
    if examples.dtype != wanted:
        raise ValueError(f"`examples` must be {wanted} where levels={levels}; got {examples.dtype}.")
    if examples.ndim < 2:
        raise ValueError(f"`examples` must be [N, *event_shape]; got shape {examples.shape}.")
    if examples.size == 0:
        raise ValueError(f"there are no examples: shape {examples.shape}.")
    if levels == 256:
        return
    for i in range(0, len(examples), CHUNK):
        chunk = examples[i : i + CHUNK]
        if levels is None and not np.isfinite(chunk).all():
            bad = i + int(np.argmin(np.isfinite(chunk).reshape(len(chunk), -1).all(1)))
            raise ValueError(f"real-valued data must be finite; example {bad} holds NaN or infinity.")
        if levels is not None and chunk.max() >= levels:
            raise ValueError(f"pixels must lie in 0 … {levels - 1} where levels={levels}; found {chunk.max()}.")


def checked_labels(labels, num: int, num_classes: int | None) -> np.ndarray:
    """The labels as int32 classes or float32 vectors.

    Args:
        labels: integers `[N]`, or floating-point numbers `[N, D]`.
        num: how many there must be.
        num_classes: integers must lie below it, where it is not None.

    Returns:
        `[N]` int32, or `[N, D]` float32.

    Raises:
        ValueError: wrong shape, type, number or range.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "f" and labels.ndim == 2:
        return checked_conditions(labels, num, labels.shape[1])
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers ({num},), or floating-point vectors ({num}, D); got "
                         f"{labels.dtype} of shape {labels.shape}.")  # fmt: skip
    if labels.shape != (num,):
        raise ValueError(f"labels must have shape ({num},), one an example; got {labels.shape}.")
    if labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes):
        top = "" if num_classes is None else f" … {num_classes - 1}"
        raise ValueError(f"labels must lie in 0{top}; found {labels.min()} … {labels.max()}.")
    return np.ascontiguousarray(labels, np.int32)


def checked_conditions(vectors, num: int, dim: int) -> np.ndarray:
    """Condition vectors as float32.

    Args:
        vectors: real numbers `[N, D]`.
        num: N.
        dim: D, at least 1.

    Returns:
        `[N, D]` float32.

    Raises:
        ValueError: wrong shape or type, or numbers that are not finite in float32.
    """
    vectors = np.asarray(vectors)
    if vectors.dtype.kind not in "fiu" or vectors.shape != (num, dim) or dim < 1:
        raise ValueError(f"labels must be real vectors of shape ({num}, {max(dim, 1)}), one an example; got "
                         f"{vectors.dtype} of shape {vectors.shape}.")  # fmt: skip
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise ValueError(f"condition vectors must be finite; that of example {np.argmin(finite)} is not.")
    return vectors
