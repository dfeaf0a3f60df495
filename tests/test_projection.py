"""The search for latents: against least squares, on decoders with known latents, and through `interpolate_examples`."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from toys import ToyWGAN

import genmodels as gm
from genmodels.latent import interpolate, interpolate_examples, project


class Decoder(gm.LatentModel):
    """A model that only decodes, by a function of latents and labels."""

    def __init__(self, event_shape, latent_shape, function, levels=None, **options):
        super().__init__(event_shape, levels=levels, **options)
        self.latent_shape, self.function = latent_shape, function

    def decode(self, z, labels=None):
        return self.function(z, self._labels(labels, z.shape[0]))


def linear(rows=6, columns=3, seed=0):
    a = np.random.default_rng(seed).normal(size=[rows, columns]).astype(np.float32)
    b = np.linspace(-1, 1, rows, dtype=np.float32)
    return Decoder((rows,), (columns,), lambda z, labels: tf.matmul(z, a, transpose_b=True) + b), a, b


def bumpy():
    """A valley with local minima in one dimension: 2 sin 4z, and 0.3 z that tells its periods apart."""
    return Decoder((2,), (1,), lambda z, labels: tf.concat([2 * tf.sin(4 * z), 0.3 * z], 1))


def distances(model, z, x, labels=None):
    x = np.asarray(x, np.float32)
    return np.mean((model.decode(z, labels).numpy() - x) ** 2, axis=tuple(range(1, x.ndim)))


def test_a_linear_decoder_is_projected_to_least_squares():
    model, a, b = linear()
    x = np.random.default_rng(1).normal(size=[5, 6]).astype(np.float32)
    z = project(model, x, steps=600, starts=2)
    expected = np.linalg.lstsq(a.astype(np.float64), (x - b).T.astype(np.float64), rcond=None)[0].T
    assert (z.shape, z.dtype) == ([5, 3], tf.float32)
    assert 1 < np.abs(expected).max() < 5  # where the prior may be left, but not by far
    # A minimum is known to the root of the rounding of its value: √(6e-8 · 1 / λ), λ = 0.04 the least curvature.
    np.testing.assert_allclose(z, expected, atol=3e-3)


def test_the_rate_falls_as_a_cosine_over_the_last_quarter():
    model = Decoder((1,), (1,), lambda z, labels: z)
    x = np.float32([[1e4], [-1e4]])  # so far that the gradient is constant: Adam moves by the rate at each step
    options = {"starts": 1, "learning_rate": 0.1}
    moved = project(model, x, steps=20, **options) - project(model, x, steps=1, **options)
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(4) / 5))
    expected = 15 * 0.1 + np.sum(falling)  # the twentieth latent is 19 moves away
    np.testing.assert_allclose(moved, [[expected], [-expected]], rtol=1e-3)


@pytest.fixture(scope="module")
def images():
    """A random decoder of latents [2, 3] to images of integers, and images that it decodes, unrounded."""
    decoder = gm.networks.mlp((6,), (5, 5, 1), widths=(32,), name="decoder")
    function = lambda z, labels: 255 * tf.sigmoid(decoder(tf.reshape(z, [-1, 6])))  # noqa: E731
    model = Decoder((5, 5, 1), (2, 3), function, levels=256)
    return model, model.decode(model.prior(5, seed=9))


def test_a_decoded_latent_is_found_again(images):
    model, decoded = images
    x = tf.cast(tf.round(decoded), tf.uint8)
    z = project(model, x)
    assert z.shape == [5, 2, 3]
    # As near as the latent that was decoded: within the rounding of pixels, of variance 1/12.
    assert (distances(model, z, x) <= distances(model, model.prior(5, seed=9), x) + 1e-3).all()
    assert np.mean((decoded[::-1] - decoded) ** 2) > 100


def test_more_starts_are_never_worse_and_here_better():
    model = bumpy()
    x = model.decode(model.prior(16, seed=3)).numpy()
    reached = [distances(model, project(model, x, starts=starts, steps=150), x) for starts in (1, 2, 6)]
    for few, more in itertools.pairwise(reached):
        assert (more <= few + 1e-7).all()
    assert reached[0].max() > 0.05 > 10 * reached[-1].mean()


def test_the_same_seed_gives_the_same_whatever_the_batch(images):
    model, decoded = images
    x = tf.cast(decoded, tf.uint8)
    options = {"steps": 40, "starts": 2, "seed": 3}
    whole = project(model, x, **options)
    np.testing.assert_array_equal(whole, project(model, x, **options))
    np.testing.assert_allclose(project(model, x, **options, batch_size=2), whole, atol=1e-4)
    np.testing.assert_allclose(project(model, x[:1], **options), whole[:1], atol=1e-4)
    assert np.abs(whole - project(model, x, **{**options, "seed": 4})).max() > 0.01


def test_the_nearest_latent_ever_visited_is_kept():
    model = bumpy()
    x = model.decode(model.prior(8, seed=3)).numpy()
    start = project(model, x, steps=1, starts=1)  # the draws themselves
    far = project(model, x, steps=60, starts=1, learning_rate=50.0)
    assert (distances(model, far, x) <= distances(model, start, x)).all()
    with pytest.raises(ValueError, match="never finite"):
        project(model, np.full([2, 2], np.nan))


def test_steps_that_become_nan_lose_nothing():
    model = Decoder((1,), (1,), lambda z, labels: tf.sqrt(z + 3.5))  # not a number below −3.5
    z = project(model, [[0.0]], steps=50, learning_rate=2.0)
    assert -3.5 <= z.numpy()[0, 0] < 0


def test_classes_and_vectors_reach_the_decoder():
    by_class = Decoder((1,), (1,), lambda z, y: z + 10.0 * tf.cast(y, tf.float32)[:, None], num_classes=3)
    z = project(by_class, [[20.5], [0.25], [10.75]], [2, 0, 1], batch_size=2, starts=2)
    np.testing.assert_allclose(z, [[0.5], [0.25], [0.75]], atol=1e-3)
    by_vector = Decoder((1,), (1,), lambda z, c: z + c[:, :1] * c[:, 1:])
    by_vector.condition_dim = 2
    z = project(by_vector, [[6.5], [20.25], [0.75]], [[2.0, 3.0], [4.0, 5.0], [6.0, 0.0]], batch_size=2, starts=2)
    np.testing.assert_allclose(z, [[0.5], [0.25], [0.75]], atol=1e-3)


def test_a_batch_size_costs_no_trace():
    traces = []
    model = Decoder((1,), (1,), lambda z, labels: traces.append(z.shape) or 2 * z)
    z = project(model, np.arange(7.0)[:, None] / 7, steps=100, starts=3, batch_size=2)
    np.testing.assert_allclose(z, np.arange(7.0)[:, None] / 14, atol=1e-3)
    assert len(traces) == 1


class Halves:
    """Anything that decodes latents of a prior will do."""

    latent_shape = event_shape = (2,)

    def latents(self, streams):
        return streams.uniform((2,))

    def prior(self, num, seed=0):
        return tf.zeros([num, 2])

    def decode(self, z, labels=None):
        return 2 * z if labels is None else 2 * z + tf.cast(labels, tf.float32)[:, None]


def test_a_model_need_not_be_of_ours():
    np.testing.assert_allclose(project(Halves(), [[1.0, -3.0]]), [[0.5, -1.5]], atol=1e-3)
    np.testing.assert_allclose(project(Halves(), [[1.0, -3.0]], [4]), [[-1.5, -3.5]], atol=1e-3)


@pytest.mark.parametrize("labels", [None, [1, 4, 0]])
def test_examples_are_interpolated_without_an_encoder(labels):
    x_start, x_end = np.random.default_rng(0).normal(size=[2, 3, 2]).astype(np.float32)
    frames = interpolate_examples(Halves(), x_start, x_end, steps=3, method="lerp", labels=labels)
    np.testing.assert_allclose(frames, np.stack([x_start, (x_start + x_end) / 2, x_end], 1), atol=1e-2)


def test_a_gan_walks_between_examples_and_the_seed_is_that_of_the_search():
    model = ToyWGAN()
    x = model.decode(model.prior(4, seed=5))
    z = project(model, x, seed=7)
    frames = interpolate_examples(model, x[:2], x[2:], steps=4, seed=7)
    np.testing.assert_allclose(frames, interpolate(model, z[:2], z[2:], steps=4), atol=1e-4)
    np.testing.assert_allclose(frames[:, 0], x[:2], atol=1e-2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": gm.PixelCNN((4, 4, 1), levels=2, filters=2, blocks=1)}, "PixelCNN has no latents to search"),
        ({"x": np.zeros([2, 4])}, r"examples must have shape \('batch', 2\); got \(2, 4\)"),
        ({"model": Halves(), "x": np.zeros([2, 4])}, r"examples must have shape \('batch', 2\); got \(2, 4\)"),
        ({"model": Halves(), "labels": [1]}, r"`labels` must be 3, one an example; got shape \(1,\)"),
        ({"labels": [0, 1, 2]}, "`labels` were given"),
        ({"steps": 0}, "`steps` must be an integer ≥ 1; got 0"),
        ({"starts": 1.0}, "`starts` must be an integer ≥ 1; got 1.0"),
        ({"batch_size": 0}, "`batch_size` must be an integer ≥ 1 or None; got 0"),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0; got 0"),
        ({"seed": -1}, "`seed` must be"),
        ({"model": Decoder((2,), (1,), lambda z, labels: tf.zeros([z.shape[0], 2]))}, "must be differentiable"),
    ],
)
def test_wrong_input_is_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        project(**{"model": bumpy(), "x": np.zeros([3, 2], np.float32), **options})
