"""One worker of several that train a model together, as TF_CONFIG says; run by test_replicas.py. No test itself."""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import genmodels as gm


class Slowly(keras.callbacks.Callback):
    """Leaves time to be killed, and says where training is."""

    def __init__(self, pause):
        super().__init__()
        self.pause = pause

    def on_train_batch_end(self, batch, logs=None):
        print("step", batch, flush=True)
        time.sleep(self.pause)


def trained(strategy, run=None, pause=None, **options):
    """Weights after forty steps."""
    train, _ = gm.load_data("digits")
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=2, architecture="mlp")
        model.compile(keras.optimizers.Adam(1e-3), ema=0.9, **options)
    slowly = [] if pause is None else [Slowly(pause)]
    model.fit(train, batch_size=32, steps=40, run_dir=run, seed=1, verbose=0, save_every=0.2, callbacks=slowly)
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def main(run, pause, out):
    """Trains, and writes the weights."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before TensorFlow computes anything
    np.savez(out, *trained(strategy, run, float(pause)))


if __name__ == "__main__":
    main(*sys.argv[1:])
