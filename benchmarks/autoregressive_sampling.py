"""Cached sampling of autoregressive models beside re-running the network for every pixel.

    python benchmarks/autoregressive_sampling.py --out sampling.json

The first table draws the same images both ways, whole, in one process. The others cannot wait for the slow way: there
its time is that of one pass of its loop, the median of several, times its passes, and the column says so. The slow way
of the first table runs once, its trace included.
"""

import statistics
import time

import bench
import numpy as np
import tensorflow as tf
import typer

import genmodels as gm
from genmodels import cli


def gated(size=28):
    return gm.GatedPixelCNN((size, size, 1), levels=2, filters=64, blocks=8)


def seconds(function, repeats):
    """Median time of a call, the first left out."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def one_pass(model, batch):
    """What the slow way does once a pixel: the whole network, and a draw from what it gives."""
    x = tf.zeros([batch, *model.event_shape])
    labels = None if model.num_classes is None else tf.zeros([batch], tf.int32)
    uniform = tf.fill([batch, *model.event_shape[:2], model.likelihood.uniforms(model.event_shape[2])], 0.5)

    @tf.function
    def step(x, here):  # an argument: with a constant the network would be folded away
        drawn = model.likelihood.sample(model.params(x, labels), uniform)
        return tf.where(here, drawn, x)

    here = tf.reshape(tf.one_hot(0, x.shape[1] * x.shape[2], True, False), [*x.shape[1:3], 1])
    return lambda: step(x, here).numpy()


def measure(name, model, batch, repeats, passes=5):
    """One line of the table: cached sampling, and the slow way from its single pass."""
    pixels = model.event_shape[0] * model.event_shape[1]
    began = time.perf_counter()
    model.sample(batch, seed=0, batch_size=batch)
    compilation = time.perf_counter() - began
    cached = seconds(lambda: model.sample(batch, seed=1, batch_size=batch).numpy(), repeats)
    single = seconds(one_pass(model, batch), passes)
    row = {
        "model": name, "batch": batch, "pixels": pixels, "cached_s": cached, "first_call_s": compilation,
        "pass_s": single, "slow_s": single * pixels, "ratio": single * pixels / cached, "slow_is": "one pass × pixels",
    }  # fmt: skip
    print(
        f"{name:>24} batch {batch:4d}  cached {cached:8.3f} s ({cached / batch / pixels * 1e6:7.2f} µs a pixel)  "
        f"one pass {single:7.4f} s  ratio {row['ratio']:6.0f}  first call {compilation:5.1f} s",
        flush=True,
    )
    return row


def whole(model, batch, repeats):
    """The same images both ways: seconds, and whether they are equal."""
    cached = seconds(lambda: model.sample(batch, seed=1).numpy(), repeats)
    model.sample(1, seed=0, incremental=False)  # variables and libraries are warm; the trace below is another
    began = time.perf_counter()
    slow_images = model.sample(batch, seed=1, incremental=False).numpy()
    slow = time.perf_counter() - began
    equal = bool(np.array_equal(slow_images, model.sample(batch, seed=1).numpy()))
    print(f"whole, batch {batch}: cached {cached:.3f} s, slow {slow:.1f} s, ratio {slow / cached:.0f}, equal: {equal}")
    return {"batch": batch, "cached_s": cached, "slow_s": slow, "ratio": slow / cached, "equal": equal}


def main(
    repeats: int = typer.Option(7, help="Timed repeats of the cached sampler; the median counts."),
    batches: str = typer.Option("1,16,64,256", help="Batch sizes of the second table."),
    sizes: str = typer.Option("16,28,32,64", help="Sides of the square images of the third table."),
    colour: bool = typer.Option(True, help="Also PixelCNN++ on 32×32 colour pictures."),
    attention: bool = typer.Option(True, help="Also models that attend to all pixels before."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times both ways of sampling."""
    figures = bench.prepare(2) | {"repeats": repeats}
    model = gated()
    figures |= {"whole": whole(model, 16, repeats), "rows": []}
    for batch in cli.integers(batches):
        figures["rows"].append(measure("gated 28×28", model, batch, repeats))
    for size in cli.integers(sizes):
        figures["rows"].append(measure(f"gated {size}×{size}", gated(size), 16, repeats))
    if colour:
        plus = gm.PixelCNNPlusPlus((32, 32, 3))
        for batch in (1, 16, 64):
            figures["rows"].append(measure("PixelCNN++ 32×32×3", plus, batch, repeats))
    for kind in (gm.PixelSNAIL, gm.ImageGPT) if attention else ():
        model = kind((28, 28, 1), levels=2)
        for batch in (1, 16):
            figures["rows"].append(measure(f"{kind.title} 28×28", model, batch, repeats))
    bench.save(figures, out)


if __name__ == "__main__":
    cli.run(main)
