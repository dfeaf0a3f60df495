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
    "ddpm": lambda: gm.DDPM(**DIGITS, denoiser=unet(), steps=3),
}


def noise():
    return gm.flows.VariationalDequantization(couplings=1, width=8)


def unet():
    return gm.diffusion.unet((8, 8, 1), width=8, multipliers=(1,), blocks=1, attention=())


def trained(name, jit_compile):
    """The model after three steps, and what it logged."""
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    model.compile(keras.optimizers.SGD(0.01), clipnorm=1.0, ema=0.9, jit_compile=jit_compile)
    history = model.fit(toys.images(64, model.event_shape), batch_size=16, steps=3, seed=1, verbose=0).history
    return model, np.concatenate([np.ravel(values) for values in history.values()])


@pytest.mark.parametrize("name", MODELS)
def test_steps_and_samples(name):
    (plain, figures), (compiled, others) = (trained(name, jit_compile) for jit_compile in (False, True))
    np.testing.assert_allclose(others, figures, rtol=1e-3, atol=1e-3)
    for one, other in zip(plain.weights, compiled.weights, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-3, atol=1e-4, err_msg=one.path)

    @tf.function(jit_compile=True)
    def drawn(seed):
        return plain.generate(Streams(seed, 0, 4), None)

    expected = plain.generate(Streams(make_seed(2), 0, 4), None)
    apart = ~np.isclose(drawn(make_seed(2)), expected, rtol=1e-3, atol=1e-3)
    assert apart.mean() <= 0.02  # of a pixel that is drawn, rounding may turn the draw
