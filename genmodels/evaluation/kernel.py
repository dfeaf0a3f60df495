"""The kernel distance between two sets of features: KID."""

import numpy as np

from genmodels.settings import checked_count

BLOCK = 1 << 23  # numbers of a matrix of pairs at a time, 64 MiB


def kernel_distance(x, y, *, groups=50, seed=0) -> dict:
    """KID (Bińkowski et al. 2018): the squared maximum mean discrepancy, unbiased, with a cubic kernel.

    MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), over all pairs of different examples, with
    k(a, b) = (aᵀb / F + 1)³. Unbiased at every N: equal distributions give 0 on average, so about half of their figures
    are negative; none is clipped. Kernel matrices pass in blocks.

    The figure is of all examples, where the paper averages over random subsets of 1000; both have one mean, this one
    less noise. Its standard error is the jackknife's (Quenouille 1956, Tukey 1958): both sets are cut into random
    groups, and each pair of groups is left out once. It is too large where the distributions are nearly equal, as the
    noise then falls faster than 1 / √N. It is not the deviation between subsets that other programs print.

    Args:
        x: features `[N, F]`, such as those of real examples.
        y: features `[M, F]`.
        groups: how many at most; the smaller set has as many examples or more.
        seed: of the groups.

    Returns:
        `kid` and its `standard_error`, in units of the kernel (papers print 1000 times these).

    Raises:
        ValueError: for features that are no finite vectors of one size, and fewer than 4 of either.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 8))
        >>> same, other = kernel_distance(x, y), kernel_distance(x, y + 1.0)
        >>> abs(same["kid"]) < 0.1 < other["kid"]
        True
    """
    x, y = checked_features(x, y, least=4)
    groups = min(checked_count("groups", groups, 2), len(x), len(y))
    random = np.random.default_rng(seed)
    x, y = random.permutation(x), random.permutation(y)
    sums = _group_sums(x, x, groups), _group_sums(y, y, groups), _group_sums(x, y, groups)
    sizes = [np.diff(_bounds(v, groups)) for v in (x, y)]
    kid = _mmd2(*(s.sum() for s in sums), len(x), len(y))
    left_out = [s.sum() - s.sum(0) - s.sum(1) + s.diagonal() for s in sums]  # [groups], without a row and a column
    without = _mmd2(*left_out, len(x) - sizes[0], len(y) - sizes[1])
    return {"kid": float(kid), "standard_error": float(np.sqrt((groups - 1) * without.var()))}


def checked_features(x, y, least):
    """Two sets of features as `[N, F]` float64, or a ValueError."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        raise ValueError(
            f"expected two sets of features, [N, F] and [M, F], of {least} vectors or more; got shapes {x.shape} and "
            f"{y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features must be finite; found NaN or infinity.")
    return x, y


def row_blocks(x, columns):
    """The rows of x, as many at a time as make a block with so many columns."""
    rows = max(1, BLOCK // columns)
    return (x[i : i + rows] for i in range(0, len(x), rows))


def _mmd2(xx, yy, xy, num_x, num_y):
    """The U-statistic from sums over all pairs of different examples."""
    return xx / (num_x * (num_x - 1)) + yy / (num_y * (num_y - 1)) - 2.0 * xy / (num_x * num_y)


def _group_sums(x, y, groups):
    """Sums of k over pairs of a group of x and one of y, `[groups, groups]`; where y is x, of different examples."""
    rows = [np.add.reduceat(_kernel(b @ y.T, x.shape[1]), _bounds(y, groups)[:-1], 1) for b in row_blocks(x, len(y))]
    sums = np.add.reduceat(np.concatenate(rows), _bounds(x, groups)[:-1], 0)
    if x is y:
        own = np.add.reduceat(_kernel(np.sum(x**2, 1), x.shape[1]), _bounds(x, groups)[:-1])
        sums[np.diag_indices(groups)] -= own
    return sums


def _bounds(x, groups):
    """Where the groups begin, and where the last one ends."""
    return np.arange(groups + 1) * len(x) // groups


def _kernel(products, dims):
    """(products / F + 1)³, in place: a power function costs far more."""
    products /= dims
    products += 1.0
    cubes = products * products
    cubes *= products
    return cubes
