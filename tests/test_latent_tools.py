"""Tools of latents: linear decoders, whose answers NumPy knows in float64, and the layouts of scikit-learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from scipy import stats
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import genmodels as gm
from genmodels.latent import (
    apply_attribute,
    arithmetic,
    attribute_vector,
    embed_2d,
    encodings,
    interpolate,
    manifold,
    mean_latent,
    project,
    traverse,
    walk,
)


class Linear(gm.LatentModel):
    """decode(z) = W z + label, W square: its encoder is the inverse."""

    def __init__(self, shape=(4,), scales=None, **options):
        super().__init__(shape, levels=None, **options)
        self.latent_shape, size = shape, int(np.prod(shape))
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
        self.weights64 = turn * (np.linspace(1.0, 2.0, size) if scales is None else scales)  # [elements, latents]
        self.calls = []

    def decode(self, z, labels=None):
        shift = self.shift(labels, len(z))
        self.calls.append(len(z))
        x = tf.reshape(z, [len(z), -1]) @ tf.constant(self.weights64.T, tf.float32) + shift
        return tf.reshape(x, [len(z), *self.event_shape])

    def shift(self, labels, num):
        labels = self._labels(labels, num)
        return 0.0 if labels is None else tf.cast(labels, tf.float32)[:, None]

    def truth(self, z, label=0.0):
        """`decode` in float64."""
        z = np.asarray(z, np.float64)
        lead = z.shape[: z.ndim - len(self.latent_shape)]
        return (z.reshape(*lead, -1) @ self.weights64.T + label).reshape(*lead, *self.event_shape)


class Invertible(Linear):
    def encode(self, x, labels=None):
        x, labels = self._examples(x, labels)
        self.calls.append(len(x))
        x = tf.reshape(tf.cast(x, tf.float32), [len(x), -1]) - self.shift(labels, len(x))
        return tf.reshape(x @ tf.constant(np.linalg.inv(self.weights64).T, tf.float32), [-1, *self.latent_shape])


class UniformCodes(Linear):
    def latents(self, streams):
        return tf.concat([streams.normal((3,)), 2.0 * streams.fold(1).uniform((1,)) - 1.0], 1)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- paths


def test_a_walk_passes_its_keyframes_once():
    model, z = Linear(), toys.values(3, 4)
    frames = walk(model, z, steps=3, method="lerp")
    close(frames, model.truth([z[0], (z[0] + z[1]) / 2, z[1], (z[1] + z[2]) / 2, z[2]]))
    closed = walk(model, z, steps=3, method="lerp", closed=True)
    close(closed, np.concatenate([frames, model.truth((z[2:] + z[:1]) / 2)]))


@pytest.mark.parametrize("method", ["auto", "slerp"])
def test_a_walk_between_two_is_an_interpolation(method):
    model, z = Linear((4, 4, 1)), toys.values(2, 4, 4, 1)
    close(walk(model, z, steps=5, method=method), interpolate(model, z[:1], z[1:], steps=5, method=method)[0])


def test_a_label_holds_for_all_that_is_decoded():
    model = Linear(num_classes=3)
    z = toys.values(2, 4)
    close(walk(model, z, steps=3, method="lerp", labels=2), model.truth([z[0], z.mean(0), z[1]], 2))
    close(arithmetic(model, z, z, z, labels=1), model.truth(z.mean(0), 1))
    close(traverse(model, z[0], axes=[1], steps=2, labels=2)[0][0], model.truth(moved(z[0], 1, [-3.0, 3.0]), 2))
    close(manifold(model, 2, labels=2)[0, 0, 0], manifold(Linear(), 2)[0, 0, 0] + 2)


# ---------------------------------------------------------------------- examples


def test_examples_are_encoded_in_even_batches():
    model, x = Invertible(num_classes=3), toys.values(10, 4)
    labels = np.arange(10) % 3
    z = encodings(model, x, labels, batch_size=4)
    assert model.calls == [4, 4, 4]
    close(z, np.linalg.solve(model.weights64, (x - labels[:, None]).T).T)


def test_a_model_without_an_encoder_is_searched():
    model, x = Linear(), toys.values(3, 4)
    np.testing.assert_array_equal(encodings(model, x, seed=5), project(model, x, seed=5))


def test_attributes_are_differences_of_means():
    model, x, y = Invertible((2, 2, 1), num_classes=2), toys.values(7, 2, 2, 1), toys.values(5, 2, 2, 1, seed=1)
    ones = np.ones(5, int)
    inverse = np.linalg.inv(model.weights64)
    having, lacking = inverse @ x.mean(0).ravel(), inverse @ (y.mean(0).ravel() - 1)
    close(mean_latent(model, y, ones), lacking.reshape(2, 2, 1))
    vector = attribute_vector(model, x, y, labels_with=np.zeros(7, int), labels_without=ones)
    close(vector, (having - lacking).reshape(2, 2, 1))
    frames = apply_attribute(model, y, vector, strengths=(-1.0, 0.0, 2.0), labels=ones)
    assert frames.shape == (5, 3, 2, 2, 1)
    added = model.weights64 @ (having - lacking)
    for i, strength in enumerate((-1.0, 0.0, 2.0)):
        close(frames[:, i], y + strength * added.reshape(2, 2, 1))


def test_arithmetic_of_means():
    model, a, b, c = Linear(), toys.values(3, 4), toys.values(5, 4, seed=1), toys.values(2, 4, seed=2)
    close(arithmetic(model, a, b, c), model.truth(a.mean(0) - b.mean(0) + c.mean(0)))


# ---------------------------------------------------------------------- planes and lines


@pytest.mark.parametrize(("shape", "axes"), [((2,), (0, 1)), ((3, 3, 1), (7, 2))])
def test_the_manifold_is_even_in_probability(shape, axes):
    model = Linear(shape)
    quantiles = stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    z = np.zeros([5, 5, np.prod(shape)])
    z[..., axes[1]], z[..., axes[0]] = np.meshgrid(quantiles, quantiles, indexing="ij")
    close(manifold(model, 5, axes=axes, tail=0.1), model.truth(z.reshape(5, 5, *shape)))


def test_a_manifold_refuses_codes_that_are_not_normal():
    assert manifold(UniformCodes(), 3, axes=(0, 2)).shape == (3, 3, 4)
    with pytest.raises(ValueError, match="dimension 3 of UniformCodes is not standard normal"):
        manifold(UniformCodes(), 3, axes=(0, 3))


def moved(z, axis, values):
    frames = np.repeat(np.reshape(z, [1, -1]), len(values), 0)
    frames[:, axis] = values
    return frames


def test_traversals_are_sorted_by_their_effect():
    scales = [0.5, 3.0, 1.0, 2.0]
    model, z = Linear(scales=scales), toys.values(4)
    frames, axes, effects = traverse(model, z, steps=5, span=2.0, num=3)
    # Turned columns of length s: |s (±2 - z)|² over 4 elements, the mean of both signs.
    expected = np.square(scales) * (4 + z**2) / 4
    order = np.argsort(-expected)[:3]
    np.testing.assert_array_equal(axes, order)
    close(effects, expected[order])
    for walked, axis in zip(frames, order):
        close(walked, model.truth(moved(z, axis, np.linspace(-2, 2, 5))))


def test_traversal_of_chosen_dimensions_of_a_picture():
    model, z = Linear((3, 3, 1)), toys.values(3, 3, 1)
    frames, axes, effects = traverse(model, z, axes=(8, 4), steps=2, num=5)
    assert sorted(axes) == [4, 8] and frames.shape == (2, 2, 3, 3, 1) and effects[0] >= effects[1]
    close(frames[1], model.truth(moved(z, axes[1], [-3.0, 3.0]).reshape(2, 3, 3, 1)))


def test_many_dimensions_are_decoded_in_batches():
    model = Linear((28, 28, 1))
    frames, axes, _ = traverse(model, np.zeros([28, 28, 1]), steps=3, num=2)
    np.testing.assert_array_equal(axes, [783, 782])  # the scales rise
    assert frames.shape == (2, 3, 28, 28, 1)
    assert max(model.calls) <= 256 and len(model.calls) <= 10


# ---------------------------------------------------------------------- layouts


def test_principal_components_are_those_of_scikit_learn():
    features = np.random.default_rng(0).normal(size=(40, 5)) @ np.diag([1.0, 4.0, 0.5, 2.0, 1.0]) + 3.0
    close(embed_2d(features), PCA(2, svd_solver="full").fit_transform(features))
    close(embed_2d(features.reshape(40, 5, 1)), embed_2d(features))


def test_tsne_keeps_neighbours():
    features, labels = make_blobs(90, 20, centers=3, random_state=0)
    plane = embed_2d(features, "tsne", seed=1)
    nearest = NearestNeighbors(n_neighbors=2).fit(plane).kneighbors(plane, return_distance=False)[:, 1]
    assert plane.shape == (90, 2) and (labels[nearest] == labels).mean() > 0.95
    np.testing.assert_array_equal(plane, embed_2d(features, "tsne", seed=1))


# ---------------------------------------------------------------------- refusals

Z = np.zeros([2, 4], np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: walk(m, Z[:1]), "at least 2 latents; got 1"),
        (lambda m: walk(m, Z[:, :3]), r"`keyframes` must be latents of shape \[batch, 4\]; got \[2, 3\]"),
        (lambda m: walk(m, Z, steps=1), "`steps` must be an integer ≥ 2; got 1"),
        (lambda m: walk(m, Z, labels=1), "`labels` were given"),
        (lambda m: encodings(m, Z[:, :3]), r"examples must have shape \[batch, 4\]; got \[2, 3\]"),
        (lambda m: encodings(m, Z, [1]), r"`labels` must be 2, one an example; got \[1\]"),
        (lambda m: encodings(m, Z, batch_size=0), "`batch_size` must be an integer ≥ 1; got 0"),
        (lambda m: apply_attribute(m, Z, Z), r"`vector` must be latents of shape \[batch, 4\]; got \[1, 2, 4\]"),
        (lambda m: apply_attribute(m, Z, Z[0], strengths=1.0), "`strengths` must be finite numbers"),
        (lambda m: apply_attribute(m, Z, Z[0], strengths=(np.nan,)), "`strengths` must be finite numbers"),
        (lambda m: arithmetic(m, Z, Z[:0], Z), r"`b` must be latents of shape \[batch, 4\]; got \[0, 4\]"),
        (lambda m: manifold(m, 1), "`num` must be an integer ≥ 2; got 1"),
        (lambda m: manifold(m, axes=(1, 1)), r"different dimensions of the latent, from 0 to 3; got \[1, 1\]"),
        (lambda m: manifold(m, axes=(0, 4)), "different dimensions of the latent, from 0 to 3"),
        (lambda m: manifold(m, axes=0), r"two dimensions of the latent; got \[0\]"),
        (lambda m: manifold(m, tail=0.5), "`tail` must be above 0 and below 0.5; got 0.5"),
        (lambda m: traverse(m, Z), r"`z` must be latents of shape \[batch, 4\]; got \[1, 2, 4\]"),
        (lambda m: traverse(m, Z[0], axes=[0, 0]), "different dimensions of the latent, from 0 to 3"),
        (lambda m: traverse(m, Z[0], axes=[0.5]), r"from 0 to 3; got \[0.5\]"),
        (lambda m: traverse(m, Z[0], axes=[]), "different dimensions of the latent"),
        (lambda m: traverse(m, Z[0], axes=[-1]), r"different dimensions of the latent, from 0 to 3; got \[-1\]"),
        (lambda m: traverse(m, Z[0], span=0.0), "`span` must be a finite number above 0; got 0.0"),
        (lambda m: traverse(m, Z[0], num=0), "`num` must be an integer ≥ 1; got 0"),
        (lambda m: embed_2d(Z), r"N of at least 3 and F of at least 2; got \(2, 4\)"),
        (lambda m: embed_2d(np.full([3, 2], np.inf)), "`features` must be finite"),
        (lambda m: embed_2d(np.zeros([3, 2]), "umap"), '`method` must be "pca" or "tsne"; got \'umap\''),
    ],
)
def test_wrong_input_is_refused_before_any_work(call, words):
    model = Invertible()
    with pytest.raises(ValueError, match=words):
        call(model)
    assert not model.calls


@pytest.mark.parametrize(
    "call",
    [
        lambda m: walk(m, Z),
        lambda m: arithmetic(m, Z, Z, Z),
        lambda m: manifold(m, 2),
        lambda m: traverse(m, Z[0]),
        lambda m: walk(m, Z, labels=[1, 2]),
    ],
)
def test_a_conditional_model_asks_for_one_label(call):
    model = Invertible(num_classes=3)
    with pytest.raises(ValueError, match="`labels` must be one class for all that is decoded"):
        call(model)
    assert not model.calls


def test_vectors_condition_as_classes_do():
    class Conditioned(Linear):
        condition_dim = 4

        def shift(self, labels, num):
            return self._labels(labels, num)

    model, z, vector = Conditioned(), toys.values(2, 4), np.arange(4.0)
    close(walk(model, z, steps=2, labels=vector), model.truth(z, vector))
    with pytest.raises(ValueError, match=r"one condition vector \[4\]"):
        walk(model, z, labels=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: walk(m, Z),
        lambda m: encodings(m, Z),
        lambda m: arithmetic(m, Z, Z, Z),
        lambda m: apply_attribute(m, Z, Z[0]),
        lambda m: manifold(m),
        lambda m: traverse(m, Z[0]),
        lambda m: interpolate(m, Z, Z),
    ],
)
def test_a_model_without_latents_is_told_which_have_them(call):
    with pytest.raises(ValueError, match=r"Mean has no latents.*Autoencoders, GANs, normalizing flows and diffusion"):
        call(toys.Mean())


# ---------------------------------------------------------------------- the way of diffusion


def test_a_trajectory_takes_ddim_steps_and_ends_at_the_sample():
    model = gm.EDM((2,), levels=None, width=16)
    noisy, estimates = gm.diffusion.trajectory(model, 3, steps=4, seed=7)
    close(noisy[:, -1], model.sample(3, solver="ddim", steps=4, seed=7))
    alphas, sigmas = model.grid(4)
    close(noisy[:, 0], sigmas[0] * model.prior(3, seed=7).numpy())
    x, d = noisy.numpy().astype(np.float64), estimates.numpy().astype(np.float64)
    for i in range(4):
        noise = (x[:, i] - alphas[i] * d[:, i]) / sigmas[i]
        close(x[:, i + 1], alphas[i + 1] * d[:, i] + sigmas[i + 1] * noise)


def test_a_trajectory_of_images_takes_labels_and_guidance():
    model = gm.DDPM((4, 4, 1), levels=17, num_classes=3, denoiser=dense_denoiser((4, 4, 1), 3))
    options = {"labels": [2, 0, 2], "steps": 5, "guidance": 2.0, "seed": 1}
    noisy, estimates = gm.diffusion.trajectory(model, 3, **options)
    assert noisy.shape == (3, 6, 4, 4, 1) and estimates.shape == (3, 5, 4, 4, 1)
    sample = model.sample(3, solver="ddim", **options).numpy()
    assert np.abs(noisy[:, -1] - sample).max() < 0.501  # rounded
    assert estimates.numpy().min() >= 0 and estimates.numpy().max() <= 16
    assert np.abs(gm.diffusion.trajectory(model, 3, **{**options, "guidance": 1.0})[0] - noisy).max() > 0.1


def dense_denoiser(shape, classes):
    layers = keras.layers
    x, t, label = keras.Input(shape), keras.Input(()), keras.Input((classes,))
    flat = layers.Concatenate()([layers.Flatten()(x), layers.Reshape((1,))(t), label])
    return keras.Model([x, t, label], layers.Reshape(shape)(layers.Dense(int(np.prod(shape)))(flat)))


def test_a_trajectory_refuses_other_families_and_settings():
    with pytest.raises(ValueError, match="Mean does not sample by removing noise from examples; diffusion models do"):
        gm.diffusion.trajectory(toys.Mean(), 2)
    model = gm.EDM((2,), levels=None, width=16)
    for options, words in (({"steps": 0}, "`steps`"), ({"guidance": 2.0}, "labels"), ({"labels": 1}, "num_classes")):
        with pytest.raises(ValueError, match=words):
            gm.diffusion.trajectory(model, 2, **options)
