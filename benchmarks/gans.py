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

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import pairs
import typer

import genmodels as gm
from genmodels import cli

BATCH, SAMPLES, IMAGES = 64, 256, 2048  # of a step, of a call of `sample`, of the data
UPDATES = {"DCGAN": 1, "WGANGP": 5}  # of the critic
SHAPES = {28: (28, 28, 1), 64: (64, 64, 3)}
# For measurements of about a second in float32; WGAN-GP's single step of large images takes some more.
STEPS = {("DCGAN", 28): 8, ("DCGAN", 64): 2, ("WGANGP", 28): 2, ("WGANGP", 64): 1}
CALLS = {28: 16, 64: 3}
PRECISIONS = bench.PRECISIONS
OURS, PEER = "genmodels", "PyTorch"


# ---------------------------------------------------------------------- ours


def ours(name, size, precisions):
    """A variant a precision."""
    x = bench.pixels(IMAGES, SHAPES[size])
    variants = []
    for precision in precisions:
        model = getattr(gm, name)(SHAPES[size], dtype=PRECISIONS[precision])
        facts = {"generator": bench.count(model.generator), "critic": bench.count(model.critic)}
        tasks = {"step": bench.fit_steps(model, x, BATCH), "sample": pairs.repeated(draw, model)}
        variants.append(pairs.Variant(f"{OURS}, {precision}", facts, tasks))
    return variants


def draw(model):
    return model.sample(SAMPLES).numpy()


# ---------------------------------------------------------------------- timing


def measure(name, size, precisions, repeats, threads):
    """Times every variant of a model, in turn."""
    settings = {"name": name, "shape": SHAPES[size], "updates": UPDATES[name], "precisions": precisions}
    settings |= {"batch": BATCH, "samples": SAMPLES, "images": IMAGES, "threads": threads}
    counts = {"step": STEPS[name, size], "sample": CALLS[size]}
    with pairs.Worker("gans_torch", **settings) as peers:
        sides = [pairs.Here(ours(name, size, precisions)), peers]
        bench.same_facts(sides)
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


def main(
    models: str = typer.Option(",".join(UPDATES), help="Models, with commas."),
    sizes: str = typer.Option("28,64", help="Pixels a side."),
    precisions: str = typer.Option(",".join(PRECISIONS), help="Precisions, with commas."),
    repeats: int = typer.Option(5, help="Timed repeats of every variant."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times GANs and their peers and prints a table for each."""
    names, kinds = bench.some("models", models, UPDATES), bench.some("precisions", precisions, PRECISIONS)
    pixels = [int(size) for size in bench.some("sizes", sizes, [str(size) for size in SHAPES])]
    figures = bench.prepare(threads, "torch") | {"batch": BATCH, "samples": SAMPLES, "repeats": repeats}
    found = {f"{name} {size}×{size}": measure(name, size, kinds, repeats, threads) for name in names for size in pixels}
    for title, rows in found.items():
        show(title, rows, kinds)
    bench.save(figures | found, out)


if __name__ == "__main__":
    cli.run(main)
