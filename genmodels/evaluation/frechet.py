"""The Fréchet distance between two sets of features, as between two Gaussians."""

import numpy as np

# Relative to the largest eigenvalue: what rounding may make of a zero one, and of a symmetric matrix.
_ROUNDING = 1e-8


class Moments:
    """Mean and covariance of vectors that come in batches, in float64 and in memory that does not grow with them.

    Batches are joined by the update of Chan, Golub & LeVeque (1983), which subtracts no large numbers from each other:
    features far from zero lose nothing.

    Attributes:
        num: N, vectors so far.
        mean: their mean m, `[F]` float64; None before the first.
        scatter: Σ (x - m)(x - m)ᵀ, `[F, F]` float64; None before the first.

    Raises:
        ValueError: by `update` and `covariance`, for vectors that do not fit, and too few of them.

    Example:
        >>> moments = Moments()
        >>> for batch in np.split(np.random.default_rng(0).normal(size=(90, 2)), 3):
        ...     moments.update(batch)
        >>> moments.num, moments.covariance().shape
        (90, (2, 2))
    """

    def __init__(self):
        self.num = 0
        self.mean = None
        self.scatter = None

    def update(self, x) -> None:
        """Adds vectors.

        Args:
            x: finite numbers `[B, F]`, with one F for all batches.

        Raises:
            ValueError: for another shape, or numbers that are not finite.
        """
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or not x.size or (self.num and x.shape[1] != len(self.mean)):
            expected = "[B, F]" if self.mean is None else f"[B, {len(self.mean)}]"
            raise ValueError(f"expected vectors {expected}, one or more; got shape {x.shape}.")
        if not np.isfinite(x).all():
            raise ValueError("vectors must be finite; found NaN or infinity.")
        mean = x.mean(0)
        centred = x - mean
        scatter = centred.T @ centred
        if self.num:
            step, total = mean - self.mean, self.num + len(x)
            scatter += self.scatter + np.outer(step, step) * (self.num * len(x) / total)
            mean = self.mean + step * (len(x) / total)
        self.num, self.mean, self.scatter = self.num + len(x), mean, scatter

    def covariance(self) -> np.ndarray:
        """The unbiased covariance, `[F, F]` float64.

        Raises:
            ValueError: where it is singular because there are too few vectors: N ≤ F. The distance between such
                estimates says more of N than of the distributions.
        """
        if self.mean is None or self.num <= len(self.mean):
            dims = "F" if self.mean is None else len(self.mean)
            raise ValueError(
                f"the covariance of N={self.num} vectors of {dims} features is singular: more than {dims} are needed."
            )
        return self.scatter / (self.num - 1)


def frechet_distance(mean_a, cov_a, mean_b, cov_b) -> float:
    """The squared Wasserstein-2 distance between two Gaussians (Dowson & Landau 1982).

    ‖μ_a - μ_b‖² + tr(A + B - 2 (A^½ B A^½)^½), in float64. With A = S Sᵀ and B = T Tᵀ, by eigenvectors of symmetric
    matrices, the root's trace is the sum of the singular values of Sᵀ T: exact also where A and B are singular, and no
    root of a matrix that is not symmetric is taken. Of the features of an Inception network this is the FID (Heusel et
    al. 2017), of other features it is not. Estimates from N examples are too large, by about c / N: compare at one N.

    Args:
        mean_a: `[F]`.
        cov_a: covariance, `[F, F]`, symmetric and positive semi-definite; singular is allowed.
        mean_b: `[F]`.
        cov_b: `[F, F]`.

    Returns:
        The distance, in squared units of the features; 0 for equal arguments.

    Raises:
        ValueError: for shapes that do not fit each other, numbers that are not finite, and matrices that are no
            covariances.

    Example:
        >>> frechet_distance([0.0, 0.0], np.eye(2), [3.0, 4.0], 4 * np.eye(2))  # 25 + 2 (2 - 1)²
        27.0
    """
    mean_a, mean_b = np.asarray(mean_a, np.float64), np.asarray(mean_b, np.float64)
    if mean_a.ndim != 1 or mean_a.shape != mean_b.shape or not np.isfinite([mean_a, mean_b]).all():
        raise ValueError(f"means must be finite, of one shape [F]; got shapes {mean_a.shape} and {mean_b.shape}.")
    (root_a, trace_a), (root_b, trace_b) = (
        _root(name, cov, len(mean_a)) for name, cov in (("cov_a", cov_a), ("cov_b", cov_b))
    )
    shared = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    # Never negative but by rounding.
    return float(max(0.0, np.sum((mean_a - mean_b) ** 2) + trace_a + trace_b - 2.0 * shared))


def _root(name, covariance, dims):
    """S with S Sᵀ the covariance, and the trace of S Sᵀ."""
    covariance = np.asarray(covariance, np.float64)
    if covariance.shape != (dims, dims) or not np.isfinite(covariance).all():
        raise ValueError(f"`{name}` must be finite, of shape {(dims, dims)}; got shape {covariance.shape}.")
    values, vectors = np.linalg.eigh(covariance)
    tolerance = _ROUNDING * np.abs(values).max()
    if values.min() < -tolerance or np.abs(covariance - covariance.T).max() > tolerance:
        raise ValueError(
            f"`{name}` must be symmetric and positive semi-definite; it differs from its transpose by "
            f"{np.abs(covariance - covariance.T).max():.3g}, and its least eigenvalue is {values.min():.3g}."
        )
    values = np.maximum(values, 0.0)
    return vectors * np.sqrt(values), values.sum()
