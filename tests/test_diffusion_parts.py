"""Schedules, predictions, weightings and the terms of the variational bound against what is known of them."""

import itertools
import math

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import tensorflow as tf
from test_solvers import SCHEDULES

from genmodels import diffusion
from genmodels.models.diffusion import bound, predictions, schedules

TIMES = np.array([0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])


# ---------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_inverts_levels(name):
    t = tf.constant(TIMES, tf.float32)
    alpha, sigma = SCHEDULES[name].levels(t)
    assert np.all(np.diff(sigma / tf.maximum(alpha, 1e-9)) > 0)
    back = SCHEDULES[name].time(alpha, sigma)
    np.testing.assert_allclose(back, TIMES, atol=2e-4)
    # Only the ratio counts.
    np.testing.assert_allclose(SCHEDULES[name].time(3.0 * alpha, 3.0 * sigma), back, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_float32_levels_are_exact(name):
    alphas, sigmas = SCHEDULES[name].values(TIMES)
    alpha, sigma = SCHEDULES[name].levels(tf.constant(TIMES, tf.float32))
    np.testing.assert_allclose(alpha, alphas, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sigma, sigmas, rtol=1e-4)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid", "zero-snr"])
def test_variance_is_preserved(name):
    alphas, sigmas = SCHEDULES[name].values(np.append(0.0, TIMES))
    np.testing.assert_allclose(alphas**2 + sigmas**2, 1.0, atol=1e-12)
    assert alphas[0] == 1.0 and sigmas[0] == 0.0


def test_linear_is_ddpms_thousand_steps():
    alphas, _ = diffusion.Linear().values(np.arange(1001) / 1000)
    betas = 1.0 - (alphas[1:] / alphas[:-1]) ** 2
    assert np.max(np.abs(betas - np.linspace(1e-4, 0.02, 1000))) < 2.1e-4


def test_cosine_is_the_papers():
    schedule = diffusion.Cosine()
    t = TIMES[:-1]
    angles = (np.append(0.0, t * schedule.end) + 0.008) / 1.008 * math.pi / 2
    of_paper = np.cos(angles) ** 2 / np.cos(angles[0]) ** 2
    np.testing.assert_allclose(schedule.values(t)[0] ** 2, of_paper[1:], rtol=1e-9)
    assert 0.995 < schedule.end < 0.997


def test_sigmoid_is_the_papers():
    schedule = diffusion.Sigmoid()
    sigmoid = scipy.special.expit
    value = sigmoid(TIMES * schedule.end * 6.0 - 3.0)
    of_paper = (sigmoid(3.0) - value) / (sigmoid(3.0) - sigmoid(-3.0))
    np.testing.assert_allclose(schedule.values(TIMES)[0] ** 2, of_paper, rtol=1e-9)


def test_zero_terminal_snr_is_the_papers():
    """α' = (α - α_T) α_1 / (α_1 - α_T), of continuous time with α_1 = 1."""
    alphas, _ = diffusion.Linear().values(TIMES)
    shifted, sigmas = diffusion.ZeroTerminalSNR(diffusion.Linear()).values(TIMES)
    np.testing.assert_allclose(shifted, (alphas - alphas[-1]) / (1.0 - alphas[-1]), atol=1e-9)
    assert shifted[-1] == 0.0 and sigmas[-1] == 1.0


def test_edms_schedule():
    """Table 1 of Karras et al.: the levels of N steps, and a log-normal σ in training."""
    n = np.arange(18)
    _, _, sigmas = diffusion.Karras().grid(18)
    wanted = (80 ** (1 / 7) + n / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigmas, np.append(wanted, 0.0), rtol=1e-6)
    u = tf.constant((np.arange(10_000) + 0.5) / 10_000, tf.float32)
    logs = np.log(diffusion.Karras().levels(diffusion.Karras().training_times(u))[1])
    assert logs.mean() == pytest.approx(-1.2, abs=0.01) and logs.std() == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("spacing", schedules.SPACINGS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_grids_go_from_the_last_time_to_the_first_and_end_clean(name, spacing):
    schedule = SCHEDULES[name]
    if spacing == "karras" and name in ("straight", "zero-snr"):
        with pytest.raises(ValueError, match="karras"):
            schedule.grid(5, spacing)
        return
    for num in (1, 2, 7):
        times, alphas, sigmas = schedule.grid(num, spacing)
        assert len(times) == len(alphas) == len(sigmas) == num + 1
        np.testing.assert_allclose(times[0], 1.0, atol=1e-6)
        assert (alphas[-1], sigmas[-1]) == (1.0, 0.0)
        assert np.all(np.diff(sigmas / np.maximum(alphas, 1e-12)) < 0)
        if num > 1 and name != "straight":
            np.testing.assert_allclose(times[-2], schedule.first, atol=1e-6)
    assert schedule.grid(5, start=0.5)[0][0] == pytest.approx(0.5)


EQUAL = {
    "uniform": lambda t, alpha, sigma: t,
    "quadratic": lambda t, alpha, sigma: np.sqrt(t),
    "karras": lambda t, alpha, sigma: (sigma / alpha) ** (1 / 7),
}


GRIDS = set(itertools.product(SCHEDULES, schedules.SPACINGS)) - {("straight", "karras"), ("zero-snr", "karras")}


@pytest.mark.parametrize("name, spacing", sorted(GRIDS))  # the others are refused
def test_steps_are_equal_in_what_the_spacing_says(name, spacing):
    schedule = SCHEDULES[name]
    times, alphas, sigmas = (values[:-1] for values in schedule.grid(7, spacing))
    np.testing.assert_allclose(schedule.values(times), [alphas, sigmas], rtol=1e-6, atol=1e-9)
    steps = np.diff(EQUAL[spacing](times, alphas, sigmas))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-5)


@pytest.mark.parametrize("rho", [1.0, 3.0])
def test_rho_is_the_power_in_which_steps_of_karras_are_equal(rho):
    _, _, sigmas = diffusion.Karras(0.5, 20.0, rho=rho).grid(6)
    np.testing.assert_allclose(sigmas[:-1], np.linspace(20 ** (1 / rho), 0.5 ** (1 / rho), 6) ** rho, rtol=1e-9)


def test_training_times_lie_between_the_first_and_the_last():
    u = tf.constant([1e-6, 0.5, 1 - 1e-6])
    for schedule in (diffusion.Linear(), diffusion.Straight(), diffusion.Straight(normal=True)):
        t = schedule.training_times(u).numpy()
        assert schedule.first <= t[0] < t[1] < t[2] <= 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_saved(name):
    schedule = SCHEDULES[name]
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is type(schedule)
    np.testing.assert_array_equal(again.values(TIMES), schedule.values(TIMES))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: diffusion.Linear(2.0, 1.0), "beta_min"),
        (lambda: diffusion.Cosine(0.0), "offset"),
        (lambda: diffusion.Sigmoid(3.0, -3.0), "start"),
        (lambda: diffusion.VarianceExploding(1.0, 0.5), "sigma_min"),
        (lambda: diffusion.Karras(sigma_min=-1.0), "sigma_min"),
        (lambda: diffusion.ZeroTerminalSNR(diffusion.Karras()), "schedule"),
        (lambda: schedules.get("quadratic"), "schedule"),
        (lambda: diffusion.Linear().grid(0), "steps"),
        (lambda: diffusion.Linear().grid(5, "even"), "spacing"),
    ],
)
def test_schedules_refuse(build, message):
    with pytest.raises(ValueError, match=f"`{message}`"):
        build()


# ---------------------------------------------------------------------- predictions and weights

NAMES = [*predictions.PREDICTIONS, "edm"]


def noisy(num=5, seed=0):
    rng = np.random.default_rng(seed)
    x0, noise = (tf.constant(rng.normal(size=(num, 3)), tf.float32) for _ in range(2))
    alpha, sigma = (tf.constant(rng.uniform(0.2, 1.5, (num, 1)), tf.float32) for _ in range(2))
    return x0, noise, alpha, sigma, alpha * x0 + sigma * noise


@pytest.mark.parametrize("name", NAMES)
def test_the_target_gives_back_the_data(name):
    x0, noise, alpha, sigma, x = noisy()
    prediction = diffusion.Prediction(name)
    target = prediction.target(x0, noise, alpha, sigma)
    np.testing.assert_allclose(prediction.denoised(x, target, alpha, sigma), x0, atol=1e-4)


def test_targets_are_what_they_are_called():
    x0, noise, alpha, sigma, x = noisy()
    truth = {
        "epsilon": noise,
        "x0": x0,
        "v": (alpha * noise - sigma * x0) / tf.sqrt(alpha**2 + sigma**2),
        "score": -noise,  # σ ∇ log N(x; α x₀, σ²)
        "velocity": noise - x0,
        # Karras et al., equation 8, with x̂ = x / α and ς = σ / α.
        "edm": (x0 - 0.25 / (0.25 + (sigma / alpha) ** 2) * x / alpha)
        / (sigma / alpha * 0.5 / tf.sqrt(0.25 + (sigma / alpha) ** 2)),
    }
    for name in NAMES:
        np.testing.assert_allclose(
            diffusion.Prediction(name).target(x0, noise, alpha, sigma), truth[name], atol=2e-5, err_msg=name
        )


@pytest.mark.parametrize("name", NAMES)
def test_units_of_x_do_not_matter(name):
    """Between the levels of a schedule, α² + σ² is not what it is on them; the network sees the ratio alone."""
    _, _, alpha, sigma, x = noisy()
    prediction, output = diffusion.Prediction(name), tf.ones_like(x)
    one = prediction.denoised(x, output, alpha, sigma)
    np.testing.assert_allclose(prediction.denoised(3.0 * x, output, 3.0 * alpha, 3.0 * sigma), one, atol=1e-5)
    scale = prediction.input_scale(alpha, sigma)
    np.testing.assert_allclose(3.0 * prediction.input_scale(3.0 * alpha, 3.0 * sigma), scale, rtol=1e-5)


def test_the_score_is_a_gradient():
    x0, noise, alpha, sigma, x = noisy()
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_density = -tf.reduce_sum((x - alpha * x0) ** 2 / (2 * sigma**2))
    np.testing.assert_allclose(
        sigma * tape.gradient(log_density, x), diffusion.Prediction("score").target(x0, noise, alpha, sigma), atol=1e-5
    )


def test_edms_inputs_and_targets_have_variance_1():
    rng = np.random.default_rng(0)
    x0, noise = (tf.constant(rng.normal(size=100_000) * s, tf.float32) for s in (0.5, 1.0))
    prediction = diffusion.Prediction("edm", data_deviation=0.5)
    for level in (0.01, 0.5, 80.0):
        alpha, sigma = tf.constant(1.0), tf.constant(level)
        assert np.std(prediction.input_scale(alpha, sigma) * (x0 + sigma * noise)) == pytest.approx(1.0, abs=0.01)
        assert np.std(prediction.target(x0, noise, alpha, sigma)) == pytest.approx(1.0, abs=0.01)


def test_pure_noise_is_no_division_by_zero():
    """At α = 0 all but ε and the score tell the data."""
    for name in ("x0", "v", "velocity", "edm"):
        estimate = diffusion.Prediction(name).denoised(tf.ones([2]), tf.ones([2]), tf.constant(0.0), tf.constant(1.0))
        assert np.all(np.isfinite(estimate)), name


def test_weights_of_the_papers():
    """Of the error of the output, for networks that predict ε: ‖D - x₀‖² = ‖F - ε‖² / SNR."""
    alpha, sigma = tf.constant([0.99, 0.8, 0.1]), tf.constant([0.05, 0.6, 0.99])
    snr = (alpha / sigma) ** 2
    for name, truth in (("epsilon", tf.minimum(snr, 5.0) / snr), ("x0", tf.minimum(snr, 5.0))):
        _, out = diffusion.Prediction(name).coefficients(alpha, sigma)
        np.testing.assert_allclose(diffusion.Weighting("min_snr").factor(out, alpha, sigma), truth, rtol=1e-5)
    _, out = diffusion.Prediction("v").coefficients(*schedules.Cosine().levels(tf.constant([0.2, 0.7])))
    alpha, sigma = schedules.Cosine().levels(tf.constant([0.2, 0.7]))
    snr = (alpha / sigma) ** 2  # Hang et al., section 3.4: min(SNR, γ) / (SNR + 1)
    factor = diffusion.Weighting("min_snr").factor(out, alpha, sigma)
    np.testing.assert_allclose(factor, tf.minimum(snr, 5.0) / (snr + 1.0), rtol=1e-5)


def test_edms_weight_is_1_for_edms_output():
    alpha, sigma = tf.ones([3]), tf.constant([0.01, 0.5, 20.0])
    _, out = diffusion.Prediction("edm").coefficients(alpha, sigma)
    np.testing.assert_allclose(diffusion.Weighting("edm").factor(out, alpha, sigma), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(diffusion.Weighting("simple").factor(out, alpha, sigma), 1.0)


def test_edms_weight_of_pure_noise_is_finite():
    """(σ² + d²) / (σ d)² with the σ of α = 1, which is σ / α; its limit is 1 / d²."""
    weighting = diffusion.Weighting("edm", data_deviation=0.5)
    alpha, sigma = tf.constant([0.6, 1e-4, 0.0]), tf.constant([0.8, 1.0, 1.0])
    ratio = 0.8 / 0.6
    truth = [(ratio**2 + 0.25) / (ratio * 0.5) ** 2, 4.0, 4.0]
    np.testing.assert_allclose(weighting.factor(tf.ones([3]), alpha, sigma), truth, rtol=1e-5)


@pytest.mark.parametrize("build", [lambda: diffusion.Prediction("noise"), lambda: diffusion.Weighting("snr")])
def test_unknown_names_are_refused(build):
    with pytest.raises(ValueError, match="must be"):
        build()


# ---------------------------------------------------------------------- the variational bound


def test_terms_are_divergences_of_the_posteriors():
    """Against the KL of two normals by quadrature, one pixel, with and without a learned variance."""
    schedule, steps, i = diffusion.Linear(), 20, 8
    x0, x, estimate = 0.3, -0.2, 0.1
    (a1, a2), (s1, s2) = schedule.values([(i - 1) / steps, i / steps])
    keep = a2 / a1
    large = s2**2 - keep**2 * s1**2
    small = large * s1**2 / s2**2
    mean = [keep * s1**2 / s2**2 * x + a1 * large / s2**2 * guess for guess in (x0, estimate)]
    for place in (None, 0.0, 0.4, 1.0):
        variance = small if place is None else math.exp(math.log(small) + place * math.log(large / small))
        q, p = scipy.stats.norm(mean[0], math.sqrt(small)), scipy.stats.norm(mean[1], math.sqrt(variance))
        divergence = lambda v, q=q, p=p: q.pdf(v) * (q.logpdf(v) - p.logpdf(v))  # noqa: E731
        truth, _ = scipy.integrate.quad(divergence, *q.interval(1 - 1e-12))
        one = [tf.constant([[v]], tf.float32) for v in (x0, estimate)]
        place = None if place is None else tf.constant([[place]])
        term = bound.terms(schedule, steps, tf.constant([i / steps]), *one, place, 256)
        assert float(term[0]) == pytest.approx(truth, rel=1e-3)


def test_decoder_is_a_distribution_over_the_levels():
    """The probabilities of all integers sum to one, wherever the mean and however wide."""
    for levels in (2, 17, 256):
        x0 = tf.constant(np.linspace(-1, 1, levels), tf.float32)
        for mean, scale in ((0.0, 0.5), (-1.3, 0.05), (0.999, 0.002), (0.4, 3.0)):
            total = np.exp(bound.decoder(x0, mean, tf.math.log(scale), levels)).sum()
            assert total == pytest.approx(1.0, abs=2e-3), (levels, mean, scale)


def test_decoder_has_gradients_far_away():
    mean = tf.constant([-50.0, 0.0, 50.0])
    with tf.GradientTape() as tape:
        tape.watch(mean)
        value = bound.decoder(tf.zeros([3]), mean, tf.math.log(0.01), 256)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(tape.gradient(value, mean)))
    assert value[0] < -1e6


def test_prior_term():
    x0 = tf.constant([[1.0, -1.0]])
    alpha, sigma = (v[0] for v in diffusion.Linear().values([1.0]))
    truth = 2 * ((sigma**2 + alpha**2) / (2 * sigma**2) - 0.5)  # KL of two normals of like variance, twice
    assert float(bound.prior_term(diffusion.Linear(), x0)[0]) == pytest.approx(truth, rel=1e-4)
