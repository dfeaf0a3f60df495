"""DiffAugment against plain loops in NumPy, exact distributions, dense Jacobians, and itself in other modes."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from genmodels.models.gans.augmentation import DiffAugment, get
from genmodels.sampling import Streams, make_seed

DRAWS = {"color": (0, 3), "translation": (1, 2), "cutout": (2, 2)}  # fold and numbers an example
ALL = "color,translation,cutout"
SHAPE = (6, 5, 3)
NUM = 4


def images(num=NUM, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num, *shape))


def streams(num=NUM, start=0, seed=3):
    return Streams(make_seed(seed), start, num)


# ------------------------------------------------------------------------------------------- reference


def one_color(x, u):
    x = x + (u[0] - 0.5)
    mean = x.mean(-1, keepdims=True)
    x = (x - mean) * (2 * u[1]) + mean
    return (x - x.mean()) * (u[2] + 0.5) + x.mean()


def one_translation(x, u):
    most = [int(n / 8 + 0.5) for n in x.shape[:2]]
    down, right = (math.floor(a * (2 * m + 1)) - m for a, m in zip(u, most))
    y = np.zeros_like(x)
    for i, j in np.ndindex(*x.shape[:2]):
        if 0 <= i + down < x.shape[0] and 0 <= j + right < x.shape[1]:
            y[i + down, j + right] = x[i, j]
    return y


def one_cutout(x, u):
    size = [int(n / 2 + 0.5) for n in x.shape[:2]]
    offset = [math.floor(a * (n + (1 - s % 2))) for a, n, s in zip(u, x.shape, size)]
    y = x.copy()
    for i, j in np.ndindex(*size):
        # As the paper's code: what would lie outside falls on the border.
        row, column = (k + o - s // 2 for k, o, s in zip((i, j), offset, size))
        y[min(max(row, 0), x.shape[0] - 1), min(max(column, 0), x.shape[1] - 1)] = 0
    return y


def reference(policy, x, rows):
    y = np.array(x, np.float64)
    for name in policy.split(","):
        fold, num = DRAWS[name]
        u = rows.fold(fold).uniform((num,)).numpy().astype(np.float64)
        y = np.stack([globals()[f"one_{name}"](example, a) for example, a in zip(y, u)])
    return y


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", ALL, "cutout,translation", "translation,color"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (7, 12, 3), (1, 2, 2)])
def test_it_is_the_papers_in_loops(policy, shape):
    x, rows = images(24, shape), streams(24)
    y = DiffAugment(policy)(tf.constant(x), rows).numpy()
    expected = reference(policy, x, rows)
    assert y.dtype == np.float64
    if "color" in policy:
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    else:
        np.testing.assert_array_equal(y, expected)


# ------------------------------------------------------------------------------------------- distributions


def test_color_is_uniform_in_each_part():
    # The means over channels are ±1 or 0, those over images 0: b, s and c can be read off the result.
    pixels = [[[1, 1, 1], [-1, -1, -1]], [[1, 0, -1], [-1, 0, 1]]]
    num = 4000
    y = DiffAugment("color")(tf.constant([pixels] * num, tf.float32), streams(num)).numpy()
    b, c = y.mean((1, 2, 3)), (y[:, 0, 0, 0] - y[:, 0, 1, 0]) / 2
    s = (y[:, 1, 0, 0] - y[:, 1, 0, 2]) / 2 / c
    for value, low, size in ((b, -0.5, 1), (s, 0, 2), (c, 0.5, 1)):
        assert stats.kstest(value, stats.uniform(low, size).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef([b, s, c]) - np.eye(3)).max() < 4.5 / math.sqrt(num)


def test_one_channel_has_no_saturation():
    x = images(NUM, (4, 4, 1))
    y = DiffAugment("color")(tf.constant(x), streams()).numpy()
    scale = y.std((1, 2, 3)) / x.std((1, 2, 3))
    u = streams().fold(0).uniform((3,)).numpy()
    np.testing.assert_allclose(scale, u[:, 2] + 0.5, rtol=1e-6)
    np.testing.assert_allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)) + u[:, 0] - 0.5, atol=1e-6)


def uniform_over(values, counts):
    """Whether the rows of integers are uniform over 0 … count-1 in each column, and jointly."""
    table = np.zeros(counts)
    np.add.at(table, tuple(values.T), 1)
    return table.min() > 0 and stats.chisquare(table.ravel()).pvalue > 1e-3


@pytest.mark.parametrize(("shape", "most"), [((16, 28), (2, 4)), ((11, 20), (1, 3)), ((3, 4), (0, 1))])
def test_every_shift_is_as_likely(shape, most):
    num = 6000
    x = np.zeros((num, *shape, 1), np.float32)
    row, column = shape[0] // 2, shape[1] // 2
    x[:, row, column] = 1
    found = np.argwhere(DiffAugment("translation")(x, streams(num)).numpy())
    assert len(found) == num  # one pixel, from the middle never pushed out
    assert uniform_over(found[:, 1:3] - [row, column] + most, [2 * m + 1 for m in most])


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (9, 8)])
def test_cutouts_are_half_as_large_and_lie_anywhere(shape):
    num = 6000
    cut = DiffAugment("cutout")(np.ones((num, *shape, 1), np.float32), streams(num)).numpy()[..., 0] == 0
    places, counts = [], []
    for axis, n in enumerate(shape):
        size = math.ceil(n / 2)
        line = cut.any(2 - axis)  # [num, n]
        first, last = line.argmax(1), n - 1 - line[:, ::-1].argmax(1)
        inner = (first > 0) & (last < n - 1)
        assert inner.any() and (last - first + 1)[inner].tolist() == [size] * inner.sum()
        assert (last - first + 1).min() >= size // 2 and (last - first + 1).max() == size
        places.append(np.where(first > 0, first, last + 1 - size) + size // 2)
        counts.append(n + 1 - size % 2)
    rectangle = cut.any(2)[:, :, None] & cut.any(1)[:, None, :]
    np.testing.assert_array_equal(cut, rectangle)
    assert uniform_over(np.stack(places, 1), counts)


def test_parts_are_independent():
    u = np.concatenate([streams(4000).fold(fold).uniform((num,)).numpy() for fold, num in DRAWS.values()], 1)
    assert np.abs(np.corrcoef(u.T) - np.eye(7)).max() < 4.5 / math.sqrt(4000)


# ------------------------------------------------------------------------------------------- rows


def test_an_example_does_not_depend_on_the_batch_around_it():
    x = images(12).astype(np.float32)
    for policy in (ALL, "translation,cutout"):
        whole = DiffAugment(policy)(x, streams(12)).numpy()
        assert (DiffAugment(policy)(x, streams(12)).numpy() == whole).all()
        part = DiffAugment(policy)(x[4:6], streams(2, start=4)).numpy()
        np.testing.assert_allclose(part, whole[4:6], rtol=0, atol=1e-6 if "color" in policy else 0)
    same = DiffAugment()(np.repeat(x[:1], 12, 0), streams(12)).numpy()
    assert len({row.tobytes() for row in same}) == 12
    assert not (DiffAugment()(x, streams(12, seed=4)).numpy() == whole).all()


# ------------------------------------------------------------------------------------------- gradients


@pytest.fixture(scope="module")
def jacobian():
    """A and a of the augmentation A x + a: [B, D, D] and [B, D], from the reference at the unit vectors."""
    size = math.prod(SHAPE)
    offset = reference(ALL, np.zeros((NUM, *SHAPE)), streams()).reshape(NUM, size)
    units = np.eye(size).reshape(size, *SHAPE)
    columns = [reference(ALL, np.stack([unit] * NUM), streams()).reshape(NUM, size) - offset for unit in units]
    return np.stack(columns, 2), offset


def derivatives(x, v, rows):
    """The augmented images y, the gradient g of v · y³ / 3, and the gradient of ‖g‖², a penalty."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = DiffAugment()(x, rows)
            value = tf.reduce_sum(v * y**3) / 3
        slope = inner.gradient(value, x)
        penalty = tf.reduce_sum(slope**2)
    return y, slope, outer.gradient(penalty, x)


def test_gradients_of_first_and_second_order(jacobian):
    matrix, offset = jacobian
    x, v = images(), images(seed=1)
    _, slope, second = derivatives(tf.constant(x), tf.constant(v), streams())
    flat, v = x.reshape(NUM, -1), v.reshape(NUM, -1)
    y = np.einsum("bij,bj->bi", matrix, flat) + offset
    g = np.einsum("bij,bi->bj", matrix, v * y**2)
    np.testing.assert_allclose(slope.numpy().reshape(NUM, -1), g, atol=1e-12)
    # d‖g‖²/dx = 2 Aᵀ (2 v y (A g))
    h = np.einsum("bij,bi->bj", matrix, 4 * v * y * np.einsum("bij,bj->bi", matrix, g))
    np.testing.assert_allclose(second.numpy().reshape(NUM, -1), h, atol=1e-11)
    assert np.abs(h).min(0).max() > 1e-3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_is_eager(jit_compile):
    images_of_any_number = tf.TensorSpec([None, *SHAPE])

    @tf.function(jit_compile=jit_compile, input_signature=[images_of_any_number] * 2 + [tf.TensorSpec([2], tf.int32)])
    def compiled(x, v, seed):
        rows = Streams(seed, 5, tf.shape(x)[0])
        moved = DiffAugment("translation,cutout")(x, rows)
        return moved, *derivatives(x, v, rows)

    for num in (NUM, 7):
        x, v = tf.constant(images(num), tf.float32), tf.constant(images(num, seed=1), tf.float32)
        rows = streams(num, start=5)
        moved, *found = compiled(x, v, rows.seed)
        np.testing.assert_array_equal(moved, DiffAugment("translation,cutout")(x, rows))
        np.testing.assert_array_equal(moved, reference("translation,cutout", x, rows))
        for a, b in zip(found, derivatives(x, v, rows)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_kept(dtype):
    x = tf.cast(images(), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = DiffAugment()(x, streams())
    assert y.dtype == dtype and tape.gradient(y, x).dtype == dtype
    wide = tf.cast(x, tf.float32)
    ulp = {"bfloat16": 2**-8, "float16": 2**-11}[dtype]
    np.testing.assert_allclose(tf.cast(y, tf.float32), DiffAugment()(wide, streams()), rtol=0, atol=8 * ulp)
    moved = DiffAugment("translation,cutout")
    np.testing.assert_array_equal(tf.cast(moved(x, streams()), tf.float32), moved(wide, streams()))


# ------------------------------------------------------------------------------------------- files and errors


def test_it_is_saved_as_its_policy():
    augment = DiffAugment("cutout,color")
    text = json.dumps(keras.saving.serialize_keras_object(augment))
    assert keras.saving.deserialize_keras_object(json.loads(text)) == augment
    assert DiffAugment.from_config(augment.get_config()) == augment != DiffAugment()
    assert DiffAugment().policy == ALL


@pytest.mark.parametrize("policy", ["", "colour", "color,color", "color,", "color, cutout", None, ("color",)])
def test_unknown_policies_are_refused(policy):
    with pytest.raises(ValueError, match=r"some of color, translation, cutout, each once, .* got"):
        DiffAugment(policy)


REFUSED = r"needs images of floats, \[batch, height, width, channels\]; got shape"


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), "float32"), ((3, 4, 4), "float32"), ((3, 4, 4, 1), "uint8")])
def test_what_are_no_images_of_floats_is_refused(shape, dtype):
    with pytest.raises(ValueError, match=REFUSED):
        DiffAugment()(np.zeros(shape, dtype), streams(3))


def test_images_of_unknown_size_are_refused():
    function = tf.function(lambda x: DiffAugment()(x, streams(3)))
    with pytest.raises(ValueError, match=REFUSED):
        function.get_concrete_function(tf.TensorSpec([3, None, 4, 1]))


@pytest.mark.parametrize("num", [1, 2])
def test_each_example_needs_a_stream(num):
    with pytest.raises(ValueError, match=f"a stream for each of 3 examples; got {num}"):
        DiffAugment()(tf.zeros([3, 4, 4, 1]), streams(num))


class Saved:
    """A user's augmentation that Keras can save, but not load."""

    def __call__(self, x, streams):
        return x

    def get_config(self):
        return {}


class Own(Saved):
    """One that it can."""

    @classmethod
    def from_config(cls, config):
        return cls()


def test_get():
    assert get(None) is None
    assert get("color,cutout") == DiffAugment("color,cutout")
    for augment in (DiffAugment("cutout"), Own()):
        assert get(augment) is augment
    for refused in (0, True, [], lambda x, streams: x, DiffAugment, Saved()):
        with pytest.raises(ValueError, match=r"`augment` must be None, a policy such as .* got"):
            get(refused)
    with pytest.raises(ValueError, match="some of color"):
        get("blur")
