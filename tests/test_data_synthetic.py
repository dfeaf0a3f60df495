"""The densities against their samples, their integral, and entropies that others computed."""

import numpy as np
import pytest

from genmodels.data.synthetic import DENSITIES, entropy, grid, log_density, sample

# Nats, by Monte Carlo on FFJORD's own samplers; the checkerboard is uniform on an area of 32, and the modes of the
# grid, 25 of scale 0.05, do not overlap.
ENTROPIES = {
    "checkerboard": (np.log(32), 1e-9),
    "eight_gaussians": (2.834, 0.005),
    "two_moons": (2.395, 0.004),
    "circles": (3.268, 0.004),
    "swiss_roll": (2.666, 0.004),
    "pinwheel": (2.317, 0.007),
    "gaussian_grid": (np.log(25) + 1 + np.log(2 * np.pi * 0.05**2), 1e-9),
}


def test_every_density_is_here():
    assert set(DENSITIES) == set(ENTROPIES)


@pytest.mark.parametrize("name", ENTROPIES)
def test_entropies_are_those_known(name):
    value, error = ENTROPIES[name]
    assert abs(entropy(name) - value) <= error


@pytest.mark.parametrize("name", ENTROPIES)
def test_densities_integrate_to_one(name):
    points, area = grid(name)
    assert abs(np.exp(log_density(name, points)).sum() * area - 1) < 1e-5


@pytest.mark.parametrize("name", ENTROPIES)
def test_samples_have_the_entropy(name):
    logs = log_density(name, sample(name, 50_000, seed=0))
    assert abs(-logs.mean() - entropy(name)) <= 4 * logs.std() / np.sqrt(len(logs)) + 1e-9


@pytest.mark.parametrize("name", ENTROPIES)
def test_samples_fall_where_the_density_says(name):
    # Chi-square on a 12×12 board of blocks of the grid's cells: the density's mass against counts.
    points, area = grid(name)
    middles = [np.unique(axis) for axis in points.T]

    def square(x):
        column, row = (
            np.clip((values - (at[0] * 3 - at[1]) / 2) / (at[1] - at[0]), 0, len(at) - 1).astype(int) * 12 // len(at)
            for values, at in zip(x.T, middles)
        )
        return 12 * column + row

    expected = np.bincount(square(points), np.exp(log_density(name, points)) * area * 50_000, 144)
    counts = np.bincount(square(sample(name, 50_000, seed=1)), minlength=144)
    used = expected > 20
    chi = np.sum((counts - expected)[used] ** 2 / expected[used])
    assert chi < used.sum() + 5 * np.sqrt(2 * used.sum())


def test_the_pinwheel_is_its_own_change_of_variables():
    # Its density at 2 R(-α) f, for f far out along one arm where no other arm reaches, by the formula.
    f = np.array([[1.4, 0.05], [1.2, -0.1], [1.6, 0.0]])
    angle = np.exp(f[:, 0]) / 4
    x = 2 * np.stack([f[:, 0] * np.cos(angle) + f[:, 1] * np.sin(angle),
                      f[:, 1] * np.cos(angle) - f[:, 0] * np.sin(angle)], -1)  # fmt: skip
    normal = np.exp(-((f[:, 0] - 1) ** 2) / 0.18 - f[:, 1] ** 2 / 0.02) / (2 * np.pi * 0.03)
    expected = normal / (4 * 5 * (1 + f[:, 1] * np.exp(f[:, 0]) / 4))
    np.testing.assert_allclose(log_density("pinwheel", x), np.log(expected), rtol=1e-6)


def test_circles_match_their_closed_form():
    # A ring of radius R under noise: exp(-(r² + R²)/2σ²) I₀(rR/σ²) / 2πσ².
    r, s = np.array([0.0, 1.0, 1.5, 2.5, 3.2]), 0.24
    rings = [np.exp(-((r - R) ** 2) / (2 * s**2)) * scaled_bessel(r * R / s**2) for R in (1.5, 3.0)]
    expected = np.log(np.sum(rings, 0) / 2 / (2 * np.pi * s**2))
    points = np.stack([r * np.cos(0.7), r * np.sin(0.7)], -1)
    np.testing.assert_allclose(log_density("circles", points), expected, rtol=1e-9)


def test_the_grid_has_a_normal_at_every_crossing():
    # Five a side, two apart; at a centre the density is a 25th of one normal's peak, whatever the other 24 are.
    centres = 2.0 * np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)])
    np.testing.assert_allclose(log_density("gaussian_grid", centres), -np.log(25 * 2 * np.pi * 0.0025), rtol=1e-12)
    points = sample("gaussian_grid", 100_000, seed=2).astype(np.float64)
    nearest = np.round(points / 2).clip(-2, 2)
    counts = np.unique(nearest, axis=0, return_counts=True)[1]
    assert len(counts) == 25 and ((counts - 4000) ** 2 / 4000).sum() < 24 + 5 * np.sqrt(48)
    offsets = points - 2 * nearest
    np.testing.assert_allclose(np.cov(offsets.T) / 0.0025, np.eye(2), atol=5 * np.sqrt(2 / 100_000))


def scaled_bessel(x):
    """exp(-x) I₀(x), from its integral."""
    t = (np.arange(2000) + 0.5) * np.pi / 2000
    return np.exp(x[:, None] * (np.cos(t) - 1)).mean(1)


def test_samples_repeat_by_seed():
    assert np.array_equal(sample("pinwheel", 10, seed=1), sample("pinwheel", 10, seed=1))
    assert not np.array_equal(sample("pinwheel", 10, seed=1), sample("pinwheel", 10, seed=2))
    assert sample("pinwheel", 10).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample("three_moons", 5), "no density is called 'three_moons'"),
        (lambda: sample("circles", 0), "integer ≥ 1"),
        (lambda: log_density("circles", np.zeros(2)), r"\[M, 2\]"),
        (lambda: entropy("spiral"), "there are two_moons"),
    ],
)
def test_wrong_use_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
