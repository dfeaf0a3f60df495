"""Convolutions with a matrix product for the kernel's gradient, against Keras' layers and TensorFlow's gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels.layers import FastConv2D, FastConv2DTranspose, convolution

PAIRS = [(FastConv2D, keras.layers.Conv2D), (FastConv2DTranspose, keras.layers.Conv2DTranspose)]
# Size of the image, kernel, strides: odd and even ones; kernels that strides divide, do not, and exceed.
CASES = [
    *(((n, n), (k, k), (s, s)) for n in (7, 8) for k in (3, 4, 5) for s in (1, 2)),
    ((28, 28), (4, 4), (2, 2)),
    ((5, 8), (2, 5), (3, 2)),
    ((7, 4), (1, 3), (2, 1)),
    ((1, 2), (4, 4), (2, 2)),
]


def values(*shape, seed=0, dtype="float32"):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def close(a, b, rtol=1e-4):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.fixture
def product_everywhere(monkeypatch):
    """Float32 and large images take the matrix product too, and each gradient is counted."""
    counts = []
    original = convolution._filter_gradient
    monkeypatch.setattr(convolution, "product_pays", lambda *_: True)
    monkeypatch.setattr(convolution, "_filter_gradient", lambda *args: counts.append(1) or original(*args))
    return counts


def twins(ours, theirs, inputs=6, **options):
    """A layer of each class with the same weights."""
    options = {"filters": 5, "kernel_size": 4, "strides": 2, "padding": "same", **options}
    layers = ours(**options), theirs(**options)
    for layer in layers:
        layer.build((None, 7, 7, inputs))
    for i, (a, b) in enumerate(zip(layers[0].weights, layers[1].weights)):
        a.assign(values(*a.shape, seed=i))
        b.assign(a)
    return layers


def penalty(layer, x):
    """Output; gradients of a sum of its squares; and those of the squared norm of the gradient by x."""
    parts = [x, *(v.value for v in layer.trainable_variables)]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(parts)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(parts)
            y = layer(x)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
        slope = inner.gradient(loss, x)
        squared = tf.reduce_sum(tf.cast(slope, tf.float32) ** 2)
    return [y, *inner.gradient(loss, parts), *outer.gradient(squared, parts[:2])]


# ------------------------------------------------------------------------------------------- the three functions


@pytest.mark.parametrize("size, kernel, strides", CASES, ids=str)
def test_gradients_are_tensorflows(size, kernel, strides):
    x, w = values(2, *size, 3), values(*kernel, 3, 4, seed=1)
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = tf.nn.conv2d(x, w, strides, "SAME")
        loss = tf.reduce_sum(y**3)
    expected = y, *tape.gradient(loss, [x, w])
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = convolution.convolution(x, w, strides)
        loss = tf.reduce_sum(y**3)
    for a, b in zip((y, *tape.gradient(loss, [x, w])), expected):
        close(a, b)


def test_the_three_functions_are_derivatives_of_one_trilinear_form():
    """<y, conv(x, w)> = <x, input_gradient(w, y)> = <w, filter_gradient(x, y)>, and so are all their derivatives."""
    x, y, w = values(2, 7, 8, 3), values(2, 4, 4, 5, seed=1), values(4, 3, 3, 5, seed=2)
    strides = (2, 2)
    forms = [
        lambda: tf.reduce_sum(y * convolution.convolution(x, w, strides)),
        lambda: tf.reduce_sum(x * convolution.input_gradient(w, y, strides, (7, 8))),
        lambda: tf.reduce_sum(w * convolution.filter_gradient(x, y, strides, (4, 3))),
    ]
    results = []
    for form in forms:
        with tf.GradientTape() as tape:
            tape.watch([x, y, w])
            value = form()
        results.append([value, *tape.gradient(value, [x, y, w])])
    for result in results:
        for a, b in zip(result, results[0]):
            close(a, b)
        close(result[2], tf.nn.conv2d(x, w, 2, "SAME"))


@pytest.mark.parametrize("kernel, strides, size, padding", [
    ((4, 4), (2, 2), (4, 5), None), ((4, 4), (2, 2), (4, 4), (1, 1)), ((4, 4), (2, 2), (1, 1), None),
    ((2, 4), (1, 2), (3, 2), None), ((6, 4), (3, 2), (3, 5), None), ((6, 6), (3, 3), (2, 2), (1, 2)),
], ids=str)  # fmt: skip
def test_few_channels_are_computed_in_phases(kernel, strides, size, padding, monkeypatch):
    """As Keras, with all derivatives, for outputs of any size that the strides give."""
    counts = []
    original = convolution._in_phases
    monkeypatch.setattr(convolution, "_in_phases", lambda *args: counts.append(1) or original(*args))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: [])  # as without a GPU
    options = {"filters": 3, "kernel_size": kernel, "strides": strides, "output_padding": padding}
    layer, reference = twins(*PAIRS[1], activation="softplus", **options)
    x = values(2, *size, 6)
    for a, b in zip(penalty(layer, x), penalty(reference, x), strict=True):
        close(a, b)
    assert counts
    counts.clear()
    wide, reference = twins(*PAIRS[1], **{**options, "filters": 9})
    close(wide(x), reference(x), rtol=0)
    assert not counts


def test_phases_under_xla_in_bfloat16_and_for_any_batch(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: [])
    layer, reference = twins(*PAIRS[1], filters=2, dtype="mixed_bfloat16")
    _, exact = twins(*PAIRS[1], filters=2)
    assert convolution.phases_pay(layer, (None, 28, 28, 2), (None, 14, 14, 6))
    x = values(3, 14, 14, 6)
    close(layer(x), reference(x), rtol=0.02)
    layer, _ = twins(*PAIRS[1], filters=2)
    for compiled in (False, True):
        call = tf.function(layer, jit_compile=compiled, input_signature=[tf.TensorSpec([None, 14, 14, 6])])
        close(call(x), exact(x))


# ------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=["plain", "transposed"])
@pytest.mark.parametrize(
    "options",
    [
        {"activation": "softplus"},
        {"use_bias": False, "kernel_size": 5, "activation": "softplus"},
        {"kernel_size": 3, "strides": 1},
        {"strides": (2, 1)},
    ],
    ids=str,
)
def test_results_and_derivatives_are_keras(ours, theirs, options, product_everywhere):
    layer, reference = twins(ours, theirs, **options)
    x = values(2, 7, 8, 6, seed=9)
    for a, b in zip(penalty(layer, x), penalty(reference, x), strict=True):
        close(a, b)
    assert len(product_everywhere) >= 2


@pytest.mark.parametrize("padding", [(0, 1), (1, 1)])
def test_output_padding_is_keras(padding, product_everywhere):
    layer, reference = twins(*PAIRS[1], kernel_size=3, output_padding=padding)
    x = values(2, 4, 4, 6)
    for a, b in zip(penalty(layer, x), penalty(reference, x), strict=True):
        close(a, b)


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=["plain", "transposed"])
def test_bfloat16_is_float32_to_rounding(ours, theirs, monkeypatch):
    """The policy of mixed precision takes the product where it pays, and only there; weights stay float32."""
    counts = []
    original = convolution._filter_gradient
    monkeypatch.setattr(convolution, "_filter_gradient", lambda *args: counts.append(1) or original(*args))
    small = 4 if ours is FastConv2DTranspose else 8
    layer, _ = twins(ours, theirs, inputs=32, filters=32, dtype="mixed_bfloat16")
    _, reference = twins(ours, theirs, inputs=32, filters=32)
    x = values(2, small, small, 32, seed=9)
    for a, b in zip(penalty(layer, x), penalty(reference, x), strict=True):
        close(a, b, rtol=0.03)
    assert layer(x).dtype == tf.bfloat16 and layer.kernel.dtype == "float32" and counts
    counts.clear()
    penalty(layer, values(2, 3 * small, 3 * small, 32))
    penalty(reference, x)
    assert not counts


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=["plain", "transposed"])
def test_what_is_not_offered_is_the_parents(ours, theirs):
    layer, reference = twins(ours, theirs, inputs=64, filters=64, dtype="bfloat16", padding="valid")
    x = values(2, 5, 5, 64, dtype="bfloat16")
    close(layer(x), reference(x), rtol=0)
    shapes = (2, 5, 5, 64), (2, 5, 5, 64)
    dilated, reference = twins(ours, theirs, inputs=64, filters=64, dtype="bfloat16", dilation_rate=2, strides=1)
    if ours is FastConv2D:  # TensorFlow dilates transposed ones by oneDNN alone, which has bfloat16 on some CPUs only
        close(dilated(x), reference(x), rtol=0)
    plain, _ = twins(ours, theirs, inputs=64, filters=64, strides=1)
    assert convolution.product_pays(plain, "bfloat16", *shapes)
    assert not convolution.product_pays(dilated, "bfloat16", *shapes)


def test_sizes_and_batches_may_be_unknown():
    image = keras.Input((None, None, 64))
    network = keras.Model(image, FastConv2DTranspose(64, 4, 2, "same")(FastConv2D(64, 4, 2, "same")(image)))
    assert network(values(2, 6, 8, 64)).shape == (2, 6, 8, 64)
    layer, reference = twins(*PAIRS[0], inputs=64, filters=64, dtype="bfloat16")
    for shape in ([None, 7, 7, 64], [None, None, None, 64], [2, None, 7, 64]):
        call = tf.function(layer, input_signature=[tf.TensorSpec(shape, tf.bfloat16)])
        x = values(2, 7, 7, 64, dtype="bfloat16")
        close(call(x), reference(x), rtol=0.01)


def test_saved_and_loaded(tmp_path):
    image = keras.Input((8, 8, 64))
    x = FastConv2D(64, 4, strides=2, padding="same", dtype="mixed_bfloat16")(image)
    network = keras.Model(image, FastConv2DTranspose(64, 4, strides=2, padding="same", dtype="mixed_bfloat16")(x))
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert [type(layer) for layer in loaded.layers[1:]] == [FastConv2D, FastConv2DTranspose]
    for ours, theirs, (_, parent) in zip(loaded.layers[1:], network.layers[1:], PAIRS):
        config = theirs.get_config()
        assert ours.get_config() == config == parent.from_config(config).get_config()
    close(loaded(values(2, 8, 8, 64)), network(values(2, 8, 8, 64)), rtol=0)


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=["plain", "transposed"])
def test_xla(ours, theirs, product_everywhere):
    layer, reference = twins(ours, theirs, activation="softplus")
    x = values(2, 7, 7, 6)
    results = tf.function(lambda x: penalty(layer, x), jit_compile=True)(x)
    for a, b in zip(results, penalty(reference, x), strict=True):
        close(a, b)
    assert product_everywhere
