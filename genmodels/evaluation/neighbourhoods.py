"""Precision and recall, density and coverage: whether samples lie among real examples, and real ones among samples."""

import numpy as np

from genmodels.evaluation.kernel import checked_features, row_blocks
from genmodels.settings import checked_count

# |a|² + |b|² - 2ab in float64 differs from |a - b|² by less than this part of |a|² + |b|². Distances that differ by
# less count as equal, so that a copy of an example lies on the edge of a ball on whichever side rounding puts it.
_SLACK = 1e-12


def precision_recall(real, fake, *, k=3) -> dict:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    A set stands for the union of balls around its examples, each as wide as the distance to the k-th nearest other
    example of the same set, edge included. Precision is the share of fake examples within the balls of the real ones,
    recall the share of real examples within the balls of the fake ones. Both depend on N: compare at one. k = 3 is the
    paper's; a larger k raises both. An outlier's ball is wide, which `density_coverage` counts less.

    Distances are exact, in float64, in blocks: memory grows with N, not with its square.

    Args:
        real: features of real examples, `[N, F]`.
        fake: features of generated examples, `[M, F]`.
        k: which nearest neighbour gives the radius, itself not counted.

    Returns:
        `precision` and `recall`, from 0 to 1.

    Raises:
        ValueError: for features that are no finite vectors of one size, and k out of range.

    Example:
        >>> real = np.random.default_rng(0).normal(size=(500, 2))
        >>> precision_recall(real, 0.01 * real)["precision"]  # all samples near the middle
        1.0
        >>> precision_recall(real, 0.01 * real)["recall"] < 0.01
        True
    """
    real, fake = _checked(real, fake, k)
    precision, recall = (
        np.concatenate([inside.any(1) for inside in _inside(points, centres, k)]).mean()
        for points, centres in ((fake, real), (real, fake))
    )
    return {"precision": float(precision), "recall": float(recall)}


def density_coverage(real, fake, *, k=5) -> dict:
    """Density and coverage (Naeem et al. 2020).

    Balls are those of the real examples alone, as in `precision_recall`. Density is the number of them that a fake
    example lies in, on average, over k: the wide ball of an outlier counts as one. Coverage is the share of the balls
    with a fake example inside. Equal distributions have a density of 1 in expectation and, at equal and large N, a
    coverage of 1 - 2⁻ᵏ. k = 5 is the paper's.

    Args:
        real: features of real examples, `[N, F]`.
        fake: features of generated examples, `[M, F]`.
        k: which nearest neighbour gives the radius, itself not counted.

    Returns:
        `density`, from 0 and not bounded by 1, and `coverage`, from 0 to 1.

    Raises:
        ValueError: for features that are no finite vectors of one size, and k out of range.

    Example:
        >>> real, fake = np.random.default_rng(0).normal(size=(2, 1000, 2))
        >>> figures = density_coverage(real, fake)
        >>> abs(figures["density"] - 1) < 0.1, abs(figures["coverage"] - (1 - 2**-5)) < 0.03
        (True, True)
    """
    real, fake = _checked(real, fake, k)
    covered, count = np.zeros(len(real), bool), 0
    for inside in _inside(fake, real, k):
        covered |= inside.any(0)
        count += inside.sum()
    return {"density": float(count / (k * len(fake))), "coverage": float(covered.mean())}


def _checked(real, fake, k):
    real, fake = checked_features(real, fake, least=2)
    k = checked_count("k", k, 1)
    if k >= min(len(real), len(fake)):
        raise ValueError(f"`k` must be below the number of examples, {len(real)} and {len(fake)}; got {k}.")
    middle = real.mean(0)  # numbers near zero keep their digits in |a|² + |b|² - 2ab
    return real - middle, fake - middle


def _inside(points, centres, k):
    """Blocks of [points, centres]: whether a point lies in a centre's ball."""
    radii = _squared_radii(centres, k)
    for block in row_blocks(points, len(centres)):
        yield _squared_distances(block, centres, slack=_SLACK) <= radii


def _squared_radii(centres, k):
    """Squared distance of each example to its k-th nearest other one, `[N]`."""
    radii, first = [], 0
    for block in row_blocks(centres, len(centres)):
        squared = _squared_distances(block, centres)
        rows = np.arange(len(block))
        squared[rows, first + rows] = np.inf  # itself
        radii.append(np.partition(squared, k - 1, axis=1)[:, k - 1])
        first += len(block)
    return np.concatenate(radii)


def _squared_distances(a, b, slack=0.0):
    """|a - b|² of all pairs, less their rounding where a slack is given."""
    squared = a @ b.T
    squared *= -2.0
    squared += (1.0 - slack) * np.sum(a**2, 1)[:, None]
    squared += (1.0 - slack) * np.sum(b**2, 1)
    return squared
