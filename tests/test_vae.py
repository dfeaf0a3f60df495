"""The variational autoencoder against models whose likelihood, posterior and bound are known exactly."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from keras import layers
from scipy import stats

import genmodels as gm
from genmodels.models.autoencoders.vae import POSTERIOR, kl_divergence
from genmodels.sampling import Streams, fold, make_seed

# A linear-Gaussian model of three dimensions and two latents: x = W z + b + noise of scale σ, one for each
# dimension. The columns of W are orthogonal in the noise's metric, so the posterior of z has no correlations
# and a VAE's encoder can be exact.
SIGMA = np.array([0.5, 0.8, 1.3])
W = SIGMA[:, None] * np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0][:, :2] * [1.5, 0.7]  # [3, 2]
B = np.array([0.3, -1.0, 2.0])
EXACT = stats.multivariate_normal(B, W @ W.T + np.diag(SIGMA**2))
PRECISION = np.diag(np.eye(2) + W.T @ (W / SIGMA[:, None] ** 2))  # of the posterior, a unit
X = EXACT.rvs(6, random_state=3).astype(np.float32)


def linear(inputs, kernel, bias):
    """A network that is one dense layer of these weights."""
    network = keras.Sequential([keras.Input((inputs,)), layers.Dense(len(bias))])
    network.set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return network


def linear_gaussian(shift=(0.0, 0.0), widen=(1.0, 1.0), **options):
    """The model above; its q is the exact posterior, or one with means shifted and variances widened."""
    log_sigma = np.log(SIGMA)
    raw = log_sigma / np.sqrt(1 - (log_sigma / 7) ** 2)  # the likelihood bounds log-scales smoothly to ±7
    decoder = linear(2, np.concatenate([W.T, np.zeros((2, 3))], 1), [*B, *raw])
    gain = W.T / SIGMA**2 / PRECISION[:, None]  # [2, 3]
    encoder = linear(
        3, np.concatenate([gain.T, np.zeros((3, 2))], 1), [*(-gain @ B + shift), *np.log(widen / PRECISION)]
    )
    return gm.VAE((3,), levels=None, latent_dim=2, encoder=encoder, decoder=decoder, **options)


def gap(shift, widen):
    """KL(q ‖ posterior) of `linear_gaussian`, nats a unit."""
    shift, widen = np.asarray(shift), np.asarray(widen)
    return 0.5 * (widen + PRECISION * shift**2 - 1 - np.log(widen))


WRONG = {"shift": (0.4, -0.3), "widen": (1.4, 0.8)}


def network(random, input_shape, output_shape, num_classes):
    """A user's own network of one hidden layer; its weights are large enough that every unit says something."""
    inputs = [keras.Input(input_shape)] + ([] if num_classes is None else [keras.Input((num_classes,))])
    flat = [layers.Flatten()(x) for x in inputs]
    hidden = layers.Dense(8, "tanh")(flat[0] if num_classes is None else layers.Concatenate()(flat))
    outputs = layers.Reshape(output_shape)(layers.Dense(math.prod(output_shape))(hidden))
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)
    model.set_weights([random.normal(0, 0.6, w.shape) for w in model.get_weights()])
    return model


def small(event_shape=(2, 2, 1), levels=2, *, latent_dim=2, likelihood="auto", num_classes=None, **options):
    """A VAE of a few weights, always the same."""
    random = np.random.default_rng(0)
    outputs = gm.likelihoods.get(likelihood, levels).parameters(event_shape[-1])
    encoder = network(random, event_shape, (2 * latent_dim,), num_classes)
    decoder = network(random, (latent_dim,), (*event_shape[:-1], outputs), num_classes)
    return gm.VAE(
        event_shape, levels=levels, latent_dim=latent_dim, likelihood=likelihood, num_classes=num_classes,
        encoder=encoder, decoder=decoder, **options,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- the bound


def test_kl_is_that_of_tfp_and_of_the_formula():
    from tensorflow_probability import distributions as tfd

    random = np.random.default_rng(0)
    mean, log_variance = random.normal(0, 2, (50, 3)), random.uniform(-8, 4, (50, 3))
    given = tf.constant(mean, tf.float32), tf.constant(log_variance, tf.float32)
    kl = kl_divergence(*given).numpy()
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    np.testing.assert_allclose(kl, expected, rtol=1e-5, atol=1e-6)
    posterior = tfd.Normal(given[0], tf.exp(0.5 * given[1]))
    np.testing.assert_allclose(kl, tfd.kl_divergence(posterior, tfd.Normal(0.0, 1.0)), rtol=1e-5, atol=1e-5)
    assert kl_divergence(0.0, 0.0) == 0.0


def test_with_the_exact_posterior_every_bound_is_the_likelihood():
    """p(x, z) / q(z | x) is then p(x), whatever z."""
    model = linear_gaussian()
    for num_samples in (1, 7):
        np.testing.assert_allclose(model.log_prob(X, num_samples=num_samples), EXACT.logpdf(X), atol=1e-4)


def test_elbo_is_the_likelihood_less_the_divergence_from_the_posterior():
    rows = 20_000
    for q in ({}, WRONG):
        model = linear_gaussian(**q)
        elbo = model.elbo(np.repeat(X[:1], rows, 0), seed=1).numpy().astype(np.float64)
        expected = EXACT.logpdf(X[0]) - (gap(**q).sum() if q else 0.0)
        error = elbo.std() / np.sqrt(rows)
        assert 0 < error < 0.02
        assert abs(elbo.mean() - expected) < 4.5 * error, q


def test_the_posteriors_noise_is_not_that_of_samples():
    """With q(z | x) = p(z) a sample would else be judged by the very latent that it was decoded from: no bound."""
    model = small((4, 4, 1))
    model.encoder.set_weights([0 * w for w in model.encoder.get_weights()])
    samples = model.sample(2000, seed=0, pixel_noise=True).numpy()
    same, other = (model.elbo(samples, seed=seed).numpy().astype(np.float64) for seed in (0, 1))
    difference = same - other
    assert difference.std() > 0.5  # z matters
    assert abs(difference.mean()) < 4.5 * difference.std() / np.sqrt(len(samples))


def test_importance_weighted_bounds_rise_to_the_likelihood():
    """And the mean of their exponentials is p(x) at every number of samples."""
    rows, exact, means = 4000, EXACT.logpdf(X[0]), []
    model = linear_gaussian(**WRONG)
    for num_samples in (1, 10, 1000):
        some = rows if num_samples < 1000 else 40
        bound = model.log_prob(np.repeat(X[:1], some, 0), num_samples=num_samples, batch_size=some)
        bound = bound.numpy().astype(np.float64)
        ratio = np.exp(bound - exact)
        assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(some), num_samples
        means.append(bound.mean())
    # With one sample it is the ELBO, on average; its spread here is about one nat.
    assert means[0] == pytest.approx(exact - gap(**WRONG).sum(), abs=4.5 / np.sqrt(rows))
    assert means[0] < means[1] < means[2] < exact + 0.02
    assert means[2] == pytest.approx(exact, abs=0.02)


def numpy_bound(model, x, labels, num_samples, chunk, seed):
    """log 1/k Σ p(x, z) / q(z | x) in float64, from what the networks say and the model's own noise."""
    one_hot = np.eye(model.num_classes, dtype=np.float32)[labels]
    scaled = 2.0 * x.astype(np.float32) / (model.levels - 1) - 1.0
    mean, log_variance = np.split(np.asarray(model.encoder([scaled, one_hot]), np.float64), 2, -1)
    noise = [
        Streams(fold(fold(make_seed(seed), POSTERIOR), i), 0, len(x)).normal((chunk, mean.shape[1])).numpy()
        for i in range(num_samples // chunk)
    ]
    log_weights = []
    for e in np.concatenate(noise, 1).transpose(1, 0, 2).astype(np.float64):  # [B, latent_dim] a sample
        z = mean + np.exp(0.5 * log_variance) * e
        logits = np.asarray(model.decoder([z.astype(np.float32), one_hot]), np.float64)
        log_p = stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-logits))).reshape(len(x), -1).sum(1)
        log_p += stats.norm.logpdf(z).sum(1) - stats.norm.logpdf(z, mean, np.exp(0.5 * log_variance)).sum(1)
        log_weights.append(log_p)
    return np.logaddexp.reduce(log_weights, 0) - np.log(num_samples)


def test_log_prob_is_its_definition_whatever_the_batches():
    model, x, labels = small(num_classes=3), toys.images(5, (2, 2, 1), 2), np.array([0, 2, 1, 1, 0])
    for num_samples, chunk in ((6, 6), (100, 50)):
        expected = numpy_bound(model, x, labels, num_samples, chunk, seed=9)
        for batch_size in (None, 2):
            bound = model.log_prob(x, labels, num_samples=num_samples, seed=9, batch_size=batch_size)
            assert bound.dtype == tf.float32
            np.testing.assert_allclose(bound, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.elbo(x, labels, seed=9), model.log_prob(x, labels, num_samples=1, seed=9, batch_size=2, analytic_kl=True),
        rtol=1e-5,
    )  # fmt: skip
    assert np.abs(model.elbo(x, labels, seed=9) - model.elbo(x, labels, seed=10)).max() > 1e-3


def test_log_prob_keeps_bounds_that_a_float_could_not_exponentiate():
    """Far from the data every weight is below e⁻¹⁰⁰, which is 0 in float32."""
    far = (B + np.array([30.0, 0.0, 0.0]))[None].astype(np.float32)
    exact = EXACT.logpdf(far)
    assert exact < -110
    np.testing.assert_allclose(linear_gaussian().log_prob(far, num_samples=60), exact, rtol=1e-5)


@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_bounds_and_samples_are_the_same_in_every_mode(mode):
    model, x, labels = small(num_classes=3), toys.images(5, (2, 2, 1), 2), tf.constant([0, 2, 1, 1, 0])

    def everything(x, seed, start):
        streams = Streams(seed, start, 5)
        return (
            model.generate(streams, labels), model.generate(streams, labels, pixel_noise=True),
            model._importance_weighted(x, labels, seed, start, tf.constant(2), 3), model._elbo(x, labels, seed, start),
        )  # fmt: skip

    arguments = x, make_seed(2**33 + 1), tf.constant(70, tf.int64)
    graph = everything(*arguments)
    if mode == "xla":
        other = tf.function(everything, jit_compile=True)(*arguments)
    else:
        tf.config.run_functions_eagerly(True)
        try:
            other = everything(*arguments)
        finally:
            tf.config.run_functions_eagerly(False)
    for index, (a, b) in enumerate(zip(graph, other)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=str(index))
    assert set(np.unique(graph[1])) == {0.0, 1.0}


# ------------------------------------------------------------------------------------------- training


def test_training_loss_is_its_definition():
    """β, free bits a unit of the batch's mean, warm-up by the optimizer's count; none of the last two elsewhere."""
    free_bits, beta, warmup = 2.0, 1.7, 10
    model = small((2, 3, 1), latent_dim=3, beta=beta, free_bits=free_bits, kl_warmup=warmup)
    model.compile()
    x, seed = toys.images(16, (2, 3, 1), 2), make_seed(5)
    mean, log_variance = np.split(np.asarray(model.encoder(2.0 * x.astype(np.float32) - 1.0), np.float64), 2, -1)
    np.testing.assert_allclose(model.encode(x), mean, rtol=1e-5, atol=1e-6)
    noise = Streams(seed, 0, 16).normal((3,)).numpy().astype(np.float64)
    decoded = model.decode(mean + np.exp(0.5 * log_variance) * noise).numpy()  # means of Bernoulli pixels
    reconstruction = -stats.bernoulli.logpmf(x, decoded).reshape(16, -1).sum(1).mean()
    each = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)  # [16, 3]
    units = each.mean(0)
    penalty = np.maximum(units, free_bits).sum()
    assert units.min() < free_bits < units.max()  # some are free, some are not
    assert np.maximum(each, free_bits).sum(1).mean() > penalty + 0.1  # an example at a time would be another loss

    loss = model.objectives()[0].loss
    for updates, share in ((0, 0.0), (3, 0.3), (10, 1.0), (25, 1.0)):
        model.optimizers["model"].iterations.assign(updates)
        value, metrics = loss(gm.Batch(tf.constant(x)), seed, True)
        expected = reconstruction + share * beta * penalty
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(metrics["reconstruction"], reconstruction, rtol=1e-5)
        np.testing.assert_allclose(metrics["kl"], units.sum(), rtol=1e-5)
        np.testing.assert_allclose(metrics["elbo"], -reconstruction - units.sum(), rtol=1e-5)
    model.optimizers["model"].iterations.assign(0)
    value, metrics = loss(gm.Batch(tf.constant(x)), seed, False)
    np.testing.assert_allclose(value, reconstruction + beta * units.sum(), rtol=1e-5)
    figures = model.evaluate(x)
    assert figures["kl"] == pytest.approx(units.sum(), rel=1e-5)
    assert figures["loss"] == pytest.approx(figures["reconstruction"] + beta * units.sum(), rel=1e-5)


def test_free_bits_are_no_gradient_for_the_units_below_them():
    """All units free: the loss is the reconstruction, plus a constant."""
    model = small(free_bits=100.0)
    x, seed = tf.constant(toys.images(4, (2, 2, 1), 2)), make_seed(1)
    with tf.GradientTape(persistent=True) as tape:
        value, metrics = model.objectives()[0].loss(gm.Batch(x), seed, True)
    variables = model.trainable_variables
    np.testing.assert_allclose(value, metrics["reconstruction"] + 200.0, rtol=1e-6)
    for a, b in zip(tape.gradient(value, variables), tape.gradient(metrics["reconstruction"], variables)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_reach_the_encoder_through_the_noise():
    """With one x, the mean loss is −log p(x) + KL(q ‖ posterior): its gradient in q's bias is known."""
    rows = 40_000
    model = linear_gaussian(**WRONG)
    batch = gm.Batch(tf.constant(np.repeat(X[:1], rows, 0)))
    bias = model.encoder.layers[-1].bias
    with tf.GradientTape() as tape:
        value, _ = model.objectives()[0].loss(batch, make_seed(2), True)
    gradient = tape.gradient(value, bias.value).numpy()
    shift, widen = np.array(WRONG["shift"]), np.array(WRONG["widen"])
    expected = [*(PRECISION * shift), *(0.5 * (widen - 1))]  # in the means, in the log-variances
    # Each row's gradient is within about ±3 of its mean.
    np.testing.assert_allclose(gradient, expected, atol=4.5 * 3 / np.sqrt(rows))
    assert float(value) == pytest.approx(-EXACT.logpdf(X[0]) + gap(**WRONG).sum(), abs=4.5 * 3 / np.sqrt(rows))


def test_fitting_finds_the_linear_model():
    """From a wrong q and the right decoder, training closes the gap."""
    model = linear_gaussian(shift=(1.0, -1.0), widen=(0.5, 2.0))
    model.decoder.trainable = False
    model.compile(keras.optimizers.Adam(0.02), ema=0.95)
    before = model.log_prob(X, num_samples=1).numpy().mean()
    model.fit(np.repeat(X, 50, 0), batch_size=100, steps=300, verbose=0)
    np.testing.assert_allclose(model.log_prob(X, num_samples=1), EXACT.logpdf(X), atol=0.1)
    assert before < EXACT.logpdf(X).mean() - 0.5


def test_active_units_are_those_whose_posterior_mean_varies():
    """Five units: mean x₀; constant, of a variance that varies; 0.05 x₀; 0.2 x₁; constant."""
    x = np.random.default_rng(0).choice([-1.0, 1.0], (64, 2)).astype(np.float32)  # variance 1
    x -= x.mean(0)
    kernel = np.zeros((2, 10))
    kernel[0, 0], kernel[0, 2], kernel[1, 3] = 1.0, 0.05, 0.2  # variances of about 1, 0.0025, 0.04; the line is 0.01
    kernel[0, 5 + 1] = 2.0
    encoder = linear(2, kernel, [0, 3, 0, 0, -1, *[0] * 5])
    model = gm.VAE((2,), levels=None, latent_dim=5, encoder=encoder, architecture="mlp")
    assert model.evaluate(x)["active_units"] == 2.0
    encoder.set_weights([kernel * 3, np.zeros(10)])  # now 0.15 x₀ too
    assert model.evaluate(x)["active_units"] == 3.0


def test_xla_trains_on_the_same_bound():
    """One step of both: KL and active units do not depend on the noise."""
    x, histories = toys.images(16, (2, 2, 1), 2), []
    for jit_compile in (False, True):
        model = small()
        model.compile(jit_compile=jit_compile)
        histories.append(model.fit(x, batch_size=16, steps=1, verbose=0).history)
    for name in ("kl", "active_units"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
    assert np.isfinite(histories[1]["loss"]).all()


# ------------------------------------------------------------------------------------------- what users call


def test_the_linear_decoder_and_its_jacobian():
    model, z = linear_gaussian(), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(model.decode(z), z @ W.T + B, rtol=1e-5, atol=1e-6)
    tensor = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        decoded = model.decode(tensor)
    jacobian = tape.batch_jacobian(decoded, tensor)
    np.testing.assert_allclose(jacobian, np.broadcast_to(W, (5, 3, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.encode(X), (X - B) / SIGMA**2 @ W / PRECISION, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(X), model.encode(X) @ W.T + B, rtol=1e-5, atol=1e-5)


def test_samples_are_the_decoded_prior_with_noise_where_asked():
    model, num = linear_gaussian(), 20_000
    clean = model.sample(num, seed=1).numpy().astype(np.float64)
    noisy = model.sample(num, seed=1, pixel_noise=True).numpy().astype(np.float64)
    half = model.sample(num, seed=1, temperature=0.5).numpy().astype(np.float64)
    np.testing.assert_allclose(half - B, 0.5 * (clean - B), atol=1e-5)
    for samples, covariance in ((clean, W @ W.T), (noisy, EXACT.cov), (noisy - clean, np.diag(SIGMA**2))):
        # Standard errors of a covariance's entries: √((Σᵢᵢ Σⱼⱼ + Σᵢⱼ²) / n).
        scale = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / num)
        assert (np.abs(np.cov(samples.T) - covariance) < 4.5 * scale + 1e-6).all()
    assert (np.abs(noisy.mean(0) - B) < 4.5 * np.sqrt(np.diag(EXACT.cov) / num)).all()
    # The noise is not that of the latents: the two are uncorrelated.
    assert np.abs(np.corrcoef((noisy - clean).T, clean.T)[:3, 3:]).max() < 4.5 / np.sqrt(num)


def test_temperature_0_is_the_decoded_origin():
    model = small((2, 3, 1), 17)
    origin = model.decode(np.zeros((1, 2))).numpy()
    assert np.abs(origin - model.decode(np.ones((1, 2)))).max() > 0.5
    samples = model.sample(3, temperature=0, seed=8).numpy()
    np.testing.assert_array_equal(samples, np.repeat(np.round(origin), 3, 0))
    np.testing.assert_array_equal(samples, model.sample(3, temperature=0, seed=9).numpy())


def test_pixels_are_drawn_with_the_probabilities_of_the_decoder():
    """Four pixels of logit a z + b, one z: the frequencies of all 16 images are known by integration over z."""
    slope, offset = np.array([0.0, 3.0, -2.0, 1.0]), np.array([0.4, 1.0, 0.5, -1.0])
    decoder = keras.Sequential([linear(1, slope[None], offset), layers.Reshape((2, 2, 1))])
    model = gm.VAE((2, 2, 1), levels=2, latent_dim=1, decoder=decoder, architecture="mlp")
    num = 20_000
    samples = model.sample(num, seed=2, pixel_noise=True, batch_size=num).numpy().reshape(num, 4)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    ones = 1 / (1 + np.exp(-(nodes[:, None] * slope + offset)))  # [80, 4]
    patterns = np.array([[(i >> j) & 1 for j in range(4)] for i in range(16)])
    given = np.prod(np.where(patterns[:, None] == 1, ones, 1 - ones), -1)  # [16, 80]
    expected = given @ weights / weights.sum()
    counts = np.bincount(samples @ [1, 2, 4, 8], minlength=16)
    assert stats.chisquare(counts, num * expected).pvalue > 1e-4
    # Without noise a pixel is its rounded mean: 1 where the logit is positive.
    shown = model.sample(num, seed=2, batch_size=num).numpy().reshape(num, 4)
    assert (shown[:, 0] == 1).all()
    assert shown[:, 1].mean() == pytest.approx(stats.norm.cdf(1 / 3), abs=4.5 * 0.5 / np.sqrt(num))


@pytest.mark.parametrize("levels, likelihood", [(2, "auto"), (17, "auto"), (17, "categorical"), (None, "auto")])
def test_types_and_ranges(levels, likelihood):
    model = small((2, 3, 1), levels, likelihood=likelihood)
    x = toys.images(4, (2, 3, 1), levels or 2)
    x = x.astype(np.float32) if levels is None else x
    codes, decoded = model.encode(x), model.decode(20.0 * model.prior(200))
    assert (codes.dtype, codes.shape) == (tf.float32, (4, 2))
    assert (decoded.dtype, decoded.shape) == (tf.float32, (200, 2, 3, 1))
    np.testing.assert_array_equal(model.reconstruct(x), model.decode(codes))
    samples = model.sample(4, pixel_noise=True)
    assert samples.dtype == (tf.float32 if levels is None else tf.uint8)
    if levels is not None:
        decoded = decoded.numpy()
        assert decoded.min() >= 0 and decoded.max() <= levels - 1
        assert decoded.max() > 0.7 * (levels - 1) and (decoded != np.round(decoded)).any()  # its range, unrounded


def test_mixed_precision_gives_float32():
    model = gm.VAE((2, 3, 1), levels=17, latent_dim=2, architecture="mlp", dtype="mixed_bfloat16")
    assert [x.compute_dtype for x in model.decoder.layers if x.weights][:2] == ["bfloat16"] * 2
    x = toys.images(4, (2, 3, 1), 17)
    outputs = model.encode(x), model.decode(model.prior(4)), model.elbo(x), model.log_prob(x, num_samples=2)
    assert {y.dtype for y in outputs} == {tf.float32}
    assert all(np.isfinite(y).all() for y in outputs)
    assert model.sample(2).dtype == tf.uint8


def test_a_posterior_that_overflows_is_cut_off():
    """A log-variance of 500 is read as 20, so that the bound stays finite."""
    encoder = linear(3, np.zeros((3, 4)), [0, 0, 500, -500])
    model = gm.VAE((3,), levels=None, latent_dim=2, encoder=encoder)
    bounds = model.log_prob(X, num_samples=2).numpy(), model.elbo(X).numpy()
    assert np.isfinite(bounds).all()
    kl = 0.5 * (np.exp(20.0) - 1 - 20) + 0.5 * (np.exp(-20.0) - 1 + 20)
    assert model.evaluate(X)["kl"] == pytest.approx(kl, rel=1e-5)


# ------------------------------------------------------------------------------------------- classes


def test_labels_condition_both_networks():
    model, x = small(num_classes=3), toys.images(4, (2, 2, 1), 2)
    z = np.zeros((3, 2), np.float32)
    decoded = model.decode(z, [0, 1, 2]).numpy()
    assert min(np.abs(decoded[a] - decoded[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.01
    np.testing.assert_array_equal(model.decode(z), decoded)  # the classes in turn
    np.testing.assert_allclose(model.decode(z, 2), decoded[[2, 2, 2]], rtol=1e-6)
    scaled, one_hot = 2.0 * x.astype(np.float32) - 1.0, np.eye(3, dtype=np.float32)[[1, 1, 2, 0]]
    np.testing.assert_allclose(model.encode(x, [1, 1, 2, 0]), model.encoder([scaled, one_hot])[:, :2], rtol=1e-6)
    streams, labels = Streams(make_seed(0), 0, 3), tf.constant([2, 0, 1])
    np.testing.assert_allclose(model.generate(streams, labels, temperature=0), decoded[[2, 0, 1]], rtol=1e-6)
    assert np.abs(model.encode(x, 0) - model.encode(x, 1)).max() > 0.01
    np.testing.assert_array_equal(model.reconstruct(x, 1), model.decode(model.encode(x, 1), 1))
    assert np.abs(model.elbo(x, 0) - model.elbo(x, 1)).max() > 0.01


def test_labels_that_do_not_fit_are_refused():
    model, plain, x = small(num_classes=3), small(), toys.images(2, (2, 2, 1), 2)
    for call in (model.encode, model.elbo, model.log_prob, model.reconstruct):
        with pytest.raises(ValueError, match="num_classes=3: give `labels` with the examples"):
            call(x)
        with pytest.raises(ValueError, match="`labels` must be from 0 to 2; got 3"):
            call(x, [0, 3])
        with pytest.raises(ValueError, match="`labels` must be 2 integers"):
            call(x, [0, 1, 2])
    with pytest.raises(ValueError, match="`labels` must be from 0 to 2; got -1"):
        model.decode(np.zeros((2, 2)), [0, -1])
    for call in (plain.encode, plain.elbo, plain.log_prob, plain.decode):
        with pytest.raises(ValueError, match="without `num_classes`"):
            call(x if call != plain.decode else np.zeros((2, 2)), [0, 1])


# ------------------------------------------------------------------------------------------- construction


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (9, 13, 3), (64, 64, 3)], ids=str)
def test_images_of_every_size_build(shape):
    model = gm.VAE(shape, latent_dim=5)
    assert model.encoder.input_shape == (None, *shape) and model.encoder.output_shape == (None, 10)
    assert model.decoder.output_shape == (None, *shape[:2], 2 * shape[2])  # a mean and a scale each
    if shape == (9, 13, 3):
        assert model.decode(model.prior(2)).shape == (2, *shape)
        assert model.encode(np.zeros((2, *shape), np.uint8)).shape == (2, 5)


def test_likelihoods_set_the_outputs_of_the_decoder():
    for levels, likelihood, outputs in (
        (2, "auto", 3), (2, "bernoulli", 3), (17, "auto", 6), (17, "categorical", 51), (2, "logistic", 6),
        (None, "auto", 6), (None, "normal", 6),
    ):  # fmt: skip
        model = gm.VAE((2, 2, 3), levels=levels, likelihood=likelihood, architecture="mlp", latent_dim=1)
        assert model.decoder.output_shape == (None, 2, 2, outputs), (levels, likelihood)


def mlp(inputs, outputs, **options):
    return gm.networks.mlp(inputs, outputs, widths=(), **options)


@pytest.mark.parametrize("options, message", [
    ({"encoder": mlp((2, 3, 2), (4,))}, r"`encoder` must take inputs of shapes \[\(2, 3, 1\)\].*\[\(2, 3, 2\)\]"),
    ({"encoder": mlp((2, 3, 1), (2,))}, r"`encoder` must give outputs of shape \(4,\); it gives \(2,\)"),
    ({"decoder": mlp((3,), (2, 3, 2))}, r"`decoder` must take inputs of shapes \[\(2,\)\].*\[\(3,\)\]"),
    ({"decoder": mlp((2,), (2, 3, 1))}, r"`decoder` must give outputs of shape \(2, 3, 2\); it gives \(2, 3, 1\)"),
    ({"encoder": mlp((2, 3, 1), (4,)), "num_classes": 3}, r"\[\(2, 3, 1\), \(3,\)\].*it takes \[\(2, 3, 1\)\]"),
    ({"decoder": mlp((2,), (2, 3, 2), num_classes=4), "num_classes": 3}, r"\[\(2,\), \(3,\)\].*\[\(2,\), \(4,\)\]"),
    ({"encoder": "conv"}, "`encoder`: expected a .keras or .h5 file; got conv"),
    ({"encoder": 0}, "`encoder` must be a keras.Model.*got 0"),
    ({"decoder": layers.Dense(4)}, "`decoder` must be a keras.Model.*got <Dense"),
    ({"decoder": keras.Sequential([layers.Dense(4)])}, "`decoder` must be a keras.Model.*got <Sequential"),
    ({"latent_dim": 0}, "`latent_dim` must be an integer ≥ 1; got 0"),
    ({"latent_dim": 2.0}, "`latent_dim` must be an integer ≥ 1; got 2.0"),
    ({"beta": -0.1}, "`beta` must be a finite number of at least 0; got -0.1"),
    ({"beta": "1"}, "`beta` must be a finite number of at least 0; got '1'"),
    ({"free_bits": float("nan")}, "`free_bits` must be a finite number of at least 0; got nan"),
    ({"free_bits": float("inf")}, "`free_bits` must be a finite number of at least 0; got inf"),
    ({"kl_warmup": -1}, "`kl_warmup` must be a finite number of at least 0; got -1"),
    ({"kl_warmup": None}, "`kl_warmup` must be a finite number of at least 0; got None"),
    ({"dropout": 2}, "between 0 and 1.*rate=2"),
    ({"dropout": -0.5}, "between 0 and 1.*rate=-0.5"),
    ({"architecture": "vgg"}, '`architecture` must be "auto", "conv" or "mlp"; got \'vgg\''),
    ({"architecture": "conv", "event_shape": (6,)}, r'"conv" needs images; the data have shape \(6,\)'),
    ({"likelihood": "poisson"}, '`likelihood` must be one of "auto", .* got \'poisson\''),
    ({"likelihood": "bernoulli"}, "Bernoulli is for data with levels=2; got levels=17"),
    ({"likelihood": "logistic", "levels": None}, '"logistic" needs integer pixels'),
    ({"event_shape": (2, 3)}, r"`event_shape` must be \(height, width, channels\).*got \(2, 3\)"),
    ({"levels": 1}, "`levels` must be an integer from 2 to 256 or None for real-valued data; got 1"),
    ({"num_classes": 1}, "`num_classes` must be an integer ≥ 2 or None for an unconditional model; got 1"),
    ({"dtype": "float7"}, "float7"),
])  # fmt: skip
def test_wrong_settings_are_refused_in_words(options, message):
    options = {"event_shape": (2, 3, 1), "levels": 17, "latent_dim": 2, "architecture": "mlp", **options}
    with pytest.raises(ValueError, match=message):
        gm.VAE(options.pop("event_shape"), **options)


def test_wrong_arguments_of_calls_are_refused_in_words():
    model, x = small(), toys.images(2, (2, 2, 1), 2)
    for call, message in (
        (lambda: model.encode(x[:, :1]), r"examples must have shape \('batch', 2, 2, 1\); got \(2, 1, 2, 1\)"),
        (lambda: model.log_prob(x[0]), r"examples must have shape \('batch', 2, 2, 1\); got \(2, 2, 1\)"),
        (lambda: model.decode(np.zeros((2, 3))), r"latents must have shape \[batch, 2\]; got \(2, 3\)"),
        (lambda: model.log_prob(x, num_samples=0), "`num_samples` must be an integer ≥ 1; got 0"),
        (lambda: model.log_prob(x, num_samples=2.0), "`num_samples` must be an integer ≥ 1; got 2.0"),
        (lambda: model.log_prob(x, batch_size=0), "`batch_size` must be an integer ≥ 1 or None; got 0"),
        (lambda: model.log_prob(x, analytic_kl=True), "`analytic_kl` needs `num_samples=1`; got 500"),
        (lambda: model.log_prob(x, seed=-1), "`seed` must be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_model_with_a_likelihood_object_is_saved(tmp_path):
    for likelihood, levels in ((gm.likelihoods.Normal(), None), (gm.likelihoods.Categorical(5), 5)):
        model = gm.VAE((2,), levels=levels, latent_dim=2, likelihood=likelihood)
        model.save(tmp_path / "model.keras")
        assert gm.load_model(tmp_path / "model.keras").likelihood == likelihood


def test_samples_are_the_decoded_prior():
    model = gm.VAE((3,), levels=None, latent_dim=2)
    np.testing.assert_allclose(model.sample(5, seed=3), model.decode(model.prior(5, seed=3)), atol=1e-6)


def test_pixels_of_another_range_or_kind_are_refused():
    model = gm.VAE((2, 2, 1), levels=2, latent_dim=2, architecture="mlp")
    with pytest.raises(ValueError, match="0 … 1; found 255 … 255"):
        model.log_prob(np.full((1, 2, 2, 1), 255, np.uint8))
    with pytest.raises(ValueError, match="must be integers; got float32"):
        model.encode(np.full((1, 2, 2, 1), 0.5, np.float32))


def test_xla_trains_on_the_noise_of_the_graph():
    losses = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = gm.VAE((3,), levels=None, latent_dim=2)
        model.compile(jit_compile=jit_compile)
        losses.append(model.fit(toys.points(64)[:, [0, 1, 0]], batch_size=16, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
