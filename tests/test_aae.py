"""The adversarial autoencoder: its three losses, who learns from which, and codes distributed as the prior."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.core import Batch
from genmodels.sampling import Streams, make_seed


def small(**options):
    keras.utils.set_random_seed(0)
    options = {"latent_dim": 2, "architecture": "mlp", "width": 16, **options}
    return gm.AAE((2,), levels=None, **options)


def test_the_losses_are_those_of_the_game_and_of_the_likelihood():
    model, x = small(), toys.points(32)
    batch, seed = Batch(tf.constant(x)), make_seed(5)
    losses = {player.name: player.loss(batch, seed, True) for player in model.objectives()}
    codes = model.encode(x).numpy().astype(np.float64)
    draws = Streams(seed, 0, 32).normal((2,))

    def judged(z):
        return model.discriminator(tf.cast(z, tf.float32)).numpy()[:, 0].astype(np.float64)

    log_prob = model.likelihood.log_prob(model.decoder(tf.cast(codes, tf.float32)), x).numpy().mean()
    softplus = lambda v: np.log1p(np.exp(v)).mean()  # noqa: E731
    expected = {
        "autoencoder": -log_prob,
        "discriminator": softplus(-judged(draws)) + softplus(judged(codes)),
        "encoder": softplus(-judged(codes)),
    }
    for name, value in expected.items():
        assert float(losses[name][0]) == pytest.approx(value, rel=1e-5), name
    figures = losses["discriminator"][1]
    assert float(figures["code_deviation"]) == pytest.approx(np.sqrt((codes**2).mean()), rel=1e-5)


@pytest.mark.parametrize("player", ["autoencoder", "discriminator", "encoder"])
def test_each_player_trains_its_own_network(player):
    model = small()
    parts = {"encoder": model.encoder, "decoder": model.decoder, "discriminator": model.discriminator}
    before = {name: [v.numpy() for v in part.trainable_variables] for name, part in parts.items()}
    rates = {name: 0.1 * (name == player) for name in ("autoencoder", "discriminator", "encoder")}
    model.compile({name: keras.optimizers.SGD(rate) for name, rate in rates.items()})
    model.fit(toys.points(), batch_size=16, steps=1, verbose=0)
    moved = {
        name for name, part in parts.items()
        if any(np.any(v.numpy() != old) for v, old in zip(part.trainable_variables, before[name]))
    }  # fmt: skip
    assert moved == ({"encoder", "decoder"} if player == "autoencoder" else {player})


def test_codes_come_to_be_distributed_as_the_prior():
    """Two moons, whose codes would lie anywhere without the game."""
    train, test = (split.examples for split in gm.load_data("two_moons", num=4000))
    spread = {}
    for name, weight in (("with", 1.0), ("without", 0.0)):
        model = small(width=64)
        game = {player: keras.optimizers.Adam(2e-3 * weight, beta_1=0.5) for player in ("discriminator", "encoder")}
        model.compile({"autoencoder": keras.optimizers.Adam(1e-3), **game}, ema=0.99)
        model.fit(train, batch_size=128, steps=600, verbose=0)
        codes = model.encode(test).numpy()
        spread[name] = gm.evaluation.frechet_distance(codes.mean(0), np.cov(codes.T), np.zeros(2), np.eye(2))
        assert np.sqrt(np.mean((model.reconstruct(test).numpy() - test) ** 2)) < 0.35 * test.std()
    assert spread["with"] < 0.05 < 0.1 < spread["without"]


def test_wrong_networks_are_refused():
    layers = keras.layers
    wrong = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`discriminator` must take inputs of .*\(2,\).* it takes \[\(3,\)\]"):
        small(discriminator=wrong)
    with pytest.raises(ValueError, match="`width` must be an integer ≥ 1; got 0"):
        small(width=0)
    with pytest.raises(ValueError, match=r"`encoder` must give outputs of shape \(2,\); it gives \(4,\)"):
        small(encoder=keras.Sequential([keras.Input((2,)), layers.Dense(4)]))
