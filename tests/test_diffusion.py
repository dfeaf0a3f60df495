"""Diffusion models around the exact denoiser of Gaussian data: likelihoods, latents, guidance and editing."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import toys
from test_solvers import COVARIANCE, MEAN, SCHEDULES, exact

import genmodels as gm
from genmodels import diffusion
from genmodels.sampling import solvers

NORMAL = scipy.stats.multivariate_normal(MEAN, COVARIANCE)
POINTS = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 400).astype(np.float32)


class Exact(keras.Layer):
    """The denoiser of the Gaussian in `test_solvers` as a network (x / √(α² + σ²), t) that predicts x₀."""

    def __init__(self, schedule, shift=0.0, **options):
        super().__init__(**options)
        self.schedule, self.shift = schedule, shift
        self.anchor = self.add_weight(shape=(), initializer="zeros")  # something to train

    def call(self, x, t, label=None):
        alpha, sigma = (v[:, None] for v in self.schedule.levels(t))
        x = x * tf.sqrt(alpha**2 + sigma**2)
        estimate = exact()(x, alpha, sigma) + self.anchor
        return estimate if label is None else estimate + tf.matmul(label, [[1.0, 0.0], [0.0, 2.0]])


def gaussian(schedule="linear", num_classes=None, **options):
    x, t = keras.Input((2,)), keras.Input(())
    inputs = [x, t] if num_classes is None else [x, t, keras.Input((num_classes,))]
    denoiser = keras.Model(inputs, Exact(SCHEDULES[schedule])(*inputs))
    return gm.Diffusion(
        (2,), levels=None, schedule=SCHEDULES[schedule], prediction="x0", denoiser=denoiser, num_classes=num_classes,
        **options,
    )  # fmt: skip


# ---------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_odes_likelihood_is_the_density(schedule):
    """Of Gaussian data, blurred by the first level, whose σ / α is at most 0.02."""
    score = gaussian(schedule).log_prob(POINTS, steps=64)
    _, sigmas = SCHEDULES[schedule].values([max(SCHEDULES[schedule].first, 1e-3)])
    blurred = scipy.stats.multivariate_normal(MEAN, COVARIANCE + sigmas[0] ** 2 * np.eye(2))
    # The prior is centred, the noised data are not quite: 0.7 / 50 where σ ends at 50.
    atol = 0.07 if schedule in ("exploding", "karras") else 0.02
    np.testing.assert_allclose(score, blurred.logpdf(POINTS), atol=atol)
    assert np.mean(score) == pytest.approx(NORMAL.logpdf(POINTS).mean(), abs=0.02)


@pytest.mark.parametrize("schedule", ["linear", "karras", "straight"])
@pytest.mark.parametrize("deviation", [0.0023, 0.1])  # the first of a pixel that is constant but for the dequantization
def test_the_odes_likelihood_of_narrow_data(schedule, deviation):
    levels = SCHEDULES[schedule]

    class Narrow(keras.Layer):
        def call(self, x, t):
            alpha, sigma = (v[:, None] for v in levels.levels(t))
            x = x * tf.sqrt(alpha**2 + sigma**2)
            return alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * x

    x, t = keras.Input((4,)), keras.Input(())
    model = gm.Diffusion(
        (4,), levels=None, schedule=levels, prediction="x0", denoiser=keras.Model([x, t], Narrow()(x, t))
    )
    data = (deviation * np.random.default_rng(0).normal(size=(100, 4))).astype(np.float32)
    alphas, sigmas = levels.values([max(model.first_time, 1e-3)])
    blurred = scipy.stats.norm(0.0, math.hypot(deviation, sigmas[0] / alphas[0]))
    # With steps equal in σ the first of these was off by 0.15 nats a dimension.
    assert np.mean(model.log_prob(data)) / 4 == pytest.approx(blurred.logpdf(data).mean(), abs=0.01)


def test_probes_estimate_the_divergence_without_bias():
    model = gaussian()
    exact_score = model.log_prob(POINTS[:1], steps=16)[0]
    draws = model.log_prob(np.repeat(POINTS[:1], 4000, 0), steps=16, probes=1).numpy()
    assert draws.std() > 0.1
    assert draws.mean() == pytest.approx(float(exact_score), abs=5 * float(draws.std()) / math.sqrt(4000))
    several = model.log_prob(np.repeat(POINTS[:1], 1000, 0), steps=16, probes=4).numpy()
    assert several.std() == pytest.approx(draws.std() / 2, rel=0.15)


def test_integers_have_a_bound_in_nats_of_the_integers():
    """Uniform noise over the levels: the dequantization bound of the exact density; probabilities sum to below 1."""
    x, t = keras.Input((1,)), keras.Input(())

    class Narrow(keras.Layer):
        def call(self, x, t):  # of data N(0.2, 0.3²) in the network's units
            alpha, sigma = (v[:, None] for v in SCHEDULES["cosine"].levels(t))
            gain = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2)
            return 0.2 + gain * (x * tf.sqrt(alpha**2 + sigma**2) - 0.2 * alpha)

    model = gm.Diffusion((1,), levels=17, prediction="x0", denoiser=keras.Model([x, t], Narrow()(x, t)))
    values = np.arange(17, dtype=np.uint8)[:, None]
    score = np.mean([model.log_prob(values, seed=seed) for seed in range(200)], 0)
    grid = (np.arange(17)[:, None] + (np.arange(200) + 0.5) / 200 - 0.5) / 8 - 1
    truth = scipy.stats.norm(0.2, 0.3).logpdf(grid).mean(1) + math.log(1 / 8)
    np.testing.assert_allclose(score, truth, atol=0.25)
    assert 0.9 < np.exp(score).sum() < 1.0

    # The variational bound lies below the log-probability that the sampler's last step gives the integers.
    bound = np.mean([model.elbo(values, steps=100, seed=seed) for seed in range(40)], 0)
    edges = np.concatenate([[-np.inf], (np.arange(1, 17) - 0.5) / 8 - 1, [np.inf]])
    exact = np.log(np.diff(scipy.stats.norm(0.2, 0.3).cdf(edges)))
    weights = np.exp(exact)  # as often as they occur
    assert 0.0 < np.sum(weights * (exact - bound)) < 1.5


def expected_bound(schedule, steps):
    """The bound of the Gaussian under its exact denoiser, in closed form, as an average over the data.

    Σ ½ (SNR(t_{i-1}) - SNR(t_i)) E‖x₀ - D‖², the prior's and the decoder's terms; direction by direction.
    """
    values, vectors = np.linalg.eigh(COVARIANCE)
    alphas, sigmas = (v[:, None] for v in schedule.values(np.arange(1, steps + 1) / steps))
    error = values * sigmas**2 / (alphas**2 * values + sigmas**2)  # [T, 2]
    snr = (alphas / sigmas) ** 2
    middle = 0.5 * (snr[:-1] - snr[1:]) * error[1:]
    decoder = 0.5 * error[0] * snr[0] + 0.5 * np.log(2 * np.pi / snr[0])
    prior = 0.5 * snr[-1] * (values + (MEAN @ vectors) ** 2)
    return -(middle.sum() + decoder.sum() + prior.sum())


@pytest.mark.parametrize("schedule", ["linear", "cosine", "karras", "straight"])
def test_the_variational_bound_is_what_it_is_for_a_gaussian(schedule):
    data = np.random.default_rng(2).multivariate_normal(MEAN, COVARIANCE, 4000).astype(np.float32)
    for steps in (10, 200):
        values = gaussian(schedule).elbo(data, steps=steps, num_times=steps).numpy()
        truth = expected_bound(SCHEDULES[schedule], steps)
        assert values.mean() == pytest.approx(truth, abs=5 * float(values.std()) / math.sqrt(4000) + 1e-3)
        assert truth < -0.5 * math.log(np.linalg.det(2 * np.pi * np.e * COVARIANCE)) + 1e-3  # minus the entropy
    assert expected_bound(SCHEDULES[schedule], 10_000) > expected_bound(SCHEDULES[schedule], 200)


def test_a_few_terms_estimate_the_bound_without_bias():
    model = gaussian()
    whole = float(tf.reduce_mean(model.elbo(POINTS, steps=100)))
    part = [float(tf.reduce_mean(model.elbo(POINTS, steps=100, num_times=10, seed=seed))) for seed in range(20)]
    assert np.mean(part) == pytest.approx(whole, abs=5 * float(np.std(part)) / math.sqrt(20) + 0.05)
    assert np.std(part) < 0.2  # of 400 points: terms are drawn as often as they are large


def test_likelihoods_do_not_depend_on_the_batch():
    model = gaussian()
    for score in (model.elbo, model.log_prob):
        options = {"num_times": 3} if score == model.elbo else {"probes": 1, "steps": 4}
        whole = score(POINTS[:7], **options)
        np.testing.assert_allclose(whole[4:], score(POINTS[4:7], first=4, **options), rtol=1e-4, atol=1e-4)


def test_log_likelihood_over_a_data_set():
    figures = gm.evaluation.log_likelihood(gaussian(), POINTS, steps=16)
    assert figures["nats"] == pytest.approx(NORMAL.logpdf(POINTS).mean(), abs=0.05)


# ---------------------------------------------------------------------- settings of the papers

# model: schedule, its settings, prediction, T, learned variance, solver, steps, rate. DDPM's β from 1e-4 to 0.02 of a
# thousand steps are a rate from 0.1 to 20; NCSN's σ from 0.01 to 1 are of images in [0, 1]. Solvers are the papers' but
# for DDPM's and its heir's, which take a thousand steps, and flow matching's, which choose their steps.
PAPERS = {
    gm.DDPM: ("Linear", {"beta_min": 0.1, "beta_max": 20.0}, "epsilon", 1000, False, "dpmpp_2m", 20, 2e-4),
    gm.ImprovedDDPM: ("Cosine", {"offset": 0.008}, "epsilon", 4000, True, "dpmpp_2m", 20, 1e-4),
    gm.NCSN: (
        "VarianceExploding", {"sigma_min": 0.02, "sigma_max": 2.0}, "score", None, False, "langevin", 10, 1e-3,
    ),
    gm.EDM: (
        "Karras", {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "mean": -1.2, "deviation": 1.2}, "edm", None,
        False, "heun", 18, 1e-3,
    ),
    gm.FlowMatching: ("Straight", {"normal": False}, "velocity", None, False, "heun", 20, 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAPERS, ids=lambda kind: kind.__name__)
def test_defaults_are_the_papers(kind):
    schedule, settings, prediction, timesteps, learned, solver, steps, rate = PAPERS[kind]
    model = kind((2,), levels=None, width=8)
    assert type(model.schedule).__name__ == schedule and model.schedule.settings == pytest.approx(settings)
    assert (model.prediction.name, model.prediction.deviation) == (prediction, 0.5)
    assert (model.weighting.name, model.timesteps, model.learned_variance) == ("simple", timesteps, learned)
    assert (model.solver, model.steps, model.label_dropout) == (solver, steps, 0.1)
    (optimizer,) = model.default_optimizers().values()
    assert type(optimizer).__name__ == "Adam" and float(optimizer.learning_rate) == pytest.approx(rate)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)


QUANTILES = np.linspace(0.02, 0.98, 25)


def trained_at(model):
    """σ / α at the quantiles of the times of training."""
    alpha, sigma = model.schedule.levels(model.schedule.training_times(tf.constant(QUANTILES, tf.float32)))
    return sigma / alpha


def test_edm_has_the_levels_it_is_told():
    model = gm.EDM((2,), levels=None, width=8, sigma_min=0.05, sigma_max=30.0, mean=-0.4, deviation=1.6)
    _, sigmas = model.grid(9)
    np.testing.assert_allclose(sigmas[:-1], np.linspace(30 ** (1 / 7), 0.05 ** (1 / 7), 9) ** 7, rtol=1e-6)
    normal = scipy.stats.norm(-0.4, 1.6).ppf(QUANTILES)
    np.testing.assert_allclose(np.log(trained_at(model)), normal, atol=1e-3)


def test_edm_of_data_twice_as_wide_is_the_same_at_twice_the_scale():
    denoiser = diffusion.mlp_denoiser((2,), width=8, depth=1)
    for weight in denoiser.weights:
        weight.assign(weight + toys.values(*weight.shape, scale=0.3))
    one, wide = (gm.EDM((2,), levels=None, denoiser=denoiser, data_deviation=scale) for scale in (0.5, 1.0))
    small, large = (model.sample(50, solver="ddim", steps=3) for model in (one, wide))
    assert np.std(small) > 0.05
    np.testing.assert_allclose(large, 2 * small, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(trained_at(wide), 2 * trained_at(one), rtol=1e-3)


def test_ncsn_has_the_levels_it_is_told():
    model = gm.NCSN((2,), levels=None, width=8, sigma_min=0.1, sigma_max=6.0, noise_levels=4)
    assert model.steps == 4
    np.testing.assert_allclose(model.grid(4)[1], [*np.geomspace(6.0, 0.1, 4), 0.0], rtol=1e-6)


def test_flow_matching_is_trained_at_the_times_it_is_told():
    """t / (1 - t) is σ / α: of uniform t, and of the sigmoid of a normal number, whose logarithm is normal."""
    uniform, normal = (gm.FlowMatching((2,), levels=None, width=8, normal_times=told) for told in (False, True))
    np.testing.assert_allclose(trained_at(uniform), QUANTILES / (1 - QUANTILES), rtol=1e-4)
    np.testing.assert_allclose(np.log(trained_at(normal)), scipy.stats.norm.ppf(QUANTILES), atol=1e-4)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "score", "velocity", "edm"])
def test_the_exact_denoiser_is_a_minimum(prediction):
    """A shift of the estimate raises the loss, whatever is predicted: the targets are those of the estimate."""
    schedule, prediction = SCHEDULES["cosine"], diffusion.Prediction(prediction)

    class Predicts(keras.Layer):
        """The output for which the estimate is the exact one, plus a shift."""

        def __init__(self):
            super().__init__()
            self.shift = self.add_weight(shape=(2,), initializer="zeros")

        def call(self, x, t):
            alpha, sigma = (v[:, None] for v in schedule.levels(t))
            x = x / prediction.input_scale(alpha, sigma)
            skip, out = prediction.coefficients(alpha, sigma)
            return (exact()(x, alpha, sigma) + sigma * self.shift - skip * x) / out

    x, t = keras.Input((2,)), keras.Input(())
    layer = Predicts()
    denoiser = keras.Model([x, t], layer(x, t))
    model = gm.Diffusion((2,), levels=None, schedule=schedule, prediction=prediction, denoiser=denoiser)
    data = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 20_000).astype(np.float32)
    losses = []
    for shift in (-0.2, 0.0, 0.2):
        layer.shift.assign([shift, shift])
        losses.append(model.evaluate(data, batch_size=20_000)["loss"])
    assert losses[1] < losses[0] and losses[1] < losses[2]
    assert abs(losses[0] - losses[2]) < 0.1 * (losses[0] + losses[2] - 2 * losses[1])


def test_training_times_are_discrete_where_asked():
    model = gm.DDPM((2,), levels=None, width=8, timesteps=10)
    t = model._training_times(toys.streams(1000))[0].numpy()
    np.testing.assert_allclose(np.unique(t), np.arange(1, 11) / 10, atol=1e-6)
    _, counts = np.unique(np.round(t * 10), return_counts=True)
    assert counts.min() >= 99  # spread evenly
    t = gm.Diffusion((2,), levels=None, width=8)._training_times(toys.streams(1000))[0].numpy()
    assert np.all(np.diff(np.sort(t)) < 2e-3) and t.min() >= 1e-3 and t.max() <= 1


def test_no_place_in_a_batch_has_times_of_its_own():
    """Else an evaluation, whose order never changes, would show some examples little noise, whatever the seed."""
    model = gm.Diffusion((2,), levels=None, width=8)
    times = np.array([model._training_times(toys.streams(2, seed))[0].numpy() for seed in range(200)])
    for place in times.T:
        assert place.min() < 0.1 and place.max() > 0.9
    assert abs(np.abs(times[:, 0] - times[:, 1]) - 0.5).max() < 0.01  # spread evenly


def test_labels_are_hidden_at_the_rate():
    model = gm.DDPM((2,), levels=None, num_classes=3, width=8, label_dropout=0.3)
    zeros = tf.zeros([4000], tf.int32)
    onehot = model._seen_labels(zeros, toys.streams(4000), True).numpy()
    assert onehot.sum(1).mean() == pytest.approx(0.7, abs=0.03)
    assert set(onehot.sum(1)) == {0.0, 1.0} and np.all(onehot[:, 1:] == 0)
    assert np.all(model._seen_labels(zeros, toys.streams(4000), False)[:, 0] == 1)


def test_the_network_is_asked_at_times_that_it_knows():
    """From t = 1 to the first step of a discrete model."""
    seen = []

    class Watched(Exact):
        def call(self, x, t):
            seen.append(t)
            return super().call(x, t)

    for timesteps, first in ((None, 1e-3), (50, 0.02)):
        x, t = keras.Input((2,)), keras.Input(())
        layer = Watched(SCHEDULES["linear"])
        options = {"schedule": "linear", "prediction": "x0", "denoiser": keras.Model([x, t], layer(x, t))}
        model = gm.Diffusion((2,), levels=None, timesteps=timesteps, **options)
        alphas, sigmas = model.grid(5)
        times = model.schedule.time(*(tf.constant(v[:-1], tf.float32) for v in (alphas, sigmas)))
        np.testing.assert_allclose(times, np.linspace(1.0, first, 5), atol=1e-4)
        seen.clear()
        for alpha, sigma in zip(alphas[:-1], sigmas[:-1]):
            model.denoise(tf.zeros([1, 2]), alpha, sigma)
        np.testing.assert_allclose([float(t[0]) for t in seen], np.linspace(1.0, first, 5), atol=1e-4)


def test_the_default_network_takes_the_models_settings(tmp_path):
    model = gm.DDPM((8, 8, 1), levels=17, width=8, multipliers=(1, 1, 2), recompute=True)
    expected = diffusion.unet((8, 8, 1), width=8, multipliers=(1, 1, 2), recompute=True)
    assert [v.shape for v in model.denoiser.weights] == [v.shape for v in expected.weights]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.sample(2, steps=2), model.sample(2, steps=2))
    dropping = gm.DDPM((8, 8, 1), levels=17, width=8, dropout=0.3).denoiser
    assert {layer.rate for layer in dropping.layers if isinstance(layer, keras.layers.Dropout)} == {0.3}


def test_what_it_is_made_of_is_saved(tmp_path):
    schedule = diffusion.ZeroTerminalSNR(diffusion.Linear(0.2, 10.0))
    prediction, weighting = diffusion.Prediction("edm", 0.7), diffusion.Weighting("min_snr", 3.0)
    model = gm.Diffusion((2,), levels=None, schedule=schedule, prediction=prediction, weighting=weighting, width=8)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.schedule.schedule.settings == {"beta_min": 0.2, "beta_max": 10.0}
    assert (again.prediction.name, again.prediction.deviation, again.weighting.gamma) == ("edm", 0.7, 3.0)
    np.testing.assert_array_equal(again.sample(5), model.sample(5))


@pytest.mark.parametrize("build", [gm.ImprovedDDPM, lambda shape, **o: gm.Diffusion(shape, weighting="elbo", **o)])
def test_losses_with_terms_of_the_bound_are_finite_and_fall(build):
    model = build((2,), levels=None, width=32)
    model.compile(keras.optimizers.Adam(1e-3))
    history = model.fit(toys.points(), batch_size=128, epochs=60, verbose=0).history
    assert np.all(np.isfinite(history["loss"])) and "bound_terms" in history
    assert np.mean(history["loss"][-10:]) < np.mean(history["loss"][:10])


def test_a_learned_variance_is_trained_by_the_bound_alone():
    """The gradient to the means is that of the simple loss; the variances have one of their own."""
    model = gm.ImprovedDDPM((2,), levels=None, width=8, timesteps=100)
    batch, seed, last = gm.Batch(tf.constant(toys.points(64)), None), toys.streams(1).seed, model.denoiser.layers[-1]
    with tf.GradientTape(persistent=True) as tape:
        loss, metrics = model._loss(batch, seed, True)
    gradient, simple = (tape.gradient(value, last.bias.value).numpy() for value in (loss, metrics["mse"]))
    np.testing.assert_allclose(gradient[:2], simple[:2], rtol=1e-5)
    assert np.all(gradient[2:] != 0) and np.all(simple[2:] == 0)


# ---------------------------------------------------------------------- sampling


def test_samples_have_the_datas_moments():
    for solver, steps in (("dpmpp_2m", 40), ("ancestral", 200), ("heun", 20)):
        x = gaussian().sample(20_000, solver=solver, steps=steps).numpy()
        np.testing.assert_allclose(x.mean(0), MEAN, atol=0.04)
        np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.06)


@pytest.mark.parametrize("spacing", ["uniform", "quadratic", "karras"])
def test_a_solver_of_ones_own_gets_the_levels_of_the_spacing(spacing):
    """Equal steps of t, √t, and (σ / α)^(1/7), from the prior at the first."""
    seen = []

    def recorded(denoiser, x, alphas, sigmas, streams):
        seen.append((alphas, sigmas))
        return x

    model = gaussian("cosine")
    x = model.sample(3, solver=recorded, spacing=spacing, steps=6, seed=4)
    ((alphas, sigmas),) = seen
    assert len(alphas) == len(sigmas) == 7 and (alphas[-1], sigmas[-1]) == (1.0, 0.0)
    np.testing.assert_allclose(x, sigmas[0] * model.prior(3, seed=4).numpy(), rtol=1e-6)
    times = np.linspace(1.0, model.schedule.first, 6)
    if spacing == "quadratic":
        times = np.linspace(1.0, math.sqrt(model.schedule.first), 6) ** 2
    if spacing == "karras":
        ends = (sigmas[[0, -2]] / alphas[[0, -2]]) ** (1 / 7)
        np.testing.assert_allclose((sigmas[:-1] / alphas[:-1]) ** (1 / 7), np.linspace(*ends, 6), rtol=1e-6)
    else:
        np.testing.assert_allclose([alphas[:-1], sigmas[:-1]], model.schedule.values(times), rtol=1e-9)


def test_eta_and_churn_reach_the_solver():
    """DDIM with η = 1 is the ancestral sampler; churn is that of a solver with it."""
    model, options = gaussian("cosine"), {"steps": 5, "seed": 2}
    churned = functools.partial(solvers.euler, churn=3.0)
    for solver, option, truth in (("ddim", {"eta": 1.0}, "ancestral"), ("euler", {"churn": 3.0}, churned)):
        given, expected = model.sample(6, solver=solver, **option, **options), model.sample(6, solver=truth, **options)
        np.testing.assert_allclose(given, expected, atol=1e-4)
        assert np.abs(given - model.sample(6, solver=solver, **options)).max(1).min() > 1e-3


def test_decoding_an_encoding_returns_the_image():
    train, _ = gm.load_data("digits")
    model = gm.EDM((8, 8, 1), levels=17, denoiser=toys.denoiser((8, 8, 1)))
    model.compile(keras.optimizers.Adam(2e-3), ema=0.99)
    model.fit(train, steps=300, verbose=0)
    x = train.examples[:8]
    z = model.encode(x, steps=40)
    back = model.decode(z, steps=40)
    assert np.abs(back - x).mean() < 0.2
    np.testing.assert_array_equal(np.round(np.clip(back, 0, 16)), x)
    np.testing.assert_allclose(model.reconstruct(x), x, atol=1.0)


def test_encodings_of_a_gaussian_are_standard_normal():
    data = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 5000).astype(np.float32)
    z = gaussian("cosine").encode(data).numpy()
    np.testing.assert_allclose(z.mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.1)


def test_decode_has_gradients():
    model, z = gaussian(), tf.constant(toys.points(4))
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = tf.reduce_sum(model.decode(z, steps=5))
    assert np.all(np.abs(tape.gradient(y, z)) > 1e-3)


# ---------------------------------------------------------------------- guidance


def test_guidance_1_is_plainly_conditional_and_0_unconditional():
    model = gaussian(num_classes=2, schedule="cosine")
    labels = np.arange(6) % 2
    plain = model.sample(6, labels=labels)
    np.testing.assert_array_equal(plain, model.sample(6, labels=labels, guidance=1.0))
    z = tf.constant(np.asarray(model.prior(6)))
    onehot = tf.one_hot(labels, 2)
    for scale, truth in ((1.0 + 1e-7, 1.0), (0.0, 0.0), (3.0, 3.0)):
        guided = model.denoiser_for(tf.constant(labels), tf.constant(scale, tf.float32))(z, 0.6, 0.8)[0]
        without = model.denoise(z, 0.6, 0.8, tf.zeros([6, 2]))[0]
        with_label = model.denoise(z, 0.6, 0.8, onehot)[0]
        np.testing.assert_allclose(guided, without + truth * (with_label - without), atol=1e-5)


def test_guidance_moves_samples_further_along_the_label():
    model = gaussian(num_classes=2, schedule="cosine")
    first = [model.sample(500, labels=0, guidance=scale).numpy()[:, 0].mean() for scale in (0.0, 1.0, 2.0)]
    assert first[0] == pytest.approx(MEAN[0], abs=0.1)
    assert first[0] + 0.5 < first[1] < first[2] - 0.5


def test_a_classifier_adds_its_gradient_to_the_score():
    """The classifier of two Gaussian classes at ±m of deviation s: D with its gradient is the class's own denoiser."""
    s, m = 0.5, 1.0

    class Mixture(keras.Layer):
        def call(self, x, t):
            alpha, sigma = (v[:, None] for v in SCHEDULES["cosine"].levels(t))
            x = x * tf.sqrt(alpha**2 + sigma**2)
            spread = alpha**2 * s**2 + sigma**2
            weight = tf.sigmoid(2 * x * alpha * m / spread)  # of the class at +m
            mean = m * (2 * weight - 1)
            return mean + alpha * s**2 / spread * (x - alpha * mean)

    class Classifier(keras.Layer):
        def call(self, x, t):
            alpha, sigma = (v[:, None] for v in SCHEDULES["cosine"].levels(t))
            logit = 2 * x * alpha * m / (alpha**2 * s**2 + sigma**2)
            return tf.concat([logit, tf.zeros_like(logit)], 1)

    x, t, label = keras.Input((1,)), keras.Input(()), keras.Input((2,))
    denoiser = keras.Model([x, t, label], Mixture()(x, t))
    model = gm.Diffusion((1,), levels=None, prediction="x0", denoiser=denoiser, num_classes=2)
    classifier = keras.Model([x, t], Classifier()(x, t))
    noisy, (alpha, sigma) = tf.constant([[-1.0], [0.2], [0.9]]), (0.8, 0.6)
    guided = model.denoiser_for(tf.constant([0, 0, 0]), tf.constant(1.0), classifier)(noisy, alpha, sigma)[0]
    alone = m + alpha * s**2 / (alpha**2 * s**2 + sigma**2) * (noisy - alpha * m)
    np.testing.assert_allclose(guided, alone, atol=1e-3)
    # A level off the schedule, as churn and Runge-Kutta steps ask: the classifier sees x at the level beside it.
    grown = 1.5 * noisy, 1.5 * alpha, 1.5 * sigma
    off = model.denoiser_for(tf.constant([0, 0, 0]), tf.constant(1.0), classifier)(*grown)[0]
    np.testing.assert_allclose(off, alone, atol=1e-3)
    samples = model.sample(500, labels=0, classifier=classifier, steps=50, solver="ddim").numpy()
    assert samples.mean() == pytest.approx(m, abs=0.1) and samples.std() == pytest.approx(s, abs=0.1)


# ---------------------------------------------------------------------- editing


def test_sdedit_keeps_more_of_the_image_with_less_noise():
    model = gaussian("cosine")
    x = np.full([50, 2], 2.0, np.float32)
    moved = [np.abs(diffusion.sdedit(model, x, strength=s) - x).mean() for s in (0.05, 0.3, 1.0)]
    assert moved[0] < 0.2 and moved[0] < moved[1] < moved[2]
    far = diffusion.sdedit(model, np.full([2000, 2], 2.0, np.float32), strength=1.0).numpy()
    np.testing.assert_allclose(far.mean(0), MEAN, atol=0.1)


def test_editing_draws_noise_that_no_sample_was_made_of():
    """The same seed's latents would lead a sample back to itself from pure noise."""
    model = gaussian("cosine")
    samples = model.sample(200, seed=0, solver="ddim", steps=20).numpy()
    again = diffusion.sdedit(model, samples, strength=1.0, solver="ddim", steps=20).numpy()
    correlation = np.corrcoef(samples[:, 0], again[:, 0])[0, 1]
    assert abs(correlation) < 0.3
    noise = diffusion.noised(model, np.zeros([200, 2], np.float32), 0.5).numpy()
    assert abs(np.corrcoef(noise[:, 0], model.prior(200, 0)[:, 0])[0, 1]) < 0.3


def test_edited_integers_are_in_the_datas_units():
    """An untrained ε is 0, and the estimate x / α: a little noise stays, and the image with it."""
    model, x = gm.DDPM((8, 8, 1), width=8), toys.images(4, (8, 8, 1), 256)
    y = diffusion.sdedit(model, x, strength=0.02, steps=2).numpy()
    assert y.dtype == np.uint8 and np.abs(y.astype(float) - x).mean() < 15
    known = np.arange(8)[:, None] < 4 + np.zeros(8)
    filled = diffusion.inpaint(model, x, known, steps=3, jump=1, resamples=1).numpy()
    np.testing.assert_array_equal(filled[:, :4], x[:, :4])


@pytest.mark.parametrize("resamples", [1, 4])
def test_inpainting_draws_from_the_conditional(resamples):
    """Given its first coordinate, the second of a correlated Gaussian is known: resampling is what gets it right."""
    model = gaussian("cosine")
    x = np.full([4000, 2], [2.0, np.nan], np.float32)  # a missing value
    y = diffusion.inpaint(model, x, np.array([True, False]), steps=60, jump=4, resamples=resamples).numpy()
    np.testing.assert_array_equal(y[:, 0], 2.0)
    gain = COVARIANCE[0, 1] / COVARIANCE[0, 0]
    error = abs(y[:, 1].mean() - (MEAN[1] + gain * (2.0 - MEAN[0])))
    assert error < 0.15 if resamples > 1 else error > 0.2  # 0.097 to 0.103 and 0.29 to 0.33 with five seeds


SHIFTS = np.array([[1.0, 0.0], [0.0, 2.0]])  # of the estimate, by label
LABELS = np.array([1, 0, 1, 1])


def moved_by_labels(alphas, sigmas, guidance, moves, known=0.0):
    """How far labels move the end of a linear sampler: its steps on the difference, whose noise has cancelled."""
    values, vectors = np.linalg.eigh(COVARIANCE)
    moved = np.zeros([len(LABELS), 2])
    for (a, s), (a_next, s_next) in itertools.pairwise(zip(alphas, sigmas)):
        gain = vectors @ np.diag(a * values / (a**2 * values + s**2)) @ vectors.T
        past, future = moves(a, s, a_next, s_next)
        moved = (1.0 - known) * (past * moved + future * (moved @ gain + guidance * SHIFTS[LABELS]))
    return moved


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_labels_and_guidance_move_what_is_edited(guidance):
    """Against DDIM and the ancestral sampler in NumPy, from an unconditional model of the same denoiser."""
    plain, model = gaussian("cosine"), gaussian("cosine", num_classes=2)
    x, options = toys.points(4), {"steps": 6, "seed": 3}
    asked = {"labels": LABELS, "guidance": guidance}

    edit = functools.partial(diffusion.sdedit, x=x, strength=0.7, solver="ddim", **options)
    ddim = lambda a, s, a_next, s_next: (s_next / s, a_next - a * s_next / s)  # noqa: E731
    truth = moved_by_labels(*model.grid(6, start=0.7), guidance, ddim)
    np.testing.assert_allclose(edit(model, **asked) - edit(plain), truth, atol=1e-3)

    known = np.array([True, False])
    fill = functools.partial(diffusion.inpaint, x=x, known=known, jump=1, resamples=1, **options)
    posterior = lambda a, s, a_next, s_next: (  # noqa: E731
        a / a_next * (s_next / s) ** 2, a_next - a**2 / a_next * (s_next / s) ** 2
    )  # fmt: skip
    truth = moved_by_labels(*model.grid(6), guidance, posterior, known)
    np.testing.assert_allclose(fill(model, **asked) - fill(plain), truth, atol=1e-3)


def test_noised_examples_are_the_forward_process():
    model = gaussian("cosine")
    noisy = diffusion.noised(model, np.zeros([20_000, 2], np.float32) + 1.0, 0.5).numpy()
    alpha, sigma = (v[0] for v in SCHEDULES["cosine"].values([0.5]))
    assert noisy.mean() == pytest.approx(alpha, abs=0.02) and noisy.std() == pytest.approx(sigma, abs=0.02)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize("family", [gm.NCSN, gm.FlowMatching])
def test_what_makes_a_family_is_not_an_option(family):
    with pytest.raises(TypeError, match="timesteps"):
        family((2,), levels=None, width=8, timesteps=10)


def test_a_partial_of_the_ancestral_solver_takes_the_learned_variances_too():
    model = gm.ImprovedDDPM((2,), levels=None, width=8, timesteps=8)
    whole = model.sample(5, solver="ancestral", steps=4)
    part = model.sample(5, solver=functools.partial(solvers.ancestral), steps=4)
    large = model.sample(5, solver=functools.partial(solvers.ancestral, variance="large"), steps=4)
    assert (large != part).numpy().any()  # what a partial says holds
    np.testing.assert_array_equal(whole, part)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"schedule": "quadratic"}, "schedule"),
        ({"prediction": "noise"}, "prediction"),
        ({"weighting": "snr"}, "weighting"),
        ({"timesteps": 1}, "timesteps"),
        ({"learned_variance": True}, "timesteps"),
        ({"schedule": "straight", "prediction": "epsilon"}, "epsilon"),
        ({"schedule": SCHEDULES["zero-snr"], "prediction": "score"}, "score"),
        ({"label_dropout": 1.0}, "label_dropout"),
        ({"solver": "rk45"}, "solver"),
        ({"solver": solvers.ddim}, "solver"),
        ({"steps": 0}, "steps"),
        ({"width": 0}, "width"),
        ({"denoiser": keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), "width": None}, "denoiser"),
        ({"denoiser": diffusion.mlp_denoiser((2,), width=8)}, "width: of the default network"),
        ({"multipliers": (1, 2), "dropout": 0.1, "recompute": False}, "multipliers, dropout: of the U-Net"),
        ({"dropout": "half"}, "dropout"),
        ({"dropout": 1.0}, "dropout"),
        ({"recompute": "no"}, "recompute"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_models_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        gm.Diffusion((2,), levels=None, **{"width": 8, **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps"),
        ({"solver": "rk45"}, "solver"),
        ({"spacing": "even"}, "spacing"),
        ({"guidance": 2.0}, "num_classes"),
        ({"guidance": math.nan}, "guidance"),
        ({"solver": "heun", "eta": 0.5}, "eta"),
        ({"solver": "ddim", "churn": 1.0}, "churn"),
        ({"temperature": 1.0}, "options"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_sampling_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        gaussian().sample(2, **options)


def test_guidance_needs_hidden_labels():
    model = gm.Diffusion((2,), levels=None, num_classes=2, label_dropout=0.0, width=8)
    assert model.sample(2).shape == (2, 2)
    with pytest.raises(ValueError, match="label_dropout"):
        model.sample(2, guidance=2.0)


def test_editing_and_likelihood_refuse():
    model, x = gaussian(), POINTS[:4]
    for call, message in (
        (lambda: diffusion.sdedit(model, x, strength=0.0), "strength"),
        (lambda: diffusion.sdedit(model, x, strength=1.5), "strength"),
        (lambda: diffusion.inpaint(model, x, np.array([1.0, 0.0])), "booleans"),
        (lambda: diffusion.inpaint(model, x, np.array([True] * 3)), "shape"),
        (lambda: diffusion.inpaint(model, x, np.array([True, False]), resamples=0), "resamples"),
        (lambda: model.elbo(x, num_times=2000), "num_times"),
        (lambda: model.log_prob(x, steps=0), "steps"),
        (lambda: model.log_prob(x, probes=0), "probes"),
        (lambda: model.decode(tf.zeros([2, 3])), "latents"),
        (lambda: model.encode(np.zeros([2, 3], np.float32)), "shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
