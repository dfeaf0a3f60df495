"""The U-Net and its layers: group normalization against Keras, its gradients against autodiff, sizes, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import genmodels as gm
from genmodels import diffusion, layers
from genmodels.layers import normalization

RNG = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(RNG.normal(size=shape), tf.float32)


# ---------------------------------------------------------------------- group normalization


@pytest.mark.parametrize("shape", [(3, 7, 7, 12), (2, 5, 3, 8), (4, 16)])
@pytest.mark.parametrize("activation", ["silu", None])
def test_group_normalization_is_keras_own(shape, activation):
    layer = layers.FusedGroupNormalization(4, activation=activation)
    keras_own = keras.layers.GroupNormalization(4, epsilon=1e-5)
    x = 3.0 * normal(*shape) + 2.0
    layer.build(shape)
    keras_own.build(shape)
    for own, other in zip(layer.weights, keras_own.weights):
        own.assign(normal(shape[-1]))
        other.assign(own)
    truth = keras_own(x)
    truth = tf.nn.silu(truth) if activation else truth
    for call in (layer, tf.function(layer), tf.function(layer, jit_compile=True)):
        np.testing.assert_allclose(call(x), truth, atol=2e-5)


def test_modulation_scales_and_shifts():
    layer = layers.FusedGroupNormalization(2, activation=None)
    x, modulation = normal(3, 4, 4, 6), normal(3, 12)
    plain = layers.FusedGroupNormalization(2, activation=None)(x)
    scale, shift = tf.split(modulation[:, None, None], 2, axis=-1)
    np.testing.assert_allclose(layer(x, modulation), (1.0 + scale) * plain + shift, atol=2e-5)


@pytest.mark.parametrize("silu", [True, False])
def test_gradients_of_group_normalization_are_autodiffs(silu):
    """In graphs, where kernels run, against the plain formula."""
    x, scale, shift, upstream = normal(3, 20, 8), normal(3, 8), normal(1, 8), normal(3, 20, 8)

    def plain(x, scale, shift):
        split = tf.reshape(x, [3, 20, 2, 4])
        mean, variance = tf.nn.moments(split, [1, 3], keepdims=True)
        y = tf.reshape((split - mean) * tf.math.rsqrt(variance + 1e-5), [3, 20, 8])
        y = scale[:, None] * y + shift[:, None]
        return tf.nn.silu(y) if silu else y

    def own(x, scale, shift):
        return normalization.group_normalized(x, scale, shift, 2, 1e-5, silu)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, shift])
            y = function(x, scale, shift)
        return [y, *tape.gradient(y, [x, scale, shift], upstream)]

    truth = gradients(plain)
    for run in (gradients, tf.function(gradients)):
        for mine, wanted in zip(run(own), truth):
            np.testing.assert_allclose(mine, wanted, atol=5e-5)


def test_group_normalization_in_bfloat16_has_float32_statistics():
    layer = layers.FusedGroupNormalization(2, activation=None, dtype="mixed_bfloat16")
    x = 30.0 + normal(2, 8, 8, 8)
    y = layer(x)
    assert y.dtype == tf.bfloat16
    rounded = tf.cast(tf.cast(x, tf.bfloat16), tf.float32)
    truth = layers.FusedGroupNormalization(2, activation=None)(rounded)
    np.testing.assert_allclose(tf.cast(y, tf.float32), truth, atol=0.02)


def test_groups_suit_the_channels():
    for channels, groups in ((64, 16), (256, 32), (12, 3), (3, 1), (7, 1)):
        layer = layers.FusedGroupNormalization()
        layer.build((None, 4, 4, channels))
        assert layer.parts == groups


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: layers.FusedGroupNormalization(3)(tf.zeros([1, 4, 8])), "groups"),
        (lambda: layers.FusedGroupNormalization(activation="relu"), "activation"),
        (lambda: layers.FusedGroupNormalization()(tf.zeros([1, 4, 8]), tf.zeros([1, 8])), "second input"),
        (lambda: layers.SinusoidalEmbedding(5), "dim"),
        (lambda: layers.SinusoidalEmbedding(2), "dim"),
        (lambda: layers.SinusoidalEmbedding(8, scale=0.0), "scale"),
    ],
)
def test_layers_refuse(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_embedding_is_the_formula():
    t = np.array([0.0, 0.001, 0.7])
    angles = 1000.0 * t[:, None] * 10_000.0 ** (-np.arange(8) / 7)
    truth = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    np.testing.assert_allclose(layers.SinusoidalEmbedding(16)(tf.constant(t)), truth, atol=1e-3)
    half = layers.SinusoidalEmbedding(16, dtype="mixed_bfloat16")(tf.constant(t, tf.float32))
    assert half.dtype == tf.bfloat16  # of angles in float32
    np.testing.assert_allclose(tf.cast(half, tf.float32), truth, atol=5e-3)


# ---------------------------------------------------------------------- networks


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (9, 13, 2), (5, 40, 1)])
def test_unet_takes_any_size(shape):
    network = diffusion.unet(shape, width=8, blocks=1, num_classes=3, heads=2)
    network.layers[-1].kernel.assign(np.ones(network.layers[-1].kernel.shape) * 0.1)
    y = network([normal(2, *shape), tf.constant([0.1, 0.9]), tf.one_hot([0, 2], 3)])
    assert y.shape == (2, *shape) and y.dtype == tf.float32
    assert np.all(np.isfinite(y)) and np.std(y) > 0


def test_unets_sizes_follow_the_paper():
    heights = lambda network: {layer.output.shape[1] for layer in network.layers if len(layer.output.shape) == 4}  # noqa: E731
    assert heights(diffusion.unet((28, 28, 1), width=8)) >= {28, 14, 7}
    assert min(heights(diffusion.unet((8, 8, 1), width=8))) == 4
    assert min(heights(diffusion.unet((64, 64, 3), width=8))) == 8
    more = diffusion.unet((28, 28, 1), width=8, attention=(14, 7))
    assert more.count_params() > diffusion.unet((28, 28, 1), width=8).count_params()


def test_time_and_label_reach_every_block():
    """The output of a U-Net whose zero kernels are filled changes with t, and with the label."""
    network = diffusion.unet((8, 8, 1), width=8, num_classes=3)
    for weight in network.trainable_weights:
        if not np.any(weight.numpy()):
            weight.assign(0.1 * RNG.normal(size=weight.shape))
    x = normal(2, 8, 8, 1)
    call = lambda t, label: network([x, tf.constant([t, t]), tf.one_hot([label, label], 3)]).numpy()  # noqa: E731
    base = call(0.5, 0)
    assert np.abs(call(0.6, 0) - base).max() > 1e-3
    assert np.abs(call(0.5, 1) - base).max() > 1e-3
    assert np.abs(call(0.5, -1) - base).max() > 1e-3  # one-hot of -1: no label


def test_networks_start_without_an_opinion():
    for network in (diffusion.unet((8, 8, 1), width=8), diffusion.mlp_denoiser((2,))):
        x = normal(2, *network.inputs[0].shape[1:])
        np.testing.assert_array_equal(network([x, tf.constant([0.2, 0.8])]), 0.0)


def test_networks_are_saved(tmp_path):
    for network in (diffusion.unet((8, 8, 1), width=8, dtype="mixed_bfloat16"), diffusion.mlp_denoiser((2,), width=8)):
        network.layers[-1].set_weights([RNG.normal(size=w.shape) for w in network.layers[-1].get_weights()])
        network.save(tmp_path / "network.keras")
        again = keras.models.load_model(tmp_path / "network.keras")
        x = normal(2, *network.inputs[0].shape[1:])
        np.testing.assert_array_equal(network([x, tf.constant([0.2, 0.8])]), again([x, tf.constant([0.2, 0.8])]))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: diffusion.unet((2,)), "images"),
        (lambda: diffusion.unet((8, 8, 1), width=8, attention=(3,)), "attention"),
        (lambda: diffusion.unet((8, 8, 1), width=6, heads=5), "heads"),
        (lambda: diffusion.unet((8, 8, 1), blocks=0), "blocks"),
        (lambda: diffusion.unet((8, 8, 1), multipliers=2), "multipliers"),
        (lambda: diffusion.unet((8, 8, 1), multipliers=(1, 0)), "multipliers"),
        (lambda: diffusion.mlp_denoiser((8, 8, 1)), "points"),
    ],
)
def test_networks_refuse(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_users_own_denoiser():
    """A Keras model of (x, t), with layers of Keras alone."""
    x, t = keras.Input((8, 8, 1)), keras.Input(())
    level = keras.layers.Reshape((1, 1, 1))(t)
    y = keras.layers.Conv2D(8, 3, padding="same", activation="silu")(keras.layers.Multiply()([x, level]))
    model = gm.Diffusion((8, 8, 1), levels=17, denoiser=keras.Model([x, t], keras.layers.Conv2D(1, 1)(y)))
    model.fit(RNG.integers(0, 17, (64, 8, 8, 1)).astype(np.uint8), steps=2, verbose=0)
    assert model.sample(3, steps=2).shape == (3, 8, 8, 1)
