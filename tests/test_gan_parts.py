"""What GANs are composed of: losses, regularizers, spectral norm, batch norm and networks, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import genmodels as gm
from genmodels.layers.normalization import FusedBatchNormalization
from genmodels.models.gans import losses, networks, regularizers
from genmodels.models.gans.spectral import SpectralNormalized, spectral_normalized
from genmodels.sampling import Streams, make_seed

layers = keras.layers


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def values(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def streams(num, seed=3):
    return Streams(make_seed(seed), 0, num)


def differences(function, x, step=1e-6):
    """Central differences of a scalar function at a float64 array."""
    x = np.array(x, np.float64)
    slopes = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        there, back = x.copy(), x.copy()
        there[place] += step
        back[place] -= step
        slopes[place] = (function(there) - function(back)) / (2 * step)
    return slopes


# ------------------------------------------------------------------------------------------- losses

# Of float64 logits or values: what the critic minimises, with smoothing s, and what the generator does. The
# probability of being real is D = expit(a), that of being generated expit(-a).
log_d, log_not_d = special.log_expit, lambda a: special.log_expit(-a)


def cross_entropy(r, f, s):
    return -np.mean((1 - s) * log_d(r) + s * log_not_d(r)) - np.mean(log_not_d(f))


FORMS = {
    "minimax": (cross_entropy, lambda f: np.mean(log_not_d(f))),
    "non_saturating": (cross_entropy, lambda f: -np.mean(log_d(f))),
    "least_squares": (
        lambda r, f, s: np.mean((r - (1 - s)) ** 2) / 2 + np.mean(f**2) / 2,
        lambda f: np.mean((f - 1) ** 2) / 2,
    ),
    "wasserstein": (lambda r, f, s: np.mean(f) - np.mean(r), lambda f: -np.mean(f)),
    "hinge": (
        lambda r, f, s: np.mean(np.maximum(0, 1 - r)) + np.mean(np.maximum(0, 1 + f)),
        lambda f: -np.mean(f),
    ),
}
SMOOTHED = {"minimax", "non_saturating", "least_squares"}
CASES = [(name, s) for name in FORMS for s in ((0.0, 0.1, 0.3) if name in SMOOTHED else (0.0,))]


def loss_of(name, smoothing=0.0):
    return type(losses.get(name))(smoothing) if smoothing else losses.get(name)


def with_gradient(function, *arguments):
    tensors = [tf.constant(x, tf.float32) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = function(*tensors)
    return loss.numpy(), [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, tensors)]


@pytest.mark.parametrize(("name", "smoothing"), CASES)
def test_losses_and_their_gradients_have_the_papers_forms(name, smoothing):
    loss, (critic, generator) = loss_of(name, smoothing), FORMS[name]
    real, fake = 3 * values(7), 3 * values(5, seed=1)  # none at a kink
    value, (by_real, by_fake) = with_gradient(loss.critic, real, fake)
    np.testing.assert_allclose(value, critic(real.astype(float), fake.astype(float), smoothing), rtol=1e-5)
    np.testing.assert_allclose(by_real, differences(lambda r: critic(r, fake, smoothing), real), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(by_fake, differences(lambda f: critic(real, f, smoothing), fake), rtol=1e-4, atol=1e-7)
    value, (by_fake,) = with_gradient(loss.generator, fake)
    np.testing.assert_allclose(value, generator(fake.astype(float)), rtol=1e-5)
    np.testing.assert_allclose(by_fake, differences(generator, fake), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "smoothing"), CASES)
@pytest.mark.parametrize("sign", [1, -1])
def test_losses_are_exact_and_smooth_far_out(name, smoothing, sign):
    loss, (critic, generator) = loss_of(name, smoothing), FORMS[name]
    real, fake = np.array([1e4, 30.0, 0.0]) * sign, np.array([-1e4, 0.0]) * sign
    for function, form, arguments in (
        (loss.critic, lambda r, f: critic(r, f, smoothing), (real, fake)),
        (loss.generator, generator, (fake,)),
    ):
        value, gradients = with_gradient(function, *arguments)
        np.testing.assert_allclose(value, form(*arguments), rtol=1e-6, atol=1e-6)
        assert all(np.isfinite(g).all() for g in gradients)


def test_at_the_equilibrium_the_minimax_value_is_minus_log_four():
    """V = E log D + E log(1 - D) at D = 1/2; the critic minimises -V, and the generator's part is half of V."""
    half = tf.zeros([3])
    assert float(losses.Minimax().critic(half, half)) == pytest.approx(np.log(4))
    assert float(losses.Minimax().generator(half)) == pytest.approx(-np.log(4) / 2)
    assert float(losses.NonSaturating().generator(half)) == pytest.approx(np.log(4) / 2)


@pytest.mark.parametrize(("name", "smoothing"), [case for case in CASES if case[0] != "wasserstein"])
def test_the_optimal_discriminator(name, smoothing):
    """For densities p and q on three points: D* = (1 - s) p / (p + q), or the sign of p - q with the hinge."""
    real, fake = np.repeat([0, 1, 2], [5, 2, 1]), np.repeat([0, 1, 2], [1, 3, 4])
    p, q = np.bincount(real) / 8, np.bincount(fake) / 8
    best = (1 - smoothing) * p / (p + q)
    at = {"least_squares": best, "hinge": np.sign(p - q)}.get(name, special.logit(best))
    loss = loss_of(name, smoothing)

    def total(points):
        return loss.critic(tf.gather(points, real), tf.gather(points, fake))

    least, (gradient,) = with_gradient(total, at)
    if name != "hinge":  # which has a kink there
        np.testing.assert_allclose(gradient, 0, atol=1e-6)
    for away in 0.5 * values(20, 3):
        assert float(total(tf.constant(at, tf.float32) + away)) > least
    if loss in (losses.Minimax(), losses.NonSaturating()):
        middle = (p + q) / 2
        divergence = (special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()) / 2
        assert least == pytest.approx(np.log(4) - 2 * divergence, rel=1e-5)


@pytest.mark.parametrize("name", sorted(SMOOTHED))
def test_smoothing_moves_the_target_of_real_examples_alone(name):
    loss, target = loss_of(name, 0.25), 0.75
    at = np.full(4, target if name == "least_squares" else special.logit(target))
    _, (gradient, _) = with_gradient(loss.critic, at, values(4))
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    _, gradients = with_gradient(loss.critic, at, values(4))
    _, plain = with_gradient(losses.get(name).critic, at, values(4))
    np.testing.assert_array_equal(gradients[1], plain[1])


def test_losses_by_name_and_as_objects():
    assert [type(losses.get(name)).__name__ for name in losses.NAMES] == [
        "Minimax", "NonSaturating", "LeastSquares", "Wasserstein", "Hinge",
    ]  # fmt: skip
    assert {name: losses.get(name).player for name in losses.NAMES}.pop("wasserstein") == "critic"
    assert {losses.get(name).player for name in losses.NAMES if name != "wasserstein"} == {"discriminator"}
    assert [name for name in losses.NAMES if losses.get(name).measures_distance] == ["wasserstein"]
    smoothed = losses.LeastSquares(0.2)
    assert losses.get(smoothed) is smoothed
    config = keras.saving.serialize_keras_object(smoothed)
    assert keras.saving.deserialize_keras_object(config) == smoothed
    for wrong in ("lsgan", None, losses.Hinge, 3):
        with pytest.raises(ValueError, match=r"`loss` must be minimax, non_saturating, .*got"):
            losses.get(wrong)
    for wrong in (-0.1, 0.5, 1.0, float("nan"), True, "0.1"):
        with pytest.raises(ValueError, match=r"`smoothing` must be a number from 0 to below 0.5; got"):
            losses.Minimax(smoothing=wrong)


# ------------------------------------------------------------------------------------------- penalties of the gradient

BATCH = 6


class Linear:
    """A critic of known slope, which keeps where it was asked."""

    def __init__(self, weights):
        self.weights, self.asked = tf.Variable(weights), []

    def __call__(self, x):
        self.asked.append(x)
        return tf.reduce_sum(x * self.weights, axis=range(1, x.shape.rank)) + 0.7


def penalized(regularizer, critic, variable, real, fake, rows=None):
    """The penalty and its gradient by a variable of the critic."""
    with tf.GradientTape() as tape:
        penalty = regularizer.penalty(critic, tf.constant(real), tf.constant(fake), rows or streams(len(real)))
    return penalty.numpy(), tape.gradient(penalty, variable).numpy()


@pytest.mark.parametrize("shape", [(2,), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("norm", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("kind", [gm.gans.GradientPenalty, gm.gans.DRAGAN])
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("target", [1.0, 2.0])
def test_penalty_of_a_linear_critic(shape, norm, kind, one_sided, target):
    """weight (‖w‖ - target)², and by w 2 weight (‖w‖ - target) w / ‖w‖."""
    w = values(*shape)
    w *= norm / np.linalg.norm(w)
    excess = max(norm - target, 0) if one_sided else norm - target
    regularizer = kind(weight=5.0, target=target, one_sided=one_sided)
    critic = Linear(w)
    penalty, gradient = penalized(regularizer, critic, critic.weights, values(BATCH, *shape), values(BATCH, *shape))
    np.testing.assert_allclose(penalty, 5 * excess**2, rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(gradient, 10 * excess * w / norm, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(2,), (3, 2, 2)], ids=str)
def test_r1_of_a_linear_critic(shape):
    """½ γ ‖w‖², and by w γ w."""
    w = values(*shape)
    critic = Linear(w)
    real = values(BATCH, *shape)
    penalty, gradient = penalized(gm.gans.R1(weight=3.0), critic, critic.weights, real, real)
    np.testing.assert_allclose(penalty, 1.5 * (w**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient, 3 * w, rtol=1e-6)
    np.testing.assert_array_equal(critic.asked[0], real)


def test_interpolates_lie_on_the_lines_one_uniform_place_an_example():
    num, shape = 2000, (2, 3, 1)
    real, fake = values(num, *shape), values(num, *shape, seed=1, scale=2.0)
    critic = Linear(values(*shape))
    gm.gans.GradientPenalty().penalty(critic, tf.constant(real), tf.constant(fake), streams(num))
    (between,) = critic.asked
    line = (fake - real).reshape(num, -1).astype(np.float64)
    offset = between.numpy().reshape(num, -1).astype(np.float64) - real.reshape(num, -1)
    alpha = (offset * line).sum(1) / (line**2).sum(1)
    np.testing.assert_allclose(offset, alpha[:, None] * line, atol=2e-6)
    assert stats.kstest(alpha, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(alpha[1:], alpha[:-1])[0, 1]) < 4 / np.sqrt(num)


def test_neighbours_of_dragan():
    """x + α δ: δ uniform from 0 to `scale` standard deviations, apart in every dimension; α uniform, one an example."""
    num, dims, scale = 500, 400, 0.7
    real = 5 + values(num, dims, scale=3.0)
    critic = Linear(values(dims))
    gm.gans.DRAGAN(scale=scale).penalty(critic, tf.constant(real), tf.zeros([num, dims]), streams(num))
    (near,) = critic.asked
    moved = (near.numpy().astype(np.float64) - real) / (scale * real.std())
    assert moved.min() > -1e-5 and moved.max() < 1
    alpha = 2 * moved.mean(1)  # δ has mean ½
    assert stats.kstest(alpha, "uniform").pvalue > 0.01
    clear = alpha > 0.3
    delta = moved[clear] / alpha[clear, None]
    assert stats.kstest(delta.ravel()[::50], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(delta[:, :-1].ravel(), delta[:, 1:].ravel())[0, 1]) < 0.02
    # In few dimensions both draws fit one block of the generator; apart, α δ has mean ¼.
    critic, real = Linear(values(3)), values(4000, 3)
    gm.gans.DRAGAN(scale=scale).penalty(critic, tf.constant(real), tf.zeros([4000, 3]), streams(4000))
    moved = (critic.asked[0].numpy() - real) / (scale * real.std())
    np.testing.assert_allclose(moved.mean(0), 0.25, atol=0.015)


def test_penalty_of_a_nonlinear_critic_is_exact_and_so_is_its_gradient():
    """Value vᵀ tanh(Wᵀx): its gradient is W (v ⊙ (1 - tanh²)), in float64 by hand; by W through finite differences."""
    w, v = values(3, 4), values(4)
    kernel = tf.Variable(w)
    asked = []

    def critic(x):
        asked.append(x.numpy().astype(np.float64))
        return tf.linalg.matvec(tf.tanh(x @ kernel), v)

    def norms(w):
        return np.linalg.norm((v * (1 - np.tanh(asked[-1] @ w) ** 2)) @ w.T, axis=1)

    real, fake = values(BATCH, 3), values(BATCH, 3, seed=1)
    for regularizer, form in (
        (gm.gans.GradientPenalty(weight=7.0), lambda w: 7 * np.mean((norms(w) - 1) ** 2)),
        (gm.gans.GradientPenalty(one_sided=True), lambda w: 10 * np.mean(np.maximum(norms(w) - 1, 0) ** 2)),
        (gm.gans.DRAGAN(weight=2.0, target=0.5), lambda w: 2 * np.mean((norms(w) - 0.5) ** 2)),
        (gm.gans.R1(weight=4.0), lambda w: 2 * np.mean(norms(w) ** 2)),
    ):
        penalty, gradient = penalized(regularizer, critic, kernel, real, fake)
        np.testing.assert_allclose(penalty, form(w.astype(np.float64)), rtol=1e-5)
        np.testing.assert_allclose(gradient, differences(form, w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [gm.gans.GradientPenalty, gm.gans.DRAGAN, gm.gans.R1])
def test_gradients_are_finite_where_the_critic_is_constant(kind):
    """The root of ‖g‖² has an infinite slope there."""
    critic = Linear(np.zeros(3, np.float32))
    real = values(BATCH, 3)
    penalty, gradient = penalized(kind(weight=2.0), critic, critic.weights, real, real)
    np.testing.assert_allclose(penalty, 0.0 if kind is gm.gans.R1 else 2.0, rtol=1e-5)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    blind = kind(weight=2.0).penalty(lambda x: tf.zeros(len(x)), tf.constant(real), tf.constant(real), streams(BATCH))
    np.testing.assert_allclose(blind, penalty)


class Inside(layers.Wrapper):
    def call(self, x, training=False):
        return self.layer(x, training=training)


def batch_normalized(where):
    norm = FusedBatchNormalization() if where == "fused" else layers.BatchNormalization()
    block = {
        "nested": lambda: keras.Sequential([keras.Input((4,)), norm, layers.Dense(3)]),
        "wrapped": lambda: Inside(norm),
    }.get(where, lambda: norm)()
    return keras.Sequential([keras.Input((2,)), layers.Dense(4), block, layers.Dense(1)])


@pytest.mark.parametrize("kind", [gm.gans.GradientPenalty, gm.gans.DRAGAN, gm.gans.R1])
@pytest.mark.parametrize("where", ["plain", "fused", "nested", "wrapped"])
def test_penalties_refuse_batch_norm_with_the_reason(kind, where):
    message = f"{kind.__name__} penalizes the gradient of each example's value, and with batch norm .*whole batch"
    with pytest.raises(ValueError, match=message):
        kind().prepare(batch_normalized(where))


def test_penalties_take_critics_of_other_norms_as_they_are():
    for norm in (layers.LayerNormalization(), layers.GroupNormalization(2), layers.UnitNormalization()):
        critic = keras.Sequential([keras.Input((2,)), layers.Dense(4), norm, layers.Dense(1)])
        assert gm.gans.GradientPenalty().prepare(critic) is critic


def test_regularizers_are_checked():
    checked = regularizers.checked
    one, other = gm.gans.R1(), gm.gans.WeightClipping()
    assert checked(None) == checked(()) == () and checked(one) == (one,) and checked([one, other]) == (one, other)
    for wrong in ("r1", [one, None], gm.gans.R1, 10.0):
        with pytest.raises(ValueError, match=r"must be genmodels.gans.Regularizer objects.*got"):
            checked(wrong)
    with pytest.raises(ValueError, match="must be of different kinds; got"):
        checked([one, gm.gans.R1(weight=1.0)])
    for name, make in {
        "weight": gm.gans.GradientPenalty, "target": gm.gans.DRAGAN, "scale": gm.gans.DRAGAN,
        "bound": gm.gans.WeightClipping,
    }.items():  # fmt: skip
        for wrong in (0, -1.0, float("inf"), float("nan"), None, "1", True):
            with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0; got"):
                make(**{name: wrong})
    with pytest.raises(ValueError, match="`weight` must be a finite number above 0; got 0"):
        gm.gans.R1(weight=0)
    for regularizer in (one, other, gm.gans.DRAGAN(scale=0.2), gm.gans.SpectralNormalization()):
        config = keras.saving.serialize_keras_object(regularizer)
        assert keras.saving.deserialize_keras_object(config) == regularizer


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
    for options in ({"axis": 1}, {"axis": -2}, {"renorm": True}, {"synchronized": True}):
        with pytest.raises(ValueError, match="the fused kernel normalizes the last axis, without `renorm` and"):
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
