"""Latent diffusion: the parts it is made of say what it must do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.core import Batch
from genmodels.sampling import make_seed


@keras.saving.register_keras_serializable(package="tests")
class Linear(gm.LatentModel):
    """An autoencoder of points without parameters: z = x A + b, and back."""

    MATRIX, OFFSET = np.array([[2.0, 1.0], [0.0, 3.0]], np.float32), np.array([5.0, -1.0], np.float32)

    def __init__(self, event_shape=(2,), num_classes=None):
        super().__init__(event_shape, levels=None, num_classes=num_classes)
        self.latent_shape = (2,)

    def objectives(self):
        return ()

    def encode(self, x, labels=None):
        shift = 0.0 if labels is None else tf.cast(labels, tf.float32)[:, None]
        return x @ self.MATRIX + self.OFFSET + shift

    def decode(self, z, labels=None):
        shift = 0.0 if labels is None else tf.cast(labels, tf.float32)[:, None]
        return (z - self.OFFSET - shift) @ np.linalg.inv(self.MATRIX)


def denoiser(num_classes=None, scale=0.0):
    """A linear denoiser of x and label; by default it gives zeros.

    Of v, in a variance-preserving schedule, zero is the best there is for N(0, I).
    """
    x, t = keras.Input((2,)), keras.Input(())
    labels = [] if num_classes is None else [keras.Input((num_classes,))]
    weights = keras.initializers.RandomNormal(stddev=scale, seed=3)
    y = keras.layers.Dense(2, kernel_initializer=weights)(keras.layers.Concatenate()([x, *labels]))
    return keras.Model([x, t, *labels], y)


def on_points(num_classes=None, scale=0.0, **options):
    network = denoiser(num_classes, scale)
    diffusion = gm.Diffusion((2,), levels=None, denoiser=network, num_classes=num_classes, **options)
    return gm.LatentDiffusion(Linear(num_classes=num_classes), diffusion)


def test_the_first_batch_sets_the_units_and_later_ones_do_not():
    x, labels = toys.points(512), np.arange(512) % 3
    model = on_points(3)
    batches = iter(gm.data.batches(gm.Dataset(x, labels, levels=None), 64, seed=4))
    first, its_labels = (part.numpy().astype(np.float64) for part in next(batches))
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(x, labels, batch_size=64, steps=3, seed=4, verbose=0)
    codes = first @ Linear.MATRIX + Linear.OFFSET + its_labels[:, None]
    np.testing.assert_allclose(model.units.mean.numpy(), codes.mean(0), rtol=1e-5)
    deviation = np.sqrt(np.mean((codes - codes.mean(0)) ** 2))
    assert float(model.units.deviation.numpy()) == pytest.approx(deviation, rel=1e-5)


def test_units_wait_for_codes_that_vary():
    model = on_points()
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(np.ones((64, 2), np.float32), batch_size=64, steps=1, verbose=0)
    assert float(model.units.deviation.numpy()) == 1.0 and not model.units.mean.numpy().any()
    model.fit(toys.points(64), batch_size=64, steps=1, verbose=0)
    assert float(model.units.deviation.numpy()) > 1.5 and model.units.mean.numpy().all()


def set_units(model):
    model.units.mean.assign([3.0, -2.0])
    model.units.deviation.assign(4.0)
    model.units.known.assign(1)


def test_the_best_denoiser_of_standard_codes_gives_samples_of_their_distribution():
    model = on_points(solver="heun", steps=10)
    set_units(model)
    samples = model.sample(20_000, seed=1).numpy().astype(np.float64)
    back = np.linalg.inv(Linear.MATRIX.astype(np.float64))
    mean = (np.array([3.0, -2.0]) - Linear.OFFSET) @ back
    covariance = 16.0 * back.T @ back
    np.testing.assert_allclose(samples.mean(0), mean, atol=5 * np.sqrt(np.diag(covariance).max() / 20_000))
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.05 * covariance.max())


def test_samples_are_those_of_the_diffusion_model_decoded():
    model = on_points(3, scale=0.3, steps=4)
    set_units(model)
    labels = np.array([2, 2, 0, 1, 1, 0, 2, 1, 0, 0])
    options = {"labels": labels, "guidance": 2.5, "steps": 3, "solver": "heun", "churn": 5.0, "spacing": "quadratic"}
    codes = 4.0 * model.diffusion.sample(10, seed=2, **options).numpy() + [3.0, -2.0]
    expected = (codes - Linear.OFFSET - labels[:, None]) @ np.linalg.inv(Linear.MATRIX)
    np.testing.assert_allclose(model.sample(10, seed=2, **options), expected, rtol=1e-4, atol=1e-5)
    for changed in ({"labels": 1}, {"guidance": 1.0}, {"churn": 0.0}, {"spacing": "uniform"}):
        assert not np.allclose(model.sample(10, seed=2, **{**options, **changed}), expected, rtol=1e-3)
    z = model.prior(10, seed=5)
    codes = 4.0 * model.diffusion.decode(z, labels, steps=7).numpy() + [3.0, -2.0]
    expected = (codes - Linear.OFFSET - labels[:, None]) @ np.linalg.inv(Linear.MATRIX)
    np.testing.assert_allclose(model.decode(z, labels, steps=7), expected, rtol=1e-4, atol=1e-5)


def test_encoding_is_undone_by_decoding():
    model, x, labels = on_points(3, scale=0.3), toys.points(50), (np.arange(50) // 7) % 3
    set_units(model)
    codes = (x @ Linear.MATRIX + Linear.OFFSET + labels[:, None] - [3.0, -2.0]) / 4.0
    z = model.encode(x, labels)
    np.testing.assert_allclose(z, model.diffusion.encode(codes.astype(np.float32), labels), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.decode(z, labels), x, rtol=1e-2, atol=1e-2)


def test_the_loss_is_the_diffusion_models_of_codes_in_its_units():
    model = on_points(3, scale=0.3)
    set_units(model)
    x, labels = tf.constant(toys.points(40)), (tf.range(40) // 7) % 3
    codes = (x @ Linear.MATRIX + Linear.OFFSET + tf.cast(labels, tf.float32)[:, None] - [3.0, -2.0]) / 4.0
    (own,), (inner,) = model.objectives(), model.diffusion.objectives()
    for training in (False, True):
        loss, metrics = own.loss(Batch(x, labels), make_seed(7), training)
        expected, others = inner.loss(Batch(codes, labels), make_seed(7), training)
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        assert set(metrics) == set(others)
    other, _ = own.loss(Batch(x, 2 - labels), make_seed(7), False)
    assert abs(float(other) - float(own.loss(Batch(x, labels), make_seed(7), False)[0])) > 1e-3


def test_training_moves_the_denoiser_alone():
    autoencoder = toys.noisy_vae()  # whose batch norm and dropout would change in training
    autoencoder.fit(toys.images(), batch_size=16, steps=1, verbose=0)  # with an optimizer of its own
    model = gm.LatentDiffusion(autoencoder)
    model.compile(ema=0.9)
    averaged = {id(v) for v in model.average._averaged}
    assert averaged == {id(v) for v in (*model.denoiser.weights, model.units.mean, model.units.deviation)}
    before = [v.numpy() for v in autoencoder.weights], [v.numpy() for v in model.diffusion.denoiser.weights]
    model.fit(toys.images(), batch_size=16, steps=2, verbose=0)
    after = [v.numpy() for v in autoencoder.weights], [v.numpy() for v in model.diffusion.denoiser.weights]
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0]))
    assert any(not np.array_equal(a, b) for a, b in zip(before[1], after[1]))
    assert model.parameters == sum(v.numpy().size for v in model.denoiser.trainable_variables)


def test_a_trained_autoencoder_travels_in_the_file(tmp_path):
    autoencoder = gm.VAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp")
    autoencoder.compile(ema=0.9)
    autoencoder.fit(toys.images(), batch_size=16, steps=2, verbose=0)
    model = gm.LatentDiffusion(autoencoder, gm.EDM((3,), levels=None, data_deviation=1.0, width=16, steps=2))
    model.compile(ema=0.9)
    model.fit(toys.images(), batch_size=16, steps=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.sample(5, seed=1), loaded.sample(5, seed=1))
    x = toys.images(4)
    np.testing.assert_array_equal(model.autoencoder.reconstruct(x), loaded.autoencoder.reconstruct(x))


def test_a_run_wants_the_autoencoder_that_it_began_with(tmp_path):
    def trained(steps):
        keras.utils.set_random_seed(0)
        autoencoder = gm.VAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp")
        autoencoder.fit(toys.images(), batch_size=16, steps=steps, verbose=0)
        return gm.LatentDiffusion(autoencoder, gm.Diffusion((3,), levels=None, width=16, steps=2))

    def fit(model, steps):
        model.fit(toys.images(), batch_size=16, steps=steps, run_dir=tmp_path / "run", verbose=0)
        return [v.numpy() for v in model.denoiser.weights]

    fit(trained(2), 1)
    other = trained(3)
    before = [v.numpy() for v in other.autoencoder.weights]
    with pytest.raises(ValueError, match="weights of fixed parts"):
        fit(other, 2)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, other.autoencoder.weights))
    continued = fit(trained(2), 2)
    model = trained(2)
    model.fit(toys.images(), batch_size=16, steps=2, verbose=0)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(continued, model.denoiser.weights))


def test_an_unconditional_autoencoder_may_be_given_classes():
    autoencoder = gm.VAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp")
    model = gm.LatentDiffusion(autoencoder, gm.Diffusion((3,), levels=None, num_classes=5, width=16, steps=2))
    assert model.num_classes == 5
    model.fit(toys.images(), np.arange(64) % 5, batch_size=16, steps=1, verbose=0)
    assert model.sample(5, guidance=2.0).shape == (5, 8, 8, 1)


def test_what_does_not_fit_is_refused():
    vae = gm.VAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp", num_classes=4)

    def diffusion(shape=(3,), **options):
        return gm.Diffusion(shape, **{"levels": None, "num_classes": 4, "width": 16, **options})

    wrong = [
        ((gm.DCGAN((8, 8, 1), width=8),), "`autoencoder` must be a model of this package that encodes.* got DCGAN"),
        ((denoiser(),), "`autoencoder` must be a model of this package that encodes.* got Functional"),
        (("runs/vae",), r"`autoencoder` must be a model; got the path 'runs/vae': give gm.load_model\('runs/vae'\)"),
        ((vae, vae), "`diffusion` must be a gm.Diffusion or one of its kin; got VAE"),
        ((vae, diffusion((4,))), r"event_shape=\(3,\) and levels=None; got event_shape=\(4,\)"),
        ((vae, diffusion(levels=256)), "levels=256"),
        ((vae, diffusion(num_classes=None)), "num_classes=4; got None"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            gm.LatentDiffusion(*arguments)
