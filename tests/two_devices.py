"""Trains a model of each family on one device and on two, and prints how far apart the weights end. No test itself."""

import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import toys

import genmodels as gm

TWO = ["CPU:0", "CPU:1"]
DIGITS = {"event_shape": (8, 8, 1), "levels": 17}
FAMILIES = {
    "vae": lambda: gm.VAE(**DIGITS, latent_dim=4, architecture="mlp", num_classes=10),
    "pixelcnn": lambda: gm.PixelCNN(**DIGITS, filters=8, blocks=1),
    "realnvp": lambda: gm.RealNVP(**DIGITS, layers=1, width=8),
    "wgan-gp": lambda: gm.WGANGP((2,), levels=None, critic_updates=2),
    "ddpm": lambda: gm.DDPM(**DIGITS, denoiser=toys.denoiser((8, 8, 1))),
}


def weights(model):
    networks = [objective.network for objective in model.objectives()]
    return [keras.ops.convert_to_numpy(v) for network in networks for v in network.trainable_variables]


def trained(make, data, strategy, **options):
    """Weights before and after, and the last loss."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(keras.optimizers.SGD(0.01), ema=0.9, clipnorm=1.0, **options)
    before = weights(model)
    history = model.fit(data, batch_size=16, steps=6, seed=1, verbose=0).history
    return before, weights(model), np.concatenate([np.ravel(v) for v in history.values()])


def main():
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    digits = gm.load_data("digits")[0]
    points = gm.load_data("two_moons")[0]
    found, both = {}, tf.distribute.MirroredStrategy(TWO)  # a second strategy would take the first one's collectives
    for name, make in FAMILIES.items():
        data = points if name == "wgan-gp" else digits
        one = trained(make, data, tf.distribute.get_strategy(), accumulate=2)
        two = trained(make, data, both)
        found[name] = {
            "moved": max(float(np.abs(a - b).max()) for a, b in zip(one[0], one[1])),
            "difference": max(float(np.abs(a - b).max()) for a, b in zip(one[1], two[1])),
            "loss": float(np.max(np.abs(one[2] - two[2]) / np.abs(one[2]).clip(1))),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
