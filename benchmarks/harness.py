"""What the harness costs a step: beside the bare update in a `tf.function`, and beside Keras' own `fit`.

    python benchmarks/harness.py

A tiny network (32 → 64 → 64 → 32, squared error, Adam, batch 64), so that overhead shows. All variants in one
process, interleaved; medians of the repeats. "bare" is the update alone, 32 a call, on one batch that never
changes: no data, no seeds, no metrics. The harness adds the data pipeline, a seed an update, metrics, the check
for finite losses, callbacks and logs. All take the harness's optimizer, Adam in one operation a variable.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import numpy as np
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli

DIM, BATCH, CALL = 32, 64, 32


class Regression(gm.GenerativeModel):
    """The network as a model of the harness."""

    def __init__(self):
        super().__init__((DIM,), levels=None)
        self.network = gm.networks.mlp((DIM,), (DIM,), widths=(64, 64))

    def objectives(self):
        return (gm.Objective("model", self._loss, self.network),)

    def _loss(self, batch, seed, training):
        return tf.reduce_mean(tf.square(self.network(batch.x, training=training) - batch.x)), {}


def compiled():
    """A network and its optimizer, as the harness takes them."""
    model = Regression()
    model.compile("adam")
    return model.network, model.optimizers["model"]


def bare():
    """A function that makes `steps` updates."""
    x, (net, optimizer) = tf.random.normal((BATCH, DIM)), compiled()

    @tf.function
    def call():
        for _ in tf.range(CALL):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(net(x, training=True) - x))
            optimizer.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)

    call()
    return lambda steps: [call() for _ in range(steps // CALL)]


def main(
    steps: int = typer.Option(3200, help="Steps a repeat; a multiple of 32."),
    repeats: int = typer.Option(7, help="Timed repeats of every variant."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times the harness and prints microseconds a step."""
    x = np.random.default_rng(0).normal(size=(steps * BATCH, DIM)).astype(np.float32)
    update = bare()
    harness, clocks = Regression(), {name: bench.Clock() for name in ("harness", "keras", "keras, 32 a call")}
    harness.compile("adam")
    plain = {}
    for name in clocks:
        if name != "harness":
            plain[name], optimizer = compiled()
            plain[name].compile(optimizer, "mse", steps_per_execution=CALL if "32" in name else 1)
    times = {"bare": [], **{name: [] for name in clocks}}
    for repeat in range(repeats):
        began = time.perf_counter()
        update(steps)
        times["bare"].append(time.perf_counter() - began)
        # Two epochs each: the first traces the function anew or warms up, the second is timed.
        harness.fit(x, batch_size=BATCH, epochs=2, callbacks=[clocks["harness"]], verbose=0)
        for name, model in plain.items():
            model.fit(x, x, batch_size=BATCH, epochs=2, callbacks=[clocks[name]], verbose=0)
        for name, clock in clocks.items():
            times[name].append(clock.epochs[-1])
        print(f"repeat {repeat + 1}/{repeats}", flush=True)
    figures = {name: statistics.median(values) / steps * 1e6 for name, values in times.items()}
    for name, value in figures.items():
        print(f"{name:>18}: {value:7.1f} µs a step")
    print(f"harness over bare : {figures['harness'] - figures['bare']:7.1f} µs a step")
    bench.save({"steps": steps, "repeats": repeats, "microseconds": figures}, out)


if __name__ == "__main__":
    cli.run(main)
