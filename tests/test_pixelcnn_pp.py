"""PixelCNN++: its layers, that it is a distribution, and that the cached sampler draws what the network says."""


import keras
import numpy as np
import pytest
import tensorflow as tf

import genmodels as gm
from genmodels.evaluation.checks import check_causality
from genmodels.likelihoods import LogisticMixture


def small(event_shape, levels, noise=0.1, **options):
    """An untrained model with noise on all weights, biases too."""
    keras.utils.set_random_seed(1)
    model = gm.PixelCNNPlusPlus(event_shape, levels=levels, filters=8, blocks=1, **options)
    rng = np.random.default_rng(0)
    for weight in model.network.weights:
        weight.assign_add(noise * rng.normal(size=weight.shape))
    return model


def images(model, num=3):
    return np.random.default_rng(2).integers(model.levels, size=[num, *model.event_shape], dtype=np.uint8)


@pytest.mark.parametrize(
    ("event_shape", "levels", "options"),
    [
        ((2, 2, 1), 2, {}),
        ((5, 7, 3), 4, {"num_classes": 3}),
        ((12, 10, 3), 256, {"resolutions": 2}),
        ((3, 2, 2), 3, {"likelihood": "categorical", "resolutions": 1}),
    ],
    ids=str,
)
def test_cached_samples_are_those_of_the_whole_network(event_shape, levels, options):
    model = small(event_shape, levels, **options)
    cached = model.sample(2, seed=3).numpy()
    np.testing.assert_array_equal(cached, model.sample(2, seed=3, incremental=False))
    assert len(np.unique(cached)) > 1


def test_every_sub_pixel_sees_all_those_before_it_and_no_other():
    # Untrained, as it is made: the first pixel's mixtures must differ for its channels to see each other.
    model = small((4, 5, 2), 5, noise=0.0)
    assert check_causality(model) == {"sub_pixels": 40, "reached": 780, "blind": 0}


@pytest.mark.parametrize(
    ("event_shape", "sizes"), [((9, 5, 1), [(9, 5), (5, 3), (3, 2)]), ((1, 4, 1), [(1, 4)])], ids=str
)
def test_resolutions_are_halved_while_both_sides_permit(event_shape, sizes):
    model = small(event_shape, 4)
    assert sorted({tuple(tensor.shape[:2]) for tensor in model.graph.tensors}, reverse=True) == sizes
    assert np.isfinite(model.log_prob(images(model))).all()


def test_all_weights_and_shortcuts_learn():
    model = small((8, 6, 3), 8, num_classes=3, dropout=0.0)
    x = tf.cast(images(model), tf.float32)
    with tf.GradientTape() as tape:
        params = model.network([x / 3.5 - 1, tf.one_hot([0, 1, 2], 3)], training=True)
        loss = -tf.reduce_sum(model.likelihood.log_prob(params, x))
    variables = model.network.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
        assert gradient is not None and np.isfinite(gradient).all() and np.any(gradient), variable.path
    # 1 + 1 blocks a stream on the way down and 1 + 2 + 2 on the way up (one a short-cut), of two convolutions each.
    gates = [layer for layer in model.network.layers if isinstance(layer, gm.layers.LinearGate)]
    assert len(gates) == 2 * (3 + 5)


def test_dropout_is_for_training_only():
    model = small((4, 4, 1), 4)
    x = model.scaled(images(model))
    runs = [model.network(x, training=True).numpy() for _ in range(2)]
    assert not np.array_equal(*runs)
    np.testing.assert_allclose(model.network(x, training=False), model.params(x), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in small((4, 4, 1), 4, dropout=0.0).network.layers)


def test_it_learns_and_comes_back_from_a_file(tmp_path):
    model = small((3, 3, 2), 4, noise=0.0, likelihood=LogisticMixture(4, 2), dropout=0.1, resolutions=1)
    x = np.tile(images(model, 1), [16, 1, 1, 1])
    before = model.log_prob(x[:1])[0]
    model.fit(x, batch_size=16, steps=20, verbose=0)
    assert model.log_prob(x[:1])[0] > before + 1
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.log_prob(x[:1]), model.log_prob(x[:1]))


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=lambda dtype: dtype.name)
def test_fused_activations_are_their_formulas(dtype):
    def linear_gate(x):
        a, b = tf.split(x, 2, axis=-1)
        return a * tf.sigmoid(b)

    def concat_elu(x):
        return tf.concat([tf.nn.elu(x), tf.nn.elu(-x)], -1)

    x = tf.random.stateless_normal([2, 3, 4, 6], [1, 2]) * 3
    x = tf.cast(tf.concat([x, [[[[1e4, -1e4, 0.5, 88.0, -88.0, 2.0]] * 4] * 3] * 2], -1), dtype)
    for layer, plain in [
        (gm.layers.LinearGate(dtype=dtype.name), linear_gate),
        (gm.layers.ConcatELU(dtype=dtype.name), concat_elu),
    ]:
        wide = tf.cast(x, tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, wide])
            fused, expected = layer(x), plain(wide)
            upstream = tf.cast(tf.reshape(tf.range(tf.size(expected)) % 7 - 3, expected.shape), tf.float32)
            losses = tf.reduce_sum(fused * tf.cast(upstream, dtype)), tf.reduce_sum(expected * upstream)
        assert fused.dtype == dtype
        tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == tf.float32 else {"rtol": 2e-2, "atol": 2e-2}
        np.testing.assert_allclose(tf.cast(fused, tf.float32), expected, **tolerance)
        got, true = tf.cast(tape.gradient(losses[0], x), tf.float32), tape.gradient(losses[1], wide)
        np.testing.assert_allclose(got, true, **tolerance)


@pytest.mark.parametrize(
    "option", [{"filters": 0}, {"blocks": 0}, {"resolutions": 0}, {"mixtures": 0}, {"levels": 1}], ids=str
)
def test_settings_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        gm.PixelCNNPlusPlus((4, 4, 1), **option)
