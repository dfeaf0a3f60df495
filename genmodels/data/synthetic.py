"""Densities in the plane whose entropy is known: the floor under every model's negative log-likelihood.

Shapes and scales are those of FFJORD's toy data (Grathwohl et al. 2019, arXiv:1810.01367), and of the grid on which
GANs count modes (Lin et al. 2018, "PacGAN", arXiv:1712.04086). A density here is a curve or points under Gaussian
noise, an exact uniform, or a change of variables, so that `log_density` is exact up to a quadrature that converges to
float64 accuracy.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

CHUNK = 1 << 12  # points whose density is computed at a time
GRID_CENTRES = np.stack(np.meshgrid(*2 * [np.arange(-4.0, 5.0, 2.0)], indexing="ij"), -1).reshape(-1, 2)  # [25, 2]
GRID_SIGMA = 0.05


@dataclasses.dataclass(frozen=True)
class Density:
    """A density in the plane.

    Args:
        sample: (rng, num) → `[num, 2]`.
        log_density: `[M, 2]` → `[M]`, nats.
        box: (x low, x high, y low, y high): outside it the density is nothing in float64.
        step: spacing of a grid on which sums over the density are accurate.
    """

    sample: Callable
    log_density: Callable
    box: tuple[float, float, float, float]
    step: float


def sample(name: str, num: int, seed=0) -> np.ndarray:
    """Independent points of a density.

    Args:
        name: one of `DENSITIES`.
        num: how many.
        seed: an integer, or a sequence of integers.

    Returns:
        `[num, 2]` float32.

    Raises:
        ValueError: an unknown name, or num below 1.

    Example:
        >>> sample("two_moons", 100).shape
        (100, 2)
    """
    if num < 1:
        raise ValueError(f"`num` must be a number of points, an integer ≥ 1; got {num}.")
    return _density(name).sample(np.random.default_rng(seed), num).astype(np.float32)


def log_density(name: str, x) -> np.ndarray:
    """The exact log-density.

    Args:
        name: one of `DENSITIES`.
        x: points `[M, 2]`.

    Returns:
        `[M]` float64, nats; -inf where the density is zero.

    Raises:
        ValueError: an unknown name, or points that are not `[M, 2]`.

    Example:
        >>> log_density("checkerboard", [[0.5, 0.5]]).round(4)
        array([-3.4657])
    """
    density = _density(name)
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"points must be [M, 2]; got shape {x.shape}.")
    parts = [density.log_density(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


@functools.cache
def entropy(name: str) -> float:
    """The differential entropy -∫ p log p, by the midpoint rule on a grid.

    Args:
        name: one of `DENSITIES`.

    Returns:
        Nats. No model's expected negative log-likelihood lies below it.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> round(entropy("checkerboard"), 4)
        3.4657
    """
    points, area = grid(name)
    logs = log_density(name, points)
    logs = logs[np.isfinite(logs)]
    return float(-np.sum(np.exp(logs) * logs) * area)


def grid(name: str) -> tuple[np.ndarray, float]:
    """The midpoints of a grid that covers a density.

    Args:
        name: one of `DENSITIES`.

    Returns:
        Points `[M, 2]` float64, and the area that each stands for.

    Raises:
        ValueError: an unknown name.
    """
    density = _density(name)
    *x_range, y_low, y_high = density.box
    x, dx = _midpoints(*x_range, density.step)
    y, dy = _midpoints(y_low, y_high, density.step)
    return np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2), dx * dy


def _midpoints(low, high, step):
    cells = round((high - low) / step)
    step = (high - low) / cells
    return low + step * (np.arange(cells) + 0.5), step


def _density(name):
    if name not in DENSITIES:
        raise ValueError(f"no density is called {name!r}; there are {', '.join(DENSITIES)}.")
    return DENSITIES[name]()


def _noisy(points, weights, sigma, sampler, reach=8.0):
    """A weighted set of points `[K, 2]`, or a curve's quadrature nodes, under Gaussian noise of scale sigma."""
    low, high = points.min(0) - reach * sigma, points.max(0) + reach * sigma
    log_weights = np.log(weights / weights.sum()) - np.log(2 * np.pi * sigma**2)

    def logs(x):
        # |x - c|² = |x|² - 2 x·c + |c|²; the cross term is one matrix product.
        squares = (x**2).sum(1)[:, None] - 2 * x @ points.T + (points**2).sum(1)  # [M, K]
        terms = log_weights - squares / (2 * sigma**2)
        top = terms.max(1)
        return top + np.log(np.exp(terms - top[:, None]).sum(1))

    def noisy_sample(rng, num):
        return sampler(rng, num) + sigma * rng.standard_normal([num, 2])

    return Density(noisy_sample, logs, (low[0], high[0], low[1], high[1]), sigma / 3)


def _legendre(num):
    """Gauss–Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(num)
    return (nodes + 1) / 2, weights / 2


@functools.cache
def _two_moons():
    def moons(u, lower):
        t = np.pi * u
        x = np.where(lower, 1 - np.cos(t), np.cos(t))
        y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
        return np.stack([2 * x - 1, 2 * y - 0.2], -1)

    def draw(rng, num):
        return moons(rng.random(num), rng.random(num) < 0.5)

    u, weights = _legendre(100)
    return _noisy(np.concatenate([moons(u, False), moons(u, True)]), np.tile(weights, 2), 0.2, draw)


@functools.cache
def _circles():
    def ring(u, radius):
        return (radius * np.array([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)])).T

    def draw(rng, num):
        return ring(rng.random(num), np.where(rng.random(num) < 0.5, 3.0, 1.5))

    u = np.arange(200) / 200  # equal steps are spectrally accurate around a circle
    return _noisy(np.concatenate([ring(u, 3.0), ring(u, 1.5)]), np.ones(400), 0.24, draw)


@functools.cache
def _swiss_roll():
    def roll(u):
        t = 1.5 * np.pi * (1 + 2 * u)
        return np.stack([t * np.cos(t), t * np.sin(t)], -1) / 5

    u, weights = _legendre(300)
    return _noisy(roll(u), weights, 0.2, lambda rng, num: roll(rng.random(num)))


@functools.cache
def _eight_gaussians():
    angle = np.pi / 4 * np.arange(8)
    centres = 4 / 1.414 * np.stack([np.cos(angle), np.sin(angle)], -1)  # FFJORD divides by 1.414, not √2
    return _noisy(centres, np.ones(8), 0.5 / 1.414, lambda rng, num: centres[rng.integers(8, size=num)])


@functools.cache
def _gaussian_grid():
    """Modes 40 deviations apart: entropy ln 25 + 1 + ln 2πσ²."""
    return _noisy(GRID_CENTRES, np.ones(25), GRID_SIGMA, lambda rng, num: GRID_CENTRES[rng.integers(25, size=num)])


@functools.cache
def _checkerboard():
    """Uniform on the eight dark squares, of side 2, of a 4×4 board."""

    def draw(rng, num):
        x = rng.random(num) * 4 - 2
        y = rng.random(num) - 2 * rng.integers(2, size=num) + np.floor(x) % 2
        return 2 * np.stack([x, y], -1)

    def logs(x):
        column, row = np.floor(x / 2).T
        dark = (np.abs(x) < 4).all(1) & ((column + row) % 2 == 0)
        return np.where(dark, -np.log(32), -np.inf)

    return Density(draw, logs, (-4.0, 4.0, -4.0, 4.0), 0.1)


@functools.cache
def _pinwheel():
    """Five arms: x = 2 R(-α) f with f ~ N((1, 0), diag(0.3², 0.1²)) and the turn α = 2πk/5 + exp(f₁)/4."""
    mean, scale, arms = np.array([1.0, 0.0]), np.array([0.3, 0.1]), 5
    psi_nodes = np.linspace(-np.pi, np.pi, 257)

    def draw(rng, num):
        f = mean + scale * rng.standard_normal([num, 2])
        turn = 2 * np.pi / arms * rng.integers(arms, size=num) + np.exp(f[:, 0]) / 4
        c, s = np.cos(turn), np.sin(turn)
        return 2 * np.stack([f[:, 0] * c + f[:, 1] * s, f[:, 1] * c - f[:, 0] * s], -1)

    def logs(x):
        # Turning keeps the radius r of f, and moves its polar angle ψ to θ = ψ - exp(r cos ψ)/4 - 2πk/5. So the
        # f behind a point are the ψ at which (ψ - exp(r cos ψ)/4 - θ) / (2π/5) is an integer: one an arm, and
        # more where the turn folds, far outside. Bracket them between nodes, then bisect.
        radius, theta = np.hypot(*x.T) / 2, np.arctan2(x[:, 1], x[:, 0])

        def arm(psi, radius, theta):
            return (psi - np.exp(radius * np.cos(psi)) / 4 - theta) * arms / (2 * np.pi)

        floors = np.floor(arm(psi_nodes, radius[:, None], theta[:, None]))  # [M, nodes]
        point, node = np.nonzero(np.diff(floors, axis=1))
        target = np.maximum(floors[point, node], floors[point, node + 1])
        radius, theta = radius[point], theta[point]
        rises = floors[point, node] < target
        low, high = psi_nodes[node], psi_nodes[node + 1]
        for _ in range(45):
            middle = (low + high) / 2
            right = (arm(middle, radius, theta) < target) == rises  # the root lies to the right
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        f = radius[:, None] * np.stack([np.cos(low), np.sin(low)], -1)
        log_normal = -(((f - mean) / scale) ** 2).sum(1) / 2 - np.log(2 * np.pi * scale.prod())
        # dx = 4 |1 + f₂ exp(f₁)/4| df
        terms = log_normal - np.log(4 * arms * np.abs(1 + f[:, 1] * np.exp(f[:, 0]) / 4))
        total = np.full(len(x), -np.inf)
        np.logaddexp.at(total, point, terms)
        return total

    return Density(draw, logs, (-7.0, 7.0, -7.0, 7.0), 0.1)


DENSITIES = {
    "two_moons": _two_moons,
    "eight_gaussians": _eight_gaussians,
    "checkerboard": _checkerboard,
    "circles": _circles,
    "swiss_roll": _swiss_roll,
    "pinwheel": _pinwheel,
    "gaussian_grid": _gaussian_grid,
}
