"""Networks of GANs, their spectral norm and batch norm, against singular values and Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from toys import differences, values

import genmodels as gm
from genmodels.layers.normalization import FusedBatchNormalization
from genmodels.models.gans import networks
from genmodels.models.gans.spectral import SpectralNormalized, spectral_normalized

layers = keras.layers


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


# ------------------------------------------------------------------------------------------- spectral norm

KERNELS = {
    "dense": (lambda **o: layers.Dense(5, **o), (7,)),
    "conv2d": (lambda **o: layers.Conv2D(6, 3, strides=2, padding="same", **o), (5, 6, 4)),
    "conv1d": (lambda **o: layers.Conv1D(3, 4, **o), (8, 2)),
}
MIXED = {"dtype": "mixed_bfloat16"}


def matrix(kernel):
    return np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])


def wrapped(name, calls=0, seed=1, **options):
    """A normalized layer with σ = 2 after some training calls, and its input."""
    make, shape = KERNELS[name]
    keras.utils.set_random_seed(seed)
    layer = make(bias_initializer="normal", kernel_initializer="normal", **options)
    normalized, x = SpectralNormalized(layer), values(3, *shape)
    normalized.build(x.shape)
    left, _, right = np.linalg.svd(matrix(values(*layer.kernel.shape, seed=seed)), full_matrices=False)
    spectrum = 2.0 * 0.6 ** np.arange(len(right))  # whose gap sets how fast the power iteration is
    layer.kernel.assign(np.reshape(left * spectrum @ right, layer.kernel.shape))
    for _ in range(calls):
        normalized(x, training=True)
    return normalized, x


def plainly(layer, kernel, x):
    """The layer's output with another kernel."""
    own = layer.kernel.numpy()
    layer.kernel.assign(kernel)
    y = layer(x)
    layer.kernel.assign(own)
    return y.numpy()


@pytest.mark.parametrize("name", KERNELS)
def test_spectral_norm_is_the_largest_singular_value(name):
    normalized, x = wrapped(name, calls=20)
    layer = normalized.layer
    kernel = layer.kernel.numpy()
    sigma = np.linalg.svd(matrix(kernel), compute_uv=False)[0]
    assert sigma == pytest.approx(2.0)
    before = normalized.vector.numpy()
    y = normalized(x)
    np.testing.assert_allclose(y, plainly(layer, kernel / sigma, x), rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)  # W itself is free
    np.testing.assert_array_equal(normalized.vector.numpy(), before)  # only training improves the estimate
    np.testing.assert_array_equal(normalized(x, training=False), y)
    assert [v.path for v in normalized.trainable_variables] == [layer.kernel.path, layer.bias.path]


def test_a_few_calls_are_near_and_training_alone_moves_the_estimate():
    normalized, x = wrapped("dense")
    bias = normalized.layer.bias.numpy()
    errors = []
    for _ in range(8):
        norm = np.linalg.norm(normalized(np.eye(7, dtype=np.float32)).numpy() - bias, 2)  # σ over its estimate
        errors.append(norm - 1)
        normalized(x, training=True)
    # An estimate is never above σ, and never falls.
    assert np.all(np.array(errors) > -1e-5) and np.all(np.diff(errors) < 1e-5)
    assert errors[0] > 10 * errors[-1] and errors[-1] < 0.01


@pytest.mark.parametrize("name", ["dense", "conv2d"])
def test_the_gradient_goes_through_sigma(name):
    """Of ⟨C, f(x; W / σ(W))⟩, against differences of the exact W / σ(W) in float64."""
    normalized, x = wrapped(name, calls=20)
    layer = normalized.layer
    with tf.GradientTape() as tape:
        y = normalized(x)
        c = values(*y.shape, seed=5)
        loss = tf.reduce_sum(c * y)
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    # The layer is linear in its kernel: ⟨C, f(x; W)⟩ = ⟨A, W⟩ + constant.
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(c * layer(x))
    a = tape.gradient(loss, layer.kernel.value).numpy().astype(np.float64)

    def exact(w):
        return (a * w).sum() / np.linalg.svd(matrix(w), compute_uv=False)[0]

    expected = differences(exact, layer.kernel.numpy(), 1e-5)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4 * scale)
    # Constant along W, as W / σ(W) does not change with the length of W; a σ taken as fixed would not be.
    along = (gradient * layer.kernel.numpy()).sum()
    assert abs(along) < 1e-3 * np.linalg.norm(gradient) * np.linalg.norm(layer.kernel.numpy())
    assert np.abs(a / np.linalg.norm(matrix(layer.kernel.numpy()), 2) - expected).max() > 0.01 * scale


def test_spectral_norm_compiled_by_xla():
    normalized, x = wrapped("conv2d")
    start = normalized.vector.numpy()
    y = normalized(x, training=True)
    after = normalized.vector.numpy()
    normalized.vector.assign(start)
    np.testing.assert_allclose(tf.function(normalized, jit_compile=True)(x, training=True), y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(normalized.vector.numpy(), after, rtol=1e-4, atol=1e-6)
    assert np.abs(after - start).max() > 0.01


def test_spectral_norm_in_mixed_precision():
    """σ is of the float32 kernel; the layer alone computes in bfloat16, also under a global policy."""
    exact, x = wrapped("dense", calls=3)
    mixed, _ = wrapped("dense", calls=3, **MIXED)
    y = mixed(x)
    assert y.dtype == tf.bfloat16 and mixed.vector.dtype == mixed.layer.kernel.dtype == "float32"
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact(x), rtol=0.05, atol=0.05)
    np.testing.assert_array_equal(mixed.vector.numpy(), exact.vector.numpy())
    network = spectral_normalized(keras.Sequential([keras.Input((7,)), layers.Dense(3, **MIXED)], name="inner"))
    outer = keras.Sequential([keras.Input((7,)), network, layers.Dense(1, dtype="float32")])
    outer.dtype_policy = "mixed_bfloat16"  # as a global policy gives it
    assert outer(x, training=True).dtype == tf.float32
    assert network.layers[0].vector.dtype == "float32"


def small_network():
    shared = layers.Dense(4)
    x = image = keras.Input((6, 6, 1))
    inner = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.ReLU()], name="inner")
    x = layers.Dense(4)(layers.Flatten()(inner(x)))
    return keras.Model(image, layers.Dense(1)(layers.Add()([shared(x), shared(layers.ReLU()(x))])))


def test_a_normalized_network_shares_its_weights_with_the_given_one():
    network, x = small_network(), values(2, 6, 6, 1)
    before = network(x).numpy()
    normalized = spectral_normalized(network)
    assert {id(v) for v in normalized.trainable_variables} == {id(v) for v in network.trainable_variables}
    wrapped_layers = [layer for layer in normalized._flatten_layers() if isinstance(layer, SpectralNormalized)]
    assert len(wrapped_layers) == 4  # the convolution inside, and three dense layers, one of them called twice
    for _ in range(3):
        normalized(x, training=True)
    np.testing.assert_array_equal(network(x), before)
    assert not np.allclose(normalized(x), before)
    network.layers[-1].bias.assign_add([1.0])
    np.testing.assert_allclose(network(x), before + 1.0, rtol=1e-6)
    twice = spectral_normalized(normalized)
    np.testing.assert_array_equal(twice(x), normalized(x))  # what is normalized stays so, once


def test_a_saved_normalized_network_keeps_its_estimates(tmp_path):
    network, x = spectral_normalized(small_network()), values(2, 6, 6, 1)
    for _ in range(3):
        network(x, training=True)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert len(loaded.weights) == len(network.weights) == 12
    np.testing.assert_array_equal(loaded(x), network(x))
    np.testing.assert_array_equal(loaded(x, training=True), network(x, training=True))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.dense.build((None, 2))
        self.built = True

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Conv2DTranspose(2, 3), (4, 4, 1)),
        (lambda: layers.DepthwiseConv2D(3), (4, 4, 1)),
        (lambda: layers.SeparableConv2D(2, 3), (4, 4, 1)),
        (lambda: layers.EinsumDense("abc,cd->abd", (4, 3)), (4, 2)),
        (lambda: layers.TimeDistributed(layers.Dense(3)), (4, 2)),
        (lambda: keras.Sequential([layers.Conv1DTranspose(3, 2)]), (4, 2)),
    ],
)
def test_kernels_without_a_spectral_norm_are_refused(layer, shape):
    network = keras.Sequential([keras.Input(shape), layer(), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"spectral normalization is of dense layers and plain convolutions; .* is a "):
        spectral_normalized(network)


def test_networks_that_cannot_be_taken_apart_are_refused():
    with pytest.raises(ValueError, match=r"spectral normalization needs a functional or sequential keras.Model"):
        spectral_normalized(Subclassed())


# ------------------------------------------------------------------------------------------- batch norm

NORMS = {"points": (16, 5), "sequence": (4, 6, 3), "images": (4, 5, 7, 3)}


def norm_pair(shape, **options):
    """Keras' layer and the fused one, with the same weights at random."""
    pair = layers.BatchNormalization(momentum=0.9, **options), FusedBatchNormalization(0.9, **options)
    for layer in pair:
        layer.build(shape)
        for index, variable in enumerate(layer.variables):
            variable.assign(np.abs(values(*variable.shape, seed=index)) + 0.3)
    return pair


def outputs_and_gradients(layer, x, training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * values(*x.shape, seed=9))
    return y, tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])


@pytest.mark.parametrize("shape", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False, "epsilon": 0.01}], ids=str)
def test_batch_norm_is_that_of_keras(shape, training, options):
    x = tf.constant(2 + 3 * values(*shape))
    ours, theirs = [], []
    for layer, results in zip(norm_pair(shape, **options), (theirs, ours)):
        before = layer.moving_variance.numpy()
        y, gradients = outputs_and_gradients(layer, x, training)
        assert y.shape == x.shape and y.dtype == tf.float32
        results.extend([y, *gradients, layer.moving_mean.numpy(), layer.moving_variance.numpy() - before])
    if training:
        num = np.prod(shape[:-1])
        moved = x.numpy().reshape(num, -1).var(0, ddof=1) - before
        np.testing.assert_allclose(ours[-1], 0.1 * moved, rtol=1e-4)
        # Keras' is the biased estimate.
        np.testing.assert_allclose((theirs[-1] + 0.1 * before) * num / (num - 1), ours[-1] + 0.1 * before, rtol=1e-4)
    else:
        np.testing.assert_array_equal(ours[-1], 0)
    for one, other in zip(ours[:-1], theirs[:-1]):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_frozen_batch_norm_infers():
    _, layer = norm_pair((4, 5, 7, 3))
    x = values(4, 5, 7, 3)
    inferred = layer(x, training=False).numpy()
    layer.trainable = False
    before = layer.moving_mean.numpy()
    np.testing.assert_array_equal(layer(x, training=True), inferred)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(16, 5), (4, 5, 7, 3)], ids=str)
def test_batch_norm_of_bfloat16(training, shape):
    """Numbers are bfloat16, statistics float32."""
    _, exact = norm_pair(shape)
    _, mixed = norm_pair(shape, **MIXED)
    x = tf.cast(1 + values(*shape), tf.bfloat16)
    y, gradients = outputs_and_gradients(mixed, x, training)
    expected, their_gradients = outputs_and_gradients(exact, tf.cast(x, tf.float32), training)
    assert y.dtype == tf.bfloat16 and {v.dtype for v in mixed.variables} == {"float32"}
    np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=0.02, atol=0.02)
    for one, other in zip(gradients, their_gradients):
        scale = np.abs(other).max()
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=0.03 * scale)
    for one, other in zip(mixed.non_trainable_variables, exact.non_trainable_variables):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5)


def test_batch_norm_compiled_by_xla():
    x = tf.constant(values(4, 5, 7, 3))
    _, eager = norm_pair(x.shape)
    _, layer = norm_pair(x.shape)
    expected, expected_gradients = outputs_and_gradients(eager, x, True)
    y, gradients = tf.function(lambda x: outputs_and_gradients(layer, x, True), jit_compile=True)(x)
    for one, other in zip([y, *gradients], [expected, *expected_gradients]):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    for one, other in zip(layer.variables, eager.variables):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_batch_norm_is_saved(tmp_path):
    layer = FusedBatchNormalization(0.8, 1e-4, scale=False)
    network = keras.Sequential([keras.Input((5, 5, 2)), layer])
    x = values(4, 5, 5, 2)
    network(x, training=True)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.layers[0].get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded(x), network(x))


def test_what_the_fused_kernel_has_not_is_refused():
    for options in ({"axis": 1}, {"axis": -2}, {"renorm": True}):
        with pytest.raises(ValueError, match="the fused kernel normalizes the last axis, without `renorm`"):
            FusedBatchNormalization(**options)
    with pytest.raises(ValueError, match="the fused kernel takes no mask"):
        FusedBatchNormalization()(values(2, 4, 3), mask=tf.ones([2, 4], tf.bool))


# ------------------------------------------------------------------------------------------- networks

SIZES = [(8, 8), (9, 9), (8, 9), (28, 28), (32, 32), (28, 36), (48, 64), (64, 64), (128, 128)]


@pytest.mark.parametrize("architecture", ["dcgan", "residual"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_networks_fit_every_size(architecture, size):
    shape = (*size, 3 if size[0] in (9, 32, 128) else 1)
    generator = networks.generator(architecture, 5, shape, width=2)
    critic = networks.critic(architecture, shape, width=2)
    assert generator.input_shape == (None, 5) and generator.output_shape == (None, *shape)
    assert critic.input_shape == (None, *shape) and critic.output_shape == (None, 1)
    images = generator(values(2, 5, scale=30.0))
    assert images.shape == (2, *shape) and np.abs(images).max() <= 1
    assert critic(images).shape == (2, 1)
    # About 4 pixels are left where the critic judges, but at least two stages of the smallest images.
    last = [layer.output for layer in critic.layers if len(layer.output.shape) == 4][-1]
    assert (2 if size == (8, 8) else 3) <= max(last.shape[1:3]) <= 6


@pytest.mark.parametrize("builder", [networks.dcgan_critic, networks.residual_critic])
@pytest.mark.parametrize("shape", [(7, 8, 1), (129, 128, 3), (8, 200, 1), (2,)], ids=str)
def test_other_sizes_are_refused(builder, shape):
    with pytest.raises(ValueError, match=r"networks need images (of 8 to 128 pixels a side|\(height).*got"):
        builder(shape)


def kinds(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3)], ids=str)
def test_the_rules_of_dcgan(shape):
    """Radford et al. 2015, section 3; channels double at every halving up to eight times."""
    generator, critic = networks.dcgan_generator(6, shape, width=4), networks.dcgan_critic(shape, width=4)
    for network in (generator, critic):
        pooling = layers.MaxPooling2D | layers.AveragePooling2D | layers.GlobalAveragePooling2D | layers.UpSampling2D
        assert not kinds(network, pooling)
        for layer in kinds(network, layers.Conv2D | layers.Conv2DTranspose):
            assert layer.strides == (2, 2) and layer.kernel_size == (4, 4)
            assert layer.kernel.numpy().std() == pytest.approx(0.02, rel=0.3)
    stages = {28: 3, 64: 4}[shape[0]]
    up, down = kinds(generator, layers.Conv2DTranspose), kinds(critic, layers.Conv2D)
    assert [x.filters for x in down] == [4, 8, 16, 32][:stages]
    assert [x.filters for x in up] == [*[4, 8, 16][: stages - 1][::-1], shape[-1]]
    # The generator: one projection, then batch norm and ReLU before every stage; tanh, and no norm, after the last.
    assert len(kinds(generator, layers.Dense)) == 1 and generator.layers[1] is kinds(generator, layers.Dense)[0]
    norms = kinds(generator, layers.BatchNormalization)
    assert len(norms) == len(kinds(generator, layers.ReLU)) == stages
    assert generator.layers[-1].activation is keras.activations.tanh and generator.layers[-2] is up[-1]
    assert not kinds(generator, layers.LeakyReLU)
    # The critic: LeakyReLU after every stage, batch norm before it but in the first; one dense layer to the value.
    assert len(kinds(critic, layers.LeakyReLU)) == stages and not kinds(critic, layers.ReLU)
    assert all(layer.negative_slope == pytest.approx(0.2) for layer in kinds(critic, layers.LeakyReLU))
    assert len(kinds(critic, layers.BatchNormalization)) == stages - 1
    assert critic.layers[1] is down[0] and isinstance(critic.layers[2], layers.LeakyReLU)
    assert len(kinds(critic, layers.Dense)) == 1
    # A bias and a batch norm after it would be one too many.
    assert [x.use_bias for x in down] == [True] + [False] * (stages - 1)
    assert [x.use_bias for x in up] == [False] * (stages - 1) + [True]


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "residual"])
@pytest.mark.parametrize("normalization", ["batch", "layer", None])
def test_norm_of_the_critic(architecture, normalization):
    critic = networks.critic(architecture, (8, 8, 1), width=2, normalization=normalization)
    batch, layer = kinds(critic, layers.BatchNormalization), kinds(critic, layers.LayerNormalization)
    assert bool(batch) == (normalization == "batch") and bool(layer) == (normalization == "layer")
    linear = kinds(critic, layers.Conv2D | layers.Dense)
    if batch or layer:
        assert critic.layers.index((batch or layer)[0]) > critic.layers.index(linear[1])  # none on the first stage


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "residual"])
def test_a_label_is_projected_on_the_last_features(architecture):
    """The value is linear in the label: D(x, y) - D(x, y') = ⟨V y - V y', φ(x)⟩; further outputs do not see it."""
    critic = networks.critic(architecture, (8, 8, 1), width=2, num_classes=3, outputs=4, normalization=None)
    assert [tuple(x.shape[1:]) for x in critic.inputs] == [(8, 8, 1), (3,)] and critic.output_shape == (None, 4)
    (dot,) = kinds(critic, layers.Dot)
    embedded, features = dot.input
    x, y = values(5, 8, 8, 1), np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1]]
    v, phi = keras.Model(critic.inputs, [embedded, features])([x, y])
    outputs, without = critic([x, y]).numpy(), critic([x, np.zeros_like(y)]).numpy()
    np.testing.assert_allclose(outputs[:, 0] - without[:, 0], np.sum(v * phi, 1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outputs[:, 1:], without[:, 1:])
    assert np.abs(outputs[:, 0] - without[:, 0]).min() > 0


@pytest.mark.parametrize("spectral", [False, True])
def test_the_residual_critic_sums_over_pixels_under_spectral_normalization(spectral):
    """As SNGAN's does, whose last layer has norm 1; without it the papers' critic takes the mean."""
    critic = networks.critic("residual", (32, 32, 3), width=2, spectral=spectral, outputs=3)
    (pool,) = kinds(critic, layers.GlobalAveragePooling2D)
    x = values(5, 32, 32, 3)
    maps = keras.Model(critic.input, pool.input)(x).numpy()
    assert maps.shape[1:3] == (4, 4)
    value, *_ = kinds(critic, layers.Dense)[-2:]
    pooled = maps.sum((1, 2)) if spectral else maps.mean((1, 2))
    np.testing.assert_allclose(critic(x)[:, :1], value(pooled), rtol=1e-4, atol=1e-6)


def test_only_a_spectral_critic_sums():
    def pixels(**options):
        critic = gm.GAN((32, 32, 1), architecture="residual", width=2, **options).critic
        return [layer.scale for layer in kinds(critic, layers.Rescaling)]

    assert pixels() == [] and pixels(regularizers=gm.gans.SpectralNormalization()) == [16]
    assert [layer.scale for layer in kinds(gm.SNGAN((32, 32, 1), width=2).critic, layers.Rescaling)] == [16]


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "residual"])
def test_a_generator_sees_label_and_latent(architecture):
    generator = networks.generator(architecture, 4, (8, 8, 1), width=16, num_classes=3)
    z, y = values(1, 4), np.eye(3, dtype=np.float32)
    images = [generator([z, y[i : i + 1]]).numpy() for i in range(3)]
    assert np.abs(images[0] - images[1]).max() > 1e-5 and np.abs(images[1] - images[2]).max() > 1e-5
    assert np.abs(generator([2 * z, y[:1]]) - images[0]).max() > 1e-5


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "residual"])
def test_unbounded_generators_and_mixed_precision(architecture):
    generator = networks.generator(architecture, 4, (8, 8, 1), width=2, bounded=False, **MIXED)
    out = kinds(generator, layers.Dense | layers.Conv2D | layers.Conv2DTranspose)[-1]
    out.bias.assign([3.0] * out.bias.shape[0])
    assert generator(values(2, 4)).numpy().max() > 1.5
    critic = networks.critic(architecture, (8, 8, 1), width=2, num_classes=3, outputs=2, **MIXED)
    for network in (generator, critic):
        assert network.output.dtype == "float32"  # losses are computed in float32
        assert "bfloat16" in {layer.compute_dtype for layer in network.layers}


def test_perceptrons_take_every_shape():
    assert networks.mlp_generator(3, (2,), width=4, depth=1).output_shape == (None, 2)
    generator, critic = networks.mlp_generator(3, (4, 5, 2), width=4), networks.mlp_critic((4, 5, 2), width=4, depth=2)
    assert critic(generator(values(2, 3))).shape == (2, 1)
    assert [layer.units for layer in kinds(critic, layers.Dense)] == [4, 4, 1]
    assert [layer.units for layer in kinds(generator, layers.Dense)] == [4, 4, 4, 40]


# ------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("size", [(4, 4), (7, 6)])
def test_attention_in_float64(size):
    """x + gain · W softmax(q kᵀ) v, with keys and values the largest of 2×2 pixels, or of what is there at the edge."""
    image = keras.Input((*size, 16))
    network = keras.Model(image, networks._attended(image, "float32"))
    (attention,), (gain,) = kinds(network, layers.Attention), kinds(network, networks.Gain)
    query, value, key, last = (_convolution(t) for t in (*attention.input, gain.input))
    assert (query.shape, key.shape, value.shape, last.shape) == ((16, 2), (16, 2), (16, 8), (8, 16))
    x = values(3, *size, 16)
    np.testing.assert_array_equal(network(x), x)  # at the start
    gain.gain.assign(0.7)

    def smaller(z):
        corners = [(i, j) for i in range(0, size[0], 2) for j in range(0, size[1], 2)]
        return np.stack([z[:, i : i + 2, j : j + 2].max((1, 2)) for i, j in corners], 1)

    x64 = x.astype(np.float64)
    scores = (x64 @ query).reshape(3, -1, 2) @ smaller(x64 @ key).transpose(0, 2, 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    seen = (weights @ smaller(x64 @ value)).reshape(3, *size, 8)
    np.testing.assert_allclose(network(x), x64 + 0.7 * seen @ last, rtol=1e-4, atol=1e-5)


def _convolution(tensor):
    """The matrix of the last 1×1 convolution before a tensor."""
    layer = tensor._keras_history.operation
    while not isinstance(layer, layers.Conv2D):
        layer = layer.input._keras_history.operation
    return layer.kernel.numpy()[0, 0].astype(np.float64)


def test_networks_with_attention_begin_as_those_without():
    z, x = values(3, 6), values(3, 32, 32, 1)
    for build, given in ((networks.residual_generator, z), (networks.residual_critic, x)):
        first = (6,) if build is networks.residual_generator else ()
        plain, attending = (build(*first, (32, 32, 1), width=4, attention=heights) for heights in ((), (8, 16)))
        extra = {id(v) for layer in _of_attention(attending) for v in layer.weights}
        shared = [v for v in attending.weights if id(v) not in extra]
        assert len(extra) == 10 and [v.shape for v in shared] == [v.shape for v in plain.weights]
        for own, other in zip(plain.weights, shared):
            other.assign(own)
        np.testing.assert_allclose(attending(given), plain(given), rtol=1e-6, atol=1e-7)


def _of_attention(network):
    """Layers with weights between the blocks: 1×1 convolutions without a bias, and gains."""
    convolutions = (layer for layer in kinds(network, layers.Conv2D) if layer.kernel_size == (1, 1))
    return [*(layer for layer in convolutions if not layer.use_bias), *kinds(network, networks.Gain)]
