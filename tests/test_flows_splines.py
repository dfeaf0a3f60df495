"""Rational-quadratic splines and RealNVP's coupling against TFP, finite differences and automatic differentiation."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special

from genmodels.models.flows import Coupling
from genmodels.models.flows.splines import rational_quadratic

BOUND, BINS = 3.0, 6
RANDOM = np.random.default_rng(0)


def raw_parameters(num, scale, random=RANDOM, dtype=tf.float64):
    """Unnormalized widths, heights and slopes; "extreme" for each at +50 or -50."""
    sizes = ((num, BINS), (num, BINS), (num, BINS - 1))
    if scale == "extreme":
        return [tf.constant(random.choice([-50.0, 50.0], size), dtype) for size in sizes]
    return [tf.constant(scale * random.normal(size=size), dtype) for size in sizes]


def normalized(raw):
    """Widths, heights and slopes in NumPy: no bin below 0.001 of the interval, no slope below 0.001."""
    widths, heights, slopes = (np.asarray(r, np.float64) for r in raw)
    sizes = [2 * BOUND * (1e-3 + (1 - 1e-3 * BINS) * special.softmax(s, axis=-1)) for s in (widths, heights)]
    return [*sizes, 1e-3 + np.logaddexp(0, slopes + np.log(np.expm1(1 - 1e-3)))]


def points(num, dtype=tf.float64):
    """Points inside and outside the interval, the bounds among them."""
    x = RANDOM.uniform(-1.2 * BOUND, 1.2 * BOUND, num)
    x[:4] = BOUND, -BOUND, 1e6, -1e6
    return tf.constant(x, dtype)


@pytest.mark.parametrize("scale", [0.5, 2.0, "extreme"])
def test_spline_is_that_of_tfp(scale):
    raw, x = raw_parameters(400, scale), points(400)
    theirs = tfp.bijectors.RationalQuadraticSpline(*normalized(raw), range_min=-BOUND)
    y, log_slope = rational_quadratic(x, *raw, bound=BOUND)
    np.testing.assert_allclose(y, theirs.forward(x), rtol=1e-9, atol=1e-9)
    # Steep bins beside flat ones: the slope changes a thousandfold within a hundredth.
    loose = 1e-5 if scale == "extreme" else 1e-8
    np.testing.assert_allclose(log_slope, theirs.forward_log_det_jacobian(tf.identity(x), 0), rtol=loose, atol=loose)
    y = tf.constant(RANDOM.uniform(-1.2 * BOUND, 1.2 * BOUND, 400))
    back, log_slope = rational_quadratic(y, *raw, bound=BOUND, inverse=True)
    np.testing.assert_allclose(theirs.forward(back), y, rtol=1e-9, atol=1e-9)
    again = rational_quadratic(back, *raw, bound=BOUND)
    np.testing.assert_allclose(again[0], y, rtol=1e-9, atol=1e-9)
    expected = -theirs.forward_log_det_jacobian(tf.identity(back), 0)
    np.testing.assert_allclose(log_slope, expected, rtol=loose, atol=loose)
    if scale != "extreme":
        np.testing.assert_allclose(back, theirs.inverse(tf.identity(y)), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("inverse", [False, True])
def test_log_slope_is_the_derivative(inverse):
    raw, x = raw_parameters(300, 1.0), tf.constant(RANDOM.uniform(-1.2 * BOUND, 1.2 * BOUND, 300))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, log_slope = rational_quadratic(x, *raw, bound=BOUND, inverse=inverse)
    np.testing.assert_allclose(tape.gradient(y, x), np.exp(log_slope), rtol=1e-8)
    step = 1e-6
    up, down = (rational_quadratic(x + d, *raw, bound=BOUND, inverse=inverse)[0] for d in (step, -step))
    np.testing.assert_allclose((up - down) / (2 * step), np.exp(log_slope), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, "extreme"])
@pytest.mark.parametrize("inverse", [False, True])
def test_spline_is_monotone_and_joins_the_identity(scale, inverse):
    raw = raw_parameters(20, scale)
    grid = np.linspace(-1.1 * BOUND, 1.1 * BOUND, 3000)[:, None] + np.zeros(20)
    y = rational_quadratic(tf.constant(grid), *[r[None] for r in raw], bound=BOUND, inverse=inverse)[0].numpy()
    assert (np.diff(y, axis=0) > 0).all()
    outside = np.abs(grid) >= BOUND
    np.testing.assert_array_equal(y[outside], grid[outside])
    for side in (-BOUND, BOUND):  # value and slope are continuous
        for x in (side, np.nextafter(side, 0.0)):
            x = tf.fill([20], tf.constant(x, tf.float64))
            value, log_slope = rational_quadratic(x, *raw, bound=BOUND, inverse=inverse)
            np.testing.assert_allclose(value, side, rtol=1e-10)
            np.testing.assert_allclose(log_slope, 0.0, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inverse", [False, True])
def test_zeros_are_the_identity(dtype, inverse):
    x = points(100, dtype)
    y, log_slope = rational_quadratic(x, *raw_parameters(100, 0.0, dtype=dtype), bound=BOUND, inverse=inverse)
    small = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(y, x, rtol=small, atol=small)
    np.testing.assert_allclose(log_slope, 0.0, atol=2 * small)


@pytest.mark.parametrize("scale", [0.3, 1.0, "extreme"])
@pytest.mark.parametrize("bound", [1e-4, 3.0, 100.0])
def test_inverse_in_float32(scale, bound):
    num = 20000
    random = np.random.default_rng(1)
    raw = raw_parameters(num, scale, random, tf.float32)
    x = tf.constant(random.uniform(-1.1 * bound, 1.1 * bound, num), tf.float32)
    y, log_slope = rational_quadratic(x, *raw, bound=bound)
    back, log_slope_back = rational_quadratic(y, *raw, bound=bound, inverse=True)
    error = np.abs(back - x) / bound
    if scale == 0.3:
        assert error.max() < 1e-5 and np.abs(log_slope + log_slope_back).max() < 1e-4
    elif scale == 1.0:
        assert np.quantile(error, 0.99) < 1e-5 and error.max() < 1e-3
    # Where the spline is nearly flat, x cannot be told from a rounded y; then y at least is given back. In float64:
    wide = [tf.cast(v, tf.float64) for v in (back, *raw)]
    residual = np.abs(rational_quadratic(wide[0], *wide[1:], bound=bound)[0] - tf.cast(y, tf.float64)) / bound
    assert np.minimum(error, residual).max() < 3e-5


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
def test_gradients_are_finite_everywhere(compiled):
    num = 300
    raw = raw_parameters(num, "extreme", np.random.default_rng(2), tf.float32)
    places = [tf.fill([num], np.float32(v)) for v in (BOUND, -BOUND, 1e6, -1e6, 0.0)]
    places += [tf.fill([num], np.nextafter(np.float32(v), np.float32(0.0))) for v in (BOUND, -BOUND)]
    for sizes in normalized(raw)[:2]:  # at knots and right and left of them
        knots = np.float32(np.cumsum(sizes, -1) - BOUND)
        for knot in knots.T[:-1]:
            places += [knot, np.nextafter(knot, np.float32(9)), np.nextafter(knot, np.float32(-9))]
    x = tf.stack(places)  # [places, num]

    @tf.function(jit_compile=True)
    def gradients(x, *raw):
        results = []
        for inverse in (False, True):
            with tf.GradientTape() as tape:
                tape.watch((x, *raw))
                y, log_slope = rational_quadratic(x, *raw, bound=BOUND, inverse=inverse)
                loss = tf.reduce_sum(y) + tf.reduce_sum(log_slope)
            results += [y, log_slope, *tape.gradient(loss, (x, *raw))]
        return results

    raw = [r[None] + tf.zeros([len(places), 1, 1]) for r in raw]
    results = (gradients if compiled else gradients.python_function)(x, *raw)
    assert all(np.isfinite(r).all() for r in results)


def test_affine_coupling_is_that_of_tfp():
    coupling = Coupling("affine", width=8)
    x = tf.constant(RANDOM.normal(size=[20, 5]), tf.float32)
    coupling(x)
    for variable in coupling.trainable_variables:
        variable.assign(0.5 * RANDOM.normal(size=variable.shape))

    def shift_and_log_scale(kept, depth, **_):
        scale, shift = np.split(coupling.network(kept).numpy(), 2, axis=-1)
        assert depth == 3
        return tf.constant(shift), tf.constant(3.0 * np.tanh(scale / 3.0))

    # TFP's forward is of latents to data; the formula z = x exp(s) + t is the same.
    theirs = tfp.bijectors.RealNVP(num_masked=2, shift_and_log_scale_fn=shift_and_log_scale)
    z, log_det = coupling(x)
    assert np.abs(z[:, 2:] - x[:, 2:]).max() > 0.5
    np.testing.assert_allclose(z, theirs.forward(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(log_det, theirs.forward_log_det_jacobian(tf.identity(x), 1), rtol=1e-6, atol=1e-6)
    back, log_det = coupling.inverse_and_log_det(z)
    np.testing.assert_allclose(back, theirs.inverse(tf.identity(z)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, theirs.inverse_log_det_jacobian(tf.identity(z), 1), rtol=1e-6, atol=1e-6)
