"""What the benchmarks share on this package's side: threads, versions, and training steps outside `fit`."""

import importlib.util
import json
import os
import time
from importlib import metadata
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `import genmodels` does, where TensorFlow is not loaded yet

import keras
import numpy as np
import tensorflow as tf

from genmodels import data
from genmodels.sampling import make_seed
from genmodels.training.loop import Loop
from genmodels.training.replicas import Replicas

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def prepare(threads, *peers):
    """Sets the threads and the seed; gives the figures that say where and with what a run was made.

    Args:
        threads: of TensorFlow; 0 leaves it its own choice.
        *peers: packages to compare with.

    Raises:
        ValueError: for a peer that is not installed.
    """
    missing = [name for name in peers if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"the peers are missing ({', '.join(missing)}): pip install {' '.join(missing)}")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    versions = {name: metadata.version(name) for name in ("tensorflow", "keras", *peers)}
    kernels = os.environ["TF_ENABLE_ONEDNN_OPTS"]
    return {"threads": threads, "cores": os.cpu_count(), "onednn": kernels, "versions": versions}


def some(flag, given, known):
    """The choices of a flag, with commas, each of them known."""
    given = given.split(",")
    if not set(given) <= set(known):
        raise ValueError(f"--{flag} takes some of {', '.join(known)}, with commas; got {','.join(given)}.")
    return given


def pixels(num, shape, levels=256):
    """Images of noise, `[num, *shape]` uint8: speed does not depend on what they show."""
    return np.random.default_rng(0).integers(0, levels, (num, *shape)).astype(np.uint8)


def count(network):
    """Trainable numbers."""
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def fit_steps(model, x, batch_size, **settings):
    """A task for `pairs`: steps as `model.fit` runs them, many a call, without tracing anew for each repeat.

    Args:
        model: the model; it is compiled here.
        x: its data.
        batch_size: examples an update.
        **settings: of `model.compile`.
    """
    model.compile(**settings)
    loop, seed = Loop(model, Replicas(model.distribute_strategy, batch_size, 1)), make_seed(0)
    examples = data.as_dataset(x, event_shape=model.event_shape, levels=model.levels)
    iterator = iter(data.batches(examples, batch_size, seed=0))

    def steps(number):
        loop.run(iterator, loop.step + number, seed)
        if loop.broken():
            raise FloatingPointError(f"the loss of objective {loop.broken()!r} is not finite.")

    return steps


def same_facts(sides):
    """Checks that all variants have the same numbers of parameters."""
    facts = [variant["facts"] for side in sides for variant in side.variants]
    if any(fact != facts[0] for fact in facts):
        raise RuntimeError(f"the networks differ in their parameters: {facts}")


def show(title, rows, precisions, tasks, unit):
    """Prints milliseconds, and how many times as fast as PyTorch ours is.

    Args:
        title: of the table.
        rows: of `pairs.measure`, named "genmodels, float32", "PyTorch, float32" and so on.
        precisions: those of the rows.
        tasks: images that each task makes or takes, by its name.
        unit: what is counted a second.
    """
    heads = (f"{task} {what}" for task in tasks for what in ("ms", unit))
    print(f"\n{title:>22}{'parameters':>13}{'first step s':>14}" + "".join(f"{head:>18}" for head in heads))
    for row in rows:
        cells = ((row[f"{task}_ms"], 1e3 * images / row[f"{task}_ms"]) for task, images in tasks.items())
        cells = "".join(f"{ms:18.1f}{rate:18.1f}" for ms, rate in cells)
        print(f"{row['name']:>22}{row['parameters']:13,}{row['first_step_s']:14.1f}{cells}")
    found = {row["name"]: row for row in rows}
    for precision in precisions:
        own, peer = found[f"genmodels, {precision}"], found[f"PyTorch, {precision}"]
        ratios = ", ".join(f"{task} {peer[f'{task}_ms'] / own[f'{task}_ms']:.2f}" for task in tasks)
        print(f"ratio of PyTorch to ours, {precision}: {ratios}")


class Clock(keras.callbacks.Callback):
    """Seconds of every epoch, in `epochs`."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self.began)


def save(figures, out):
    """Writes the figures as JSON where a file is named."""
    if out:
        Path(out).write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
