"""The bijections: inverses, log-determinants, gradients, initialization and files of every part."""

import functools
import json
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import genmodels as gm
from genmodels.evaluation import check_invertible
from genmodels.models import flows

TRANSFORMS = {"additive": "additive", "affine": "affine", "spline": flows.Spline(bins=4, bound=3.0)}
BATCH = 6


class Part(NamedTuple):
    make: Callable[[], flows.Bijection]
    shape: tuple
    condition: tuple | None = None
    weights: float = 0.3  # standard deviation of what is added to the weights
    steep: bool = False  # slopes far from 1: an inverse in float32 loses what they scale down


def own_network():
    """A user's network of a coupling of 5 dimensions, with a condition of 3."""
    x, condition = keras.Input((2,)), keras.Input((3,))
    return keras.Model([x, condition], keras.layers.Dense(6)(keras.layers.Concatenate()([x, condition])))


def glow(**options):
    """Three steps of Glow over two scales."""

    def steps(num):
        couplings = [flows.Coupling(width=8, swap=bool(i % 2), **options) for i in range(num)]
        return [part for coupling in couplings for part in (flows.ActNorm(), flows.InvertibleLinear(), coupling)]

    rest = flows.Chain([flows.Squeeze(), *steps(1), flows.Flatten()])
    return flows.Chain([flows.Offset(-0.5), flows.Squeeze(), *steps(2), flows.Split(rest)])


def couplings():
    for name, transform in TRANSFORMS.items():
        for swap in (False, True):

            def make(mask="halves", transform=transform, swap=swap):
                return lambda: flows.Coupling(transform, width=8, mask=mask, swap=swap)

            title, steep = f"{name}{'-swap' if swap else ''}", name == "spline"
            for size in (1, 5) if swap else (1, 2, 5):
                yield f"{title}-{size}", Part(make(), (size,), steep=steep)
            weights = 0.1 if steep else 0.3  # 8 filters of 3×3 pixels add up
            yield f"{title}-board-1", Part(make("checkerboard"), (4, 4, 1), None, weights, steep)
            if not swap:
                yield f"{title}-image", Part(make(), (4, 4, 3), None, weights, steep)
                yield f"{title}-board-3", Part(make("checkerboard"), (4, 4, 3), None, weights, steep)


PARTS = {
    **dict(couplings()),
    "condition-1": Part(lambda: flows.Coupling(width=8), (1,), (3,)),
    "condition-5": Part(lambda: flows.Coupling(width=8, swap=True), (5,), (3,)),
    "condition-image": Part(lambda: flows.Coupling(width=8), (4, 4, 3), (3,)),
    "condition-pixels": Part(lambda: flows.Coupling(width=8), (4, 4, 3), (4, 4, 2)),
    "condition-checkerboard": Part(lambda: flows.Coupling(width=8, mask="checkerboard"), (4, 4, 1), (4, 4, 2)),
    "own-network": Part(lambda: flows.Coupling(network=own_network()), (5,), (3,)),
    "actnorm": Part(flows.ActNorm, (5,)),
    "actnorm-image": Part(flows.ActNorm, (4, 4, 3)),
    "scaling": Part(flows.Scaling, (5,)),
    "scaling-image": Part(flows.Scaling, (4, 4, 3)),
    "linear-1": Part(flows.InvertibleLinear, (1,)),
    "linear-5": Part(flows.InvertibleLinear, (5,)),
    "linear-image": Part(flows.InvertibleLinear, (4, 4, 3)),
    "squeeze": Part(flows.Squeeze, (4, 4, 3)),
    "flatten": Part(flows.Flatten, (4, 4, 3)),
    "split-1": Part(lambda: flows.Split(flows.Chain([flows.Flatten()])), (1,)),  # nothing is left to go on
    "split-2": Part(lambda: flows.Split(flows.Chain([flows.ActNorm(), flows.Flatten()])), (2,)),
    "split-5": Part(lambda: flows.Split(flows.Chain([flows.Coupling(width=8), flows.Flatten()])), (5,), (3,)),
    "split-image": Part(lambda: flows.Split(flows.Chain([flows.ActNorm(), flows.Flatten()])), (4, 4, 3)),
    "reverse": Part(flows.Permutation, (5,)),
    "random": Part(lambda: flows.Permutation("random"), (4, 4, 3)),
    "order": Part(lambda: flows.Permutation([2, 0, 1]), (3,)),
    "range": Part(lambda: flows.Permutation(range(4, -1, -1)), (5,)),
    "offset": Part(lambda: flows.Offset(-0.5), (5,)),
    "inverse": Part(lambda: flows.Inverse(flows.Coupling(width=8)), (5,), (3,)),
    "condition-depth-0": Part(lambda: flows.Coupling(depth=0), (4, 4, 3), (3,)),
    "recomputed": Part(lambda: flows.Recomputed(flows.ActNorm()), (5,)),
    "generator": Part(lambda: flows.Chain(flows.Coupling(width=8, swap=i == 1) for i in range(2)), (5,)),
    "glow": Part(glow, (4, 4, 3), (3,), weights=0.1, steep=True),
    "spline-chain": Part(
        lambda: flows.Chain([flows.InvertibleLinear(), flows.Coupling("spline", width=8), flows.Scaling()]), (2,),
        steep=True,
    ),
}  # fmt: skip
LOGITS = {
    "logit": Part(flows.Logit, (5,)),
    "logit-alpha": Part(lambda: flows.Logit(0.05), (4, 4, 1)),
    "logit-chain": Part(lambda: flows.Chain([flows.Logit(0.05), flows.ActNorm()]), (5,)),
}


def randomized(part, seed=0):
    """The bijection with random weights: at first those of the last layers are zero."""
    keras.utils.set_random_seed(seed)
    bijection = part.make()
    bijection.build((None, *part.shape), part.condition and (None, *part.condition))
    random = np.random.default_rng(seed)
    for variable in bijection.trainable_variables:
        variable.assign_add(part.weights * random.normal(size=variable.shape))
    return bijection


@functools.cache
def settled(name):
    """A part of the table with random weights, for all tests; they leave it as it is."""
    return randomized({**PARTS, **LOGITS}[name])


def examples(part, scale=1.0, seed=1):
    """Examples, and their conditions."""
    random = np.random.default_rng(seed)
    x = tf.constant(scale * random.normal(size=(BATCH, *part.shape)), tf.float32)
    condition = part.condition and tf.constant(random.normal(size=(BATCH, *part.condition)), tf.float32)
    return x, condition


def jacobians(bijection, x, condition):
    """∂z/∂x of every example, `[B, D, D]` float64: a row from each of D copies."""
    size = int(np.prod(x.shape[1:]))
    copies = tf.repeat(x, size, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        z = bijection.forward(copies, None if condition is None else tf.repeat(condition, size, axis=0))
        picked = tf.linalg.diag_part(tf.reshape(z, [BATCH, size, size]))
    return np.reshape(tape.gradient(picked, copies), [BATCH, size, size]).astype(np.float64)


@pytest.mark.parametrize("name", PARTS)
def test_part(name):
    part = PARTS[name]
    bijection = settled(name)
    x, condition = examples(part)
    report = check_invertible(bijection, x, condition)
    assert report["examples"] == BATCH and report["jacobians"] == 4
    z, log_det = bijection(x, condition)
    assert z.shape == bijection.compute_output_shape(x.shape) and log_det.dtype == z.dtype == "float32"
    same = np.allclose(tf.sort(tf.reshape(z, [BATCH, -1])), tf.sort(tf.reshape(x, [BATCH, -1])))
    assert same == isinstance(bijection, (flows.Squeeze, flows.Flatten, flows.Permutation))
    if condition is not None:  # the condition reaches every example
        assert (np.abs(bijection.forward(x, -condition) - z) > 1e-6).reshape(BATCH, -1).any(1).all()


@pytest.mark.parametrize("name", LOGITS)
def test_logit(name):
    part = LOGITS[name]
    x = np.random.default_rng(0).uniform(0.01, 0.99, (BATCH, *part.shape))
    check_invertible(settled(name), x)


@pytest.mark.parametrize("scale", [30.0, 1e3])
@pytest.mark.parametrize("name", PARTS)
def test_inverse_far_outside_the_training_data(name, scale):
    part = PARTS[name]
    bijection = settled(name)
    x, condition = examples(part, scale)
    z, log_det = bijection.forward_and_log_det(x, condition)
    back, log_det_back = bijection.inverse_and_log_det(z, condition)
    x, z, back = (np.reshape(v, [BATCH, -1]).astype(np.float64) for v in (x, z, back))
    assert np.isfinite(z).all() and np.isfinite(log_det).all()
    allowed = 1e-4 * np.abs(x).max(1, keepdims=True)
    if part.steep:  # what rounding z by some units in the last place moves
        slopes = np.abs(np.linalg.inv(jacobians(bijection, *examples(part, scale))))
        allowed = allowed + 1e-6 * (slopes @ (np.abs(z).max(1)[:, None, None] + np.abs(z)[..., None]))[..., 0]
    else:
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-4, atol=1e-4)
    assert (np.abs(back - x) <= allowed).all()


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", ["spline-swap-5", "affine-board-3", "condition-image", "glow"])
def test_compiled(name, xla):
    part = PARTS[name]
    bijection = settled(name)
    x, condition = examples(part)
    truth = np.linalg.slogdet(jacobians(bijection, x, condition))[1]

    @tf.function(jit_compile=xla)
    def both(x, condition):
        z, log_det = bijection(x, condition)
        return z, log_det, *bijection.inverse_and_log_det(z, condition)

    z, log_det, back, log_det_back = both(x, condition)
    np.testing.assert_allclose(z, bijection.forward(x, condition), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(log_det, truth, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -truth, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back, x, atol=3e-4)


@pytest.mark.parametrize("name", PARTS)
def test_gradients_are_finite(name):
    part = PARTS[name]
    bijection = settled(name)
    _, condition = examples(part)
    random = np.random.default_rng(0)
    rows = [np.full(part.shape, v) for v in (1e6, -1e6, 3.0, -3.0)]  # ±3 is where the splines end
    rows += [random.choice([1e6, -3.0, 0.1], part.shape) for _ in range(2)]
    x = tf.constant(np.stack(rows), tf.float32)
    for method in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        at = x if method == bijection.forward_and_log_det else tf.reshape(x, bijection.compute_output_shape(x.shape))
        with tf.GradientTape() as tape:
            tape.watch(at)
            y, log_det = method(at, condition)
            loss = tf.reduce_sum(log_det) - 0.5 * tf.reduce_sum(y**2)
        gradients = tape.gradient(loss, [at, *bijection.trainable_variables])
        assert gradients[0] is not None and all(np.isfinite(g).all() for g in gradients if g is not None)


@pytest.mark.parametrize("name", [*PARTS, *LOGITS])
def test_file(name):
    part = {**PARTS, **LOGITS}[name]
    bijection = settled(name)
    x, condition = examples(part)
    x = tf.sigmoid(x) if name in LOGITS else x
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(bijection)))
    keras.utils.set_random_seed(1)
    for copy in (keras.saving.deserialize_keras_object(config), type(bijection).from_config(bijection.get_config())):
        if not copy.built:
            copy.build(x.shape, condition if condition is None else condition.shape)
        copy.set_weights(bijection.get_weights())
        for ours, theirs in zip(copy(x, condition), bijection(x, condition)):
            np.testing.assert_array_equal(ours, theirs)


@keras.saving.register_keras_serializable(package="tests")
class Times(flows.Bijection):
    """A user's bijection, with the two methods and no more."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward_and_log_det(self, x, condition=None):
        return x * self.factor, tf.fill([tf.shape(x)[0]], x.shape[1] * np.float32(np.log(self.factor)))

    def inverse_and_log_det(self, z, condition=None):
        return z / self.factor, tf.fill([tf.shape(z)[0]], -z.shape[1] * np.float32(np.log(self.factor)))


def test_a_flow_of_users_wrapped_and_frozen_parts_is_loaded(tmp_path):
    parts = [Times(2.0), flows.Recomputed(flows.InvertibleLinear()), flows.ActNorm(), flows.Coupling(width=8)]
    model = gm.NormalizingFlow((3,), flows.Chain(iter(parts)), levels=None)
    parts[2].trainable = False
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path / "model.keras")
    assert [part.trainable for part in loaded.bijection.parts] == [True, True, False, True]
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded.log_prob(x), model.log_prob(x))


# ------------------------------------------------------------------ activation normalization


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_actnorm_is_set_by_the_first_training_batch(mode):
    chain = flows.Chain([flows.ActNorm(), flows.Chain([flows.Flatten()])])
    chain.build((None, 4, 4, 2))
    if mode == "eager":
        call = chain
    else:

        @tf.function(jit_compile=mode == "xla")
        def call(x, training):
            return chain(x, training=training)

    random = np.random.default_rng(0)
    first, second = (tf.constant(random.normal(m, s, (32, 4, 4, 2)), tf.float32) for m, s in ((5, 3), (-2, 0.1)))
    np.testing.assert_array_equal(call(first, training=False)[0], tf.reshape(first, [32, -1]))
    z, log_det = call(first, training=True)
    z = np.reshape(z, [-1, 2]).astype(np.float64)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.var(0), 1, atol=1e-5)
    np.testing.assert_allclose(log_det, -16 * np.log(np.std(first, (0, 1, 2))).sum(), rtol=1e-5)
    weights = chain.get_weights()
    call(second, training=True)
    call(second, training=False)
    for before, after in zip(weights, chain.get_weights()):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e3, 1e5])
def test_actnorm_keeps_the_scale_of_constant_channels(value):
    norm = flows.ActNorm()
    x = np.full([64, 32, 32, 2], value, np.float32)  # so many that their mean is not exact
    x[..., 1] = np.random.default_rng(0).normal(size=(64, 32, 32))
    z, log_det = norm(x, training=True)
    assert norm.log_scale[0] == 0 and np.isfinite(log_det).all()
    np.testing.assert_allclose(z[..., 0], 0, atol=1e-5 * max(1, value))


# ------------------------------------------------------------------ precision and wrong inputs


@pytest.mark.parametrize("name", ["affine", "spline", "glow", "split"])
def test_half_precision_is_only_of_the_networks(name):
    policy = "mixed_bfloat16"
    make = {
        "affine": lambda: flows.Coupling(width=8, dtype=policy),
        "spline": lambda: flows.Coupling(TRANSFORMS["spline"], width=8, dtype=policy),
        "glow": lambda: glow(dtype=policy),
        "split": lambda: flows.Split(flows.Flatten(), dtype=policy),
    }[name]
    part = Part(make, (4, 4, 3), weights=0.1)
    bijection, (x, _) = randomized(part), examples(part)
    assert any(layer.compute_dtype == "bfloat16" for layer in bijection._flatten_layers())
    for y in (*bijection(x), *bijection.inverse_and_log_det(bijection.forward(x))):
        assert y.dtype == "float32"
    if name != "glow":  # what enters the network is exact: the same numbers both ways
        np.testing.assert_allclose(bijection.inverse(bijection.forward(x)), x, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (flows.Squeeze, (3, 4, 1), "even height and width"),
        (flows.Squeeze, (4, 5, 1), "even height and width"),
        (flows.Squeeze, (4,), "even height and width"),
        (lambda: flows.Coupling(mask="checkerboard"), (4,), "checkerboard"),
        (lambda: flows.Coupling(mask="quarters"), (4,), "mask"),
        (lambda: flows.Coupling("cubic"), (4,), "transform"),
        (lambda: flows.Coupling(network=keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])), (4,), "outputs"),
        (lambda: flows.Coupling(network=keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])), (4,), "inputs"),
        (lambda: flows.Coupling(network=own_network()), (5,), "inputs"),
        (flows.Coupling, (4, 4, 1), "halves"),
        (lambda: flows.Spline(bins=1), None, "bins"),
        (lambda: flows.Spline(bins=1000), None, "bins"),
        (lambda: flows.Spline(bound=0.0), None, "bound"),
        (lambda: flows.Affine(bound=0.0), None, "bound"),
        (lambda: flows.Permutation("shuffle"), (3,), "order"),
        (lambda: flows.Permutation([0, 0, 1]), (3,), "permutation of 0 … 2"),
        (lambda: flows.Permutation([0, 1]), (3,), "permutation of 0 … 2"),
        (lambda: flows.Chain([flows.ActNorm(), keras.layers.Dense(3)]), None, "bijections"),
        (lambda: flows.Inverse(keras.layers.Dense(3)), None, "Bijection"),
        (lambda: flows.Inverse(flows.Squeeze()), (4, 4, 1), "changes the shape"),
        (lambda: flows.Split(keras.layers.Flatten()), None, "Bijection"),
        (lambda: flows.Recomputed(keras.layers.Dense(3)), None, "Bijection"),
        (lambda: flows.Split(flows.ActNorm()), (4, 4, 2), "end in a vector"),
        (lambda: flows.Logit(0.5), None, "alpha"),
        (lambda: flows.Logit(-0.1), None, "alpha"),
    ],
)
def test_wrong_inputs(make, shape, message):
    with pytest.raises(ValueError, match=message):
        bijection = make()
        bijection(tf.zeros([2, *shape]))


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_a_bijection_without_methods_says_so(method):
    with pytest.raises(TypeError, match=f"{method}_and_log_det"):
        getattr(flows.Bijection(), method)(tf.zeros([2, 2]))


# ------------------------------------------------------------------ the check itself


class Toy:
    """z = 2 x, not a Keras layer; subclasses are wrong in one way."""

    def forward_and_log_det(self, x, condition=None):
        return 2 * x, tf.fill([len(x)], x.shape[1] * np.float32(np.log(2)))

    def inverse_and_log_det(self, z, condition=None):
        return z / 2, -self.forward_and_log_det(z, condition)[1]


class WrongLogDet(Toy):
    def forward_and_log_det(self, x, condition=None):
        z, log_det = super().forward_and_log_det(x)
        return z, 1.001 * log_det


class WrongSign(Toy):
    def inverse_and_log_det(self, z, condition=None):
        return z / 2, self.forward_and_log_det(z)[1]


class SummedLogDet(Toy):
    def forward_and_log_det(self, x, condition=None):
        z, log_det = super().forward_and_log_det(x)
        return z, tf.reduce_sum(log_det)


class WrongInverse(Toy):
    def inverse_and_log_det(self, z, condition=None):
        return z / 2.001, super().inverse_and_log_det(z)[1]


class Remembers(Toy):
    """Gives back what it was given, and is wrong for other latents."""

    def forward_and_log_det(self, x, condition=None):
        self.x, (self.z, log_det) = x, super().forward_and_log_det(x)
        return self.z, log_det

    def inverse_and_log_det(self, z, condition=None):
        return (self.x if z is self.z else z), -Toy().forward_and_log_det(z)[1]


class Mixes(Toy):
    """z = x + the batch's mean: invertible, with log-determinant 0 for each example's own Jacobian up to the mean."""

    def forward_and_log_det(self, x, condition=None):
        return x + tf.reduce_mean(x, 0), tf.zeros([len(x)])

    def inverse_and_log_det(self, z, condition=None):
        return z - tf.reduce_mean(z, 0) / 2, tf.zeros([len(z)])


class MixesLogDet(Toy):
    def forward_and_log_det(self, x, condition=None):
        z, log_det = super().forward_and_log_det(x)
        return z, log_det + 0.01 * len(x)


class NotFinite(Toy):
    def forward_and_log_det(self, x, condition=None):
        return tf.where(x > 1.5, tf.math.log(-1.0), 2 * x), super().forward_and_log_det(x)[1]


class NotFiniteLogDet(Toy):
    def forward_and_log_det(self, x, condition=None):
        return 2 * x, super().forward_and_log_det(x)[1] / 0.0


class Loses(Toy):
    def forward_and_log_det(self, x, condition=None):
        return 2 * x[:, 1:], super().forward_and_log_det(x)[1]


class Transposes(Toy):
    def inverse_and_log_det(self, z, condition=None):
        x, log_det = super().inverse_and_log_det(z)
        return x[:, None, :], log_det


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (WrongLogDet, "forward's log-determinant is not that of the Jacobian: 2.08152[0-9]* instead of 2.07944"),
        (WrongSign, "inverse's log-determinant is not forward's negated: 2.07944[0-9]* instead of -2.07944"),
        (SummedLogDet, r"forward gives log-determinants of shape \(\), not \(20,\)"),
        (WrongInverse, "inverse does not undo forward"),
        (Remembers, "forward does not undo inverse"),
        (Mixes, "forward's result within the batch is not that of the example alone"),
        (MixesLogDet, "forward's log-determinant within the batch is not that of the example alone"),
        (NotFinite, "forward gives results that are not finite, for [1-9] of 20 examples"),
        (NotFiniteLogDet, "forward gives log-determinants that are not finite, for 20 of 20 examples"),
        (Loses, r"forward gives shape \(20, 2\) for \(20, 3\), which has not as many elements"),
        (Transposes, r"inverse gives shape \(20, 1, 3\), not \(20, 3\)"),
    ],
)
def test_check_invertible_catches(wrong, message):
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert check_invertible(Toy(), x)["jacobians"] == 4
    with pytest.raises(ValueError, match=f"{wrong.__name__}: {message}"):
        check_invertible(wrong(), x)


def test_check_invertible_of_what_it_is_given():
    part = PARTS["condition-5"]
    x, condition = (v.numpy().astype(np.float64) for v in examples(part))  # as float64 arrays, of an unbuilt layer
    report = check_invertible(part.make(), x, condition)
    assert set(report) == {"inverse_error", "log_det_error", "mixing_error", "examples", "jacobians"}
    assert report["examples"] == BATCH and max(v for k, v in report.items() if k.endswith("error")) < 1e-5
    large = check_invertible(flows.Scaling(), np.zeros([3, 300]))
    assert large["examples"] == 3 and large["jacobians"] == 0  # as the report says
    assert check_invertible(Toy(), tf.ones([2, 100], tf.float64))["jacobians"] == 2  # in two parts of rows
    with pytest.raises(ValueError, match=r"two examples or more, \[B, …\]; got shape \(1, 3\)"):
        check_invertible(Toy(), np.zeros([1, 3]))
    with pytest.raises(ValueError, match="where 1e-08 is permitted"):
        check_invertible(settled("condition-5"), x, condition, tolerance=1e-8)
