"""Attention over the pixels before: against loops in float64, and in the cached sampler wherever it may stand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.layers import CausalAttention, CausalConv2D, PositionEmbedding, RasterShift, Sees, Shift


def attention_loop(q, k, v, heads, mask):
    """softmax(q · k / √d) over the pixels before, pixel by pixel and head by head."""
    batch, height, width, _ = q.shape
    q, k, v = (x.astype(np.float64).reshape(batch, height * width, heads, -1) for x in (q, k, v))
    out = np.zeros_like(v)
    for pixel in range(height * width):
        seen = slice(0, pixel + (mask == "B"))
        scores = np.einsum("bhd,bnhd->bnh", q[:, pixel], k[:, seen]) / np.sqrt(q.shape[-1])
        if scores.shape[1]:
            weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            out[:, pixel] = np.einsum("bnh,bnhd->bhd", weights, v[:, seen])
    return out.reshape(batch, height, width, -1)


@pytest.mark.parametrize("queries", [128, 7])  # all at once, and by parts that end amid a row
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("mask", ["A", "B"])
def test_attention_is_a_loop_over_pixels(mask, heads, queries, monkeypatch):
    monkeypatch.setattr("genmodels.layers.attention.QUERIES", queries)
    q, k = (toys.values(2, 4, 5, 6, seed=seed, scale=2.0) for seed in (0, 1))
    v = toys.values(2, 4, 5, 4, seed=2)
    y = CausalAttention(heads, mask)(q, k, v)
    np.testing.assert_allclose(y, attention_loop(q, k, v, heads, mask), atol=1e-5)


def test_attention_in_float16_weighs_in_float32():
    """In float16 what hides a pixel is infinite, and a pixel that sees none is no number."""
    q, k, v = (toys.values(2, 4, 5, 4, seed=seed) for seed in range(3))
    y = CausalAttention(2, "A", dtype="mixed_float16")(q, k, v)
    assert y.dtype == tf.float16
    np.testing.assert_allclose(tf.cast(y, tf.float32), attention_loop(q, k, v, 2, "A"), atol=0.01)


def test_raster_shift_is_one_pixel_of_the_flat_image():
    x = toys.values(2, 3, 4, 5)
    flat = x.reshape(2, 12, 5)
    expected = np.concatenate([np.zeros((2, 1, 5)), flat[:, :-1]], 1).reshape(x.shape)
    np.testing.assert_array_equal(RasterShift()(x), expected)


def test_positions_are_added_and_learned():
    layer = PositionEmbedding()
    layer(np.zeros((1, 3, 4, 5)))
    layer.set_weights([toys.values(3, 4, 5)])
    x = toys.values(2, 3, 4, 5, seed=1)
    np.testing.assert_allclose(layer(x), x + toys.values(3, 4, 5), rtol=1e-6)
    assert [w.path.split("/")[-1] for w in layer.trainable_weights] == ["table"]


def test_what_attention_sees():
    row, pixels, everything = Sees.ROWS, Sees.PIXELS, Sees.EVERYTHING
    strict, loose = CausalAttention(mask="A"), CausalAttention(mask="B")
    assert strict.sees(pixels, everything, everything) == pixels
    assert strict.sees(row, row, row) == row
    assert strict.sees(everything, pixels, pixels) == everything  # through its query
    assert loose.sees(pixels, everything, pixels) == everything
    assert loose.sees(row, pixels, row) == pixels
    assert RasterShift().sees(everything) == pixels and RasterShift().sees(row) == row
    with pytest.raises(ValueError, match="some channels"):
        loose.sees(pixels, Sees.CHANNELS, pixels)
    with pytest.raises(ValueError, match="must see some"):
        loose.sees(pixels, Sees.LABELS, Sees.LABELS)


def of_rows(image, dense):
    """Keys and values of complete rows, queries of rows in one and of pixels in the other."""
    down = dense(Shift("down")(image))
    rows = CausalAttention(2)(dense(down), dense(down), dense(down))
    right = dense(Shift("right")(image))
    return keras.layers.Add()([right, CausalAttention()(dense(right), dense(rows), dense(rows))])


def of_the_image(image, dense):
    """Keys of the pixels themselves, which come after; queries that see places alone."""
    seen = PositionEmbedding()(dense(image))
    places = PositionEmbedding()(dense(Shift("right")(image)))
    return CausalAttention(2, mask="A")(dense(places), dense(seen), dense(seen))


def of_windows(image, dense):
    """Of a tensor that a convolution reads, too, and whose row and column before the pixel."""
    seen = dense(image)
    near = CausalConv2D(8, above=2, left=2, right=2, mask="A")(seen)
    moved = RasterShift()(keras.layers.Add()([seen, dense(RasterShift()(seen))]))
    return CausalAttention()(near, dense(near), keras.layers.Add()([near, moved]))


def network_model(build, event_shape, levels=4):
    """A model of such features, all of whose weights are random."""
    image = keras.Input(event_shape)
    features = build(image, lambda x: keras.layers.Dense(8)(x))
    features = keras.layers.Dense(levels)(keras.layers.LayerNormalization()(features))  # else too sure of each pixel
    model = gm.AutoregressiveModel(event_shape, keras.Model(image, features), levels=levels)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("event_shape", [(4, 5, 1), (1, 6, 1), (6, 1, 1)])
@pytest.mark.parametrize("build", [of_rows, of_the_image, of_windows])
def test_cached_sampling_with_attention_is_naive_sampling(build, event_shape):
    model = network_model(build, event_shape)
    cached = model.sample(8, seed=2).numpy()
    np.testing.assert_array_equal(cached, model.sample(8, seed=2, incremental=False))
    assert len(np.unique(cached)) > 1
    gm.evaluation.check_causality(model, blind_spots=True)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match='"A" or "B"; got \'C\''):
        CausalAttention(mask="C")
    x = np.zeros((1, 4, 4, 6), "float32")
    with pytest.raises(ValueError, match=r"of 4 heads .* got 6, 6 and 6"):
        CausalAttention(4)(x, x, x)
    with pytest.raises(ValueError, match="got 6, 3 and 6"):
        CausalAttention(3)(x, x[..., :3], x)
    with pytest.raises(ValueError, match="`heads` must be an integer ≥ 1; got 0"):
        CausalAttention(0)
    with pytest.raises(ValueError, match="one known size"):
        CausalAttention()(x, x[:, :1, :1], x[:, :1, :1])
    for layer in (CausalAttention(), RasterShift(), PositionEmbedding()):
        unknown = keras.Input((None, None, 6))
        with pytest.raises(ValueError, match="one known size"):
            layer(unknown, unknown, unknown) if isinstance(layer, CausalAttention) else layer(unknown)
    with pytest.raises(ValueError, match="multiple of the 3 heads; got 64"):
        gm.ImageGPT((4, 4, 1), heads=3)
    image = keras.Input((4, 4, 1))
    before = CausalConv2D(4, above=1, left=1, mask="A")(image)
    named = keras.layers.Dense(1)(CausalAttention()(before, values=before, keys=before))
    with pytest.raises(ValueError, match="by name: give it by its place"):  # their order would not be that of the names
        gm.AutoregressiveModel((4, 4, 1), keras.Model(image, named), levels=2)
    coarse = CausalConv2D(4, above=1, left=1, stride=2)(Shift("right")(image))
    coarse = CausalAttention()(coarse, coarse, coarse)
    outputs = keras.layers.Dense(1)(gm.layers.SpaceFromDepth((4, 4))(coarse))
    with pytest.raises(ValueError, match="full resolution only"):
        gm.AutoregressiveModel((4, 4, 1), keras.Model(image, outputs), levels=2)
