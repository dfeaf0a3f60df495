"""Under XLA, as on a GPU: the training step and the sampler of every family, equal to those of an ordinary graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.sampling import Streams, make_seed

DIGITS = {"event_shape": (8, 8, 1), "levels": 17}
MODELS = {
    "vae": lambda: gm.VAE(**DIGITS, latent_dim=3, architecture="conv"),
    "gated-pixelcnn": lambda: gm.GatedPixelCNN(**DIGITS, filters=8, blocks=1),
    "glow": lambda: gm.Glow((4, 4, 1), levels=17, steps=1, width=8, transform="spline", dequantization=noise()),
    "wgan-gp": lambda: gm.WGANGP(**DIGITS, width=8, critic_updates=2),
    "wgan-gp-attending": lambda: gm.WGANGP(**DIGITS, architecture="residual", width=8, attention=(4,)),
    "ddpm": lambda: gm.DDPM(**DIGITS, denoiser=unet(), steps=3),
}


def noise():
    return gm.flows.VariationalDequantization(couplings=1, width=8)


def unet():
    return gm.diffusion.unet((8, 8, 1), width=8, multipliers=(1,), blocks=1, attention=())


def trained(name, jit_compile):
    """The model after three steps, how far they moved its weights, and what it logged."""
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    for i, v in enumerate(model.trainable_variables):  # zeros hide mistakes
        v.assign_add(toys.values(*v.shape, seed=i, scale=0.02))
    model.compile(keras.optimizers.SGD(0.01), clipnorm=1.0, ema=0.9, jit_compile=jit_compile)
    before = [v.numpy() for v in model.weights]
    history = model.fit(toys.images(64, model.event_shape), batch_size=16, steps=3, seed=1, verbose=0).history
    moved = [v.numpy() - b for v, b in zip(model.weights, before)]
    return model, moved, np.concatenate([np.ravel(values) for values in history.values()])


@pytest.mark.parametrize("name", MODELS)
def test_steps_and_samples(name):
    (plain, moved, figures), (_, others_moved, others) = (trained(name, compiled) for compiled in (False, True))
    np.testing.assert_allclose(others, figures, rtol=1e-3, atol=1e-3)
    for v, one, other in zip(plain.weights, moved, others_moved, strict=True):
        assert np.linalg.norm(other - one) <= 0.01 * np.linalg.norm(one) + 1e-7, v.path

    @tf.function(jit_compile=True)
    def drawn(seed):
        return plain.generate(Streams(seed, 0, 4), None)

    expected = plain.generate(Streams(make_seed(2), 0, 4), None)
    apart = ~np.isclose(drawn(make_seed(2)), expected, rtol=1e-3, atol=1e-3)
    assert apart.mean() <= 0.02  # of a pixel that is drawn, rounding may turn the draw


def by_python(x):
    """x, by way of what XLA cannot compile."""
    return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], x.dtype), x.shape)


class ByPython(gm.flows.Bijection):
    def forward_and_log_det(self, x, condition=None):
        return x, tf.zeros(tf.shape(x)[:1])

    def inverse_and_log_det(self, z, condition=None):
        return by_python(z), tf.zeros(tf.shape(z)[:1])


class LossByPython(toys.Mean):
    def _loss(self, batch, seed, training):
        loss, metrics = super()._loss(batch, seed, training)
        return loss + by_python(tf.constant(0.0)), metrics


class RateByPython(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return by_python(tf.constant(0.1))


@pytest.mark.parametrize(("kind", "rate"), [(LossByPython, 0.1), (toys.Mean, RateByPython())], ids=["loss", "rate"])
def test_the_whole_update_is_compiled(kind, rate):
    def train(jit_compile):
        model = kind()
        model.compile(keras.optimizers.SGD(rate), jit_compile=jit_compile)
        model.fit(toys.points(16), batch_size=16, steps=1, verbose=0)

    train(False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA"):
        train(True)


def small_flow(*parts):
    parts = [gm.flows.Coupling("affine", width=8), *parts, gm.flows.Coupling("affine", swap=True, width=8)]
    return gm.NormalizingFlow((2,), gm.flows.Chain(parts), levels=None, num_classes=3)


def test_a_flow_draws_the_same_samples_under_xla():
    model = small_flow()
    for i, v in enumerate(model.trainable_variables):
        v.assign(toys.values(*v.shape, seed=i, scale=0.5))
    plain = model.sample(11, batch_size=4, temperature=0.5)
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.sample(11, batch_size=4, temperature=0.5), plain, rtol=1e-4, atol=1e-5)


def test_the_sampler_of_a_flow_is_compiled():
    model = small_flow(ByPython())
    assert model.sample(2).shape == (2, 2)
    model.compile(jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA"):
        model.sample(2)
