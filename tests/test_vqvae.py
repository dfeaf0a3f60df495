"""The VQ-VAE: its losses and gradients by hand, and its bound beside the likelihood summed over all codes."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from scipy import stats
from test_autoregressive import p_value

import genmodels as gm
from genmodels.core import Batch
from genmodels.sampling import Streams, make_seed

SHAPE, CODES = (4, 2, 1), 3  # halved once: a grid of 2×1 codes, nine in all


def small(levels=2, **options):
    """A VQ-VAE with weights large enough that every code says something."""
    keras.utils.set_random_seed(0)
    sizes = {"num_codes": CODES, "latent_dim": 2, "halvings": 1, "filters": 4, "prior_filters": 4, "prior_blocks": 1}
    model = gm.VQVAE(SHAPE, levels=levels, **{**sizes, **options})
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.6, weight.shape))
    return model


def all_codes():
    return np.array(list(itertools.product(range(CODES), repeat=2)), np.int32).reshape(-1, 2, 1)


def squared(a, b):
    return ((a - b) ** 2).reshape(len(a), -1).sum(1).mean()


def test_the_losses_are_the_papers_and_a_pull_on_every_code():
    model, x = small(), toys.images(6, SHAPE, 2)
    z = model.encoder(2.0 * x.astype(np.float32) - 1.0).numpy().astype(np.float64)  # [6, 2, 1, 2]
    vectors = model.codebook.vectors.numpy().astype(np.float64)
    codes = ((z[..., None, :] - vectors) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(model.codes(x), codes)
    np.testing.assert_allclose(model.encode(x), vectors[codes], rtol=1e-6)
    logits = model.decoder(vectors[codes].astype(np.float32)).numpy().astype(np.float64)
    log_p = stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-logits))).reshape(6, -1).sum(1)
    frequencies = np.bincount(codes.ravel(), minlength=CODES) / codes.size
    perplexity = np.exp(stats.entropy(frequencies))

    autoencoder, prior = model.objectives()
    value, figures = autoencoder.loss(Batch(tf.constant(x)), make_seed(1), True)
    distance = squared(z, vectors[codes])
    assert perplexity > 1 and distance > 0.1
    assert float(figures["reconstruction"]) == pytest.approx(-log_p.mean(), rel=1e-5)
    assert float(figures["commitment"]) == pytest.approx(distance, rel=1e-5)
    assert float(figures["perplexity"]) == pytest.approx(perplexity, rel=1e-5)
    # Of each vector of the codebook its distance to the nearest of an example's.
    idle = ((z.reshape(6, 2, 1, 2) - vectors) ** 2).sum(-1).min(1).sum(1).mean()
    assert float(value) == pytest.approx(-log_p.mean() + 1.25 * distance + 0.01 * idle, rel=1e-5)
    value, figures = prior.loss(Batch(tf.constant(x)), make_seed(1), True)
    expected = -model.code_prior.log_prob(codes[..., None]).numpy().mean()
    assert float(value) == float(figures["code_nll"]) == pytest.approx(expected, rel=1e-5)


def test_gradients_go_straight_past_the_codebook_which_follows_the_encoder():
    model, x = small(), tf.constant(toys.images(6, SHAPE, 2))
    inputs = keras.Input(SHAPE)
    given = tf.Variable(model.encoder(2.0 * tf.cast(x, tf.float32) - 1.0))

    class Given(keras.layers.Layer):  # an encoder whose output is a variable
        def call(self, x):
            return tf.convert_to_tensor(given) + 0.0 * tf.reduce_sum(x)

        def compute_output_shape(self, shape):
            return (shape[0], *model.latent_shape)

    model.encoder = keras.Model(inputs, Given()(inputs))
    with tf.GradientTape() as tape:
        loss = model.objectives()[0].loss(Batch(x), make_seed(1), True)[0]
    found = tape.gradient(loss, [given, model.codebook.scaled.value])
    codes = model.codebook.nearest(given)
    e = model.codebook(codes)
    with tf.GradientTape() as tape:  # of the decoder alone, at the codebook's vectors
        tape.watch(e)
        reconstruction = -tf.reduce_mean(model.likelihood.log_prob(model.decoder(e), x))
    straight = tape.gradient(reconstruction, e)
    apart = 2.0 * (given - e) / len(x)
    assert np.abs(straight).max() > 1e-3 and np.abs(apart).max() > 1e-3
    np.testing.assert_allclose(found[0], straight + 0.25 * apart, rtol=1e-4, atol=1e-6)
    expected = np.zeros([CODES, 2])
    np.add.at(expected, codes.numpy().ravel(), -apart.numpy().reshape(-1, 2))
    vectors, z = model.codebook.vectors.numpy(), given.numpy().reshape(6, 2, 2)
    for number, vector in enumerate(vectors):
        nearest = z[np.arange(6), ((z - vector) ** 2).sum(-1).argmin(1)]
        expected[number] += 0.01 * 2.0 * (vector - nearest).mean(0)
    np.testing.assert_allclose(tf.convert_to_tensor(found[1]), expected, rtol=1e-4, atol=1e-6)


def test_the_codebook_moves_ten_times_as_fast():
    model, x = small(), toys.images(64, SHAPE, 2)
    before, decoder = model.codebook.vectors.numpy(), model.decoder.trainable_variables[0].numpy()
    model.compile({name: keras.optimizers.Adam(1e-3) for name in ("autoencoder", "prior")})
    model.fit(x, batch_size=64, steps=1, verbose=0)  # of which the first step is the rate, whatever the gradient
    np.testing.assert_allclose(np.abs(model.codebook.vectors - before), 1e-2, rtol=1e-2)
    moved = np.abs(model.decoder.trainable_variables[0].numpy() - decoder)
    np.testing.assert_allclose(moved[moved > 0], 1e-3, rtol=1e-2)


def test_vectors_that_no_code_uses_come_to_be_used():
    train, _ = gm.load_data("digits")
    keras.utils.set_random_seed(0)
    sizes = {"num_codes": 16, "halvings": 1, "latent_dim": 4, "filters": 16, "prior_filters": 4, "prior_blocks": 1}
    model = gm.VQVAE(train.event_shape, levels=train.levels, **sizes)
    far = np.random.default_rng(0).normal(size=(16, 4))
    far[0] = 0.0
    model.codebook.scaled.assign(0.2 * far)  # from the encoder's vectors the first is nearest
    assert len(np.unique(model.codes(train.examples[:64]))) == 1
    model.encoder.trainable = False  # which would come to them
    model.compile({name: keras.optimizers.Adam(1e-3) for name in ("autoencoder", "prior")})
    model.fit(train, batch_size=64, steps=300, verbose=0)
    assert len(np.unique(model.codes(train.examples[:256]))) > 4


@pytest.mark.parametrize("player", ["autoencoder", "prior"])
def test_each_player_trains_its_own(player):
    model = small()
    parts = {"encoder": model.encoder, "codebook": model.codebook, "decoder": model.decoder, "prior": model.code_prior}
    before = {name: [v.numpy() for v in part.trainable_variables] for name, part in parts.items()}
    model.compile({name: keras.optimizers.SGD(0.1 * (name == player)) for name in ("autoencoder", "prior")})
    model.fit(toys.images(64, SHAPE, 2), batch_size=16, steps=1, verbose=0)
    moved = {
        name for name, part in parts.items()
        if any(np.any(v.numpy() != old) for v, old in zip(part.trainable_variables, before[name]))
    }  # fmt: skip
    assert moved == ({"prior"} if player == "prior" else {"encoder", "codebook", "decoder"})


def test_the_bound_is_one_term_of_the_likelihood():
    """p(x) = Σ P(codes) p(x | codes) over all nine, which sums to one over all 256 images."""
    model, codes = small(), all_codes()
    x = np.array(list(itertools.product(range(2), repeat=8)), np.uint8).reshape(-1, *SHAPE)
    log_prior = model.code_prior.log_prob(codes[..., None]).numpy().astype(np.float64)  # [9]
    logits = model.decoder(model.embed(codes)).numpy().astype(np.float64)
    p = stats.bernoulli.logpmf(x[:, None], 1 / (1 + np.exp(-logits))).reshape(256, 9, -1).sum(-1)
    terms = log_prior + p  # [256, 9]
    likelihood = np.logaddexp.reduce(terms, axis=1)
    assert np.exp(log_prior).sum() == pytest.approx(1, abs=1e-5)
    assert np.exp(likelihood).sum() == pytest.approx(1, abs=1e-5)
    number = model.codes(x).numpy().reshape(256, 2) @ [CODES, 1]
    bound = model.log_prob(x).numpy()
    assert len(set(number)) > 1
    np.testing.assert_allclose(bound, np.take_along_axis(terms, number[:, None], 1)[:, 0], rtol=1e-4)
    assert (bound < likelihood).all()


def test_samples_are_decoded_draws_of_the_prior():
    """Means of p(x | codes), as often as P says; with pixel noise images as often as p(x) says."""
    model, codes, num = small(), all_codes(), 4000
    prior = np.exp(model.code_prior.log_prob(codes[..., None]).numpy().astype(np.float64))
    means = model.decode(model.embed(codes)).numpy().reshape(9, -1)
    latents = model.prior(num, seed=3).numpy()
    vectors = model.embed(codes).numpy()
    same = (latents[:, None] == vectors).reshape(num, 9, -1).all(-1)
    assert (same.sum(1) == 1).all()
    drawn = same.argmax(1)
    assert p_value(drawn, prior) > 1e-4
    samples = model.sample(num, seed=3).numpy().reshape(num, -1)
    np.testing.assert_array_equal(samples, np.round(means[drawn]))  # the same stream of codes
    noisy = model.sample(num, seed=3, pixel_noise=True).numpy().reshape(num, -1)
    expected = prior @ means / prior.sum()  # of each pixel
    assert (np.abs(noisy.mean(0) - expected) < 4.5 * np.sqrt(expected * (1 - expected) / num)).all()


def test_classes_are_the_priors():
    model = small(num_classes=3, prior_filters=16)
    x, labels = toys.images(6, SHAPE, 2), np.arange(6) % 3
    bounds = [model.log_prob(x, np.full(6, label)) for label in range(3)]
    assert np.abs(bounds[0] - bounds[1]).max() > 1e-3
    np.testing.assert_array_equal(model.codes(x), model.codes(x, labels))
    np.testing.assert_allclose(model.reconstruct(x, labels), model.decode(model.encode(x)), rtol=1e-6)
    draws = [model.prior(6, 1, label).numpy() for label in range(3)]
    assert np.any(draws[0] != draws[1])
    np.testing.assert_array_equal(model.prior(6, 1), np.stack(draws)[labels, np.arange(6)])  # the classes in turn
    parts = [model.latents(Streams(make_seed(1), start, 2)) for start in (0, 2, 4)]
    np.testing.assert_array_equal(model.prior(6, 1), np.concatenate(parts))
    np.testing.assert_array_equal(model.sample(6, labels=2, seed=1), np.round(model.decode(draws[2])))


def test_causality_of_the_prior_can_be_checked():
    gm.evaluation.check_causality(small(prior_blocks=2).code_prior)


def test_it_learns_digits():
    train, test = gm.load_data("digits")
    keras.utils.set_random_seed(0)
    sizes = {"num_codes": 32, "halvings": 1, "filters": 16, "prior_filters": 16, "prior_blocks": 2}
    model = gm.VQVAE(train.event_shape, levels=train.levels, **sizes)
    model.compile(ema=0.95)
    history = model.fit(train, batch_size=64, steps=500, verbose=0).history
    perplexity = history["perplexity"][-1]
    assert perplexity > 8
    error = np.mean((model.reconstruct(test.examples).numpy() - test.examples) ** 2)
    assert error < 0.3 * np.mean((train.examples.mean(0) - test.examples) ** 2)
    assert history["code_nll"][-1] < 16 * np.log(perplexity)  # more than how frequent each code is


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"of images, .*; got `event_shape` \(2,\)"):
        gm.VQVAE((2,), levels=None)
    with pytest.raises(ValueError, match="`num_codes` must be an integer from 2 to 256; got 512"):
        gm.VQVAE((8, 8, 1), num_codes=512)
    wrong = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3, padding="same")])
    with pytest.raises(ValueError, match=r"`encoder` must give outputs of shape \(2, 1, 2\); it gives \(4, 2, 2\)"):
        small(encoder=wrong)
    model = small()
    with pytest.raises(ValueError, match="latents must have shape"):
        model.decode(tf.zeros([3, 2]))
