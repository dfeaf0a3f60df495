"""The importance-weighted autoencoder: its loss in float64, and gradients that approach those of the likelihood."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from test_vae import EXACT, SIGMA, WRONG, B, W, X, gap, linear_gaussian

import genmodels as gm
from genmodels.core import Batch
from genmodels.sampling import Streams, make_seed


def importance_weighted(num_samples, **q):
    """The linear-Gaussian model of test_vae.py, whose likelihood and posterior are known."""
    vae = linear_gaussian(**q)
    networks = {"encoder": vae.encoder, "decoder": vae.decoder}
    return gm.IWAE((3,), levels=None, latent_dim=2, num_samples=num_samples, **networks)


def loss(model, x, seed, training=True):
    (objective,) = model.objectives()
    value, figures = objective.loss(Batch(tf.constant(x)), make_seed(seed), training)
    return float(value), {name: float(figure) for name, figure in figures.items()}


@pytest.mark.parametrize("num_samples", [1, 4])
def test_the_loss_is_the_formula(num_samples):
    model = importance_weighted(num_samples, **WRONG)
    mean, log_variance = np.split(model.encoder(X).numpy().astype(np.float64), 2, -1)
    noise = Streams(make_seed(7), 0, len(X)).normal((num_samples, 2)).numpy().astype(np.float64)
    deviation = np.exp(0.5 * log_variance)
    z = mean[:, None] + deviation[:, None] * noise  # [B, k, 2]
    likelihood = stats.norm(z @ W.T + B, SIGMA).logpdf(X[:, None]).sum(-1)
    prior, posterior = stats.norm.logpdf(z).sum(-1), stats.norm(mean[:, None], deviation[:, None]).logpdf(z).sum(-1)
    bound = special.logsumexp(likelihood + prior - posterior, axis=1) - np.log(num_samples)
    kl = 0.5 * (mean**2 + deviation**2 - 1 - log_variance).sum(-1)
    value, figures = loss(model, X, 7)
    assert value == pytest.approx(-bound.mean(), rel=1e-5)
    assert figures["kl"] == pytest.approx(kl.mean(), rel=1e-5)
    assert figures["reconstruction"] == pytest.approx(-likelihood.mean(), rel=1e-5)
    assert figures["elbo"] == pytest.approx(likelihood.mean() - kl.mean(), rel=1e-5)


def test_it_rises_from_the_elbo_to_the_likelihood_with_the_draws():
    x = np.repeat(X[:1], 4000, 0)
    bounds = [-loss(importance_weighted(k, **WRONG), x, 1)[0] for k in (1, 5, 50)]
    exact = EXACT.logpdf(X[0])
    assert bounds[0] == pytest.approx(exact - gap(**WRONG).sum(), abs=4.5 / np.sqrt(len(x)))  # spread: about a nat
    assert bounds[0] < bounds[1] < bounds[2] < exact + 0.01


def test_with_the_exact_posterior_it_is_the_likelihood():
    assert loss(importance_weighted(3), X, 2)[0] == pytest.approx(-EXACT.logpdf(X).mean(), abs=1e-4)


def test_gradients_of_the_decoder_approach_those_of_the_likelihood():
    """Of the decoder's offset: d log p(x) / db = Σ⁻¹ (x − b), which the ELBO's gradient misses where q is wrong."""
    truth = np.linalg.solve(EXACT.cov, (X - B).T).mean(1)
    found = []
    for k in (1, 4000):
        model = importance_weighted(k, **WRONG)
        with tf.GradientTape() as tape:
            (objective,) = model.objectives()
            x = tf.constant(np.repeat(X, 4000 // k, 0))  # as many draws either way
            value = objective.loss(Batch(x), make_seed(3), True)[0]
        (_, bias) = model.decoder.trainable_variables
        found.append(np.abs(-tape.gradient(value, bias.value).numpy()[:3] - truth).max())
    assert found[1] < 0.05 < 0.2 < found[0]


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="`num_samples` must be an integer ≥ 1; got 0"):
        gm.IWAE((2,), levels=None, num_samples=0)
