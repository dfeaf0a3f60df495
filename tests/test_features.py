"""Features of trained models, by hand; what is copied; and the linear probe, against scikit-learn's own pipeline."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genmodels as gm
from genmodels.evaluation import encoder_for, linear_probe
from genmodels.export import plain

layers = keras.layers
IMAGES = toys.images(12)
SCALED = IMAGES / np.float32(8.0) - 1.0  # 17 levels from -1 to 1


def vae(**options):
    return gm.VAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp", **options)


def gan(family=gm.DCGAN, **options):
    return family((8, 8, 1), levels=17, latent_dim=4, width=8, **options)


# ------------------------------------------------------------------------------------------- what they are


def test_features_of_a_vae_are_the_means():
    model = vae()
    encoder = encoder_for(model)
    np.testing.assert_allclose(encoder(IMAGES), model.encode(IMAGES), atol=1e-6)
    np.testing.assert_array_equal(encoder(IMAGES), encoder(IMAGES.astype(np.float32)))
    np.testing.assert_allclose(encoder(IMAGES + 0.25), model.encoder(SCALED + 0.25 / 8)[:, :3], atol=1e-6)
    points = gm.VAE((2,), levels=None, latent_dim=1)
    np.testing.assert_allclose(encoder_for(points)(toys.points()), points.encode(toys.points()), atol=1e-6)


def test_a_conditional_network_is_shown_a_class_or_none():
    model = vae(num_classes=3)
    np.testing.assert_allclose(encoder_for(model, label=2)(IMAGES), model.encode(IMAGES, [2] * 12), atol=1e-6)
    bare = model.encoder([SCALED, np.zeros([12, 3], np.float32)])[:, :3]
    np.testing.assert_allclose(encoder_for(model)(IMAGES), bare, atol=1e-6)


@pytest.mark.parametrize("family", [gm.DCGAN, gm.ACGAN, gm.InfoGAN, gm.WGANGP], ids=lambda f: f.__name__)
def test_the_last_layer_of_a_critic_makes_its_values_of_the_features(family):
    options = {"architecture": "mlp"} if family is gm.WGANGP else {}
    options |= {"noise_dim": 4} if family is gm.InfoGAN else {"latent_dim": 4}
    model = family((8, 8, 1), levels=17, width=8, num_classes=3, **options)
    features = encoder_for(model)(IMAGES)
    value = next(layer for layer in model.critic.layers if getattr(layer, "units", None) == 1)
    label = [np.zeros([12, 3], np.float32)] if model.critic_sees_labels else []  # zeros add nothing to the value
    wanted = model.critic([SCALED, *label] if label else SCALED)[:, :1]
    np.testing.assert_allclose(features @ value.kernel + value.bias, wanted, atol=1e-5)


def test_spectral_normalization_stays_in_the_features():
    model = gan(gm.SNGAN)
    features = encoder_for(model)(IMAGES)
    last = model.critic.layers[-1]
    np.testing.assert_allclose(last(features), model.critic(SCALED), atol=1e-5)


def test_features_of_a_diffusion_model_are_the_denoisers_at_little_noise():
    model = gm.DDPM((8, 8, 1), levels=17, denoiser=toys.denoiser((8, 8, 1), num_classes=3), num_classes=3)
    ratio = 0.3
    # α² = exp(-B) with B = 0.1 t + 19.9 t² / 2, DDPM's rate in continuous time; σ / α = ratio where B = ln(1 + ratio²).
    t = (-0.1 + np.sqrt(0.01 + 2 * 19.9 * np.log1p(ratio**2))) / 19.9
    hidden = next(layer for layer in model.denoiser.layers if isinstance(layer, layers.Activation)).output
    inside = keras.Model(model.denoiser.inputs, hidden)
    x = SCALED / np.sqrt(1 + ratio**2)  # α x₀, over the deviation of α x₀ + σ ε
    for label, shown in ((None, [0, 0, 0]), (1, [0, 1, 0])):
        wanted = np.mean(inside([x, np.full(12, t, np.float32), np.tile(np.float32(shown), [12, 1])]), axis=(1, 2))
        np.testing.assert_allclose(encoder_for(model, noise=ratio, label=label)(IMAGES), wanted, atol=1e-5)


def edm_of_a_unet():
    unet = gm.diffusion.unet((8, 8, 1), width=8, multipliers=(1, 2), blocks=1)
    for variable in unet.weights:
        variable.assign(toys.values(*variable.shape, scale=0.3))
    return gm.EDM((8, 8, 1), levels=17, denoiser=unet)


def test_the_innermost_features_of_a_unet_are_the_last_at_its_smallest_size():
    model = edm_of_a_unet()
    unet = model.denoiser
    before = unet.get_layer("double1").input  # 4×4×16, just before it is doubled
    inside = keras.Model(unet.inputs, before)
    sigma = np.float32(0.05)
    place = (sigma ** (1 / 7) - 0.002 ** (1 / 7)) / (80 ** (1 / 7) - 0.002 ** (1 / 7))  # on the scale of σ^(1/7)
    x = SCALED / np.sqrt(sigma**2 + 0.25)  # of data of deviation 0.5
    wanted = np.mean(inside([x, np.full(12, place, np.float32)]), axis=(1, 2))
    np.testing.assert_allclose(encoder_for(model, noise=0.05)(IMAGES), wanted, atol=2e-4)
    assert encoder_for(model, layer="in").output_shape == (None, 8)
    assert encoder_for(gm.DDPM((2,), levels=None, width=12)).output_shape == (None, 12)


def test_features_of_a_network_in_half_precision_are_float32():
    encoder = encoder_for(gan(dtype="mixed_bfloat16"))
    assert encoder(IMAGES).dtype == "float32" and encoder.layers[-1].compute_dtype == "float32"


# ------------------------------------------------------------------------------------------- copies


def test_training_the_copy_reaches_all_of_it_and_nothing_of_the_model():
    model = gan()
    before, encoder = [v.numpy() for v in model.weights], encoder_for(model)
    assert not {id(v) for v in encoder.variables} & {id(v) for v in model.variables}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(IMAGES, training=True) ** 2)
    gradients = tape.gradient(loss, encoder.trainable_variables)
    assert len(gradients) == len(model.critic.trainable_variables) - 2  # all but the last layer's
    assert all(np.abs(g).max() > 0 for g in gradients)
    for variable, gradient in zip(encoder.trainable_variables, gradients):
        variable.assign_sub(gradient)
    for old, new in zip(before, model.weights):
        np.testing.assert_array_equal(old, new)


def test_the_averaged_weights_are_copied():
    model = vae()
    model.compile(ema=0.5)
    model.average.wake()
    model.average.update()  # from here on the raw weights move away
    model.encoder.weights[0].assign_add(tf.ones(model.encoder.weights[0].shape))
    raw = model.encode(IMAGES)
    features = encoder_for(model)(IMAGES)
    np.testing.assert_array_equal(model.encode(IMAGES), raw)
    model.average.rest()
    np.testing.assert_allclose(features, model.encode(IMAGES), atol=1e-6)
    assert np.abs(features - raw).max() > 0.1


@pytest.mark.parametrize("build", [lambda: vae(num_classes=3), gan, lambda: edm_of_a_unet()], ids=["vae", "gan", "edm"])
def test_a_plain_copy_needs_no_genmodels(build, tmp_path):
    encoder = encoder_for(build())
    bare = plain(encoder)
    bare.save(tmp_path / "features.keras")
    assert "genmodels" not in json.dumps(json.loads(bare.to_json()))
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "features.keras")(IMAGES), encoder(IMAGES), atol=1e-4)


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("build", [
    lambda: gm.NICE((2,), levels=None, layers=2, width=8),
    lambda: gm.PixelCNN((4, 4, 1), levels=2, filters=4, blocks=1),
], ids=["flow", "autoregressive"])  # fmt: skip
def test_families_without_features_say_which_have_them(build):
    with pytest.raises(ValueError, match=r"no network with features .*; autoencoders, GANs and diffusion"):
        encoder_for(build(), layer="any")


def test_arguments_that_do_not_fit_are_refused():
    for model, options, message in (
        (keras.Sequential(), {}, "expected a generative model"),
        (vae(), {"layer": "x"}, r"features of VAE have the options label; got \['layer'\]"),
        (vae(), {"label": 1}, r"`label` must be None \(the network takes no labels\); got 1"),
        (vae(num_classes=3), {"label": 3}, "`label` must be from 0 to 2, or None; got 3"),
        (vae(num_classes=3), {"label": True}, "`label` must be from 0 to 2, or None; got True"),
        (gm.ACGAN((8, 8, 1), num_classes=3, width=8), {"label": 1}, "the network takes no labels"),
        (gan(), {"layer": "x"}, "`layer` must name a layer of `critic` that the example reaches; got 'x'"),
        (gm.DDPM((2,), width=8), {"noise": 0}, "`noise` must be a finite number above 0; got 0"),
        (gm.DDPM((2,), width=8), {"layer": "time1"}, "`layer` must name a layer of `denoiser` that the example"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder_for(model, **options)


def test_a_critic_without_hidden_layers_or_graph_has_no_features():
    linear = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="`critic` has no hidden layer"):
        encoder_for(gm.GAN((2,), levels=None, critic=linear))

    class Critic(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    critic = Critic()
    critic(np.zeros([1, 2]))
    with pytest.raises(ValueError, match=r"`critic` need a functional or sequential keras.Model; got <Critic"):
        encoder_for(gm.GAN((2,), levels=None, critic=critic))


# ------------------------------------------------------------------------------------------- the probe


def gaussians(num, seed, dims=6, distance=1.0):
    """Three classes around the first three axes, some features a thousand times as large, one constant."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, num)
    x = rng.normal(size=(num, dims)) + distance * np.eye(3, dims)[y]
    x[:, 1] = 1000 * x[:, 1] + 5000
    x[:, -1] = 7.0
    return x.astype(np.float32), y


def identity(x):
    return x


def test_the_probe_is_scikit_learns_pipeline():
    train, test = gaussians(400, 0), gaussians(300, 1)
    figures = linear_probe(identity, train, test)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (400 * figures["penalty"]), max_iter=1000))
    pipeline.fit(*train)
    accuracy = pipeline.score(*test)
    assert 0.5 < accuracy < 0.95
    assert figures["accuracy"] == pytest.approx(accuracy, abs=0.004)  # one example of 300, which rounding may turn
    assert figures["train_accuracy"] == pytest.approx(pipeline.score(*train), abs=0.003)
    assert figures["standard_error"] == pytest.approx(np.sqrt(accuracy * (1 - accuracy) / 300), abs=1e-3)
    assert (figures["features"], figures["examples"]) == (6, 300)
    assert figures == linear_probe(identity, train, test, batch_size=7)


def test_the_probe_reads_no_labels_of_the_test_and_finds_none_in_noise():
    train, (x, y) = gaussians(400, 0, distance=4.0), gaussians(300, 1, distance=4.0)
    assert linear_probe(identity, train, (x, y))["accuracy"] > 0.95
    assert linear_probe(identity, train, (x, (y + 1) % 3))["accuracy"] < 0.05
    noise, other = gaussians(60, 2, 200, 0.0), gaussians(2000, 3, 200, 0.0)
    figures = linear_probe(identity, noise, other)
    assert figures["train_accuracy"] > 0.8  # fitted all the same
    assert abs(figures["accuracy"] - 1 / 3) < 0.05  # five standard errors


def test_the_probe_takes_models_and_data_sets():
    train, test = gm.load_data("digits")
    model = vae()
    figures = linear_probe(model, train, test)
    encoder = encoder_for(model)
    assert figures == linear_probe(encoder, train, test)
    assert figures["features"] == 3 and 0.2 < figures["accuracy"] < 0.9  # untrained, three random projections
    flow = gm.NICE((6,), levels=None, layers=2, width=8)
    assert linear_probe(flow.encode, gaussians(200, 0), gaussians(200, 1))["features"] == 6


def test_data_that_do_not_fit_the_probe_are_refused():
    x, y = gaussians(20, 0)
    good = (x, y)
    digits = gm.load_data("digits")[0]
    for model, train, test, message in (
        (identity, x, good, "`train` must be a Dataset with classes, or a tuple"),
        (identity, good, (x, None), "`test` must be a Dataset with classes|labels"),
        (identity, (x, x), good, "label|classes"),
        (identity, good, (x[:, :2], y), r"one shape; got \(6,\) and \(2,\)"),
        (identity, (x, 0 * y), good, "at least 5 examples of 2 classes"),
        (lambda x: x[0], good, good, r"finite vectors \[B, F\]; got shape \(6,\)"),
        (lambda x: x / 0 * 0, good, good, "finite vectors"),
        (vae(), good, good, "levels=17"),
        (gm.VAE((4, 4, 1), levels=17, latent_dim=2), digits, digits, r"shape \(4, 4, 1\) with levels=17; `train` has"),
        (identity, digits.binarized("dynamic"), digits, "binarized anew at every visit"),
    ):  # fmt: skip
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
            linear_probe(model, train, test)
