"""A class-conditional DCGAN on the embedded digits, from data to pictures in under three minutes.

python recipes/dcgan_digits.py --run runs/dcgan-digits
"""

import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/dcgan-digits"), help="Folder of the run; resumes the run it holds."),
    width: int = typer.Option(64, help="Channels of the networks at the largest image."),
    epochs: int = 300,
    batch_size: int = 64,
    ema: float = typer.Option(0.995, help="Decay of the average of the weights, which samples."),
    seed: int = 0,
):
    """Trains on 8×8 digits and leaves samples a class, walks between test digits, and curves."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data("digits")
    model = gm.DCGAN(train.event_shape, levels=train.levels, num_classes=train.num_classes, width=width)
    model.compile(ema=ema)
    model.fit(train, batch_size=batch_size, epochs=epochs, run_dir=run, seed=seed, save_every=15)

    # A GAN has no encoder: the latents of two test digits of each class are searched for.
    start, end = np.transpose([np.flatnonzero(test.labels == c)[:2] for c in range(train.num_classes)])
    strips = gm.interpolate_examples(
        model, test.examples[start], test.examples[end], steps=10, labels=test.labels[start]
    )
    samples = model.sample(100, seed=seed).numpy()
    nearest, _ = gm.latent.nearest_neighbours(samples[:32], train)
    shown = gm.images.pairs(samples[:32], train.examples[nearest[:, 0]])
    paths = [
        gm.save_grid(run / "samples.png", samples, levels=train.levels),  # a column a class
        gm.save_grid(run / "neighbours.png", shown, levels=train.levels, columns=8),  # sample, nearest, sample, …
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    figures = gm.evaluation.memorisation(model.sample(len(test), seed=seed).numpy(), train, test)
    print(
        f"\ndistance to the nearest training digit: {figures['samples']:.1f} of samples, {figures['held_out']:.1f} of "
        f"test digits (medians, gray levels); {time.monotonic() - started:.0f} seconds in all"
    )
    for path in [*paths, run / "samples", run / "log.csv", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
