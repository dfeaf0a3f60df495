"""Training steps and samples of coupling flows beside normflows and zuko.

    pip install torch normflows zuko
    python benchmarks/flows.py --out flows.json

Eight couplings of points, each with a network of two hidden layers, float32, all in one process with the same number of
threads; variants are interleaved, medians of the repeats. A step is loss, gradient and Adam on one batch.

Ours: "fit" is the harness's own step with its data pipeline, seeds, metrics and check for finite losses; "bare" is the
update alone in a `tf.function`; XLA is `compile(jit_compile=True)`, which holds for samples too. Ratios are to "fit"
and `model.sample` without XLA, what a user gets who sets nothing.

Peers: PyTorch, op by op as its users run it, and with `torch.compile` where that is asked for. "same network": their
couplings with the network that ours have. "as built": what the library's own constructor gives; of normflows a residual
network and a second spline for the half that is kept, of zuko a masked network of all dimensions that runs twice to
sample. Those of normflows have, like ours, ActNorm, and with splines an LU-parameterized linear map; zuko's flows have
neither, and so do less. Parameters and multiply-adds (of dense layers, a point) show what is compared.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli, data
from genmodels.training.trainer import Trainer

DIM, BATCH, LAYERS, WIDTH, BINS, BOUND = 6, 512, 8, 128, 8, 5.0
HALF, PARAMETERS = DIM // 2, {"RealNVP": 2, "spline": 3 * BINS - 1}  # of a transformed element
OURS = "genmodels, fit"


@dataclasses.dataclass
class Variant:
    """One implementation of a flow: what it has, and what is timed."""

    name: str
    parameters: int
    multiply_adds: int  # of the dense layers, for one point in the density direction
    steps: Callable[[int], object]
    sample: Callable[[int], object] | None = None
    first_step_s: float = 0.0
    times: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def row(self):
        """Figures, medians in milliseconds."""
        medians = {name: statistics.median(values) * 1e3 for name, values in self.times.items()}
        known = ("name", "parameters", "multiply_adds", "first_step_s")
        return {**{name: getattr(self, name) for name in known}, **medians}


# ---------------------------------------------------------------------- ours


def ours(flow, x):
    """Our variants: the harness's step and the bare one, each with and without XLA."""
    variants = []
    for name, stepper in (("fit", harness), ("bare", bare)):
        for xla in (False, True):
            model = gm.RealNVP((DIM,), levels=None, layers=LAYERS, width=WIDTH) if flow == "RealNVP" else spline()
            sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
            dense = sum(n for n, v in zip(sizes, model.trainable_variables) if v.path.endswith("kernel"))
            variant = Variant(f"genmodels, {name}{', XLA' * xla}", sum(sizes), dense, stepper(model, x, xla))
            if name == "fit":
                variant.sample = lambda num, model=model: model.sample(num).numpy()
            variants.append(variant)
    return variants


def spline():
    return gm.NeuralSplineFlow((DIM,), levels=None, layers=LAYERS, width=WIDTH, bins=BINS, bound=BOUND)


def harness(model, x, xla):
    """Steps as `model.fit` runs them, without tracing anew for each repeat."""
    model.compile(jit_compile=xla)
    trainer = Trainer(
        model, batch_size=BATCH, callbacks=(), run_dir=None, resume=True, seed=0, verbose=0, save_every=60.0
    )
    points = data.as_dataset(x, None, event_shape=(DIM,), levels=None, num_classes=None, condition_dim=None)
    iterator = iter(data.batches(points, BATCH, seed=0))

    def steps(count):
        trainer._run(iterator, trainer.step + count)
        trainer._check_finite()

    return steps


def bare(model, x, xla):
    """The update alone."""
    objective, variables = model.objectives()[0], model.trainable_variables
    batch, seed = gm.Batch(tf.constant(x)), tf.zeros([2], tf.int32)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    @tf.function(jit_compile=xla)
    def step():
        with tf.GradientTape() as tape:
            loss, _ = objective.loss(batch, seed, True)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return lambda count: [step() for _ in range(count)][-1].numpy()


# ---------------------------------------------------------------------- peers


def peers(flow, x, compiled):
    """The variants of normflows and zuko."""
    import torch

    x = torch.from_numpy(x)
    variants = []
    for name, module in {**normflows_of(flow), **zuko_of(flow)}.items():
        parameters = dict(module.named_parameters())
        dense = sum(p.numel() for key, p in parameters.items() if key.endswith("weight"))
        counts = sum(p.numel() for p in parameters.values()), dense
        loss, sample = torch_functions(module)
        variants.append(Variant(name, *counts, torch_steps(module, loss, x), sample))
        if compiled and "as built" not in name:
            faster = torch_steps(module, torch.compile(loss), x)
            variants.append(Variant(f"{name}, compiled", *counts, faster))
    return variants


def normflows_of(flow):
    """Flows of normflows by name; the last layer is the first that the data meet."""
    import normflows as nf

    sizes = [HALF, WIDTH, WIDTH, HALF * PARAMETERS[flow]]

    class Network(nf.nets.MLP):
        hidden_features = WIDTH  # by whose root normflows divides widths and heights

        def forward(self, x, context=None):
            return self.net(x)

    def affine(index):
        half = ("channel", "channel_inv")[index % 2]
        return [nf.flows.AffineCouplingBlock(nf.nets.MLP(sizes, init_zeros=True), split_mode=half)]

    def splines(index, same):
        layer = nf.flows.CoupledRationalQuadraticSpline(DIM, 1, WIDTH, num_bins=BINS, tail_bound=BOUND)
        if same:
            layer.prqct.transform_net = Network(sizes, init_zeros=True)
            layer.prqct.unconditional_transform = None
        return [layer, nf.flows.LULinearPermute(DIM)]

    def whole(layer, *arguments):
        layers = [part for i in range(LAYERS) for part in (*layer(i, *arguments), nf.flows.ActNorm(DIM))]
        return nf.NormalizingFlow(nf.distributions.DiagGaussian(DIM, trainable=False), layers)

    if flow == "RealNVP":
        return {"normflows, same network": whole(affine)}
    return {"normflows, same network": whole(splines, True), "normflows, as built": whole(splines, False)}


def zuko_of(flow):
    """Flows of zuko by name."""
    import zuko

    options = {"transforms": LAYERS, "hidden_features": (WIDTH, WIDTH)}
    if flow == "RealNVP":
        return {"zuko, same network": zuko.flows.NICE(DIM, **options)}
    element = {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    return {
        "zuko, same network": zuko.flows.NICE(DIM, **element, **options),
        "zuko, as built": zuko.flows.NSF(DIM, passes=2, bins=BINS, **options),
    }


def torch_functions(module):
    """The loss of a batch, and a function that draws samples."""
    import torch

    if hasattr(module, "forward_kld"):  # normflows
        return module.forward_kld, torch.no_grad()(lambda num: module.sample(num)[0].numpy())
    return lambda x: -module().log_prob(x).mean(), torch.no_grad()(lambda num: module().sample((num,)).numpy())


def torch_steps(module, loss, x):
    """Updates as PyTorch's tutorials write them."""
    import torch

    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            value = loss(x)
            value.backward()
            optimizer.step()
        return value.item()

    return steps


# ---------------------------------------------------------------------- timing


def seconds(function, *arguments):
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def measure(flow, x, compiled, repeats, steps, nums):
    """Times every variant, in turn."""
    variants = []
    for variant in [*ours(flow, x), *peers(flow, x, compiled)]:
        try:
            variant.first_step_s = seconds(variant.steps, 1)
        except Exception as error:
            if "compiled" not in variant.name:
                raise
            print(f"{flow}, {variant.name}: left out: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        variants.append(variant)
    for repeat in range(repeats + 1):
        for variant in variants:
            times = {"step_ms": seconds(variant.steps, steps) / steps}
            for num in nums if variant.sample else ():
                calls = max(1, 10_000 // num)
                times[f"sample_{num}_ms"] = sum(seconds(variant.sample, num) for _ in range(calls)) / calls
            for name, value in times.items() if repeat else ():  # the first compiles and warms up
                variant.times.setdefault(name, []).append(value)
        print(f"{flow}: repeat {repeat}/{repeats}", flush=True)
    return [variant.row() for variant in variants]


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
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    try:
        import normflows  # noqa: F401
        import torch
        import zuko  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the peers are missing ({error}): pip install torch normflows zuko") from error
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(BATCH, DIM)).astype(np.float32)
    nums = cli.integers(samples)
    figures = {"batch": BATCH, "threads": threads, "repeats": repeats, "steps": steps, "cores": os.cpu_count()}
    figures["versions"] = {name: metadata.version(name) for name in ("tensorflow", "torch", "normflows", "zuko")}
    for flow in PARAMETERS:
        figures[flow] = measure(flow, x, compiled, repeats, steps, nums)
    for flow in PARAMETERS:
        show(flow, figures[flow], nums)
    print(json.dumps(figures))
    if out:
        with open(out, "w") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    cli.run(main)
