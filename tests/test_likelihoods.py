"""Likelihoods against float64 closed forms, TFP, and the frequencies of their own samples."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from genmodels import likelihoods
from genmodels.likelihoods import Bernoulli, Categorical, DiscretizedLogistic, LogisticMixture, Normal

DISCRETE = [Bernoulli(), Categorical(2), Categorical(5), DiscretizedLogistic(2), DiscretizedLogistic(5)]
DISCRETE += [DiscretizedLogistic(256)]
ALL = [*DISCRETE, Normal()]


def outputs(likelihood, event, batch=3, seed=0, scale=1.5):
    """Network outputs and data for events of a shape."""
    rng = np.random.default_rng(seed)
    params = rng.normal(size=[batch, *event[:-1], likelihood.parameters(event[-1])]) * scale
    if likelihood.levels is None:
        return params.astype(np.float32), rng.normal(size=[batch, *event]).astype(np.float32)
    return params.astype(np.float32), rng.integers(likelihood.levels, size=[batch, *event], dtype=np.uint8)


def softplus(x):
    return np.logaddexp(0, x)


def closed_form(likelihood, params, x):
    """Log-probability of each example in float64, straight from the definitions."""
    params, x = params.astype(np.float64), x.astype(np.float64)
    channels = x.shape[-1]
    if isinstance(likelihood, Bernoulli):
        elements = x * params - softplus(params)
    elif isinstance(likelihood, Categorical):
        logits = params.reshape(*x.shape, likelihood.levels)
        chosen = np.take_along_axis(logits, x.astype(int)[..., None], axis=-1)[..., 0]
        elements = chosen - np.logaddexp.reduce(logits, axis=-1)
    else:
        mean, log_scale = params[..., :channels], params[..., channels:]
        log_scale = log_scale / np.sqrt(1 + (log_scale / 7) ** 2)
        if isinstance(likelihood, Normal):
            elements = -0.5 * ((x - mean) / np.exp(log_scale)) ** 2 - log_scale - 0.5 * np.log(2 * np.pi)
        else:
            half = (likelihood.levels - 1) / 2

            def cdf(pixel):
                return 1 / (1 + np.exp(-(pixel / half - 1 - mean) / np.exp(log_scale)))

            upper = np.where(x == likelihood.levels - 1, 1, cdf(x + 0.5))
            elements = np.log(upper - np.where(x == 0, 0, cdf(x - 0.5)))
    return elements.reshape(len(x), -1).sum(axis=1)


@pytest.mark.parametrize("event", [(4, 3, 3), (6,)], ids=["image", "vector"])
@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_log_prob_is_the_closed_form(likelihood, event):
    params, x = outputs(likelihood, event)
    log_prob = likelihood.log_prob(params, x)
    assert log_prob.dtype == tf.float32
    np.testing.assert_allclose(log_prob, closed_form(likelihood, params, x), rtol=2e-5)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_distribution_is_the_same_density(likelihood):
    params, x = outputs(likelihood, (2, 2, 3), scale=0.5)
    distribution = likelihood.distribution(params)
    assert distribution.batch_shape == [3]
    assert distribution.event_shape == [2, 2, 3]
    expected = distribution.log_prob(tf.cast(x, distribution.dtype))
    np.testing.assert_allclose(likelihood.log_prob(params, x), expected, rtol=2e-3)


def test_discretized_logistic_is_a_quantized_logistic():
    likelihood, levels = DiscretizedLogistic(256), 256
    x = np.arange(levels)[:, None]
    for mean, log_scale in [(0.0, 0.0), (0.31, -3.0), (-0.98, -5.0), (1.2, -2.0)]:
        bounded = log_scale / np.sqrt(1 + (log_scale / 7) ** 2)
        loc, scale = np.float64(127.5 * (1 + mean)), np.float64(127.5 * np.exp(bounded))
        quantized = tfd.QuantizedDistribution(tfd.Logistic(loc - 0.5, scale), low=0.0, high=255.0)
        expected = quantized.log_prob(x[:, 0].astype(np.float64)).numpy()
        params = np.tile(np.float32([[mean, log_scale]]), [levels, 1])
        log_prob = likelihood.log_prob(params, x).numpy()
        # Beyond e⁻²⁰ float64 differences of CDFs near 1 lose their digits; ours do not.
        seen = expected > -20
        np.testing.assert_allclose(log_prob[seen], expected[seen], rtol=1e-4, atol=1e-4)


def test_discretized_logistic_keeps_its_digits_in_the_tail():
    # Far above the mean a logistic falls by exactly 1/s a level, long after both CDFs have rounded to 1.
    params = np.tile(np.float32([[-1.0, -4.0]]), [3, 1])
    log_prob = DiscretizedLogistic(256).log_prob(params, [[200], [201], [202]]).numpy()
    scale = 127.5 * np.exp(-4 / np.sqrt(1 + 16 / 49))
    np.testing.assert_allclose(np.diff(log_prob), -1 / scale, rtol=1e-4)
    assert log_prob[0] == pytest.approx(-200 / scale + np.log(2 * np.sinh(0.5 / scale)), rel=1e-5)


@pytest.mark.parametrize("likelihood", DISCRETE, ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 1e4])
def test_probabilities_sum_to_one(likelihood, scale):
    params, _ = outputs(likelihood, (1,), batch=8, scale=scale)
    every = np.arange(likelihood.levels)
    log_prob = likelihood.log_prob(np.repeat(params, len(every), axis=0), np.tile(every, 8)[:, None])
    total = np.exp(np.reshape(log_prob, [8, -1]).astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-4)


def test_normal_density_integrates_to_one():
    grid = np.linspace(-30, 30, 20_001, dtype=np.float32)[:, None]
    params = np.tile(np.float32([[0.5, -1.0]]), [len(grid), 1])
    density = np.exp(Normal().log_prob(params, grid))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_extremes_have_finite_values_and_gradients(likelihood):
    width = likelihood.parameters(1)
    corners = np.stack(np.meshgrid(*[[-1e4, 0, 1e4]] * min(width, 2)), axis=-1).reshape(-1, min(width, 2))
    params = np.zeros([len(corners), width], np.float32)
    params[:, : corners.shape[1]] = corners
    values = [0, 1] if likelihood.levels is None else [0, likelihood.levels // 2, likelihood.levels - 1]
    for value in values:
        variable = tf.Variable(params)
        with tf.GradientTape(persistent=True) as tape:
            log_prob = likelihood.log_prob(variable, np.full([len(params), 1], value))
            mean = likelihood.mean(variable)
        for quantity in (log_prob, mean, tape.gradient(log_prob, variable), tape.gradient(mean, variable)):
            assert np.isfinite(quantity).all()


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(256), Normal()], ids=str)
def test_a_scale_at_its_bounds_can_come_back(likelihood):
    params = tf.Variable([[0.0, -1e4], [0.0, 1e4]])
    x = [[0], [128]] if likelihood.levels else [[2.0], [0.0]]  # far for a narrow scale, near for a wide one
    with tf.GradientTape() as tape:
        log_prob = likelihood.log_prob(params, x)
    too_narrow, too_wide = tape.gradient(log_prob, params)[:, 1].numpy()
    assert too_narrow > 0 > too_wide


@pytest.mark.parametrize("likelihood", DISCRETE[:-1], ids=str)
def test_sample_frequencies_match_the_probabilities(likelihood):
    num, levels = 20_000, likelihood.levels
    params, _ = outputs(likelihood, (3,), batch=1, seed=1)
    uniform = np.random.default_rng(2).uniform(size=[num, 3])
    samples = likelihood.sample(np.tile(params, [num, 1]), uniform).numpy()
    assert set(np.unique(samples)) <= set(range(levels))
    one = np.reshape(params, [3, -1]) if isinstance(likelihood, Categorical) else np.reshape(params, [-1, 3]).T
    for channel in range(3):
        log_prob = likelihood.log_prob(np.tile(one[channel], [levels, 1]), np.arange(levels)[:, None])
        expected = num * np.exp(log_prob)
        observed = np.bincount(samples[:, channel].astype(int), minlength=levels)
        likely = expected > 5
        chi_square = ((observed - expected)[likely] ** 2 / expected[likely]).sum()
        assert chi_square < 20  # at most 4 degrees of freedom: exceeded once in 2000
        assert observed[~likely].sum() < 30


def test_normal_samples_have_its_moments():
    num = 50_000
    params = np.tile(np.float32([[1.5, -1.0]]), [num, 1])
    samples = Normal().sample(params, np.random.default_rng(0).uniform(size=[num, 1])).numpy()
    deviation = np.exp(-1 / np.sqrt(1 + 1 / 49))
    assert samples.mean() == pytest.approx(1.5, abs=5 * deviation / np.sqrt(num))
    assert samples.std() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_sample_stays_in_range_and_grows_with_uniform(likelihood):
    uniform = np.float32([1e-30, 2**-24, 0.1, 0.5, 0.9, 1 - 2**-24])[:, None]
    params = np.tile(outputs(likelihood, (1,), batch=1)[0], [len(uniform), 1])
    samples = likelihood.sample(params, uniform).numpy()[:, 0]
    assert np.isfinite(samples).all()
    assert (np.diff(samples) >= 0).all()
    if likelihood.levels:
        assert samples.min() >= 0 and samples.max() <= likelihood.levels - 1


def test_no_rounding_of_the_cdf_reaches_past_the_last_level():
    params, _ = outputs(Categorical(256), (1,), batch=500)
    samples = Categorical(256).sample(params, np.full([500, 1], 1 - 2**-24, np.float32))
    assert np.max(samples) == 255


@pytest.mark.parametrize("likelihood", DISCRETE, ids=str)
def test_mean_is_the_expectation(likelihood):
    params, _ = outputs(likelihood, (1,), batch=8, scale=0.7)
    every = np.arange(likelihood.levels)
    log_prob = likelihood.log_prob(np.repeat(params, len(every), axis=0), np.tile(every, 8)[:, None])
    expected = np.exp(np.reshape(log_prob, [8, -1])) @ every
    # A discretized logistic reports the mean before rounding, less than half a level away.
    tolerance = 0.5 if isinstance(likelihood, DiscretizedLogistic) else 1e-5
    np.testing.assert_allclose(likelihood.mean(params)[:, 0], expected, atol=tolerance)


def test_discretized_logistic_mean_is_that_of_the_clipped_variable():
    params = np.float32([[0.0, -3.0], [0.9, -1.0], [-1.5, 0.0], [4.0, -5.0]])
    log_scale = params[:, 1] / np.sqrt(1 + (params[:, 1] / 7) ** 2)
    quantiles = np.linspace(0, 1, 400_001)[1:-1]
    for row, mean in zip(params, DiscretizedLogistic(256).mean(params).numpy()[:, 0]):
        scale = np.exp(log_scale[(params == row).all(axis=1)][0])
        draws = 127.5 * (1 + row[0] + scale * np.log(quantiles / (1 - quantiles)))
        assert mean == pytest.approx(np.clip(draws, 0, 255).mean(), abs=0.01)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_zero_outputs_mean_the_middle(likelihood):
    mean = likelihood.mean(np.zeros([1, 2, 2, likelihood.parameters(3)]))
    assert mean.shape == [1, 2, 2, 3]
    np.testing.assert_allclose(mean, 0 if likelihood.levels is None else (likelihood.levels - 1) / 2, rtol=1e-6)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_graphs_and_xla_agree_with_eager(likelihood):
    params, x = outputs(likelihood, (3, 2, 2))
    uniform = np.random.default_rng(3).uniform(0.01, 0.99, size=x.shape).astype(np.float32)

    def everything(params, x, uniform):
        mean, sample = likelihood.mean(params), likelihood.sample(params, uniform)
        return likelihood.log_prob(params, x), tf.gradients(likelihood.log_prob(params, x), params)[0], mean, sample

    variable = tf.Variable(params)
    with tf.GradientTape() as tape:
        log_prob = likelihood.log_prob(variable, x)
    eager = (log_prob, tape.gradient(log_prob, variable), likelihood.mean(params))
    eager = (*eager, likelihood.sample(params, uniform))
    shapes = [tf.TensorSpec([None, *value.shape[1:]], value.dtype) for value in (params, x, uniform)]
    for function in (
        tf.function(everything, input_signature=shapes),
        tf.function(everything, jit_compile=True),
    ):
        for got, expected in zip(function(params, x, uniform), eager):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_half_precision_networks_are_scored_in_float32(likelihood):
    params, x = outputs(likelihood, (2,))
    half = tf.cast(params, tf.bfloat16)
    np.testing.assert_array_equal(likelihood.log_prob(half, x), likelihood.log_prob(tf.cast(half, tf.float32), x))


def test_get_resolves_names():
    assert likelihoods.get("auto", 2) == likelihoods.get("bernoulli", 2) == Bernoulli()
    assert likelihoods.get("auto", None) == likelihoods.get("normal", None) == Normal()
    assert likelihoods.get("auto", 256) == likelihoods.get("logistic", 256) == DiscretizedLogistic(256)
    assert likelihoods.get("categorical", 17) == Categorical(17)
    assert likelihoods.get("logistic_mixture", 17) == LogisticMixture(17, mixtures=10)
    assert likelihoods.get(Categorical(17), 17) == Categorical(17)


@pytest.mark.parametrize(
    ("likelihood", "levels", "words"),
    [
        ("bernoulli", 256, "Bernoulli is for data with levels=2; got levels=256"),
        ("normal", 256, "Normal is for data with levels=None; got levels=256"),
        (Categorical(17), 256, "Categorical is for data with levels=17; got levels=256"),
        ("logistic", None, '"logistic" needs integer pixels'),
        ("categorical", None, '"categorical" needs integer pixels'),
        ("logistic_mixture", None, '"logistic_mixture" needs integer pixels'),
        ("laplace", 256, "must be one of .*; got 'laplace'"),
        (None, 256, "must be one of .*; got None"),
        ("auto", 1, "`levels` must be an integer ≥ 2; got 1"),
        ("auto", True, "`levels` must be an integer ≥ 2; got True"),
        ("auto", 2.0, "`levels` must be an integer ≥ 2; got 2.0"),
    ],
)
def test_get_refuses_in_words(likelihood, levels, words):
    with pytest.raises(ValueError, match=words):
        likelihoods.get(likelihood, levels)


def test_wrong_shapes_are_refused_in_words():
    likelihood = DiscretizedLogistic(256)
    with pytest.raises(ValueError, match=r"needs `params` of shape \[2, 4, 4, 6\] for data .* got \[2, 4, 4, 3\]"):
        Categorical(3).log_prob(tf.zeros([2, 4, 4, 3]), tf.zeros([2, 4, 4, 2]))
    with pytest.raises(ValueError, match="n one of 2, 4, 6, … for 1, 2, 3, … channels"):
        likelihood.mean(tf.zeros([2, 3]))
    with pytest.raises(ValueError, match=r"needs `uniform` of shape \[2, 3\]"):
        likelihood.sample(tf.zeros([2, 6]), tf.zeros([2, 1]))
    with pytest.raises(ValueError, match="`levels` must be an integer ≥ 2; got 1"):
        Categorical(1)
    with pytest.raises(ValueError, match="n one of 6, 12, 20, …"):
        LogisticMixture(4, mixtures=2).mean(tf.zeros([2, 8]))
    with pytest.raises(ValueError, match=r"needs `uniform` of shape \[2, 4\]"):
        LogisticMixture(4, mixtures=2).sample(tf.zeros([2, 20]), tf.zeros([2, 3]))
    with pytest.raises(ValueError, match="`mixtures` must be an integer ≥ 1; got 0"):
        LogisticMixture(4, mixtures=0)


# ---------------------------------------------------------------------- the mixture, whose channels are coupled

MIXTURES = [
    (1, LogisticMixture(5, 3)),
    (2, LogisticMixture(4, 2)),
    (3, LogisticMixture(3, 3)),
    (3, LogisticMixture(2, 1)),
]
mixtures = pytest.mark.parametrize(("channels", "mixture"), MIXTURES, ids=str)


def every_pixel(channels, levels):
    return np.array([*itertools.product(range(levels), repeat=channels)])


def mixture_closed_form(mixture, params, x):
    """Log-probability of pixels [N, C] in float64, straight from Salimans et al. 2017."""
    (num, channels), half = x.shape, (mixture.levels - 1) / 2
    rows = params.astype(np.float64).reshape(num, -1, mixture.mixtures)
    logits, means, log_scales = rows[:, 0], rows[:, 1 : 1 + channels], rows[:, 1 + channels : 1 + 2 * channels]
    coefficients = iter(np.moveaxis(np.tanh(rows[:, 1 + 2 * channels :]), 1, 0))
    scales = np.exp(log_scales / np.sqrt(1 + (log_scales / 7) ** 2))
    total = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    for c in range(channels):
        mean = means[:, c] + sum(next(coefficients) * (x[:, j : j + 1] / half - 1) for j in range(c))
        one = x[:, c : c + 1]
        below, above = (1 / (1 + np.exp(-(edge / half - 1 - mean) / scales[:, c])) for edge in (one - 0.5, one + 0.5))
        total = total * (np.where(one == mixture.levels - 1, 1, above) - np.where(one == 0, 0, below))
    return np.log(total.sum(axis=1))


@mixtures
def test_mixture_is_the_closed_form_and_tfps(channels, mixture):
    params, x = outputs(mixture, (channels,), batch=50)
    log_prob = mixture.log_prob(params, x)
    np.testing.assert_allclose(log_prob, mixture_closed_form(mixture, params, x.astype(int)), rtol=1e-4, atol=1e-5)
    distribution = mixture.distribution(params)
    assert distribution.batch_shape == [50] and distribution.event_shape == [channels]
    np.testing.assert_allclose(distribution.log_prob(tf.cast(x, tf.float32)), log_prob, rtol=1e-3, atol=1e-4)
    assert distribution.sample(seed=1).shape == [50, channels]


def test_mixture_of_images_is_that_of_their_pixels():
    mixture = LogisticMixture(6, 2)
    params, x = outputs(mixture, (2, 3, 3), batch=4)
    pixels = mixture.log_prob(params.reshape(24, -1), x.reshape(24, 3))
    np.testing.assert_allclose(mixture.log_prob(params, x), tf.reduce_sum(tf.reshape(pixels, [4, 6]), 1), rtol=1e-5)
    distribution = mixture.distribution(params)
    assert distribution.batch_shape == [4] and distribution.event_shape == [2, 3, 3]
    np.testing.assert_allclose(distribution.log_prob(x.astype(np.float32)), mixture.log_prob(params, x), rtol=1e-3)


def test_mixture_of_one_is_the_discretized_logistic():
    mixture, one = LogisticMixture(256, 1), DiscretizedLogistic(256)
    params, x = outputs(mixture, (1,), batch=20)
    np.testing.assert_allclose(mixture.log_prob(params, x), one.log_prob(params[:, 1:], x), rtol=1e-6)
    np.testing.assert_allclose(mixture.mean(params), one.mean(params[:, 1:]), rtol=1e-6)
    uniform = np.random.default_rng(0).uniform(size=[20, 2])
    np.testing.assert_array_equal(mixture.sample(params, uniform), one.sample(params[:, 1:], uniform[:, 1:]))


@mixtures
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_mixture_probabilities_sum_to_one(channels, mixture, scale):
    params, _ = outputs(mixture, (channels,), batch=4, scale=scale)
    every = every_pixel(channels, mixture.levels)
    log_prob = mixture.log_prob(np.repeat(params, len(every), axis=0), np.tile(every, [4, 1]))
    np.testing.assert_allclose(np.exp(np.reshape(log_prob, [4, -1])).sum(axis=1), 1, atol=1e-5)


@mixtures
def test_mixture_conditionals_are_marginals_divided(channels, mixture):
    params, _ = outputs(mixture, (channels,), batch=1)
    levels, every = mixture.levels, every_pixel(channels, mixture.levels)
    params = np.tile(params, [len(every), 1])
    conditionals = mixture.conditionals(params, every, every).numpy()
    log_prob = mixture.log_prob(params, every).numpy()
    np.testing.assert_allclose(conditionals.sum(axis=1), log_prob, rtol=1e-4, atol=1e-5)
    joint = np.exp(log_prob).reshape([levels] * channels)
    for c in range(channels):
        marginal = joint.sum(axis=tuple(range(c + 1, channels)))
        conditional = marginal / marginal.sum(axis=c, keepdims=True)
        np.testing.assert_allclose(np.exp(conditionals[:, c]), conditional[tuple(every[:, : c + 1].T)], rtol=1e-3)


def test_mixture_conditionals_see_the_earlier_channels_of_the_context_only():
    mixture = LogisticMixture(8, 3)
    params, target = outputs(mixture, (4,), batch=5)
    context = tf.Variable(np.random.default_rng(1).uniform(0, 7, size=[5, 4]), dtype=tf.float32)
    with tf.GradientTape() as tape:
        conditionals = mixture.conditionals(params, target, context)
    jacobian = tape.batch_jacobian(conditionals, context).numpy()  # [B, of, by]
    earlier = np.tri(4, k=-1, dtype=bool)
    assert (jacobian[:, earlier] != 0).all() and not jacobian[:, ~earlier].any()


@pytest.mark.parametrize("likelihood", ALL, ids=str)
def test_conditionals_of_independent_channels_ignore_the_context(likelihood):
    params, x = outputs(likelihood, (2, 2, 3))
    conditionals = likelihood.conditionals(params, x, np.zeros(x.shape))
    assert conditionals.shape == x.shape
    np.testing.assert_allclose(tf.reduce_sum(conditionals, [1, 2, 3]), likelihood.log_prob(params, x), rtol=1e-5)


@mixtures
def test_mixture_samples_have_its_frequencies(channels, mixture):
    num, every = 20_000, every_pixel(channels, mixture.levels)
    params, _ = outputs(mixture, (channels,), batch=1, seed=1)
    uniform = np.random.default_rng(2).uniform(size=[num, mixture.uniforms(channels)])
    samples = mixture.sample(np.tile(params, [num, 1]), uniform).numpy().astype(int)
    assert samples.min() >= 0 and samples.max() < mixture.levels
    observed = np.bincount(samples @ mixture.levels ** np.arange(channels)[::-1], minlength=len(every))
    expected = num * np.exp(mixture.log_prob(np.tile(params, [len(every), 1]), every))
    likely = expected > 5
    chi_square = ((observed - expected)[likely] ** 2 / expected[likely]).sum()
    degrees = likely.sum() - 1
    assert chi_square < degrees + 3.5 * np.sqrt(2 * degrees) + 5
    assert observed[~likely].sum() < 50


def test_mixture_samples_stay_in_range():
    mixture = LogisticMixture(256, 4)
    uniform = np.float32([1e-30, 0.5, 1 - 2**-24])[every_pixel(4, 3)]
    params = np.tile(outputs(mixture, (3,), batch=1)[0], [len(uniform), 1])
    samples = mixture.sample(params, uniform).numpy()
    assert samples.min() >= 0 and samples.max() <= 255 and (samples == np.round(samples)).all()


@pytest.mark.parametrize("levels", [2, 256])
def test_mixture_extremes_have_finite_values_and_gradients(levels):
    mixture = LogisticMixture(levels, 2)
    rng = np.random.default_rng(0)
    params = tf.Variable(rng.choice([-1e4, -8.0, 0.0, 8.0, 1e4], size=[200, mixture.parameters(3)]), dtype=tf.float32)
    x = rng.choice([0, levels // 2, levels - 1], size=[200, 3])
    context = tf.Variable(x, dtype=tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        log_prob, mean = mixture.log_prob(params, x), mixture.mean(params)
        conditionals = mixture.conditionals(params, x, context)
    quantities = [log_prob, mean, conditionals, tape.gradient(conditionals, context)]
    quantities += [tape.gradient(y, params) for y in (log_prob, mean, conditionals)]
    assert all(np.isfinite(quantity).all() for quantity in quantities)


@mixtures
def test_mixture_mean_is_close_to_the_expectation(channels, mixture):
    params, _ = outputs(mixture, (channels,), batch=8, scale=0.7)
    every = every_pixel(channels, mixture.levels)
    log_prob = mixture.log_prob(np.repeat(params, len(every), axis=0), np.tile(every, [8, 1]))
    expected = np.exp(np.reshape(log_prob, [8, -1])) @ every
    np.testing.assert_allclose(mixture.mean(params), expected, atol=0.2)
    zero = mixture.mean(tf.zeros([2, mixture.parameters(channels)]))
    np.testing.assert_allclose(zero, (mixture.levels - 1) / 2, rtol=1e-6)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(256), Normal()])
def test_a_temperature_may_be_an_integer(likelihood):
    params = tf.constant([[0.3, -0.2]])
    np.testing.assert_array_equal(likelihood.tempered(params, 2), likelihood.tempered(params, 2.0))


def test_mixture_tempered():
    mixture = LogisticMixture(256, 2)
    params, _ = outputs(mixture, (3,), batch=1)
    np.testing.assert_allclose(mixture.tempered(params, 1.0), params, rtol=1e-4, atol=1e-5)
    before, after = (np.reshape(p, [10, 2]) for p in (params, mixture.tempered(params, 0.5)))
    np.testing.assert_allclose(after[0], before[0] / 0.5, rtol=1e-6)  # logits
    np.testing.assert_array_equal(after[1:4], before[1:4])  # means
    halved = [s / np.sqrt(1 + (s / 7) ** 2) for s in (before[4:7], after[4:7])]
    np.testing.assert_allclose(halved[1], halved[0] + np.log(0.5), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(after[7:], before[7:])  # coefficients


def test_mixture_in_graphs_and_xla_and_files():
    mixture = LogisticMixture(16, 3)
    params, x = outputs(mixture, (3, 2, 3))
    uniform = np.random.default_rng(3).uniform(0.01, 0.99, size=[*x.shape[:-1], 4]).astype(np.float32)

    def everything(params, x, uniform):
        gradient = tf.gradients(mixture.log_prob(params, x), params)[0]
        return mixture.log_prob(params, x), mixture.mean(params), mixture.sample(params, uniform), gradient

    shapes = [tf.TensorSpec([None, *value.shape[1:]], value.dtype) for value in (params, x, uniform)]
    graph = tf.function(everything, input_signature=shapes)(params, x, uniform)
    xla = tf.function(everything, jit_compile=True)(params, x, uniform)
    eager = mixture.log_prob(params, x), mixture.mean(params), mixture.sample(params, uniform)
    for got, other in [*zip(graph, eager), *zip(xla, graph)]:
        np.testing.assert_allclose(got, other, rtol=1e-4, atol=1e-5)
    stored = keras.saving.serialize_keras_object(mixture)
    assert keras.saving.deserialize_keras_object(stored) == mixture
