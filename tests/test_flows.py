"""The flow models: densities, bounds, samples, conditions, and what a user's own bijection gets for nothing."""

import contextlib
import functools
import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import genmodels as gm

POINTS = {"levels": None, "width": 8, "depth": 1}
PIXELS = {"width": 8, "depth": 1}
SPLINES = {"layers": 2, "bins": 4}
KINDS = {
    "nice": (gm.NICE, {"layers": 3}),
    "realnvp": (gm.RealNVP, {"layers": 2}),
    "glow": (gm.Glow, {"steps": 2}),
    "maf": (gm.MAF, {"layers": 2}),
    "iaf": (gm.IAF, {"layers": 2}),
    "nsf": (gm.NeuralSplineFlow, SPLINES),
    "nsf-ar": (gm.NeuralSplineFlow, {"kind": "autoregressive", **SPLINES}),
}
SHAPES = {"1": (1,), "2": (2,), "3": (3,), "4x4": (4, 4, 1), "6x4": (6, 4, 3), "8x8": (8, 8, 1), "28x28": (28, 28, 1)}
LEVELS = {"4x4": 17, "6x4": 256, "8x8": 17}
MULTISCALE = ("realnvp", "glow", "nsf")


def named(*sizes, kinds=KINDS):
    return [f"{kind} {size}" for size in sizes for kind in kinds]


def created(name, **options):
    kind, size = name.split()
    model, settings = KINDS[kind]
    keras.utils.set_random_seed(0)
    default = PIXELS if size in LEVELS else POINTS
    if size == "8x8":
        default = {**default, "scales": 2}  # these have latents that are factored out
    return model(SHAPES[size], **{**settings, **default, "levels": LEVELS.get(size), **options})


def randomized(model, scale=0.3, seed=0):
    """The model, with random numbers in place of all weights that are zero at first."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if not np.any(variable):
            fan_in = np.prod(variable.shape[:-1])  # 1 of a bias
            variable.assign(scale / np.sqrt(fan_in) * random.normal(size=variable.shape))
    return model


@functools.cache
def settled(name):
    """A model with random weights, for all tests; they leave it as it is."""
    return randomized(created(name), 0.15 if name.split()[1] in LEVELS else 0.3)


@contextlib.contextmanager
def eagerly():
    """No graphs: nothing is compiled, at most shapes it is what takes longest."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def normal(num, shape, seed=1):
    return np.random.default_rng(seed).normal(size=(num, *shape)).astype(np.float32)


def pixels(num, shape, levels, seed=1):
    return np.random.default_rng(seed).integers(0, levels, (num, *shape), dtype=np.uint8)


def jacobians(bijection, x):
    """∂z/∂x of every example, `[B, D, D]` float64: a row from each of D copies."""
    batch, size = len(x), int(np.prod(x.shape[1:]))
    copies = tf.repeat(tf.constant(x), size, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        picked = tf.linalg.diag_part(tf.reshape(bijection(copies)[0], [batch, size, size]))
    return np.reshape(tape.gradient(picked, copies), [batch, size, size]).astype(np.float64)


def expected_log_prob(model, x):
    """log prior(z) + log |det ∂z/∂x|, of SciPy, automatic differentiation and NumPy."""
    z = np.asarray(model.bijection(tf.constant(x))[0], np.float64)
    prior = stats.logistic if model.prior_name == "logistic" else stats.norm
    return prior.logpdf(z).sum(1) + np.linalg.slogdet(jacobians(model.bijection, x))[1]


def assert_back(x, back, allowed=0.0):
    """To 1e-4 of each example's largest element, and what is allowed besides."""
    x, back = (np.reshape(v, [len(x), -1]).astype(np.float64) for v in (x, back))
    assert (np.abs(back - x) <= 1e-4 * np.abs(x).max(1, keepdims=True) + 1e-6 + allowed).all()


def rounding(model, x, z):
    """What rounding z by some units in the last place moves x: far outside, splines of other elements are flat."""
    z = np.abs(np.float64(z))
    return 1e-6 * np.abs(np.linalg.inv(jacobians(model.bijection, x))).sum(2) * z.max(1, keepdims=True)


# ------------------------------------------------------------------ densities and inverses


@pytest.mark.parametrize("name", named("1", "2", "3"))
def test_points(name):
    model = settled(name)
    scale = np.array([1, 1, 1, 1, 30, 30, 1e3, -1e3], np.float32)[:, None]
    x = scale * normal(8, model.event_shape)
    with eagerly():
        np.testing.assert_allclose(model.log_prob(x), expected_log_prob(model, x), rtol=1e-4, atol=1e-4)
        z = model.encode(x)
        assert z.shape == (8, *model.event_shape)
        assert_back(x, model.reconstruct(x), rounding(model, x, z) if "nsf" in name else 0.0)
        assert_back(z, model.encode(model.decode(z)))


@pytest.mark.parametrize("name", [*named("4x4", "6x4"), *named("8x8", kinds=MULTISCALE)])
def test_images(name):
    model = settled(name)
    size = int(np.prod(model.event_shape))
    x = pixels(3, model.event_shape, model.levels)
    x[0], x[1] = 0, model.levels - 1  # far outside: where a logit is steepest
    real = gm.NormalizingFlow(model.event_shape, model.bijection, levels=None, prior=model.prior_name)
    with eagerly():
        z = model.encode(x)
        assert z.shape == (3, size) and model.latent_shape == (size,)
        assert_back(x / (model.levels - 1), model.decode(z) / (model.levels - 1), 1e-4)
        y = ((x + np.float32(0.5)) / model.levels).astype(np.float32)
        np.testing.assert_allclose(real.log_prob(y), expected_log_prob(model, y), rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(real.encode(y), z)  # the middle of a level is what uniform noise encodes


@pytest.mark.parametrize("name", [*named("1", "2", "3")])
def test_gradients_are_finite_far_away(name):
    model = settled(name)
    rows = [np.full(model.event_shape, v) for v in (1e6, -1e6, 5.0, -5.0)]  # ±5 is where the splines end
    rows += [np.random.default_rng(0).choice([1e6, -5.0, 0.1], model.event_shape)]
    x = tf.constant(np.stack(rows), tf.float32)
    with eagerly(), tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = model.log_prob(x)
    assert np.isfinite(log_prob).all()
    gradients = tape.gradient(log_prob, [x, *model.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", ["realnvp 3", "iaf 3", "nsf 1", "glow 4x4"])
def test_eager_graph_and_xla_agree(name):
    # XLA takes long to compile splines.
    model = randomized(created(name, layers=1, bins=3)) if name == "nsf 1" else settled(name)
    x = normal(4, model.event_shape) if model.levels is None else pixels(4, model.event_shape, model.levels) / 17.0
    x = tf.constant(x, tf.float32)

    def both(x):
        z, log_det = model.bijection(x)
        return z, log_det, *model.bijection.inverse_and_log_det(z)

    expected = both(x)
    np.testing.assert_allclose(expected[1], np.linalg.slogdet(jacobians(model.bijection, x))[1], rtol=1e-4, atol=1e-4)
    for xla in (False, True):
        for one, other in zip(tf.function(both, jit_compile=xla)(x), expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_latents_of_all_scales_are_one_vector(kind):
    model = created(f"{kind} 28x28", levels=256, width=4, **({"layers": 1} if kind.startswith("nsf") else {}))
    assert model.latent_shape == (784,) and model.prior(2).shape == (2, 784)
    splits = [layer for layer in model._flatten_layers() if isinstance(layer, gm.flows.Split)]
    assert len(splits) == (1 if kind in MULTISCALE else 0)  # 28, 14, 7: two scales


def test_bijection_of_a_model_has_a_file_of_its_own():
    """Also the logit or the shift of a model of integers is in it."""
    for name in named("4x4"):
        model = settled(name)
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(model.bijection)))
        copy = keras.saving.deserialize_keras_object(config)
        copy.build((None, *model.event_shape))
        copy.set_weights(model.bijection.get_weights())
        y = tf.constant((pixels(2, model.event_shape, 17) + 0.5) / 17, tf.float32)
        np.testing.assert_allclose(copy.forward(y), model.bijection.forward(y), rtol=1e-5, atol=1e-5, err_msg=name)


# ------------------------------------------------------------------ densities are densities, samples are theirs


def grid(side, num):
    """Midpoints of num × num squares of [-side, side]², `[num², 2]`, and the squares' area."""
    step = 2 * side / num
    axis = (-side + step * (np.arange(num) + 0.5)).astype(np.float32)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2), step**2


CONDITIONS = {"": ({}, None), "class": ({"num_classes": 3}, 1), "vector": ({"condition_dim": 2}, [0.5, -1.0])}
PLANES = [(name, "") for name in named("2")] + [
    (name, condition) for name in ("realnvp 2", "maf 2", "nsf 2") for condition in ("class", "vector")
]  # fmt: skip


@pytest.mark.parametrize(("name", "condition"), PLANES)
def test_density_integrates_to_one_and_is_that_of_the_samples(name, condition):
    options, label = CONDITIONS[condition]
    model = randomized(created(name, **options))
    side, num, cells, draws = (40 if name in ("nice 2", "glow 2") else 12), 600, 60, 20000  # these two have long tails
    points, area = grid(side, num)
    labels = np.full(len(points), label) if condition == "class" else label
    with eagerly():
        mass = area * np.exp(np.float64(model.log_prob(points, labels)))
        samples = model.sample(draws, seed=1, labels=label, batch_size=draws).numpy()
    assert mass.sum() == pytest.approx(1, abs=1e-3)
    mass = mass.reshape(cells, num // cells, cells, num // cells).sum((1, 3)).ravel()
    edges = np.linspace(-side, side, cells + 1)
    counts = np.histogram2d(*samples.T, bins=(edges, edges))[0].ravel()
    often = draws * mass >= 10
    assert often.sum() > 10
    counts, mass = np.append(counts[often], draws - counts[often].sum()), np.append(mass[often], 1 - mass[often].sum())
    assert stats.chisquare(counts, draws * mass / mass.sum()).pvalue > 1e-3


@pytest.mark.parametrize("name", named("1"))
def test_density_of_one_dimension_integrates_to_one(name):
    x = np.linspace(-100, 100, 80001, dtype=np.float32)[:, None]
    with eagerly():
        p = np.exp(np.float64(settled(name).log_prob(x)))
    assert np.trapezoid(p, np.float64(x[:, 0])) == pytest.approx(1, abs=1e-3)


# ------------------------------------------------------------------ integers


def variational():
    return gm.flows.VariationalDequantization(couplings=2, width=8)


@keras.saving.register_keras_serializable(package="tests")
class Rising(keras.layers.Layer):
    """q(u) = u + 1/2: a user's dequantization by the two methods of the contract."""

    def call(self, x, streams):
        u = (tf.sqrt(1 + 8 * streams.uniform(x.shape[1:])) - 1) / 2
        return u, tf.reduce_sum(tf.math.log(u + 0.5), list(range(1, x.shape.rank)))

    def center(self, x):
        return tf.fill(tf.shape(x), 0.618)  # the median


NOISES = {"uniform": lambda: "uniform", "variational": variational, "own": Rising}
INTEGERS = {
    "realnvp": lambda noise: gm.RealNVP((2,), levels=2, layers=4, dequantization=noise, **PIXELS),
    "maf": lambda noise: gm.MAF((1,), levels=5, layers=2, dequantization=noise, **PIXELS),
    "glow": lambda noise: gm.Glow((2, 2, 1), levels=2, steps=2, dequantization=noise, **PIXELS),
}


def every_configuration(model):
    size = int(np.prod(model.event_shape))
    values = itertools.product(range(model.levels), repeat=size)
    return np.array(list(values), np.uint8).reshape(-1, *model.event_shape)


def probabilities(model):
    """P(x) of every configuration: the density over its cell [x, x + 1) / levels, by Gauss–Legendre quadrature."""
    size = int(np.prod(model.event_shape))
    nodes, weights = np.polynomial.legendre.leggauss(64 if size < 3 else 8)
    u = np.array(list(itertools.product((nodes + 1) / 2, repeat=size)))
    w = np.prod(list(itertools.product(weights / 2, repeat=size)), axis=1)
    real = gm.NormalizingFlow(model.event_shape, model.bijection, levels=None)
    x = every_configuration(model)
    y = (x.reshape(len(x), 1, size) + u) / model.levels
    p = np.exp(np.float64(real.log_prob(y.reshape(-1, *model.event_shape).astype(np.float32))))
    return p.reshape(len(x), -1) @ w / model.levels**size


@pytest.mark.parametrize(
    ("name", "noise"), [*itertools.product(INTEGERS, ["uniform", "variational"]), ("realnvp", "own")]
)
def test_bound_against_enumeration(name, noise):
    keras.utils.set_random_seed(0)
    model = randomized(INTEGERS[name](NOISES[noise]()))
    x = every_configuration(model)
    copies = 2000
    with eagerly():
        truth = probabilities(model)
        one, ten = (
            np.float64(model.log_prob(np.repeat(x, copies, 0), seed=k, num_samples=k)).reshape(len(x), copies)
            for k in (1, 10)
        )
    assert 0.01 < truth.sum() < 1.001
    # Importance weights: their mean is P(x) for any q, and that of their logarithms lies below.
    for bounds in (one, ten):
        error = np.exp(bounds).std(1) / np.sqrt(copies)
        assert (np.abs(np.exp(bounds).mean(1) - truth) < 5 * error + 1e-4 * truth).all()
    gaps = [(np.log(truth) - bounds.mean(1)).mean() for bounds in (one, ten)]
    assert gaps[0] > 1.5 * gaps[1] > 0
    many = np.exp(np.float64(model.log_prob(x, num_samples=500, seed=3)))
    assert many.sum() <= 1 and np.abs(many - truth).sum() < 0.1 * truth.sum()


def test_noise_of_an_example_is_its_own(monkeypatch):
    model = randomized(INTEGERS["realnvp"](variational()))
    x = pixels(7, (2,), 2)
    whole = model.log_prob(x, seed=4, num_samples=3).numpy()
    parts = [model.log_prob(x[i:j], seed=4, num_samples=3, first=i) for i, j in ((0, 2), (2, 7))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)
    assert (model.log_prob(x, seed=5, num_samples=3) != whole).numpy().all()
    assert len(set(model.log_prob(np.repeat(x[:1], 5, 0), seed=4).numpy())) == 5
    monkeypatch.setattr("genmodels.models.flows.flow.LOG_PROB_ELEMENTS", 6)  # three examples at a time
    np.testing.assert_allclose(model.log_prob(x, seed=4, num_samples=3), whole, rtol=1e-5)
    figures = gm.evaluation.log_likelihood(model, x, seed=4, batch_size=3, num_samples=3)
    assert figures["nats"] == pytest.approx(whole.mean(), rel=1e-5)


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1)], ids=["vector", "odd image"])
def test_variational_noise_is_a_density_on_the_unit_square(shape):
    layer = variational()
    layer.build((None, *shape))
    randomized(layer, 0.4)
    x = tf.constant([[0.0, 1.0]])
    num = 500
    v = np.float64(grid(14.0, num)[0])  # u = sigmoid(v): the density is steep at the edges, float32 ends at 16
    u, area = special.expit(v), np.prod(special.expit(v) * special.expit(-v), 1) * (28.0 / num) ** 2
    features = layer.features(2.0 * tf.reshape(x, [1, *shape]) - 1.0)

    def log_q(u):
        z, log_det = layer.flow(u, tf.repeat(features, len(u), 0))
        return stats.logistic.logpdf(np.float64(tf.reshape(z, [-1, 2]))).sum(1) + log_det

    mass = np.exp(np.float64(log_q(np.float32(u).reshape(-1, *shape)))) * area
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    draws = 4000
    streams = gm.sampling.Streams(gm.sampling.make_seed(0), 0, draws)
    drawn, density = layer(tf.repeat(tf.reshape(x, [1, *shape]), draws, 0), streams=streams)
    drawn = drawn.numpy()
    assert drawn.min() > 0 and drawn.max() < 1
    middle = (np.abs(drawn - 0.5) < 0.499).reshape(draws, -1).all(1)  # nearer the edges float32 has too few digits of u
    assert middle.mean() > 0.9
    np.testing.assert_allclose(density[middle], log_q(drawn)[middle], rtol=1e-3, atol=1e-3)
    bins = {"bins": 4, "range": [[0, 1], [0, 1]]}
    counts = np.histogram2d(*drawn.reshape(-1, 2).T, **bins)[0].ravel()
    mass = np.histogram2d(*u.T, weights=mass, **bins)[0].ravel()
    assert stats.chisquare(counts, draws * mass / mass.sum()).pvalue > 1e-3 and mass.max() / mass.min() > 1.2


def strong(layer, gain, seed=0):
    """The layer, with kernels that make its noise depend on x."""
    random = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        if variable.path.endswith("kernel"):
            variable.assign(gain / np.sqrt(np.prod(variable.shape[:-1])) * random.normal(size=variable.shape))
    return layer


def shares(x, scale):
    """Integers as a dequantization sees them."""
    return (x / scale).astype(np.float32)


@pytest.mark.parametrize(("shape", "gain"), [((2,), 1), ((2, 1, 1), 3), ((2, 4, 1), 2.5)])
def test_center_of_variational_noise_is_where_its_flow_is_zero(shape, gain):
    """Of a vector, of an image of odd sides and of one that is squeezed."""
    layer = variational()
    layer.build((None, *shape))
    x = shares(pixels(8, shape, 5), 4)
    u = tf.clip_by_value(strong(layer, gain).center(x), 0.0501, 0.9499).numpy()
    np.testing.assert_array_equal(u, layer.center(x))  # none is at the edges
    assert u.shape == x.shape and u.std(0).max() > 0.01
    np.testing.assert_allclose(layer.center(x[3:5]), u[3:5], rtol=1e-5)
    if shape == (2, 4, 1):
        x = x.reshape(8, 1, 2, 2, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(8, 1, 2, 4)  # squares of 2×2 pixels
    z, _ = layer.flow(u, layer.features(2 * x - 1))
    np.testing.assert_allclose(z, np.zeros(z.shape), atol=1e-5)


def test_center_of_one_number_is_the_median_of_its_noise():
    layer = variational()
    layer.build((None, 1))
    draws = 4000
    x = np.repeat(np.float32([[0.0], [0.5], [1.0]]), draws, 0)
    u, _ = strong(layer, 1.2)(x, streams=gm.sampling.Streams(gm.sampling.make_seed(0), 0, len(x)))
    center = layer.center(x).numpy()
    np.testing.assert_allclose((u < center).numpy().reshape(-1, draws).mean(1), 0.5, atol=4 * 0.5 / np.sqrt(draws))
    assert center.std() > 0.02


@pytest.mark.parametrize("noise", ["variational", "own"])
@pytest.mark.parametrize("name", [*INTEGERS, "odd image"])
def test_integers_come_back_from_the_center_of_their_noise(name, noise):
    keras.utils.set_random_seed(0)
    odd = {"odd image": lambda noise: gm.MAF((3, 1, 1), levels=3, layers=2, dequantization=noise, **PIXELS)}
    model = {**INTEGERS, **odd}[name](NOISES[noise]())
    strong(model.dequantization, 8 if len(model.event_shape) == 3 else 2)  # to the edges of the levels
    randomized(model)
    x = every_configuration(model)
    u = model.dequantization.center(shares(x, model.levels - 1)).numpy()
    real = gm.NormalizingFlow(model.event_shape, model.bijection, levels=None)
    with eagerly():
        np.testing.assert_array_equal(model.encode(x), real.encode(shares(x + u, model.levels)))
        back = model.reconstruct(x).numpy()
    np.testing.assert_allclose(back, x + u - 0.5, atol=1e-3)
    np.testing.assert_array_equal(np.rint(back), x)
    if noise == "variational":
        assert u.std(0).max() > 0.1 and (np.isclose(u, 0.05) | np.isclose(u, 0.95)).any()


# ------------------------------------------------------------------ sampling


@pytest.mark.parametrize("kind", MULTISCALE)
def test_temperature_scales_the_latents_of_every_level(kind):
    model = randomized(created(f"{kind} 8x8", levels=None), 0.2)
    with eagerly():
        for temperature in (0.5, 1.0):
            z = model.encode(model.sample(256, temperature=temperature)).numpy()
            np.testing.assert_allclose(z.std(0), temperature, rtol=5 / np.sqrt(2 * 256))
            np.testing.assert_allclose(z, temperature * model.prior(256).numpy(), atol=1e-3)
        cold = model.sample(3, temperature=0).numpy()
        np.testing.assert_allclose(cold, np.repeat(model.decode(tf.zeros([1, 64])), 3, 0), atol=1e-6)


def test_samples_of_integers_are_rounded_decoded_latents():
    model = settled("realnvp 4x4")
    with eagerly():
        samples = model.sample(5, seed=2)
        decoded = model.decode(model.prior(5, seed=2)).numpy()
    assert samples.dtype == tf.uint8
    np.testing.assert_array_equal(samples, np.clip(np.rint(decoded), 0, 16))


# ------------------------------------------------------------------ conditions


def test_images_of_classes():
    model = randomized(created("glow 4x4", num_classes=3, dequantization="variational"))
    x = pixels(4, (4, 4, 1), 17)
    with eagerly():
        each = np.array([model.log_prob(x, np.full(4, label)) for label in range(3)])
        assert (np.abs(each - each[[1, 2, 0]]) > 1e-3).all()
        samples = [model.sample(2, labels=label, seed=1).numpy() for label in (0, 1, [0, 1])]
        assert not np.array_equal(samples[0], samples[1])
        np.testing.assert_array_equal(samples[2], [samples[0][0], samples[1][1]])
        u = model.dequantization.center(shares(x, 16))
        assert_back(x + u - 0.5, model.reconstruct(x, [0, 1, 2, 0]))
        wrong = model.decode(model.encode(x, [0, 1, 2, 0]), [1, 2, 0, 1])
        assert np.abs(wrong - x).max() > 0.01


def test_regression_is_learned():
    """x ~ N(A c, 0.5²): the excess over the true density's likelihood is the divergence of the two."""
    random = np.random.default_rng(0)
    c = random.normal(size=(4096, 3)).astype(np.float32)
    mean = c @ np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 1.0]], np.float32)
    x = random.normal(mean, 0.5).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = gm.RealNVP((2,), levels=None, layers=2, width=32, depth=1, condition_dim=3)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x[:3072], c[:3072], batch_size=256, steps=300, verbose=0)
    excess = stats.norm.logpdf(x, mean, 0.5).sum(1)[3072:].mean() + model.evaluate(x[3072:], c[3072:])["nll"]
    assert -0.01 < excess < 0.1
    samples = model.sample(2000, labels=c[0]).numpy()
    np.testing.assert_allclose(samples.mean(0), mean[0], atol=0.2)
    np.testing.assert_allclose(samples.std(0), 0.5, atol=0.1)


# ------------------------------------------------------------------ a user's own parts


@keras.saving.register_keras_serializable(package="tests")
class Asinh(gm.flows.Bijection):
    """z = asinh(a x), a > 0 learned: a user's bijection by the two methods of the contract."""

    def build(self, x_shape, condition_shape=None):
        self.log_a = self.add_weight((x_shape[-1],), initializer="zeros", name="log_a")
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        x = x * tf.exp(self.log_a.value)
        return tf.asinh(x), tf.reduce_sum(self.log_a.value - 0.5 * tf.math.log1p(x**2), -1)

    def inverse_and_log_det(self, z, condition=None):
        x = tf.sinh(z) * tf.exp(-self.log_a.value)
        return x, tf.reduce_sum(tf.math.log(tf.cosh(z)) - self.log_a.value, -1)


def own_network():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(4)])


def test_own_bijection_and_network(tmp_path):
    flows = gm.flows
    keras.utils.set_random_seed(0)
    chain = flows.Chain([flows.ActNorm(), Asinh(), flows.Coupling("affine", network=own_network()), flows.Scaling()])
    model = gm.NormalizingFlow((3,), chain, levels=None)
    x = np.random.default_rng(0).standard_t(2, (256, 3)).astype(np.float32)
    assert gm.evaluation.check_invertible(Asinh(), x[:8])["jacobians"] == 4
    before = model.evaluate(x)["nll"]
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, batch_size=64, steps=40, verbose=0)
    assert model.evaluate(x)["nll"] < before - 0.1 and np.all(chain.parts[1].log_a != 0)
    gm.evaluation.check_invertible(model.bijection, x[:8])
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path)
    np.testing.assert_array_equal(loaded.log_prob(x), model.log_prob(x))
    np.testing.assert_array_equal(loaded.sample(3), model.sample(3))


def test_own_dequantization_is_saved_with_the_model(tmp_path):
    model = randomized(INTEGERS["maf"](Rising()))
    x = every_configuration(model)
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path)
    assert isinstance(loaded.dequantization, Rising)
    np.testing.assert_array_equal(loaded.encode(x), model.encode(x))
    np.testing.assert_array_equal(loaded.log_prob(x), model.log_prob(x))


def test_own_bijection_that_keeps_the_shape_of_images():
    """Latents become one vector."""
    model = gm.NormalizingFlow((2, 2, 3), gm.flows.Squeeze(), levels=None)
    x = normal(2, (2, 2, 3))
    assert model.encode(x).shape == (2, 12)
    np.testing.assert_array_equal(model.reconstruct(x), x)
    np.testing.assert_allclose(model.log_prob(x), stats.norm.logpdf(np.float64(x)).sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(model.bits_per_dim(x), -model.log_prob(x) / (12 * np.log(2)), rtol=1e-6)


# ------------------------------------------------------------------ NICE's prior


def test_logistic_prior():
    model = gm.NICE((4,), levels=None, layers=1, **PIXELS)  # the identity, but for the order of the elements
    x = np.concatenate([5 * normal(20, (4,)), np.full((1, 4), 1e3), np.full((1, 4), -1e3)]).astype(np.float32)
    np.testing.assert_allclose(model.log_prob(x), stats.logistic.logpdf(np.float64(x)).sum(1), rtol=1e-5)
    z = model.prior(5000, seed=1).numpy()
    assert np.isfinite(z).all() and stats.kstest(z.ravel(), stats.logistic.cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(4), atol=0.06)
    np.testing.assert_array_equal(np.sort(model.sample(8, batch_size=8), -1), np.sort(model.prior(8), -1))


# ------------------------------------------------------------------ activation normalization


def actnorms(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, gm.flows.ActNorm)]


@pytest.mark.parametrize("name", ["realnvp 2", "glow 8x8", "iaf 2"])
def test_first_batch_of_fit_sets_every_actnorm(name):
    model = created(name)
    shape, levels = model.event_shape, model.levels
    x = 5 + 3 * normal(64, shape) if levels is None else pixels(64, shape, levels)
    seen = []
    with eagerly():
        model.log_prob(x)
        model.sample(2)
    model.evaluate(x)
    assert len(actnorms(model)) == (4 if "glow" in name else 2)
    assert all(int(norm.initialized) == 0 and not np.any(norm.shift) for norm in actnorms(model))
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(x, batch_size=64, steps=2, verbose=0)
    for norm in actnorms(model):
        assert int(norm.initialized) == 1
        forward = norm.forward_and_log_det
        norm.forward_and_log_det = lambda v, c=None, forward=forward: seen.append(forward(v)[0]) or forward(v)
    model.bijection(tf.constant(x) if levels is None else tf.constant((x + 0.5) / levels, tf.float32))
    assert len(seen) == len(actnorms(model))
    for z in seen:  # the middle of a level in place of the noise of training: nearly
        z = np.reshape(z, [-1, z.shape[-1]])
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-4 if levels is None else 0.05)
        np.testing.assert_allclose(z.std(0), 1, atol=1e-4 if levels is None else 0.05)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gm.Glow((7, 8, 1)), r"height and width must be even; got \(7, 8\)"),
        (lambda: gm.RealNVP((8, 5, 1)), r"height and width must be even; got \(8, 5\)"),
        (lambda: gm.NeuralSplineFlow((7, 7, 1)), r"height and width must be even; got \(7, 7\)"),
        (lambda: gm.Glow((8, 4, 1), scales=3), "images of 8×4 can be squeezed 2 times; got scales=3"),
        (lambda: gm.Glow((8, 8, 1), scales=0), "`scales` must be an integer ≥ 1"),
        (lambda: gm.RealNVP((2,), scales=2), "vectors have one scale; got scales=2"),
        (lambda: gm.Glow((8, 8)), "`event_shape` must be"),
        (lambda: gm.Glow((8, 8, 1), steps=0), "`steps` must be an integer ≥ 1.*got 0"),
        (lambda: gm.RealNVP((2,), layers=0), "`layers` must be an integer ≥ 1.*got 0"),
        (lambda: gm.NICE((2,), layers=1.5), "`layers` must be an integer ≥ 1.*got 1.5"),
        (lambda: gm.MAF((2,), layers=True), "`layers` must be an integer ≥ 1.*got True"),
        (lambda: gm.IAF((2,), width=0), "`width` must be an integer ≥ 1.*got 0"),
        (lambda: gm.NeuralSplineFlow((2,), layers=0), "`layers` must be an integer ≥ 1.*got 0"),
        (lambda: gm.RealNVP((2,), depth=-1), "`depth` must be an integer ≥ 0.*got -1"),
        (lambda: gm.Glow((8, 8, 1), transform="cubic"), "`transform` must be one of additive, affine, spline.*'cubic'"),
        (lambda: gm.MAF((2,), transform=3), "`transform` must be one of additive, affine, spline.*got 3"),
        (lambda: gm.NeuralSplineFlow((2,), kind="causal"), "`kind` must be one of coupling, autoregressive.*'causal'"),
        (lambda: gm.NeuralSplineFlow((4, 4, 1), kind="autoregressive", scales=2), "`scales` does not apply.*got 2"),
        (lambda: gm.NeuralSplineFlow((2,), width=0), "`width` must be an integer ≥ 1.*got 0"),
        (lambda: gm.NeuralSplineFlow((2,), bins=1), "`bins` must be an integer ≥ 2.*got 1"),
        (lambda: gm.NeuralSplineFlow((2,), bound=0), "`bound` must be a finite number above 0; got 0"),
        (lambda: gm.NICE((2,), prior="cauchy"), "`prior` must be one of normal, logistic; got 'cauchy'"),
        (lambda: gm.Glow((8, 8, 1), dequantization="gaussian"), "`dequantization` must be one of uniform, variational"),
        (lambda: gm.Glow((8, 8, 1), dequantization=None), "`dequantization` must be one of uniform, variational"),
        (lambda: gm.MAF((2,), dequantization=["uniform"]), "must be one of uniform, variational, or a layer; got"),
        (lambda: gm.MAF((2,), dequantization=keras.layers.Dense(1)), r"needs `call.* and `center\(x\)`; got <Dense"),
        (lambda: gm.RealNVP((2,), logit=0.5), "`logit` must be above 0 and below 0.5, or None for no logit; got 0.5"),
        (lambda: gm.RealNVP((2,), num_classes=1), "`num_classes` must be an integer ≥ 2"),
        (lambda: gm.RealNVP((2,), condition_dim=0), "`condition_dim` must be an integer ≥ 1"),
        (lambda: gm.RealNVP((2,), num_classes=2, condition_dim=2), "`num_classes` or `condition_dim`, not both"),
        (lambda: gm.NormalizingFlow((2,), keras.layers.Dense(2)), "`bijection` must be a genmodels.flows.Bijection"),
        (lambda: gm.NormalizingFlow((2,), gm.flows.Chain([Half()])), r"keep the number of elements.*2, .*\(1,\) 1"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Half(gm.flows.Bijection):
    """Drops an element, and says so."""

    def compute_output_shape(self, x_shape):
        return (x_shape[0], x_shape[1] - 1)


def test_wrong_requests():
    real, integers, classes = settled("nice 2"), settled("nice 4x4"), created("nice 2", num_classes=3)
    x, images = normal(3, (2,)), pixels(3, (4, 4, 1), 17)
    for call, message in (
        (lambda: real.log_prob(x, num_samples=2), "exact density: `num_samples` must be 1"),
        (lambda: integers.log_prob(images, num_samples=0), "`num_samples` must be an integer ≥ 1"),
        (lambda: integers.log_prob(images, seed=-1), "`seed` must be an integer"),
        (lambda: real.log_prob(normal(3, (3,))), r"examples must have shape \('batch', 2\); got \(3, 3\)"),
        (lambda: integers.log_prob(images / 17.0), "levels=17: examples must be integers; got float64"),
        (lambda: integers.encode(images + 9), r"pixels must lie in 0 … 16; found"),
        (lambda: real.log_prob(x, [0, 1, 2]), "built without `num_classes` or `condition_dim`"),
        (lambda: classes.log_prob(x), "num_classes=3: give `labels`"),
        (lambda: classes.log_prob(x, [0, 1, 3]), "`labels` must be from 0 to 2; got 3"),
        (lambda: classes.sample(3, labels=[0, 1]), "`labels` must be 3 integers"),
        (lambda: real.sample(3, temperature=-1), "`temperature` must be a finite number of at least 0; got -1"),
        (lambda: real.sample(3, temperature=np.nan), "`temperature` must be a finite number of at least 0; got nan"),
        (lambda: real.sample(3, temperature="hot"), "`temperature` must be a finite number of at least 0; got 'hot'"),
        (lambda: real.decode(tf.zeros([3, 4])), r"latents must have shape \[batch, 2\]; got \(3, 4\)"),
        (lambda: integers.decode(tf.zeros([3, 4, 4, 1])), r"latents must have shape \[batch, 16\]; got \(3, 4, 4, 1\)"),
        (lambda: real.fit(images, steps=1, verbose=0), "levels=None .real-valued data."),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
