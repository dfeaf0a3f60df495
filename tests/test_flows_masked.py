"""Masked autoregressive transforms: what sees what, log-determinants, inverses and their gradients, MAF and IAF."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from genmodels.models.flows.bijections import Inverse
from genmodels.models.flows.maf import IAF, MAF
from genmodels.models.flows.masked import MaskedAutoregressive, MaskedDense, made
from genmodels.models.flows.transforms import Spline

TRANSFORMS = ("additive", "affine", "spline")


def randomized(network, scale=1.0):
    """The network with random numbers as weights, in proportion to the units' fan-in."""
    rng = np.random.default_rng(0)
    for v in network.trainable_variables:
        v.assign(scale * rng.normal(size=v.shape) / np.sqrt(v.shape[0]))
    return network


def example(transform="affine", dims=4, condition_dim=3, **options):
    """A layer with random weights, x and a condition."""
    transform = Spline(bins=3) if transform == "spline" else transform  # few bins compile fast
    layer = MaskedAutoregressive(transform, width=16, **options)
    layer.build((None, dims), (None, condition_dim) if condition_dim else None)
    randomized(layer)
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(6, dims)), tf.float32)
    return layer, x, tf.constant(rng.normal(size=(6, condition_dim)), tf.float32) if condition_dim else None


def relative(difference, x):
    return np.max(np.linalg.norm(difference, axis=1) / np.linalg.norm(x, axis=1))


# ---------------------------------------------------------------------- MADE


def dependence(network, dims, condition_dim):
    """∂ output / ∂ (x, condition) where all weights and inputs are positive: every path counts, `[D, P, D + C]`."""
    for v in network.trainable_variables:
        v.assign(np.abs(np.random.default_rng(0).normal(size=v.shape)) + 0.1)
    inputs = [tf.ones([1, n]) for n in (dims, condition_dim) if n]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        raw = network(inputs if condition_dim else inputs[0])
    jacobian = np.concatenate([tape.jacobian(raw, v, experimental_use_pfor=False)[0, :, 0] for v in inputs], -1)
    return jacobian.reshape(dims, -1, dims + (condition_dim or 0))


@pytest.mark.parametrize(
    ("dims", "parameters", "condition_dim", "width", "depth"),
    [(1, 2, None, 4, 2), (1, 2, 3, 4, 1), (2, 1, None, 1, 1), (4, 3, 2, 4, 2), (5, 2, None, 64, 3), (6, 1, 2, 8, 0)],
    ids=str,
)
def test_outputs_see_all_elements_before_theirs_and_no_other(dims, parameters, condition_dim, width, depth):
    network = made(dims, parameters, condition_dim, width=width, depth=depth)
    found = dependence(network, dims, condition_dim)
    assert found.shape[1] == parameters
    for i, j in np.ndindex(dims, dims):
        assert np.all(found[i, :, j] > 0) if j < i else np.all(found[i, :, j] == 0), (i, j)
    assert np.all(found[:, :, dims:] > 0)


def test_no_degree_is_left_out_where_there_are_units_for_all():
    """Of floats 1 … D - 1 in equal steps some would be rounded down, and what they see be seen by no output."""
    for dims, condition_dim in [(128, None), (784, None), (784, 2), (1537, None)]:
        degrees = made(dims, 1, condition_dim, width=dims, depth=1).layers[-1].inputs
        wanted = range(1 if condition_dim is None else 0, dims)
        assert set(wanted) <= set(np.asarray(degrees).tolist()), (dims, condition_dim)


def test_degrees_are_spread_evenly_also_over_few_units():
    # Degrees 1, 3, 6, 9: the first output sees nothing, the tenth nine elements.
    found = dependence(made(10, 1, width=4, depth=2), 10, None)[:, 0] > 0
    assert found.sum(1).tolist() == [0, 1, 1, 3, 3, 3, 6, 6, 6, 9]
    assert not np.triu(found).any()
    first = made(4, 1, width=9, depth=1).layers[1]
    assert np.bincount(first.outputs).tolist() == [0, 3, 3, 3]


def test_initial_kernels_keep_the_variance_of_what_each_unit_reads():
    keras.utils.set_random_seed(0)
    layer = MaskedDense(range(1, 101), [1] * 4000 + [100] * 4000)
    layer.build((None, 100))
    kernel = layer.kernel.numpy()
    # He: variance 2 / fan-in; a unit of degree 1 reads one input, of degree 100 a hundred.
    np.testing.assert_allclose([np.var(kernel[0, :4000]), np.var(kernel[:, 4000:])], [2.0, 0.02], rtol=0.1)


def test_masks_survive_an_update():
    network = randomized(made(3, 1, width=8, depth=1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(tf.ones([4, 3])))
    keras.optimizers.Adam(0.1).apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
    with tf.GradientTape() as tape:
        x = tf.ones([4, 3])
        tape.watch(x)
        first = network(x)[:, 0]
    assert np.all(tape.gradient(first, x) == 0)


def test_degrees_must_fit_the_input():
    with pytest.raises(ValueError, match=r"`inputs` has 2 degrees.*3"):
        MaskedDense([1, 2], [1])(tf.ones([1, 3]))


# ---------------------------------------------------------------------- the bijection


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_starts_as_the_identity(transform):
    layer = MaskedAutoregressive(transform, width=8)
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 3)), tf.float32)
    z, log_det = layer(x)
    np.testing.assert_allclose(z, x, atol=1e-6)
    np.testing.assert_allclose(log_det, np.zeros(5), atol=1e-5)


@pytest.mark.parametrize("dims", [1, 4])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_log_det_is_that_of_the_jacobian(transform, dims):
    layer, x, condition = example(transform, dims)

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            z, log_det = layer(x, condition)
        return tape.batch_jacobian(z, x), log_det, *layer.inverse_and_log_det(z, condition)

    compiled = [tf.function(both), tf.function(both, jit_compile=True)]
    for function in [both] if dims == 1 else [both, *compiled]:
        jacobian, log_det, back, log_det_back = (v.numpy().astype(np.float64) for v in function(x))
        assert not np.triu(jacobian, 1).any()
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-5)
        np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)
        np.testing.assert_allclose(back, x, atol=1e-5)
    if transform != "additive":
        assert np.abs(log_det).min() > 1e-3


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_far_inputs_come_back_and_have_finite_gradients(transform):
    layer, x, condition = example(transform)

    @tf.function
    def there_and_back(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            z, log_det = layer(x, condition)
            back, log_det_back = layer.inverse_and_log_det(z, condition)
            loss = tf.reduce_sum(z) + tf.reduce_sum(log_det) + tf.reduce_sum(back) + tf.reduce_sum(log_det_back)
        return z, back, tape.gradient(loss, [x, *layer.trainable_variables])

    @tf.function
    def back_and_there(z):
        return layer(layer.inverse(z, condition), condition)[0]

    for size in (1.0, 1e3, 1e6):
        z, back, gradients = there_and_back(size * x)
        assert relative(back - size * x, size * x) < 1e-4
        assert relative(back_and_there(size * x) - size * x, size * x) < 1e-4
        assert all(np.isfinite(g).all() for g in gradients)
        assert np.isfinite(z).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_gradients_of_the_inverse_are_those_of_its_passes_written_out(transform):
    layer, z, condition = example(transform)

    def written_out(z, condition):
        x = tf.zeros_like(z)
        for _ in range(5):
            raw = tf.reshape(layer.network([x, condition]), [6, 4, -1])
            x, slopes = layer.transform.inverse(z[..., None], raw)
            x = x[..., 0]
        return x, tf.reduce_sum(slopes, [1, 2])

    def gradients(inverse):
        with tf.GradientTape() as tape:
            tape.watch([z, condition])
            x, log_det = inverse(z, condition)
            loss = tf.reduce_sum(tf.sin(x)) + tf.reduce_sum(log_det**2)
        sources = [z, condition, *layer.trainable_variables]
        return tape.gradient(loss, sources, unconnected_gradients="zero")

    expected = gradients(written_out)
    kinds = [gradients, tf.function(gradients)]
    if transform == "affine":
        kinds.append(tf.function(gradients, jit_compile=True))
    for function in kinds:
        for found, wanted in zip(function(layer.inverse_and_log_det), expected):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert all(np.any(g) for g in expected)


def test_second_derivatives_of_the_inverse_are_refused():
    layer, z, condition = example()
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            total = tf.reduce_sum(layer.inverse(z, condition))
        gradient = tape.gradient(total, z)
    with pytest.raises(LookupError, match="first derivatives only"):
        outer.gradient(gradient, z)


def test_the_graph_of_the_inverse_does_not_grow_with_the_dimensions():
    def operations(dims):
        layer, _, _ = example(dims=dims, condition_dim=None)

        @tf.function
        def step(z):
            with tf.GradientTape() as tape:
                x, log_det = Inverse(layer)(z)
                loss = tf.reduce_sum(x) + tf.reduce_sum(log_det)
            return tape.gradient(loss, layer.trainable_variables)

        graph = step.get_concrete_function(tf.TensorSpec([None, dims])).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    assert operations(3) == operations(40)


def test_agrees_with_tfp():
    layer, x, _ = example(dims=5, condition_dim=None)

    def shift_and_log_scale(x):
        # x = (z - t) exp(-s), with s = 3 tanh(raw / 3)
        raw = tf.reshape(layer.network(x), [-1, 5, 2])
        scale = 3.0 * tf.tanh(raw[..., 0] / 3.0)
        return -raw[..., 1] * tf.exp(-scale), -scale

    reference = tfp.bijectors.MaskedAutoregressiveFlow(shift_and_log_scale)
    z, log_det = layer(x)
    np.testing.assert_allclose(z, reference.inverse(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_det, reference.inverse_log_det_jacobian(tf.identity(x), 1), rtol=1e-4, atol=1e-5)
    back, log_det_back = layer.inverse_and_log_det(x)
    latent = tf.identity(x)  # TFP would look its inverse up
    np.testing.assert_allclose(back, reference.forward(latent), rtol=1e-4, atol=1e-4)
    latent = tf.identity(x)
    np.testing.assert_allclose(log_det_back, reference.forward_log_det_jacobian(latent, 1), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- configuration


@pytest.mark.parametrize("given", [False, True], ids=["default network", "given network"])
def test_comes_back_from_its_config(given):
    network = made(4, 2, 3, width=8, depth=1) if given else None
    layer, x, condition = example(network=network)
    again = type(layer).from_config(layer.get_config())
    again.build((None, 4), (None, 3))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x, condition)[0], layer(x, condition)[0])
    assert [v.shape for v in again.weights] == [v.shape for v in layer.weights]


def dense(dims=3, outputs=6, initializer="glorot_uniform"):
    return keras.Sequential([keras.Input((dims,)), keras.layers.Dense(outputs, kernel_initializer=initializer)])


def apart():
    """Autoregressive, with the parameters of an element apart: the first of all elements, then the second of all."""
    layers = [made(3, 1, width=8, depth=1), keras.layers.RepeatVector(2), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize(
    ("shape", "network", "message"),
    [
        ((None, 4, 4, 1), None, r"vectors \[B, D\].*\(None, 4, 4, 1\).*Flatten"),
        ((None, 3), dense(outputs=5), r"\(6,\).*\(5,\)"),
        ((None, 3), dense(), r"autoregressive.*i = 0 depend on x\[0\]"),
        ((None, 3), dense(initializer="zeros"), r"autoregressive.*i = 0 depend on x\[0\]"),
        # A hidden unit that is never above zero hides the first of its wrong dependences.
        ((None, 3), apart(), r"autoregressive.*i = [01] depend on x\[[01]\]"),
    ],
    ids=["images", "shape", "dense", "zeros", "layout"],
)  # fmt: skip
def test_refuses_what_is_not_autoregressive(shape, network, message):
    with pytest.raises(ValueError, match=message):
        MaskedAutoregressive(network=network).build(shape)


def test_the_check_leaves_a_network_as_it_was():
    network = made(3, 2, width=8, depth=1)
    before = network.get_weights()
    tf.function(MaskedAutoregressive(network=network))(tf.ones([2, 3]))  # built within a graph
    for old, new in zip(before, network.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_the_inverse_is_exact_in_training_too_with_dropout_inside():
    masked = randomized(made(4, 2, width=16, depth=1))
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), masked])
    layer = MaskedAutoregressive(network=network)
    z = tf.constant(np.random.default_rng(0).normal(size=(8, 4)), tf.float32)
    x, _ = Inverse(layer)(z, training=True)
    np.testing.assert_allclose(layer(x)[0], z, atol=1e-5)
    assert not np.allclose(layer(x, training=True)[0], z, atol=1e-2)


@pytest.mark.parametrize(("options", "name"), [({"width": 0}, "width"), ({"depth": -1}, "depth")])
def test_refuses_sizes_out_of_range(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
        MaskedAutoregressive(**options)


# ---------------------------------------------------------------------- the models


@pytest.mark.parametrize("model_class", [MAF, IAF])
def test_density_of_points_integrates_to_one_and_is_learned(model_class):
    keras.utils.set_random_seed(0)
    model = model_class((2,), levels=None, layers=2, width=16, depth=1)
    randomized(model, 0.5)
    side = np.linspace(-12, 12, 301, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    total = np.exp(model.log_prob(grid).numpy().astype(np.float64)).sum() * (side[1] - side[0]) ** 2
    np.testing.assert_allclose(total, 1.0, atol=2e-3)
    x = np.random.default_rng(0).normal([3.0, -1.0], [0.5, 1.0], (256, 2)).astype(np.float32)
    np.testing.assert_allclose(model.decode(model.encode(x)), x, atol=1e-4)
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, steps=60, batch_size=256, verbose=0)
    # The entropy of the data, in nats: log(2 π e · 0.5 · 1.0) = 2.14
    assert model.evaluate(x)["nll"] < 2.3


def test_conditional_model_of_pixels():
    model = MAF((2, 2, 1), levels=4, layers=2, num_classes=3, transform="additive", width=8)
    x = np.random.default_rng(0).integers(0, 4, (32, 2, 2, 1), dtype=np.uint8)
    labels = np.arange(32) % 3
    model.fit(x, labels, steps=2, batch_size=32, verbose=0)
    assert model.log_prob(x, labels).shape == (32,)
    samples = model.sample(4)
    assert samples.shape == (4, 2, 2, 1) and samples.dtype == tf.uint8
    again = MAF.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.log_prob(x, labels), model.log_prob(x, labels))
