"""Losses and regularizers of GANs against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from toys import differences, streams, values

import genmodels as gm
from genmodels.models.gans import losses, regularizers

layers = keras.layers


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


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
    norm = gm.layers.FusedBatchNormalization() if where == "fused" else layers.BatchNormalization()
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
