"""The harness beside Keras' own `fit`: the same models, losses and optimizers, of all five families.

    python benchmarks/keras_fit.py --out keras_fit.json

The defaults for 28×28×1 of 256 levels, batch 64. Keras trains a `keras.Model` whose `train_step` descends the model's
objectives, as Keras' examples write them: a game's players see the same batch in turn. Only the loops are compared:
the optimizers are of the model's own `compile`, with Adam in one operation, on both sides. Both read uint8 from memory
and shuffle, Keras a `tf.data.Dataset` without end. Variants are interleaved, medians of the repeats; a repeat of Keras
is the second epoch of a `fit`, without what that does before and after.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import keras
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli

SHAPE, BATCH = (28, 28, 1), 64
STEPS = {"VAE": 32, "GatedPixelCNN": 2, "Glow": 4, "WGANGP": 4, "DCGAN": 16, "DDPM": 2}  # of a repeat


class InKeras(keras.Model):
    """A model's objectives, descended in Keras' own training loop."""

    def __init__(self, model):
        super().__init__()
        self.model, self.players, self.totals = model, model.objectives(), {}

    def train_step(self, x):
        """One update of every player, or as many as it wants."""
        for player in self.players:
            optimizer, variables = self.model.optimizers[player.name], player.network.trainable_variables
            for _ in range(player.updates):
                seed = tf.random.uniform([2], maxval=2**30, dtype=tf.int32)
                with tf.GradientTape() as tape:
                    loss, _ = player.loss(gm.Batch(x), seed, True)
                optimizer.apply(tape.gradient(loss, variables), variables)
            self.totals[player.name].update_state(loss)
        return {name: total.result() for name, total in self.totals.items()}

    def compile(self):
        """Takes the model's optimizers; Keras' own loop, without XLA."""
        super().compile(jit_compile=False)
        self.totals = {player.name: keras.metrics.Mean(name=player.name) for player in self.players}


def by_harness(name, dtype, x):
    """Seconds of so many steps."""
    steps = bench.fit_steps(getattr(gm, name)(SHAPE, dtype=dtype), x, BATCH)

    def seconds(number):
        began = time.perf_counter()
        steps(number)
        return time.perf_counter() - began

    return seconds


def by_keras(name, dtype, x):
    """Likewise."""
    model = getattr(gm, name)(SHAPE, dtype=dtype)
    model.compile()
    trained = InKeras(model)
    trained.compile()
    clock = bench.Clock()
    examples = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).repeat().batch(BATCH).prefetch(2)

    def seconds(number):
        trained.fit(examples, epochs=2, steps_per_epoch=number, callbacks=[clock], verbose=0)
        return clock.epochs[-1]

    return seconds


def main(
    models: str = typer.Option(",".join(STEPS), help="Models, with commas."),
    precisions: str = typer.Option(",".join(bench.PRECISIONS), help="Precisions, with commas."),
    repeats: int = typer.Option(5, help="Timed repeats of both."),
    threads: int = typer.Option(2, help="Threads of TensorFlow."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times both and prints milliseconds a step and their ratio."""
    names, kinds = bench.some("models", models, STEPS), bench.some("precisions", precisions, bench.PRECISIONS)
    figures = bench.prepare(threads) | {"batch": BATCH, "shape": SHAPE, "repeats": repeats, "rows": []}
    x = bench.pixels(max(STEPS.values()) * BATCH, SHAPE)
    print(f"{'':>28}{'harness ms':>12}{'Keras ms':>12}{'ratio':>8}", flush=True)
    for name in names:
        for kind in kinds:
            sides = [side(name, bench.PRECISIONS[kind], x) for side in (by_harness, by_keras)]
            times = [[side(STEPS[name]) for side in sides] for _ in range(repeats + 1)][1:]  # the first traces
            own, keras_own = (1e3 * statistics.median(t) / STEPS[name] for t in zip(*times))
            row = {"model": name, "precision": kind, "harness_ms": own, "keras_ms": keras_own}
            figures["rows"].append(row | {"ratio": keras_own / own})
            print(f"{name + ', ' + kind:>28}{own:12.1f}{keras_own:12.1f}{keras_own / own:8.2f}", flush=True)
    bench.save(figures, out)


if __name__ == "__main__":
    cli.run(main)
