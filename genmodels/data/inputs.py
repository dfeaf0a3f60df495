"""What a person may hand to fit, evaluate and log_prob, brought to one form and checked against the model."""

from __future__ import annotations

import dataclasses
import zlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from genmodels.data.dataset import Dataset, check_levels, checked_conditions, checked_labels


class Form(NamedTuple):
    """What a model expects of its data; `as_dataset` documents the parts."""

    event_shape: tuple[int, ...]
    levels: int | None
    num_classes: int | None
    condition_dim: int | None

    @property
    def conditional(self) -> bool:
        """Whether the model takes labels."""
        return self.num_classes is not None or self.condition_dim is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """A `tf.data.Dataset` of the user's own, its form checked; `as_dataset` makes it.

    Its numbers are checked as they arrive. Training repeats it, so the order is the user's: a resumed run skips
    what was used, and is exact only where the user's own order is the same again.

    Args:
        dataset: the user's: x or (x, y), single examples or batches.
        event_shape: shape of one example.
        levels: the number of pixel values, or None.
        num_classes: labels lie below it; None without class labels.
        batched: whether elements are batches.
        name: what reports call the data.
        condition_dim: size of the vectors that are the labels; None without them.
    """

    dataset: tf.data.Dataset
    event_shape: tuple[int, ...]
    levels: int | None
    num_classes: int | None
    batched: bool
    name: str = "data"
    condition_dim: int | None = None

    @property
    def labelled(self) -> bool:
        """Whether batches are (x, labels)."""
        return self.num_classes is not None or self.condition_dim is not None

    def read(self, batch_size: int, *, endless: bool) -> tf.data.Dataset:
        """The stream in batches of our size.

        Args:
            batch_size: B.
            endless: repeat, and give full batches only.

        Returns:
            A `tf.data.Dataset` of x `[B, *event_shape]` (uint8, or float32 where levels is None), or (x, labels
            `[B]` int32 or `[B, condition_dim]` float32). A number outside its range raises InvalidArgumentError
            when it arrives.
        """
        dataset = self.dataset.repeat() if endless else self.dataset
        batch = dataset.rebatch if self.batched else dataset.batch

        def checked(x, y=None):
            x = _checked_pixels(x, self.levels)
            x = tf.ensure_shape(x, [batch_size if endless else None, *self.event_shape])
            if self.condition_dim is not None:
                return x, _checked_condition(y, self.condition_dim)
            return (x, _checked_label(y, self.num_classes)) if self.labelled else x

        return batch(batch_size, drop_remainder=endless).map(checked)

    def fingerprint(self) -> str:
        """A short name of the stream's form; its content is not read.

        Returns:
            Eight hexadecimal digits.
        """
        form = (self.dataset.element_spec, int(self.dataset.cardinality()), self.levels, self.num_classes)
        form += () if self.condition_dim is None else (self.condition_dim,)
        return f"{zlib.crc32(repr(form).encode()):08x}"


def as_dataset(
    x, y=None, *, event_shape, levels, num_classes=None, condition_dim=None, name="data"
) -> Dataset | Stream:
    """Brings data of any accepted kind to one form and checks them against a model.

    Integers of any type become uint8 and floating-point numbers float32, where that loses no range; nothing is
    rescaled.

    Args:
        x: a Dataset; an array or tensor `[N, *event_shape]`; a tuple (x, y); or a `tf.data.Dataset` of x or
            (x, y), single examples or batches.
        y: where x is an array, its labels: integers `[N]`, or real vectors `[N, condition_dim]`.
        event_shape: the shape of one example that the model expects.
        levels: the model's number of pixel values, or None for real-valued data.
        num_classes: the model's number of classes, or None.
        condition_dim: the size of the model's condition vectors, or None. A model that has neither drops labels.
        name: what reports call data that carry no name.

    Returns:
        A Dataset, or a Stream where x is a `tf.data.Dataset`.

    Raises:
        ValueError: shape, type, range or labels are not the model's; the text says which. Or num_classes and
            condition_dim are both given.

    Example:
        >>> as_dataset(np.zeros([5, 8, 8, 1], np.uint8), event_shape=(8, 8, 1), levels=17)
        Dataset('data', 5 × (8, 8, 1), levels=17)
    """
    form = Form(tuple(event_shape), levels, num_classes, condition_dim)
    check_levels(levels)
    if num_classes is not None and condition_dim is not None:
        raise ValueError(f"a model has either num_classes or condition_dim; got {num_classes} and {condition_dim}.")
    if isinstance(x, tuple):
        if len(x) != 2 or y is not None:
            raise ValueError(f"data given as a tuple must be (x, y), without a further y; got {len(x)} parts.")
        x, y = x
    if isinstance(x, Dataset | Stream | tf.data.Dataset):
        if y is not None:
            raise ValueError(f"a {type(x).__name__} carries its labels itself; got y as well.")
        if isinstance(x, tf.data.Dataset):
            return _stream(x, form, name)
        if isinstance(x, Stream):
            return _same_stream(x, form)
        return _model_view(x, form)
    if x is None:
        raise ValueError("data are missing: got None.")
    examples = _typed(x if isinstance(x, np.memmap) else np.asarray(x), form.event_shape, levels)
    labels = y if form.conditional else None
    if labels is not None and condition_dim is not None:
        labels = checked_conditions(labels, len(examples), condition_dim)
    return _model_view(Dataset(examples, labels, levels, name), form)


def _typed(x, event_shape, levels):
    """The array as uint8 or float32, or a ValueError in words."""
    _check_kind(x.dtype, levels)
    _check_shape(x.shape[1:] if x.ndim else (), event_shape)
    if levels is None:
        return x.astype(np.float32, copy=False)
    if x.dtype != np.uint8:
        if x.size and (x.min() < 0 or x.max() >= levels):
            raise ValueError(f"pixels must lie in 0 … {levels - 1}; found {x.min()} … {x.max()}.")
        x = x.astype(np.uint8)
    return x


def _check_kind(dtype, levels):
    dtype = np.dtype(dtype)
    kind = dtype.kind
    if kind not in "fiub":
        raise ValueError(f"data must be numbers; got {dtype}.")
    if levels is not None and kind == "f":
        raise ValueError(f"data are {dtype} but the model has levels={levels}: give integers 0 … {levels - 1} "
                         "(uint8), or build the model with levels=None for real-valued data.")  # fmt: skip
    if levels is None and kind != "f":
        raise ValueError(f"data are {dtype} but the model has levels=None (real-valued data): give float32, or "
                         "build the model with levels= the number of pixel values.")  # fmt: skip


def _check_shape(got, event_shape):
    if tuple(got) != event_shape:
        raise ValueError(f"data have shape {tuple(got)} an example; the model expects {event_shape}.")


def _check_labelled(labelled, form):
    if form.conditional and not labelled:
        raise ValueError(f"the model has {_condition(form)} but the data carry no labels.")


def _condition(form):
    """What the model is conditional on, in words."""
    return f"num_classes={form.num_classes}" if form.condition_dim is None else f"condition_dim={form.condition_dim}"


def _check_level_count(name, got, levels):
    if got != levels:
        hint = "; binarize the data with .binarized('static' or 'dynamic')" if levels == 2 and got else ""
        hint = hint or f"; build the model with levels={got}"
        raise ValueError(f"{name!r} has levels={got} but the model has levels={levels}{hint}.")


def _model_view(data, form):
    """A checked Dataset, without labels where the model takes none."""
    _check_shape(data.event_shape, form.event_shape)
    _check_level_count(data.name, data.levels, form.levels)
    _check_labelled(data.labels is not None, form)
    if not form.conditional:
        # Rebuilding checks the whole array again, so do it only where there is something to drop.
        return data if data.labels is None else dataclasses.replace(data, labels=None, classes=None)
    if data.condition_dim != form.condition_dim:
        found = "class labels" if data.condition_dim is None else f"vectors of {data.condition_dim} numbers as labels"
        raise ValueError(f"the model has {_condition(form)} but the data carry {found}.")
    checked_labels(data.labels, len(data), form.num_classes)
    return data


def _same_stream(stream, form):
    _check_shape(stream.event_shape, form.event_shape)
    _check_level_count(stream.name, stream.levels, form.levels)
    _check_labelled(stream.labelled, form)
    if (stream.num_classes, stream.condition_dim) == (form.num_classes, form.condition_dim):
        return stream
    return _stream(stream.dataset, form, stream.name)


def _stream(dataset, form, name):
    event_shape, spec = form.event_shape, dataset.element_spec
    labelled = isinstance(spec, tuple)
    if labelled and len(spec) != 2:
        raise ValueError(f"a tf.data.Dataset must yield x or (x, y); its elements have {len(spec)} parts.")
    x_spec = spec[0] if labelled else spec
    if not all(isinstance(part, tf.TensorSpec) for part in (spec if labelled else [spec])):
        raise ValueError(f"a tf.data.Dataset must yield tensors x or (x, y); got {spec}.")
    _check_kind(x_spec.dtype.as_numpy_dtype, form.levels)
    rank = x_spec.shape.rank
    if rank not in (len(event_shape), len(event_shape) + 1):
        raise ValueError(f"a tf.data.Dataset must yield examples {event_shape} or batches of them, with a known "
                         f"rank; its elements have shape {x_spec.shape}.")  # fmt: skip
    batched = rank == len(event_shape) + 1
    shape = x_spec.shape[1:] if batched else x_spec.shape
    if not shape.is_compatible_with(event_shape):
        _check_shape(shape.as_list(), event_shape)
    _check_labelled(labelled, form)
    if form.conditional:
        _check_label_spec(spec[1], form, batched)
    if int(dataset.cardinality()) == 0:
        raise ValueError("the tf.data.Dataset is empty.")
    return Stream(dataset, batched=batched, name=name, **form._asdict())


def _check_label_spec(spec, form, batched):
    if form.condition_dim is None:
        if not spec.dtype.is_integer or spec.shape.rank != int(batched):
            raise ValueError(f"labels must be integers, one an example; got {spec}.")
        return
    shape = [None] * batched + [form.condition_dim]
    number = spec.dtype.is_floating or spec.dtype.is_integer
    if not number or spec.shape.rank != len(shape) or not spec.shape.is_compatible_with(shape):
        raise ValueError(f"the model has {_condition(form)}: labels must be real vectors ({form.condition_dim},), one "
                         f"an example; got {spec}.")  # fmt: skip


def _checked_pixels(x, levels):
    if levels is None:
        return tf.debugging.assert_all_finite(tf.cast(x, tf.float32), "real-valued data must be finite.")
    _check_range(x, levels, "pixels")
    return tf.cast(x, tf.uint8)


def _checked_label(y, num_classes):
    _check_range(y, num_classes, "labels")
    return tf.cast(y, tf.int32)


def _checked_condition(y, dim):
    y = tf.ensure_shape(tf.cast(y, tf.float32), [None, dim])
    return tf.debugging.assert_all_finite(y, "condition vectors must be finite.")


def _check_range(x, end, what):
    x = tf.cast(x, tf.int64)
    inside = tf.reduce_all((x >= 0) & (x < end))
    tf.debugging.Assert(inside, [f"{what} must lie in 0 … {end - 1}; found", tf.reduce_min(x), tf.reduce_max(x)])
