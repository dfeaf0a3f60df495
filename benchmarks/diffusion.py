"""Training and sampling of the default U-Net beside the same network in PyTorch, and what solvers add to it.

    pip install torch
    python benchmarks/diffusion.py --out diffusion.json

Images of 28×28×1, batch 64, in float32 and bfloat16. PyTorch runs in a process of its own, `diffusion_torch.py`, with
the same number of threads. One process works at a time; variants are interleaved, medians of the repeats.

A step is one update of DDPM's simple loss. Ours is the harness's own step with its data pipeline, which reads, shuffles
and scales uint8, with seeds, metrics and the check for finite losses. PyTorch's has the layers, loss and optimizer of
ours, in channels-last memory; bfloat16 is `torch.autocast`, ours Keras' `mixed_bfloat16`. It does less: its images are
floats in memory, taken in their order, and it logs nothing. Numbers of parameters must agree.

"network" is one call of the network alone for 64 images, without gradients. A solver's row is the time of
`model.sample(64)` over its evaluations of the network, noise, clipping and rounding included.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import pairs
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli

BATCH, IMAGES, SHAPE = 64, 2048, (28, 28, 1)
PRECISIONS = bench.PRECISIONS
OURS, PEER = "genmodels", "PyTorch"
# Steps and evaluations of the network.
SOLVERS = dict.fromkeys(("ancestral", "ddim", "dpmpp_2m", "dpmpp_3m", "ipndm", "unipc", "euler"), (8, 8))
SOLVERS["heun"] = (4, 7)
STEPS = (5, 10, 20, 50)  # of DPM-Solver++ 2M, for samples a second
SAMPLED = "bfloat16"  # the precision in which all solvers are timed; in the other DPM-Solver++ 2M alone


def ours(precisions, width):
    """A variant a precision."""
    x = bench.pixels(IMAGES, SHAPE)
    variants = []
    for precision in precisions:
        denoiser = gm.diffusion.unet(SHAPE, width=width, dtype=PRECISIONS[precision])
        model = gm.DDPM(SHAPE, denoiser=denoiser, dtype=PRECISIONS[precision])
        tasks = {"step": bench.fit_steps(model, x, BATCH), "network": network(model)}
        names = SOLVERS if precision == SAMPLED else ["dpmpp_2m"]
        tasks |= {name: sampler(model, name, SOLVERS[name][0]) for name in names}
        if precision == SAMPLED:
            tasks |= {f"{steps} steps": sampler(model, "dpmpp_2m", steps) for steps in STEPS}
        facts = {"parameters": bench.count(denoiser)}
        variants.append(pairs.Variant(f"{OURS}, {precision}", facts, tasks))
    return variants


def network(model):
    """Calls of the network, one after the other."""
    x, t = tf.random.normal([BATCH, *SHAPE]), tf.fill([BATCH], 0.5)
    call = tf.function(lambda: model.denoiser([x, t], training=False))
    return pairs.repeated(lambda: call().numpy())


def sampler(model, solver, steps):
    return pairs.repeated(lambda: model.sample(BATCH, solver=solver, steps=steps).numpy())


def show(rows, precisions):
    """Prints the tables, and how many times as fast as PyTorch ours is."""
    found = {row["name"]: row for row in rows}
    print(f"\n{'':>22}{'parameters':>13}{'first step s':>13}{'step ms':>13}{'images/s':>13}{'network ms':>13}")
    for row in rows:
        cells = f"{row['parameters']:13,}{row['first_step_s']:13.1f}{row['step_ms']:13.1f}"
        print(f"{row['name']:>22}{cells}{1e3 * BATCH / row['step_ms']:13.1f}{row['network_ms']:13.1f}")
    for precision in precisions:
        own, peer = found[f"{OURS}, {precision}"], found[f"{PEER}, {precision}"]
        ratios = ", ".join(f"{task} {peer[f'{task}_ms'] / own[f'{task}_ms']:.2f}" for task in ("step", "network"))
        print(f"ratio of {PEER} to ours, {precision}: {ratios}")
    for precision in precisions:
        row = found[f"{OURS}, {precision}"]
        print(f"\n{precision}: an evaluation within a solver, over the network's own time")
        for name, (_, evaluations) in SOLVERS.items():
            if f"{name}_ms" not in row:
                continue
            row[f"{name}_cost"] = row[f"{name}_ms"] / evaluations / row["network_ms"]
            print(f"{name:>22}{row[f'{name}_ms'] / evaluations:10.1f} ms{row[f'{name}_cost']:8.3f}")
        for steps in STEPS if precision == SAMPLED else ():
            row[f"samples_per_s_{steps}"] = 1e3 * BATCH / row[f"{steps} steps_ms"]
            print(f"{f'dpmpp_2m, {steps} steps':>22}{row[f'samples_per_s_{steps}']:10.1f} samples/s")


def main(
    precisions: str = typer.Option(",".join(PRECISIONS), help="Precisions, with commas."),
    width: int = typer.Option(64, help="Channels of the U-Net at the full size."),
    repeats: int = typer.Option(5, help="Timed repeats of every variant."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times the U-Net and its peer and prints the tables."""
    kinds = bench.some("precisions", precisions, PRECISIONS)
    figures = bench.prepare(threads, "torch")
    figures |= {"batch": BATCH, "shape": SHAPE, "width": width, "repeats": repeats}
    counts = {"step": 2, "network": 5, **dict.fromkeys(SOLVERS, 1), **{f"{steps} steps": 1 for steps in STEPS}}
    settings = {"precisions": kinds, "width": width, "batch": BATCH, "images": IMAGES, "threads": threads}
    with pairs.Worker("diffusion_torch", **settings) as peers:
        sides = [pairs.Here(ours(kinds, width)), peers]
        bench.same_facts(sides)
        rows = pairs.measure(sides, counts, repeats, "U-Net")
    show(rows, kinds)
    figures["rows"] = rows
    bench.save(figures, out)


if __name__ == "__main__":
    cli.run(main)
