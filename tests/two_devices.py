"""Trains a model of each family on one device and on two, and prints how far apart the weights end. No test itself."""

import json
import os
import tempfile

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
    "float16": lambda: gm.VAE(**DIGITS, latent_dim=4, architecture="mlp", dtype="mixed_float16"),
    "xla": lambda: gm.VAE(**DIGITS, latent_dim=4, architecture="mlp"),
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


def continued(data, strategies, folder):
    """Weights of a run of six steps that each strategy continues in turn, three steps a time."""
    for number, (strategy, parts) in enumerate(strategies, start=1):
        with strategy.scope():
            keras.utils.set_random_seed(number)  # the checkpoint decides, not the first weights
            model = FAMILIES["vae"]()
            model.compile(keras.optimizers.SGD(0.01), ema=0.9, clipnorm=1.0, accumulate=parts)
        model.fit(data, batch_size=16, steps=3 * number, seed=1, verbose=0, run_dir=folder)
    return weights(model)


def normalized(strategy, x, synchronized):
    """Outputs of a batch norm of a model over a batch that the replicas share, and the gradient of its scale."""
    with strategy.scope():
        model = gm.DCGAN(**DIGITS, width=4)
        layer = next(v for v in model.critic.layers if isinstance(v, keras.layers.BatchNormalization))
    if synchronized:
        assert gm.layers.synchronize_batch_norm(model) > 1

    @tf.function
    def run(x):
        def replica(x):
            context = tf.distribute.get_replica_context()
            size = len(x) // strategy.num_replicas_in_sync
            part = x[context.replica_id_in_sync_group * size :][:size]
            with tf.GradientTape() as tape:
                y = layer(part, training=True)
                loss = tf.reduce_sum(y * part**2)
            gradient = tape.gradient(loss, layer.gamma.value)
            return context.all_reduce("SUM", gradient), y

        return strategy.run(replica, args=(x,))

    gradient, y = run(x)
    return strategy.experimental_local_results(gradient)[0], tf.concat(strategy.experimental_local_results(y), 0)


def main():
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    digits = gm.load_data("digits")[0]
    points = gm.load_data("two_moons")[0]
    found, both = {}, tf.distribute.MirroredStrategy(TWO)  # a second strategy would take the first one's collectives
    for name, make in FAMILIES.items():
        data = points if name == "wgan-gp" else digits
        options = {"jit_compile": True} if name == "xla" else {}
        one = trained(make, data, tf.distribute.get_strategy(), accumulate=2, **options)
        two = trained(make, data, both, **options)
        found[name] = {
            "moved": max(float(np.abs(a - b).max()) for a, b in zip(one[0], one[1])),
            "difference": max(float(np.abs(a - b).max()) for a, b in zip(one[1], two[1])),
            "loss": float(np.max(np.abs(one[2] - two[2]) / np.abs(one[2]).clip(1))),
        }
    try:
        trained(FAMILIES["realnvp"], digits, both, jit_compile=True)
    except ValueError as error:
        found["refused"] = str(error)
    one = tf.distribute.get_strategy(), 2
    with tempfile.TemporaryDirectory() as folder:
        runs = [continued(digits, order, f"{folder}/{i}") for i, order in enumerate([(one, one), ((both, 1), one)])]
    found["continued"] = max(float(np.abs(a - b).max()) for a, b in zip(*runs))
    x = np.random.default_rng(0).normal(size=[8, 4, 4, 8]).astype(np.float32)
    x[4:] += 3.0  # another mean for the other device
    keras.utils.set_random_seed(0)
    whole = normalized(tf.distribute.get_strategy(), x, False)
    for name, synchronized in (("apart", False), ("together", True)):
        keras.utils.set_random_seed(0)
        parts = normalized(both, x, synchronized)
        found[name] = max(float(np.abs(a - b).max()) for a, b in zip(whole, parts))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
