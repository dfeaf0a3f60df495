"""Training throughput of the gated PixelCNN, in both precisions, with and without fused gates.

    python benchmarks/autoregressive_training.py --out training.json

The default network at 28×28, 2 levels (64 filters, 8 blocks), batch 64, through `fit` with clipping and an average of
the weights: what a user gets. Variants are interleaved; medians of the repeats. "plain" gates are TensorFlow's own
operations, one after the other; the package fuses each gate with XLA (genmodels/layers/gates.py).
"""

import os
import statistics
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import keras
import numpy as np
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli


def plain_gate(*inputs):
    a, b = tf.split(tf.add_n(inputs), 2, axis=-1)
    return tf.tanh(a) * tf.sigmoid(b)


def main(
    repeats: int = typer.Option(3, help="Timed repeats of every variant."),
    steps: int = typer.Option(20, help="Steps a repeat."),
    batch_size: int = 64,
    filters: int = 64,
    blocks: int = 8,
    kernel_size: int = 3,
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times training and prints images a second."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).integers(0, 2, (steps * batch_size, 28, 28, 1)).astype(np.uint8)
    variants = [(dtype, gates) for dtype in ("float32", "mixed_bfloat16") for gates in ("plain", "fused")]
    models, times = {}, {variant: [] for variant in variants}
    for dtype, gates in variants:
        model = gm.GatedPixelCNN(
            (28, 28, 1), levels=2, filters=filters, blocks=blocks, kernel_size=kernel_size, dtype=dtype
        )
        model.compile(ema=0.999, clipnorm=100.0)
        models[dtype, gates] = model
    for repeat in range(repeats):
        for variant, model in models.items():
            clock = bench.Clock()
            gate = gm.layers.gates._gate if variant[1] == "fused" else plain_gate
            with mock.patch.object(gm.layers.gates, "_gate", gate):
                # Two epochs: the first traces and warms up, the second is timed.
                model.fit(x, batch_size=batch_size, epochs=2, callbacks=[clock], verbose=0)
            times[variant].append(clock.epochs[-1] / steps)
        print(f"repeat {repeat + 1}/{repeats}", flush=True)
    figures = []
    for (dtype, gates), values in times.items():
        step = statistics.median(values)
        figures.append({"dtype": dtype, "gates": gates, "step_ms": step * 1e3, "images_per_s": batch_size / step})
        print(f"{dtype:>15}, {gates} gates: {step * 1e3:7.1f} ms a step, {batch_size / step:6.1f} images/s")
    bench.save({"filters": filters, "blocks": blocks, "batch_size": batch_size, "rows": figures}, out)


if __name__ == "__main__":
    cli.run(main)
