"""Training steps and samples of coupling flows beside normflows and zuko.

    pip install torch normflows zuko
    python benchmarks/flows.py --out flows.json

Eight couplings of points, each with a network of two hidden layers, float32. The peers run in a process of their own,
`flows_torch.py`, with the same number of threads. One process works at a time; variants are interleaved, medians of the
repeats. A step is loss, gradient and Adam on one batch.

Ours: "fit" is the harness's own step with its data pipeline, seeds, metrics and check for finite losses; "bare" is the
update alone in a `tf.function`; XLA is `compile(jit_compile=True)`, which holds for samples too. Ratios are to "fit"
and `model.sample` without XLA, what a user gets who sets nothing.

Peers: PyTorch, op by op as its users run it, and with `torch.compile` where that is asked for. "same network": their
couplings with the network that ours have. "as built": what the library's own constructor gives; of normflows a residual
network and a second spline for the half that is kept, of zuko a masked network of all dimensions that runs twice to
sample. Those of normflows have, like ours, ActNorm, and with splines an LU-parameterized linear map; zuko's flows have
neither, and so do less. Parameters and multiply-adds (of dense layers, a point) show what is compared.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import numpy as np
import pairs
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli

DIM, BATCH, LAYERS, WIDTH, BINS, BOUND = 6, 512, 8, 128, 8, 5.0
PARAMETERS = {"RealNVP": 2, "spline": 3 * BINS - 1}  # of a transformed element
OURS, PEERS = "genmodels, fit", ("torch", "normflows", "zuko")


# ---------------------------------------------------------------------- ours


def ours(flow, x, nums):
    """Our variants: the harness's step and the bare one, each with and without XLA."""
    variants = []
    for name, stepper in (("fit", harness), ("bare", bare)):
        for xla in (False, True):
            model = gm.RealNVP((DIM,), levels=None, layers=LAYERS, width=WIDTH) if flow == "RealNVP" else spline()
            sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
            dense = sum(n for n, v in zip(sizes, model.trainable_variables) if v.path.endswith("kernel"))
            facts, tasks = {"parameters": sum(sizes), "multiply_adds": dense}, {"step": stepper(model, x, xla)}
            if name == "fit":
                tasks |= {f"sample_{num}": pairs.repeated(draw, model, num) for num in nums}
            variants.append(pairs.Variant(f"genmodels, {name}{', XLA' * xla}", facts, tasks))
    return variants


def draw(model, num):
    return model.sample(num).numpy()


def spline():
    return gm.NeuralSplineFlow((DIM,), levels=None, layers=LAYERS, width=WIDTH, bins=BINS, bound=BOUND)


def harness(model, x, xla):
    """The harness's step."""
    return bench.fit_steps(model, x, BATCH, jit_compile=xla)


def bare(model, x, xla):
    """The update alone, by the optimizer that the harness takes: Adam in one operation a variable."""
    model.compile()
    objective, variables = model.objectives()[0], model.trainable_variables
    batch, seed = gm.Batch(tf.constant(x)), tf.zeros([2], tf.int32)
    optimizer = model.optimizers[objective.name]

    @tf.function(jit_compile=xla)
    def step():
        with tf.GradientTape() as tape:
            loss, _ = objective.loss(batch, seed, True)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return lambda count: [step() for _ in range(count)][-1].numpy()


# ---------------------------------------------------------------------- timing


def measure(flow, x, compiled, repeats, steps, nums, threads):
    """Times every variant, in turn."""
    settings = {"dim": DIM, "batch": BATCH, "layers": LAYERS, "width": WIDTH, "bins": BINS, "bound": BOUND}
    settings |= {"parameters": PARAMETERS[flow], "nums": nums, "threads": threads, "compiled": compiled}
    counts = {"step": steps, **{f"sample_{num}": max(1, 10_000 // num) for num in nums}}
    with pairs.Worker("flows_torch", flow=flow, **settings) as peers:
        return pairs.measure([pairs.Here(ours(flow, x, nums)), peers], counts, repeats, flow)


def show(flow, rows, nums):
    """Prints the table: milliseconds, and in brackets how much longer than ours."""
    columns = ["step_ms", *(f"sample_{num}_ms" for num in nums)]
    base = next(row for row in rows if row["name"] == OURS)
    heads = "".join(f"{column:>20}" for column in columns)
    print(f"\n{flow + ', batch ' + str(BATCH):>34}{'parameters':>12}{'mult-adds':>11}{'first step s':>14}{heads}")
    for row in rows:
        counts = f"{row['parameters']:12,}{row['multiply_adds']:11,}{row['first_step_s']:14.1f}"
        cells = (f"{row[c]:12.2f} ({row[c] / base[c]:4.2f}×)" if c in row else "–" for c in columns)
        print(f"{row['name']:>34}{counts}{''.join(f'{cell:>20}' for cell in cells)}")
    others = [row for row in rows if "genmodels" not in row["name"]]
    xla = next(row for row in rows if row["name"] == f"{OURS}, XLA")
    for column in columns:
        least, name = min((row[column], row["name"]) for row in others if column in row)
        ratios = f"{least / base[column]:.2f}, with XLA {least / xla[column]:.2f}"
        print(f"{column}: ratio of the fastest peer ({name}) to ours {ratios}")


def main(
    repeats: int = typer.Option(9, help="Timed repeats of every variant."),
    steps: int = typer.Option(10, help="Training steps a repeat."),
    samples: str = typer.Option("512,10000", help="Numbers of points that a call draws."),
    threads: int = typer.Option(2, help="Threads of both libraries."),
    compiled: bool = typer.Option(False, "--torch-compile", help="Also torch.compile, some minutes."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times flows and their peers and prints a table for each."""
    figures = bench.prepare(threads, *PEERS) | {"batch": BATCH, "repeats": repeats, "steps": steps}
    x = np.random.default_rng(0).normal(size=(BATCH, DIM)).astype(np.float32)
    nums = cli.integers(samples)
    for flow in PARAMETERS:
        figures[flow] = measure(flow, x, compiled, repeats, steps, nums, threads)
    for flow in PARAMETERS:
        show(flow, figures[flow], nums)
    bench.save(figures, out)


if __name__ == "__main__":
    cli.run(main)
