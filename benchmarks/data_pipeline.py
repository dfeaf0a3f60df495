"""How fast data are read, beside how fast the quickest models take them.

    python benchmarks/data_pipeline.py --out data.json

Batches of 64 as `fit` reads them, shuffled, from an array in memory, with augmentation, with dynamic binarization, and
from a folder of PNGs of 64×64×3, which are decoded once into a cache and then read from there; decoding is timed too,
on a new cache. The takers are the training steps of the default VAE and DCGAN at 64×64×3 in bfloat16, the quickest of
the package. Medians of the repeats.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import bench
import numpy as np
import tensorflow as tf
import typer
from PIL import Image

import genmodels as gm
from genmodels import cli, data

BATCH, SHAPE, SMALL = 64, (64, 64, 3), (28, 28, 1)


def write_pictures(folder, num):
    """PNGs about as large as photographs of that size: smooth colours with a little noise."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 255, (num, 4, 4, 3)).astype(np.uint8)
    for i, small in enumerate(corners):
        smooth = np.asarray(Image.fromarray(small).resize(SHAPE[:2], Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(smooth + rng.normal(0, 8, SHAPE), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:05}.png")


def rate(examples, repeats, num):
    """Images a second that the pipeline gives, after the first batches."""
    batches = iter(data.batches(examples, BATCH, seed=0))

    @tf.function  # as the harness reads them
    def read(batches, number):
        for _ in tf.range(number):
            next(batches)

    rates = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        read(batches, num // BATCH)
        rates.append(num // BATCH * BATCH / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def taken(name, repeats):
    """Images a second that a model's training takes."""
    model = getattr(gm, name)(SHAPE, dtype="mixed_bfloat16")
    steps = bench.fit_steps(model, bench.pixels(1024, SHAPE), BATCH)
    images, rates = 4 * BATCH * sum(player.updates for player in model.objectives()), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        steps(4)
        rates.append(images / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def decoded(pictures, repeats, num):
    """Images a second that are decoded into a new cache; and the data."""
    rates = []
    for _ in range(repeats + 1):  # the first also reads the files from the disk
        with tempfile.TemporaryDirectory() as cache:
            os.environ["GENMODELS_CACHE"] = cache
            began = time.perf_counter()
            gm.load_data(pictures)
            rates.append(num / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def main(
    num: int = typer.Option(4096, help="PNGs in the folder."),
    repeats: int = typer.Option(5, help="Timed repeats."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times reading and the takers and prints images a second."""
    figures = bench.prepare(2) | {"batch": BATCH, "pictures": num, "repeats": repeats}
    arrays = {"28×28×1, memory": bench.pixels(60_000, SMALL), "64×64×3, memory": bench.pixels(8192, SHAPE)}
    sources = {name: data.as_dataset(x, event_shape=x.shape[1:], levels=256) for name, x in arrays.items()}
    sources["64×64×3, memory, flipped and shifted"] = sources["64×64×3, memory"].augmented(flip=True, shift=4)
    sources["28×28×1, memory, dynamically binarized"] = sources["28×28×1, memory"].binarized("dynamic")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        write_pictures(Path(folder), num)
        figures["bytes_a_picture"] = sum(file.stat().st_size for file in Path(folder).iterdir()) / num
        reads = {"64×64×3, PNG, decoded into the cache": decoded(folder, repeats, num)}
        os.environ["GENMODELS_CACHE"] = cache
        sources["64×64×3, PNG, from the cache"] = gm.load_data(folder)[0]
        reads |= {name: rate(source, repeats, min(len(source), 16_384)) for name, source in sources.items()}
    takers = {name: taken(name, repeats) for name in ("VAE", "DCGAN")}
    fastest = max(takers.values())
    for name, images in reads.items():
        times = f"{images / fastest:8.1f} times the fastest taker" if name.startswith("64") else ""
        print(f"{name:>42}{images:12,.0f} images/s{times}")
    for name, images in takers.items():
        print(f"{name + ', training':>42}{images:12,.0f} images/s")
    bench.save(figures | {"reads": reads, "takers": takers}, out)


if __name__ == "__main__":
    cli.run(main)
