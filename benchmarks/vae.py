"""Training and sampling of the default VAE beside the same network in PyTorch.

    pip install torch
    python benchmarks/vae.py --out vae.json

Images of 28×28×1 and 64×64×3 of 256 levels, discretized logistic, 32 latent units, batch 64, in float32 and bfloat16.
PyTorch runs in a process of its own, `vae_torch.py`, with the same number of threads. One process works at a time;
variants are interleaved, medians of the repeats. A step is one update by Adam on the negative ELBO. Ours is the
harness's own step with its data pipeline, which reads, shuffles and scales uint8, with seeds, metrics and the check for
finite losses; a sample is of `model.sample(256)`. PyTorch's has the layers and loss of ours, in channels-last memory;
bfloat16 is `torch.autocast`, ours Keras' `mixed_bfloat16`. It does less: its images are floats in memory, taken in
their order, it logs nothing, and under autocast the layers that Keras keeps in float32, the last of each network, are
bfloat16. Numbers of parameters must agree.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import pairs
import typer

import genmodels as gm
from genmodels import cli

BATCH, SAMPLES, IMAGES, LATENT = 64, 256, 4096, 32  # of a step, of a call of `sample`, of the data
SHAPES = {"28": (28, 28, 1), "64": (64, 64, 3)}
STEPS, CALLS = {"28": 16, "64": 4}, {"28": 8, "64": 2}  # a measurement: about a second in float32


def ours(shape, precisions):
    """A variant a precision."""
    x = bench.pixels(IMAGES, shape)
    variants = []
    for precision in precisions:
        model = gm.VAE(shape, latent_dim=LATENT, dtype=bench.PRECISIONS[precision])
        tasks = {"step": bench.fit_steps(model, x, BATCH), "sample": pairs.repeated(draw, model)}
        variants.append(pairs.Variant(f"genmodels, {precision}", {"parameters": bench.count(model)}, tasks))
    return variants


def draw(model):
    return model.sample(SAMPLES).numpy()


def main(
    sizes: str = typer.Option(",".join(SHAPES), help="Pixels a side, with commas."),
    precisions: str = typer.Option(",".join(bench.PRECISIONS), help="Precisions, with commas."),
    repeats: int = typer.Option(5, help="Timed repeats of every variant."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times the VAE and its peer and prints a table a size."""
    kinds, sides = bench.some("precisions", precisions, bench.PRECISIONS), bench.some("sizes", sizes, SHAPES)
    figures = bench.prepare(threads, "torch") | {"batch": BATCH, "samples": SAMPLES, "repeats": repeats}
    for side in sides:
        settings = {"shape": SHAPES[side], "precisions": kinds, "latent_dim": LATENT, "batch": BATCH}
        settings |= {"samples": SAMPLES, "images": IMAGES, "threads": threads}
        with pairs.Worker("vae_torch", **settings) as peers:
            both = [pairs.Here(ours(SHAPES[side], kinds)), peers]
            bench.same_facts(both)
            counts = {"step": STEPS[side], "sample": CALLS[side]}
            figures[side] = pairs.measure(both, counts, repeats, f"VAE {side}×{side}")
    for side in sides:
        tasks = {"step": BATCH, "sample": SAMPLES}
        bench.show(f"VAE {side}×{side}", figures[side], kinds, tasks, "images/s")
    bench.save(figures, out)


if __name__ == "__main__":
    cli.run(main)
