"""The PixelRNN and its layers, against loops over pixels, enumeration and gradients."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import genmodels as gm
from genmodels.layers.causal import Sees
from genmodels.layers.recurrent import skewed, unskewed

UNITS = 3
KINDS = ("row", "diagonal")


def pixelrnn(event_shape=(4, 5, 1), levels=3, kind="row", spread=0.5, **options):
    """A small model whose weights are all random, biases too."""
    keras.utils.set_random_seed(0)
    model = gm.PixelRNN(event_shape, kind=kind, levels=levels, filters=4, **options)
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(0, spread, w.shape) for w in model.get_weights()])
    return model


def random_layer(layer, shape=(2, 3, 4, 4 * UNITS)):
    """The layer with random weights, an input, and the kernel in float64."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=shape).astype(np.float32)
    layer(z)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer, z, layer.get_weights()[0].astype(np.float64)


def cell(z, hidden, c, kernel):
    gates = z + np.concatenate(hidden, -1) @ kernel
    o, f, i, g = np.split(gates, 4, -1)
    o, f, i = (1 / (1 + np.exp(-gate)) for gate in (o, f, i))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


# ---------------------------------------------------------------------- layers


@pytest.mark.parametrize("side", [1, 2])
def test_row_lstm_is_a_loop_over_pixels(side):
    layer, z, kernel = random_layer(gm.layers.RowLSTM(UNITS, side))
    batch, height, width, _ = z.shape
    h = np.zeros((batch, 1 + height, side + width + side, UNITS))
    c = np.zeros((batch, 1 + height, width, UNITS))
    for row, column in itertools.product(range(height), range(width)):
        above = [h[:, row, column + j] for j in range(2 * side + 1)]
        now = cell(z[:, row, column], above, c[:, row, column], kernel)
        h[:, row + 1, side + column], c[:, row + 1, column] = now
    np.testing.assert_allclose(layer(z), h[:, 1:, side : side + width], atol=1e-5)


def diagonal_loop(z, kernel):
    batch, height, width, _ = z.shape
    h, c = np.zeros((2, batch, 1 + height, 1 + width, UNITS))
    for row, column in itertools.product(range(height), range(width)):
        here = slice(None), row + 1, column + 1
        hidden = [h[:, row, column + 1], h[:, row + 1, column]]
        h[here], c[here] = cell(z[:, row, column], hidden, c[:, row + 1, column], kernel)
    return h[:, 1:, 1:]


def test_diagonal_lstm_is_a_loop_over_pixels():
    layer, z, kernel = random_layer(gm.layers.DiagonalLSTM(UNITS))
    np.testing.assert_allclose(layer(z), diagonal_loop(z, kernel), atol=1e-5)


def test_reverse_is_mirrored_and_one_row_down():
    layer, z, kernel = random_layer(gm.layers.DiagonalLSTM(UNITS, reverse=True))
    mirrored = diagonal_loop(z[:, :, ::-1], kernel)[:, :, ::-1]
    y = layer(z).numpy()
    np.testing.assert_allclose(y[:, 1:], mirrored[:, :-1], atol=1e-5)
    assert not y[:, 0].any()


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 3), (3, 1)])
def test_skewing(shape):
    height, width = shape
    x = np.random.default_rng(0).normal(size=(2, *shape, 2)).astype(np.float32)
    truth = np.zeros((2, height, height + width - 1, 2), np.float32)
    for row in range(height):
        truth[:, row, row : row + width] = x[:, row]
    np.testing.assert_array_equal(skewed(tf.constant(x)), truth)
    np.testing.assert_array_equal(unskewed(tf.constant(truth)), x)


@pytest.mark.parametrize(
    ("layer", "seen"),
    [
        (lambda: gm.layers.RowLSTM(UNITS), lambda r, c: abs(c - 2) <= 2 - r),
        (lambda: gm.layers.DiagonalLSTM(UNITS), lambda r, c: r <= 2 and c <= 2),
        (lambda: gm.layers.DiagonalLSTM(UNITS, reverse=True), lambda r, c: r <= 1 and c >= 2),
    ],
)
def test_what_a_pixel_sees(layer, seen):
    layer, z, _ = random_layer(layer(), (1, 4, 5, 4 * UNITS))
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = tf.reduce_sum(layer(z)[0, 2, 2])
    reached = np.any(tape.gradient(y, z)[0].numpy() != 0, -1)
    truth = [[bool(seen(r, c)) for c in range(5)] for r in range(4)]
    np.testing.assert_array_equal(reached, truth)


def test_sees():
    forward, reverse = gm.layers.DiagonalLSTM(2), gm.layers.DiagonalLSTM(2, reverse=True)
    assert [reverse.sees(s) for s in (Sees.LABELS, Sees.ROWS, Sees.PIXELS)] == [Sees.LABELS, Sees.ROWS, Sees.ROWS]
    assert [forward.sees(s) for s in (Sees.ROWS, Sees.PIXELS)] == [Sees.ROWS, Sees.PIXELS]
    with pytest.raises(ValueError, match="channels"):
        gm.layers.RowLSTM(2).sees(Sees.CHANNELS)


def test_layers_in_mixed_precision_and_their_configuration():
    for layer in (gm.layers.RowLSTM(UNITS, side=2, dtype="mixed_bfloat16"), gm.layers.DiagonalLSTM(UNITS, True)):
        layer, z, _ = random_layer(layer)
        same = type(layer).from_config(layer.get_config())
        assert same.get_config() == layer.get_config()
        same(z)
        same.set_weights(layer.get_weights())
        assert layer(z).dtype == layer.compute_dtype
        np.testing.assert_array_equal(tf.cast(layer(z), tf.float32), tf.cast(same(z), tf.float32))
        assert layer.call(tf.constant(z)).dtype == tf.float32  # as in the sampler
        np.testing.assert_allclose(tf.cast(layer(z), tf.float32), layer.call(tf.constant(z)), atol=0.05)


def test_wrong_channels():
    with pytest.raises(ValueError, match="12 channels"):
        gm.layers.RowLSTM(3)(tf.zeros([1, 2, 2, 3]))


# ---------------------------------------------------------------------- the model


def test_cached_sampling_of_rows_and_wide_kernels():
    """Layers that see complete rows, and a wider state-to-state kernel."""
    image = keras.Input((4, 5, 1))
    above = gm.layers.CausalConv2D(8, left=1, right=1)(gm.layers.Shift("down")(image))
    above = gm.layers.CausalConv2D(8)(gm.layers.DiagonalLSTM(2)(above))
    above = gm.layers.DiagonalLSTM(2, reverse=True)(gm.layers.CausalConv2D(8)(gm.layers.RowLSTM(2)(above)))
    before = gm.layers.CausalConv2D(8, left=1)(gm.layers.Shift("right")(image))
    x = keras.layers.Concatenate()([above, gm.layers.RowLSTM(2, side=2)(before)])
    keras.utils.set_random_seed(0)
    model = gm.AutoregressiveModel((4, 5, 1), keras.Model(image, gm.layers.CausalConv2D(3)(x)), levels=3)
    model.set_weights([w + np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    np.testing.assert_array_equal(model.sample(6, seed=2), model.sample(6, seed=2, incremental=False))


def test_the_bilstm_sees_all_pixels_before():
    model = pixelrnn((5, 9, 1), kind="diagonal", spread=0.1)
    x = tf.zeros([1, 5, 9, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(model.params(x)[0, 4, 2] ** 2)
    reached = tape.gradient(y, x).numpy().ravel() != 0
    np.testing.assert_array_equal(reached, np.arange(45) < 4 * 9 + 2)  # the 7×7 alone is too narrow


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_trained_under_xla_as_without(kind):
    x, y = np.random.default_rng(0).integers(0, 3, (8, 4, 5, 1), dtype=np.uint8), np.arange(8) % 2
    before, after = None, []
    for jit_compile in (False, True):
        model = pixelrnn(kind=kind, num_classes=2, layers=1)
        before = model.get_weights()
        model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
        model.fit(x, y, batch_size=4, steps=2, verbose=0)
        after.append(model.get_weights())
    for start, plain, fused in zip(before, *after):
        assert np.abs(plain - start).max() > 1e-6
        np.testing.assert_allclose(plain, fused, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_trains(kind):
    model = pixelrnn(kind=kind, dtype="mixed_bfloat16", dropout=0.1, layers=1)
    x = np.random.default_rng(0).integers(0, 3, (8, 4, 5, 1), dtype=np.uint8)
    history = model.fit(x, batch_size=4, steps=2, verbose=0)
    assert np.isfinite(history.history["nll"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_saving(kind, tmp_path):
    model = pixelrnn(kind=kind, layers=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).integers(0, 3, (4, 4, 5, 1), dtype=np.uint8)
    np.testing.assert_array_equal(model.log_prob(x), loaded.log_prob(x))


def test_wrong_kind():
    with pytest.raises(ValueError, match=r"row.*diagonal"):
        gm.PixelRNN((4, 4, 1), kind="column")
