"""Splits: one seeded order of the examples whose every stretch has the classes in proportion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genmodels.data.dataset import Dataset

VALIDATION = 0.1  # of the training data, where a set has no validation split of its own


class Splits(NamedTuple):
    """A set's own splits.

    Args:
        train: to fit.
        test: to report on, or None where the source does not set any apart.
        valid: to choose by, or None.
        ordered: whether train is already in a seeded stratified order, so that slices are samples.
    """

    train: Dataset
    test: Dataset | None = None
    valid: Dataset | None = None
    ordered: bool = False


def stratified_order(labels: np.ndarray | None, num: int, seed: int) -> np.ndarray:
    """A random order in which any run of consecutive positions is a stratified sample.

    Each class is shuffled and spread evenly over the whole order. So splits are slices, and a memory map that is
    written in this order is split without being read.

    Args:
        labels: `[N]` integers, or None.
        num: N.
        seed: of the order.

    Returns:
        A permutation `[N]`.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(num)
    if labels is None:
        return shuffled
    place = np.empty(num)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def part_size(num: int, fraction: float) -> int:
    """How many of num examples a fraction is.

    Args:
        num: examples there are.
        fraction: between 0 and 1.

    Returns:
        The rounded number, at least 1.

    Raises:
        ValueError: the fraction is outside (0, 1) or leaves no example for the rest.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction of the data must lie between 0 and 1; got {fraction}.")
    size = max(1, round(num * fraction))
    if size >= num:
        raise ValueError(f"{num} example(s) are too few to set a fraction of {fraction} apart.")
    return size


def hold_out(data: Dataset, fraction: float, seed: int, ordered: bool = False) -> tuple[Dataset, Dataset]:
    """Sets a seeded stratified sample apart.

    Args:
        data: what to divide.
        fraction: the part to hold out.
        seed: of the choice.
        ordered: data are in a stratified order already: hold out the first ones, without copying.

    Returns:
        (the rest, the held out).

    Raises:
        ValueError: too few examples.
    """
    size = part_size(len(data), fraction)
    if ordered:
        return data.subset(slice(size, None)), data.subset(slice(size))
    classes = data.labels if data.condition_dim is None else None  # vectors have no classes to keep in proportion
    order = stratified_order(classes, len(data), seed)
    return data.subset(np.sort(order[size:])), data.subset(np.sort(order[:size]))
