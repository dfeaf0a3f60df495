"""Solvers of diffusion against Gaussian data, for which the exact denoiser and the ODE's solution are known."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import toys

from genmodels import diffusion
from genmodels.sampling import solvers, tables

# Correlated data N(mean, covariance) in two dimensions.
MEAN = np.array([0.7, -0.4])
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.4]])
SCHEDULES = {
    "linear": diffusion.Linear(),
    "cosine": diffusion.Cosine(),
    "sigmoid": diffusion.Sigmoid(),
    "zero-snr": diffusion.ZeroTerminalSNR(diffusion.Linear()),
    "exploding": diffusion.VarianceExploding(0.02, 50.0),
    "karras": diffusion.Karras(),
    "straight": diffusion.Straight(),
}
DETERMINISTIC = [name for name in solvers.SOLVERS if name not in ("ancestral", "langevin")]


def exact(dtype=tf.float32):
    """E[x₀ | x] of the Gaussian: m + α Σ (α² Σ + σ² I)⁻¹ (x - α m), in its eigenbasis."""
    values, vectors = np.linalg.eigh(COVARIANCE)
    values, vectors, mean = (tf.constant(v, dtype) for v in (values, vectors, MEAN))

    def denoiser(x, alpha, sigma):
        alpha, sigma = tf.cast(alpha, dtype), tf.cast(sigma, dtype)
        centred = tf.matmul(x - alpha * mean, vectors)
        return mean + tf.matmul(centred * (alpha * values / (alpha**2 * values + sigma**2)), vectors, transpose_b=True)

    return denoiser


def solution(x, alphas, sigmas):
    """Where the ODE takes x: each direction keeps its place in the marginal N(α m, α² Σ + σ² I). Float64."""
    values, vectors = np.linalg.eigh(COVARIANCE)
    spread = [np.sqrt(a**2 * values + s**2) for a, s in ((alphas[0], sigmas[0]), (alphas[-1], sigmas[-1]))]
    return alphas[-1] * MEAN + ((x - alphas[0] * MEAN) @ vectors) * (spread[1] / spread[0]) @ vectors.T


def noise(num, seed=0):
    return toys.streams(num, seed).normal([2])


# ---------------------------------------------------------------------- what they reach


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_solvers_reach_the_solution(name, schedule):
    """And so the data's mean and covariance, since the start has the marginal's, up to α m at the start."""
    _, alphas, sigmas = SCHEDULES[schedule].grid(150)
    x = noise(200) * sigmas[0]
    y = tf.function(lambda x: solvers.SOLVERS[name](exact(), x, alphas, sigmas, toys.streams(200, 1)))(x)
    truth = solution(x.numpy().astype(float), alphas, sigmas)
    # 150 steps of first order; the last level hides a σ / α of up to 0.02.
    np.testing.assert_allclose(y, truth, atol=0.15 if solvers.ORDERS[name] == 1 else 0.03)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "name, options",
    [
        ("ancestral", {}),
        ("ancestral", {"variance": "large"}),
        ("ddim", {"eta": 1.0}),
        ("ddim", {"eta": 0.5}),
        ("heun", {"churn": 20.0}),
        ("euler", {"churn": 20.0}),
    ],
    ids=str,
)
def test_stochastic_solvers_recover_mean_and_covariance(name, options, schedule):
    num = 20_000
    _, alphas, sigmas = SCHEDULES[schedule].grid(200)
    x = noise(num) * sigmas[0]
    run = tf.function(lambda x: solvers.SOLVERS[name](exact(), x, alphas, sigmas, toys.streams(num, 1), **options))
    y = run(x).numpy()
    # Four standard errors of 20 000 draws, 0.02, and the steps' own error, of first order.
    np.testing.assert_allclose(y.mean(0), MEAN, atol=0.04)
    np.testing.assert_allclose(np.cov(y.T), COVARIANCE, atol=0.06)


def test_langevin_dynamics_recover_mean_and_covariance():
    """On its own levels, a geometric scale; from a start far from any data."""
    num = 20_000
    _, alphas, sigmas = diffusion.VarianceExploding(0.02, 2.0).grid(10)
    y = tf.function(lambda x: solvers.langevin(exact(), x, alphas, sigmas, toys.streams(num, 1)))(noise(num) + 5.0)
    np.testing.assert_allclose(y.numpy().mean(0), MEAN, atol=0.04)
    np.testing.assert_allclose(np.cov(y.numpy().T), COVARIANCE, atol=0.06)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_errors_fall_at_the_stated_order(name):
    """On equal steps of what each solver's expansion is in, from a level so noisy that the first steps cost nothing."""

    def error(count):
        sigmas = np.linspace(8.0, 0.5, count + 1) if name == "ipndm" else np.geomspace(40.0, 0.1, count + 1)
        alphas = np.ones(count + 1)
        x = 40.0 * np.stack([np.cos(np.arange(7.0)), np.sin(np.arange(7.0))], -1)
        y = solvers.SOLVERS[name](exact(tf.float64), tf.constant(x), alphas, sigmas, None).numpy()
        return np.abs(y - solution(x, alphas, sigmas)).max()

    count = 256 if name == "ipndm" else 128  # its first steps are of lower orders, which takes longer to fade
    order = math.log2(error(count) / error(2 * count))
    assert solvers.ORDERS[name] - 0.25 < order < solvers.ORDERS[name] + 0.6


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_one_step_ends_in_the_estimate(name):
    """From pure noise to data in one evaluation: all there is, is D."""
    x = noise(3)
    y = solvers.SOLVERS[name](lambda x, a, s: tf.ones_like(x) * 0.25, x, [0.0, 1.0], [1.0, 0.0], None)
    np.testing.assert_allclose(y, np.full([3, 2], 0.25), atol=1e-6)


def test_ddim_is_euler_on_every_schedule():
    for schedule in SCHEDULES.values():
        _, alphas, sigmas = schedule.grid(7)
        x = noise(5) * sigmas[0]
        one, other = (solvers.SOLVERS[name](exact(), x, alphas, sigmas, None) for name in ("ddim", "euler"))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_ddim_with_eta_1_is_the_ancestral_sampler():
    _, alphas, sigmas = SCHEDULES["linear"].grid(7)
    x, streams = noise(5), toys.streams(5, 3)
    one = solvers.ddim(exact(), x, alphas, sigmas, streams, eta=1.0)
    np.testing.assert_allclose(one, solvers.ancestral(exact(), x, alphas, sigmas, streams), atol=1e-5)


def test_heun_is_edms_algorithm():
    """Against the paper's algorithm 2 in NumPy, without churn."""
    _, alphas, sigmas = SCHEDULES["karras"].grid(6)
    denoiser, x = exact(tf.float64), noise(4).numpy().astype(float) * sigmas[0]
    y = x
    for now, after in itertools.pairwise(sigmas):
        slope = (y - denoiser(tf.constant(y), 1.0, now).numpy()) / now
        moved = y + (after - now) * slope
        if after > 0:
            slope = (slope + (moved - denoiser(tf.constant(moved), 1.0, after).numpy()) / after) / 2
        y = y + (after - now) * slope
    np.testing.assert_allclose(solvers.heun(denoiser, tf.constant(x), alphas, sigmas), y, atol=1e-9)


@pytest.mark.parametrize("churn, noise", [(1.0, 1.0), (1.0, 0.5), (50.0, 1.007)])
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_churn_adds_the_noise_of_edms_algorithm(name, churn, noise):
    """With D = 0 each step scales x by σ' / σ̂, after S_noise √(σ̂² - σ²) ε with σ̂ = σ (1 + min(S_churn / N, √2 - 1))."""
    num, sigmas = 20_000, np.array([4.0, 2.0, 1.0, 0.5, 0.2])
    zeros, variance = tf.zeros([num, 2]), 0.0
    for now, after in itertools.pairwise(sigmas):
        raised = now * (1 + min(churn / 4, math.sqrt(2) - 1))
        variance = (variance + noise**2 * (raised**2 - now**2)) * (after / raised) ** 2
    run = solvers.SOLVERS[name]
    x = run(lambda x, a, s: 0.0 * x, zeros, np.ones(5), sigmas, toys.streams(num), churn=churn, noise=noise)
    assert np.std(x) == pytest.approx(math.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("place, options", [(0.0, {}), (1.0, {"variance": "large"})])
def test_the_ancestral_variances_are_the_papers(place, options):
    """β̃ and β of Ho et al. 2020, and β^v β̃^(1 - v) of Nichol & Dhariwal 2021, equation 15, where D = 0."""
    num, alphas, sigmas = 20_000, [0.3, 0.8], [0.95, 0.6]
    beta = 0.95**2 - (0.3 / 0.8) ** 2 * 0.6**2
    posterior = beta * (0.6 / 0.95) ** 2
    zeros, streams = tf.zeros([num, 2]), toys.streams(num)
    fixed = solvers.ancestral(lambda x, a, s: 0.0 * x, zeros, alphas, sigmas, streams, **options)
    assert np.std(fixed) == pytest.approx(math.sqrt(beta**place * posterior ** (1 - place)), rel=0.02)
    for v in (place, 0.3):
        learned = solvers.ancestral(
            lambda x, a, s, v=v: (0.0 * x, v), zeros, alphas, sigmas, streams, variance="learned"
        )
        assert np.std(learned) == pytest.approx(math.sqrt(beta**v * posterior ** (1 - v)), rel=0.02)


def test_learned_variances_lie_between_the_two():
    """At either end of their range they are the small and the large one."""
    _, alphas, sigmas = SCHEDULES["linear"].grid(5)
    x, streams = noise(4), toys.streams(4, 3)
    for place, fixed in ((0.0, "small"), (1.0, "large")):

        def denoiser(x, alpha, sigma, place=place):
            return exact()(x, alpha, sigma), place * tf.ones_like(x)

        learned = solvers.ancestral(denoiser, x, alphas, sigmas, streams, variance="learned")
        fixed = solvers.ancestral(exact(), x, alphas, sigmas, streams, variance=fixed)
        np.testing.assert_allclose(learned, fixed, atol=1e-5)


def test_posterior_is_bayes():
    """q(x' | x, x₀) against the conditional of the joint Gaussian of (x', x) given x₀, by its covariance."""
    alphas, sigmas = np.array([0.3, 0.8]), np.array([0.95, 0.6])
    past, future, deviation = (v[0] for v in tables.ancestral_moves(alphas, sigmas))
    # Given x₀: x' = .8 x₀ + .6 e, and x = (.3/.8) x' + more noise.
    keep = alphas[0] / alphas[1]
    joint = np.array([[sigmas[1] ** 2, keep * sigmas[1] ** 2], [keep * sigmas[1] ** 2, sigmas[0] ** 2]])
    gain = joint[0, 1] / joint[1, 1]
    assert past == pytest.approx(gain)
    assert future == pytest.approx(alphas[1] - gain * alphas[0])
    assert deviation**2 == pytest.approx(joint[0, 0] - gain * joint[0, 1])


def there_and_back(y, alphas, sigmas, end):
    """The latent of y at the levels up to `end`, and y again by way of that at all levels."""

    @tf.function  # eager loops of as many steps would take half a minute
    def run(y):
        latent = solvers.inverted_ddim(exact(), y, alphas, sigmas)
        back = solvers.inverted_ddim(exact(), y, alphas[:end], sigmas[:end], iterations=30)
        return back, solvers.ddim(exact(), latent, alphas, sigmas, None)

    return run(y)


def test_inverted_ddim_is_the_inverse():
    for schedule in SCHEDULES.values():
        _, alphas, sigmas = schedule.grid(50)
        end = len(alphas) - int(sigmas[-1] == 0)  # the step to clean data hides what the first level hides
        x = noise(6) * sigmas[0]
        y = solvers.ddim(exact(), x, alphas[:end], sigmas[:end], None)
        back, again = there_and_back(y, alphas, sigmas, end)
        np.testing.assert_allclose(back, x, atol=2e-3 * sigmas[0])
        np.testing.assert_allclose(again, y, atol=0.05)


def test_samples_do_not_depend_on_the_batch():
    _, alphas, sigmas = SCHEDULES["linear"].grid(5)
    whole, part = toys.streams(6, 3), toys.streams(2, 3, start=3)
    random = {"ancestral": {}, "ddim": {"eta": 1.0}, "heun": {"churn": 5.0}, "langevin": {"inner": 3}}
    for name, options in random.items():
        run = solvers.SOLVERS[name]
        one = run(exact(), whole.normal([2]), alphas, sigmas, whole.fold(1), **options)
        other = run(exact(), part.normal([2]), alphas, sigmas, part.fold(1), **options)
        np.testing.assert_allclose(one[3:5], other, atol=1e-5)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "alphas, sigmas, message",
    [([1.0], [1.0], "two arrays"), ([1.0, 1.0], [0.0, 0.0], "σ > 0"), ([1.0, 0.0], [1.0, 0.5], "α > 0")],
)
def test_levels_are_checked(alphas, sigmas, message):
    for name in ("ddim", "heun", "unipc", "ipndm", "dpmpp_2m", "langevin"):
        with pytest.raises(ValueError, match=message):
            solvers.SOLVERS[name](exact(), noise(2), alphas, sigmas, toys.streams(2))


def test_options_are_checked():
    levels = ([0.5, 1.0], [0.8, 0.0], toys.streams(2))
    for name, options in (
        ("ddim", {"eta": 1.5}), ("ancestral", {"variance": "none"}), ("heun", {"churn": -1.0}), ("ipndm", {"order": 5}),
        ("unipc", {"order": 0}), ("langevin", {"inner": 0}), ("langevin", {"step": 0.0}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
            solvers.SOLVERS[name](exact(), noise(2), *levels, **options)
