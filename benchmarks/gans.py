"""Training and sampling of DCGAN and WGAN-GP beside the same networks in PyTorch.

    pip install torch
    python benchmarks/gans.py --out gans.json

Images of 28×28×1 and 64×64×3, width 64, batch 64, in float32 and bfloat16. PyTorch runs in a process of its own,
`gans_torch.py`, with the same number of threads. One process works at a time; variants are interleaved, medians of the
repeats.

A step is the critic's updates (one of DCGAN, five of WGAN-GP) and one of the generator. Images/s are the real images
that the critic's updates take a second. Ours is the harness's own step with its data pipeline, which reads, shuffles
and scales uint8, with seeds, metrics and the check for finite losses. Samples/s are of `model.sample(256)`, uint8.

PyTorch's has the layers, losses and optimizers of ours, in channels-last memory; bfloat16 is `torch.autocast`, ours
Keras' `mixed_bfloat16`. It does less: its real images are floats in memory, taken in their order and already scaled; it
logs nothing; its samples stay floats; and under autocast the layers that Keras keeps in float32, the image's and the
value's, are bfloat16. Weights start as PyTorch's own, which costs no time. Numbers of parameters must agree.
"""

import importlib.util
import json
import os
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pairs
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli, data
from genmodels.training.trainer import Trainer

BATCH, SAMPLES, IMAGES = 64, 256, 2048  # of a step, of a call of `sample`, of the data
UPDATES = {"DCGAN": 1, "WGANGP": 5}  # of the critic
SHAPES = {28: (28, 28, 1), 64: (64, 64, 3)}
# For measurements of about a second in float32; WGAN-GP's single step of large images takes some more.
STEPS = {("DCGAN", 28): 8, ("DCGAN", 64): 2, ("WGANGP", 28): 2, ("WGANGP", 64): 1}
CALLS = {28: 16, 64: 3}
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
OURS, PEER = "genmodels", "PyTorch"


# ---------------------------------------------------------------------- ours


def ours(name, size, precisions):
    """A variant a precision."""
    x = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPES[size])).astype(np.uint8)
    variants = []
    for precision in precisions:
        model = getattr(gm, name)(SHAPES[size], dtype=PRECISIONS[precision])
        facts = {"generator": parameters(model.generator), "critic": parameters(model.critic)}
        tasks = {"step": harness(model, x), "sample": pairs.repeated(draw, model)}
        variants.append(pairs.Variant(f"{OURS}, {precision}", facts, tasks))
    return variants


def parameters(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def draw(model):
    return model.sample(SAMPLES).numpy()


def harness(model, x):
    """Steps as `model.fit` runs them, without tracing anew for each repeat."""
    model.compile()
    trainer = Trainer(
        model, batch_size=BATCH, callbacks=(), run_dir=None, resume=True, seed=0, verbose=0, save_every=60.0
    )
    images = data.as_dataset(x, event_shape=model.event_shape, levels=model.levels)
    iterator = iter(data.batches(images, BATCH, seed=0))

    def steps(count):
        trainer._run(iterator, trainer.step + count)
        trainer._check_finite()

    return steps


# ---------------------------------------------------------------------- timing


def measure(name, size, precisions, repeats, threads):
    """Times every variant of a model, in turn."""
    settings = {"name": name, "shape": SHAPES[size], "updates": UPDATES[name], "precisions": precisions}
    settings |= {"batch": BATCH, "samples": SAMPLES, "images": IMAGES, "threads": threads}
    counts = {"step": STEPS[name, size], "sample": CALLS[size]}
    with pairs.Worker("gans_torch", **settings) as peers:
        sides = [pairs.Here(ours(name, size, precisions)), peers]
        facts = [variant["facts"] for side in sides for variant in side.variants]
        if any(fact != facts[0] for fact in facts):
            raise RuntimeError(f"the networks of {name} at {size} pixels differ in their parameters: {facts}")
        rows = pairs.measure(sides, counts, repeats, f"{name} {size}×{size}")
    for row in rows:
        row["images_per_s"] = 1e3 * BATCH * UPDATES[name] / row["step_ms"]
        row["samples_per_s"] = 1e3 * SAMPLES / row["sample_ms"]
    return rows


def show(title, rows, precisions):
    """Prints the table, and how many times as fast as PyTorch ours are."""
    heads = ("generator", "critic", "first step s", "step ms", "images/s", "sample ms", "samples/s")
    print(f"\n{title:>22}" + "".join(f"{head:>13}" for head in heads))
    for row in rows:
        cells = f"{row['generator']:13,}{row['critic']:13,}{row['first_step_s']:13.1f}{row['step_ms']:13.1f}"
        cells += f"{row['images_per_s']:13.1f}{row['sample_ms']:13.1f}{row['samples_per_s']:13.1f}"
        print(f"{row['name']:>22}{cells}")
    found = {row["name"]: row for row in rows}
    for precision in precisions:
        text = f"ratio of {PEER} to ours, {precision}:"
        for task in ("step", "sample"):
            times = {p: found[f"{PEER}, {p}"][f"{task}_ms"] for p in precisions}
            own, best = found[f"{OURS}, {precision}"][f"{task}_ms"], min(times, key=times.get)
            text += f"  {task} {times[precision] / own:.2f}, its best ({best}) {times[best] / own:.2f};"
        print(text.rstrip(";"))


def chosen(flag, given, known):
    """The choices of a flag, each of them known."""
    if not given or not set(given) <= set(known):
        raise ValueError(f"--{flag} takes some of {', '.join(map(str, known))}, with commas; got {given}.")
    return given


def main(
    models: str = typer.Option(",".join(UPDATES), help="Models, with commas."),
    sizes: str = typer.Option("28,64", help="Pixels a side."),
    precisions: str = typer.Option(",".join(PRECISIONS), help="Precisions, with commas."),
    repeats: int = typer.Option(5, help="Timed repeats of every variant."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times GANs and their peers and prints a table for each."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if importlib.util.find_spec("torch") is None:
        raise ValueError("the peer is missing: pip install torch")
    names, kinds = chosen("models", models.split(","), UPDATES), chosen("precisions", precisions.split(","), PRECISIONS)
    pixels = chosen("sizes", cli.integers(sizes), SHAPES)
    keras.utils.set_random_seed(0)
    figures = {"batch": BATCH, "samples": SAMPLES, "threads": threads, "repeats": repeats, "cores": os.cpu_count()}
    figures["versions"] = {name: metadata.version(name) for name in ("tensorflow", "keras", "torch")}
    found = {f"{name} {size}×{size}": measure(name, size, kinds, repeats, threads) for name in names for size in pixels}
    for title, rows in found.items():
        show(title, rows, kinds)
    figures |= found
    print(json.dumps(figures, ensure_ascii=False))
    if out:
        with open(out, "w") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    cli.run(main)
