"""Small models and data that the tests share."""

import keras
import numpy as np
import tensorflow as tf

import genmodels as gm
from genmodels.sampling import Streams, make_seed


def images(num=64, shape=(8, 8, 1), levels=17, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (num, *shape), dtype=np.uint8)


def points(num=256, seed=0):
    return np.random.default_rng(seed).normal([2.0, -1.0], [0.5, 1.0], (num, 2)).astype(np.float32)


def noisy_encoder(event_shape=(8, 8, 1), outputs=8):
    """An encoder with what makes resumption hard: Dropout's seed state and batch norm's statistics."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input(event_shape), layers.Flatten(), layers.Dense(32), layers.BatchNormalization(),
        layers.ReLU(), layers.Dropout(0.3), layers.Dense(outputs),
    ])  # fmt: skip


def noisy_vae(**options):
    return gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=noisy_encoder(), **options)


def denoiser(event_shape, num_classes=None, outputs=None):
    """A small network of (x, t[, label]): quick to compile, which the U-Net is not."""
    layers = keras.layers
    x, t = keras.Input(event_shape), keras.Input(())
    inputs, h = [x, t], layers.Dense(16)(layers.Reshape((1,))(t))
    if num_classes is not None:
        inputs.append(keras.Input((num_classes,)))
        h = layers.Concatenate()([h, inputs[-1]])
    h = layers.Conv2D(16, 3, padding="same")(x) + layers.Reshape((1, 1, 16))(layers.Dense(16)(h))
    y = layers.Conv2D(outputs or event_shape[-1], 3, padding="same")(layers.Activation("silu")(h))
    return keras.Model(inputs, y)


def values(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def streams(num, seed=3, start=0):
    return Streams(make_seed(seed), start, num)


def differences(function, x, step=1e-6):
    """Central differences of a scalar function at a float64 array."""
    x = np.array(x, np.float64)
    slopes = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        there, back = x.copy(), x.copy()
        there[place] += step
        back[place] -= step
        slopes[place] = (function(there) - function(back)) / (2 * step)
    return slopes


@keras.saving.register_keras_serializable(package="tests")
class ToyWGAN(gm.LatentModel):
    """A Wasserstein GAN on points with weight clipping by a constraint: two players, no special case."""

    def __init__(self, event_shape=(2,), *, updates=5, name=None, dtype=None):
        super().__init__(event_shape, levels=None, name=name, dtype=dtype)
        self.latent_shape = (2,)
        self.updates = updates
        self.generator = gm.networks.mlp((2,), (2,), widths=(16,), name="generator")
        clip = keras.constraints.get(Clip(0.3))
        self.critic = keras.Sequential([
            keras.Input((2,)), keras.layers.Dense(32, "relu", kernel_constraint=clip),
            keras.layers.Dense(1, kernel_constraint=clip),
        ])  # fmt: skip

    def objectives(self):
        return (
            gm.Objective("critic", self._critic_loss, self.critic, updates=self.updates),
            gm.Objective("generator", self._generator_loss, self.generator),
        )

    def _fake(self, batch, seed, training):
        noise = tf.random.stateless_normal([tf.shape(batch.x)[0], 2], seed, alg="philox")
        return self.generator(noise, training=training)

    def _critic_loss(self, batch, seed, training):
        fake = self._fake(batch, seed, False)
        distance = tf.reduce_mean(self.critic(batch.x)) - tf.reduce_mean(self.critic(fake))
        return -distance, {"distance": distance}

    def _generator_loss(self, batch, seed, training):
        return -tf.reduce_mean(self.critic(self._fake(batch, seed, training))), {}

    def decode(self, z, labels=None):
        return self.generator(z)

    def generate(self, streams, labels):
        return self.decode(self.latents(streams))


@keras.saving.register_keras_serializable(package="tests")
class Clip(keras.constraints.Constraint):
    def __init__(self, bound):
        self.bound = bound

    def __call__(self, w):
        return keras.ops.clip(w, -self.bound, self.bound)

    def get_config(self):
        return {"bound": self.bound}


@keras.saving.register_keras_serializable(package="tests")
class Mean(gm.GenerativeModel):
    """One trainable vector that descends the squared distance to the data: every update has a closed form."""

    def __init__(self, event_shape=(2,), *, name=None, dtype=None):
        super().__init__(event_shape, levels=None, name=name, dtype=dtype)
        self.layer = keras.layers.EinsumDense("bi,i->bi", output_shape=event_shape[0], kernel_initializer="zeros")
        self.layer.build((None, event_shape[0]))

    @property
    def value(self):
        return self.layer.kernel.numpy()

    def objectives(self):
        return (gm.Objective("model", self._loss, self.layer),)

    def _loss(self, batch, seed, training):
        difference = batch.x - self.layer(tf.ones_like(batch.x))
        return tf.reduce_mean(tf.reduce_sum(difference**2, -1)), {"seen": batch.x[0, 0]}

    def generate(self, streams, labels):
        return self.layer(tf.ones([streams.num, 2])) + streams.normal((2,))
