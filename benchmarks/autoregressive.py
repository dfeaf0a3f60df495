"""Training and sampling of the gated PixelCNN beside the same network in PyTorch.

    pip install torch
    python benchmarks/autoregressive.py --out autoregressive.json

`GatedPixelCNN((28, 28, 1), levels=2, filters=64, blocks=8)`, batch 64, in float32 and bfloat16. PyTorch runs in a
process of its own, `autoregressive_torch.py`, with the same number of threads. One process works at a time; variants
are interleaved, medians of the repeats. A step is one update by Adam. Ours is the harness's own step with its data
pipeline, which reads and shuffles uint8, with seeds, metrics and the check for finite losses. PyTorch's has the layers
and loss of ours, in channels-last memory; bfloat16 is `torch.autocast`, ours Keras' `mixed_bfloat16`. It does less: its
images are floats in memory, taken in their order, and it logs nothing. Numbers of parameters must agree.

Samples are 16 at once, in float32 whatever the training's precision. Ours are of `model.sample`, which keeps what
pixels share. PyTorch's users run the whole network for every pixel, which takes too long to wait for: what is timed is
one pass of that loop, and the table's time is that of as many passes as there are pixels.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import pairs
import typer

import genmodels as gm
from genmodels import cli

BATCH, SAMPLES, IMAGES, SHAPE = 64, 16, 2048, (28, 28, 1)
SETTINGS = {"filters": 64, "blocks": 8}


def ours(precisions):
    """A variant a precision."""
    x = bench.pixels(IMAGES, SHAPE, levels=2)
    variants = []
    for precision in precisions:
        model = gm.GatedPixelCNN(SHAPE, levels=2, **SETTINGS, dtype=bench.PRECISIONS[precision])
        tasks = {"step": bench.fit_steps(model, x, BATCH), "sample": pairs.repeated(draw, model)}
        variants.append(pairs.Variant(f"genmodels, {precision}", {"parameters": bench.count(model)}, tasks))
    return variants


def draw(model):
    return model.sample(SAMPLES).numpy()


def main(
    precisions: str = typer.Option(",".join(bench.PRECISIONS), help="Precisions, with commas."),
    repeats: int = typer.Option(5, help="Timed repeats of every variant."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times the gated PixelCNN and its peer and prints the table."""
    kinds = bench.some("precisions", precisions, bench.PRECISIONS)
    figures = bench.prepare(threads, "torch") | {"batch": BATCH, "samples": SAMPLES, "repeats": repeats}
    settings = {"precisions": kinds, "batch": BATCH, "samples": SAMPLES, "images": IMAGES, "threads": threads}
    with pairs.Worker("autoregressive_torch", **SETTINGS, **settings) as peers:
        sides = [pairs.Here(ours(kinds)), peers]
        bench.same_facts(sides)
        rows = pairs.measure(sides, {"step": 2, "sample": 4, "pass": 4}, repeats, "gated PixelCNN")
    for row in rows:
        if "pass_ms" in row:
            row["sample_ms"] = row["pass_ms"] * SHAPE[0] * SHAPE[1]
    bench.show("gated PixelCNN", rows, kinds, {"step": BATCH, "sample": SAMPLES}, "images/s")
    bench.save(figures | {"rows": rows}, out)


if __name__ == "__main__":
    cli.run(main)
