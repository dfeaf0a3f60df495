"""Autoregressive models: exact probabilities, samples that have them, and gradients that reach what they should."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import genmodels as gm
from genmodels.layers import CausalConv2D, CausalLayer, ChannelHead, Sees, Shift

check_causality = gm.evaluation.check_causality


@keras.saving.register_keras_serializable(package="tests")
class Average(CausalLayer):
    """A user's own layer: the average of a pixel, its left neighbour and the one above."""

    def __init__(self, **options):
        super().__init__(above=1, left=1, **options)

    def window(self, x):
        return (x[:, 1:, 1:] + x[:, 1:, :-1] + x[:, :-1, 1:]) / 3


def own_model(event_shape, levels, num_classes=None, dtype=None):
    """A user's own network: an own layer, pointwise Keras layers, masked convolutions, a label, a map made of it."""
    layers = keras.layers
    image, label = keras.Input(event_shape), num_classes and keras.Input((num_classes,))
    seen = CausalConv2D(4, above=1, left=1, right=1, mask="B", dtype=dtype)(image)  # sees the pixel itself
    above = CausalConv2D(4, above=1, left=2, right=3, dtype=dtype)(Shift("down", dtype=dtype)(seen))
    x = layers.Concatenate(dtype=dtype)([above, Shift("right", dtype=dtype)(seen)])
    x = CausalConv2D(8, above=1, left=2, right=2, mask="B", dtype=dtype)(x)
    if label is not None:
        bias = layers.Reshape((1, 1, 8), dtype=dtype)(layers.Dense(8, dtype=dtype)(label))
        height, width = event_shape[:2]
        where = layers.Reshape((height, width, 1), dtype=dtype)(layers.Dense(height * width, dtype=dtype)(label))
        x = layers.Add(dtype=dtype)([x, bias, where])
    x = layers.LayerNormalization(dtype=dtype)(layers.Rescaling(0.7, 0.1, dtype=dtype)(x))
    x = layers.Dense(8, "tanh", dtype=dtype)(Average(dtype=dtype)(layers.LeakyReLU(dtype=dtype)(x)))
    parameters = 1 if levels == 2 else levels
    if event_shape[-1] > 1:
        x = ChannelHead(8, parameters, dtype=dtype)(x, image)
    else:
        x = layers.Dense(parameters, dtype=dtype)(x)
    network = keras.Model(image if label is None else [image, label], x)
    return gm.AutoregressiveModel(event_shape, network, levels=levels, num_classes=num_classes, dtype=dtype)


def maker(model, **settings):
    return lambda shape, levels, classes=None, dtype=None: model(
        shape, levels=levels, num_classes=classes, dtype=dtype, **settings
    )


# name: constructor of (event_shape, levels, num_classes=None, dtype=None)
MODELS = {
    "pixelcnn": maker(gm.PixelCNN, filters=8, blocks=1),
    "gated-pixelcnn": maker(gm.GatedPixelCNN, filters=8, blocks=1),
    "own": own_model,
    "pixelcnn-pp": maker(gm.PixelCNNPlusPlus, filters=4, blocks=1, resolutions=2, mixtures=2),
    "pixelrnn-row": maker(gm.PixelRNN, kind="row", filters=4, layers=1),
    "pixelrnn-diagonal": maker(gm.PixelRNN, kind="diagonal", filters=4, layers=1),
    "pixelsnail": maker(gm.PixelSNAIL, filters=4, blocks=1, convolutions=1, keys=4),
    "image-gpt": maker(gm.ImageGPT, width=8, blocks=1),
}
# Of random weights: deep networks with more would know every pixel for certain, normalized ones with less none.
SPREAD = {"pixelcnn-pp": 0.3, "own": 1.0}


@functools.cache
def random_model(name, *args):
    """A model whose weights are all random, so that its distributions are far from uniform; shared by the tests."""
    return randomized(MODELS[name](*args), SPREAD.get(name, 0.7))


def randomized(model, spread):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, spread, w.shape) for w in model.get_weights()])
    return model


def images(num, shape, levels, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (num, *shape), dtype=np.uint8)


all_models = pytest.mark.parametrize("name", MODELS)

# ---------------------------------------------------------------------- probabilities, by enumeration

FEW = pytest.mark.parametrize(
    ("shape", "levels", "num_classes"), [((2, 2, 1), 2, None), ((1, 2, 3), 3, None), ((2, 2, 1), 3, 2)]
)
DRAWS = 20_000


def probabilities(model, label=None):
    """Of every image there is, those with the last sub-pixel differing side by side; float64."""
    shape, levels = model.event_shape, model.levels
    x = np.array(list(itertools.product(range(levels), repeat=math.prod(shape))), np.uint8).reshape(-1, *shape)
    labels = None if label is None else np.full(len(x), label)
    return np.exp(model.log_prob(x, labels).numpy().astype(np.float64))


def numbers(x, levels):
    """The place of each image in `probabilities`."""
    x = np.asarray(x).reshape(len(x), -1).astype(int)
    return x @ levels ** np.arange(x.shape[1])[::-1]


def p_value(indices, probabilities):
    """Of a chi-square test; the rarest outcomes are pooled until five or more are expected of them."""
    expected = len(indices) * probabilities / probabilities.sum()
    order = np.argsort(expected)
    expected, counts = expected[order], np.bincount(indices, minlength=len(expected))[order]
    rare = max((expected < 5).sum(), 1 + np.searchsorted(np.cumsum(expected), 5))
    expected, counts = (np.array([c[:rare].sum(), *c[rare:]]) for c in (expected, counts))
    assert len(expected) > 2  # else there is nothing to test
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(expected) - 1)


@FEW
@all_models
def test_probabilities_sum_to_one(name, shape, levels, num_classes):
    model = random_model(name, shape, levels, num_classes)
    for label in [None] if num_classes is None else range(num_classes):
        p = probabilities(model, label)
        assert p.sum() == pytest.approx(1, abs=1e-5)
        assert p.max() > 4 * p.min()  # far from uniform


@FEW
@all_models
def test_samples_have_these_probabilities(name, shape, levels, num_classes):
    model = random_model(name, shape, levels, num_classes)
    for label in [None] if num_classes is None else range(num_classes):
        samples = model.sample(DRAWS, labels=label, seed=1, batch_size=DRAWS)
        assert p_value(numbers(samples, levels), probabilities(model, label)) > 1e-4


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("own", "pixelrnn-diagonal")])
def test_colours_of_logistics_have_probabilities_too(name):
    """Whose parameters lie by kind, not by channel: read otherwise, a channel's scale would see the channel itself."""
    kind, options = {
        "pixelcnn": (gm.PixelCNN, {"filters": 4, "blocks": 1}),
        "gated-pixelcnn": (gm.GatedPixelCNN, {"filters": 4, "blocks": 1}),
        "pixelcnn-pp": (gm.PixelCNNPlusPlus, {"filters": 4, "blocks": 1, "resolutions": 2}),
        "pixelrnn-row": (gm.PixelRNN, {"filters": 4, "layers": 1}),
        "pixelsnail": (gm.PixelSNAIL, {"filters": 4, "blocks": 1, "convolutions": 1}),
        "image-gpt": (gm.ImageGPT, {"width": 4, "blocks": 1}),
    }[name]
    model = kind((1, 2, 3), levels=3, likelihood="logistic", **options)
    model = randomized(model, SPREAD.get(name, 0.7))
    p = probabilities(model)
    assert p.sum() == pytest.approx(1, abs=1e-5) and p.max() > 4 * p.min()
    samples = model.sample(DRAWS, seed=1, batch_size=DRAWS)
    assert p_value(numbers(samples, 3), p) > 1e-4
    gm.evaluation.check_causality(model)


def test_the_chi_square_test_catches():
    p = probabilities(random_model("pixelcnn", (2, 2, 1), 2, None))
    draws = np.random.default_rng(0).choice(len(p), DRAWS, p=p / p.sum())
    assert p_value(draws, p) > 1e-4
    assert p_value(draws, 0.9 * p + 0.1 / len(p)) < 1e-4


# ---------------------------------------------------------------------- two ways of sampling


@pytest.mark.parametrize(
    ("shape", "levels", "num_classes", "temperature"), [((5, 6, 1), 4, None, 1.0), ((4, 5, 3), 5, 2, 0.7)]
)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "pixelcnn-pp"])  # which has a test of its own
def test_cached_sampling_is_naive_sampling(name, shape, levels, num_classes, temperature):
    model = random_model(name, shape, levels, num_classes)
    for seed in (2, 3):
        cached = model.sample(6, seed=seed, batch_size=4, temperature=temperature).numpy()
        naive = model.sample(6, seed=seed, batch_size=3, temperature=temperature, incremental=False).numpy()
        np.testing.assert_array_equal(cached, naive)
        assert len(np.unique(cached)) > levels / 2


@pytest.mark.parametrize("name", ["gated-pixelcnn", "own", "pixelrnn-row", "image-gpt", "pixelsnail"])
def test_bfloat16_computes_likelihoods_and_samples_in_float32(name):
    whole = random_model(name, (3, 4, 3), 3)
    half = MODELS[name]((3, 4, 3), 3, dtype="mixed_bfloat16")
    half.set_weights(whole.get_weights())
    x = images(5, (3, 4, 3), 3)
    np.testing.assert_allclose(half.log_prob(x), whole.log_prob(x), rtol=1e-5)
    np.testing.assert_array_equal(half.sample(5, seed=1), half.sample(5, seed=1, incremental=False))


# ---------------------------------------------------------------------- what sees what


@all_models
def test_causality_untrained_and_after_an_update(name):
    model = MODELS[name]((4, 4, 1), 4)
    pairs = check_causality(model)
    assert pairs == {"sub_pixels": 16, "reached": 120, "blind": 0}
    model.fit(images(8, (4, 4, 1), 4), steps=1, batch_size=8, verbose=0)
    assert check_causality(model) == pairs


@all_models
def test_causality_of_channels(name):
    pairs = check_causality(MODELS[name]((3, 3, 3), 4, 2))
    assert pairs == {"sub_pixels": 27, "reached": 351, "blind": 0}


def test_blind_spots_are_reported():
    model = MODELS["pixelcnn"]((3, 9, 1), 4)
    with pytest.raises(ValueError, match=r"does not depend on \(row 0, .*comes before it"):
        check_causality(model)
    pairs = check_causality(model, blind_spots=True)
    assert pairs["blind"] > 0 and pairs["reached"] + pairs["blind"] == 27 * 26 / 2


def test_some_sub_pixels_and_labels():
    model = MODELS["gated-pixelcnn"]((3, 3, 1), 4, 2)
    assert check_causality(model, labels=1, positions=4)["sub_pixels"] == 4
    with pytest.raises(ValueError, match="labels"):
        check_causality(model, labels=2)


class Liar(CausalConv2D):
    """Without a mask, to the right, of a tensor that sees pixels."""

    def sees(self, *inputs):
        return Sees.PIXELS


class Ahead(CausalLayer):
    """The right neighbour."""

    def __init__(self):
        super().__init__(right=1)

    def sees(self, x):
        return Sees.PIXELS

    def window(self, x):
        return x[:, :, 1:]


class MixedBatch(CausalLayer):
    def window(self, x):
        return x + tf.reduce_mean(x, 0, keepdims=True)


class OwnChannel(ChannelHead):
    def window(self, features, image):
        return super().window(features, tf.roll(image, -1, -1))


def wrong_model(wrong, channels=1):
    """A model of 2×3 pixels and 4 levels from `wrong(image)`."""
    image = keras.Input((2, 3, channels))
    return gm.AutoregressiveModel((2, 3, channels), keras.Model(image, wrong(image)), levels=4)


@pytest.mark.parametrize(
    ("wrong", "channels", "words"),
    [
        (lambda x: Liar(4, left=1, right=2)(Shift("right")(x)), 1, r"column 0, channel 0\) depends on itself"),
        (lambda x: CausalConv2D(4)(Ahead()(x)), 1,
         r"\(row 0, column 0, channel 0\) depends on \(row 0, column 1, channel 0\), which comes after it"),
        (lambda x: MixedBatch()(CausalConv2D(4)(Shift("right")(x))), 1, "depends on another example of the batch"),
        (lambda x: OwnChannel(8, 4)(Shift("right")(x), x), 3, r"\(row 0, column 0, channel 1\) depends on itself"),
        (lambda x: CausalConv2D(4)(Shift("right")(x)), 1,
         r"\(row 0, column 2, channel 0\) does not depend on \(row 0, column 0, channel 0\), which comes before it"),
    ],
    ids=["itself", "ahead", "batch", "channel", "blind"],
)  # fmt: skip
def test_causality_names_what_is_wrong(wrong, channels, words):
    with pytest.raises(ValueError, match=words):
        check_causality(wrong_model(wrong, channels))


def test_causality_needs_conditionals():
    with pytest.raises(ValueError, match="VAE has no conditionals"):
        check_causality(gm.VAE((8, 8, 1), levels=2, latent_dim=2))


# ---------------------------------------------------------------------- completion and conditionals


def test_completion_keeps_what_is_known():
    shape, levels = (5, 6, 1), 4
    model = random_model("gated-pixelcnn", shape, levels, None)
    x = images(4, shape, levels)
    mask = np.zeros((4, 5, 6), bool)
    mask[1], mask[2, :2] = True, True
    mask[3] = np.random.default_rng(0).random((5, 6)) < 0.5
    completed = model.complete(x, mask, seed=5).numpy()
    assert completed.dtype == np.uint8
    np.testing.assert_array_equal(completed[mask], x[mask])
    assert (completed[0] != model.sample(4, seed=5).numpy()[0]).any()  # the numbers of `sample` are not used again
    np.testing.assert_array_equal(completed, model.complete(x, mask, seed=5, incremental=False))
    np.testing.assert_array_equal(completed, model.complete(np.where(mask[..., None], x, 99), mask, seed=5))
    assert (completed != x)[~mask].any()


def test_completion_of_one_image_in_colour():
    shape, levels = (4, 5, 3), 5
    model = random_model("pixelcnn", shape, levels, 2)
    x, mask = images(1, shape, levels)[0], np.arange(4)[:, None] < np.full(5, 2)
    completed = model.complete(x, mask, labels=[1], seed=5).numpy()
    np.testing.assert_array_equal(completed[0, :2], x[:2])
    np.testing.assert_array_equal(completed, model.complete(x, mask, labels=[1], seed=5, incremental=False))


@all_models
def test_completion_follows_the_conditional(name):
    model = random_model(name, (2, 2, 1), 2, None)
    p = probabilities(model)
    for first, second in itertools.product(range(2), repeat=2):
        x = np.broadcast_to(np.array([[first, second], [0, 0]], np.uint8)[..., None], (DRAWS, 2, 2, 1))
        completed = numbers(model.complete(x, np.array([[True, True], [False, False]]), batch_size=DRAWS), 2)
        given = 8 * first + 4 * second
        assert p_value(completed - given, p[given : given + 4]) > 1e-4


@pytest.mark.parametrize(
    ("x", "mask", "words"),
    [
        (images(2, (2, 2, 1), 2), np.ones((2, 2, 2, 1), bool), r"`mask` must have shape \(2, 2\)"),
        (images(2, (2, 2, 1), 2), np.ones((3, 2, 2), bool), "`mask` must have shape"),
        (images(2, (2, 2, 1), 2), np.ones((2, 2)), "boolean"),
        (images(2, (2, 3, 1), 2), np.ones((2, 3), bool), "images must have shape"),
        (images(2, (2, 2, 1), 2) + 1, np.ones((2, 2), bool), "0 … 1"),
        (images(2, (2, 2, 1), 2).astype(float), np.ones((2, 2), bool), "integers"),
    ],
)
def test_completion_refuses(x, mask, words):
    with pytest.raises(ValueError, match=words):
        random_model("pixelcnn", (2, 2, 1), 2, None).complete(x, mask)


@pytest.mark.parametrize(
    ("shape", "levels", "num_classes"), [((2, 2, 1), 2, None), ((1, 2, 3), 3, None), ((4, 5, 3), 5, 2)]
)
@all_models
def test_predictive(name, shape, levels, num_classes):
    model = random_model(name, shape, levels, num_classes)
    x, labels = images(3, shape, levels), num_classes and np.array([0, 1, 1])
    predictive = model.predictive(x, labels)
    np.testing.assert_allclose(predictive.log_prob(tf.cast(x, tf.float32)), model.log_prob(x, labels), rtol=1e-4)
    if not model.likelihood.couples_channels:
        assert predictive.distribution.entropy().shape == (3, *shape)


# ---------------------------------------------------------------------- users' networks


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda x: keras.layers.Conv2D(4, 3, padding="same", name="mine")(Shift("right")(x)), "'mine' .* not known"),
        (lambda x: CausalConv2D(4)(x), "sees the pixel"),
        (lambda x: CausalConv2D(4, right=1, name="mine")(Shift("right")(x)), "'mine' reads pixels to the right"),
        (lambda x: CausalConv2D(5)(Shift("right")(x)), "shape"),
        (lambda x: ChannelHead(8, 4, name="mine")(x, x), "'mine' see the pixel itself"),
        (lambda x: ChannelHead(8, 4, name="mine")(Shift("right")(x), CausalConv2D(1)(x)), "'mine' puts channels"),
        (lambda x: CausalConv2D(4, name="mine")(ChannelHead(8, 4)(Shift("right")(x), x)), "'mine' comes after"),
        (lambda x: keras.layers.LayerNormalization((1, 2, 3), name="mine")(CausalConv2D(4, mask="A")(x)), "not known"),
    ],
    ids=["conv", "no-shift", "ahead", "outputs", "head", "mixed", "after-head", "normalization"],
)
def test_networks_that_are_refused(network, words):
    with pytest.raises(ValueError, match=words):
        wrong_model(network)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_weights_must_be_float32(dtype):
    with pytest.raises(ValueError, match=f"in {dtype}; .* mixed policy"):
        gm.PixelCNN((4, 5, 1), levels=4, filters=8, blocks=1, dtype=dtype)


def test_a_coarse_map_of_labels_is_refused():
    image, label = keras.Input((4, 4, 1)), keras.Input((2,))
    coarse = CausalConv2D(8, above=1, left=1, right=1, stride=2)(Shift("down")(image))
    where = keras.layers.Reshape((2, 2, 8))(keras.layers.Dense(32)(label))
    x = gm.layers.SpaceFromDepth((4, 4))(keras.layers.Add(name="mine")([coarse, where]))
    with pytest.raises(ValueError, match="'mine' reads a map"):
        gm.AutoregressiveModel((4, 4, 1), keras.Model([image, label], CausalConv2D(4)(x)), levels=4, num_classes=2)


def test_an_image_that_is_doubled_first_is_refused():
    image = keras.Input((4, 4, 1))
    x = gm.layers.SpaceFromDepth((8, 8), name="doubled")(CausalConv2D(32, above=1, left=1, right=1, mask="A")(image))
    with pytest.raises(ValueError, match=r"'doubled' .* larger than the data's"):
        gm.AutoregressiveModel((4, 4, 1), keras.Model(image, CausalConv2D(4, stride=2)(x)), levels=4)


def test_a_map_of_labels_may_be_doubled():
    image, label = keras.Input((4, 4, 1)), keras.Input((2,))
    where = gm.layers.SpaceFromDepth((4, 4))(keras.layers.Reshape((2, 2, 32))(keras.layers.Dense(128)(label)))
    before = CausalConv2D(8, above=1, left=1, right=1, mask="A")(image)
    network = keras.Model([image, label], CausalConv2D(4)(keras.layers.Add()([before, where])))
    model = gm.AutoregressiveModel((4, 4, 1), network, levels=4, num_classes=2)
    np.testing.assert_array_equal(model.sample(3, seed=1), model.sample(3, seed=1, incremental=False))


def test_networks_must_be_functional():
    class Network(keras.Model):
        def call(self, x):
            return tf.tile(x, [1, 1, 1, 4])

    network = Network()
    network(tf.zeros([1, 2, 3, 1]))
    for wrong in (network, lambda x: x, None):
        with pytest.raises(ValueError, match="network"):
            gm.AutoregressiveModel((2, 3, 1), wrong, levels=4)


def test_a_sequential_network():
    network = keras.Sequential([keras.Input((3, 4, 1)), CausalConv2D(8, above=2, left=3, right=3, mask="A")])
    network.add(keras.layers.LayerNormalization())
    network.add(CausalConv2D(4))
    model = randomized(gm.AutoregressiveModel((3, 4, 1), network, levels=4), 0.7)
    np.testing.assert_array_equal(model.sample(5, seed=1), model.sample(5, seed=1, incremental=False))
    assert check_causality(model)["blind"] == 0


def test_a_users_network_is_saved_with_the_model(tmp_path):
    model = random_model("own", (4, 5, 3), 5, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x, labels = images(3, (4, 5, 3), 5), np.array([0, 1, 1])
    np.testing.assert_array_equal(loaded.log_prob(x, labels), model.log_prob(x, labels))
    np.testing.assert_array_equal(loaded.sample(4, seed=2), model.sample(4, seed=2))


# ---------------------------------------------------------------------- wrong settings and data


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn"])
@pytest.mark.parametrize("levels", [None, 1, 2.5])
def test_wrong_levels(name, levels):
    with pytest.raises(ValueError, match="levels"):
        MODELS[name]((4, 4, 1), levels)


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn"])
def test_points_are_refused(name):
    with pytest.raises(ValueError, match="event_shape"):
        MODELS[name]((2,), 4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="temperature"):
        random_model("pixelcnn", (2, 2, 1), 2, None).sample(2, temperature=temperature)


def test_wrong_data():
    model = random_model("pixelcnn", (2, 2, 1), 2, None)
    x = images(2, (2, 2, 1), 2)
    for wrong, words in ((x.astype(np.float32), "integers"), (x + 1, "0 … 1"), (x[:, :1], "shape")):
        with pytest.raises(ValueError, match=words):
            model.log_prob(wrong)
    with pytest.raises(ValueError, match="integer"):
        model.fit(x.astype(np.float32), steps=1, verbose=0)
