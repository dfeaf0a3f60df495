"""A class-conditional DDPM on Fashion-MNIST, and what each solver makes of it in few steps.

    python recipes/ddpm_fashion.py --run runs/ddpm-fashion

Under two hours on two CPU cores with bfloat16. What it ends with stands in docs/results.md.
"""

import json
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli

SOLVERS = ("ddim", "dpmpp_2m", "heun")
EVALUATIONS = (5, 10, 20, 50)  # of the network, for one sample


def main(
    run: Path = typer.Option(Path("runs/ddpm-fashion"), help="Folder of the run; resumes the run it holds."),
    data: str = typer.Option("fashion_mnist", help="A named data set of images with classes."),
    epochs: int = 10,
    batch_size: int = 64,
    width: int = typer.Option(32, help="Channels of the U-Net's largest size; two and four times as many further down."),
    learning_rate: float = typer.Option(1e-3, help="Falls to 0 along a cosine, after 500 steps of rise."),
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    precision: str = typer.Option("mixed_bfloat16", help="Keras dtype policy; float32 on CPUs without AMX."),
    guidance: float = typer.Option(2.0, help="Of the guided samples."),
    num_times: int = typer.Option(10, help="Terms of the variational bound, of a thousand, for each test image."),
    seed: int = 0,
):
    """Trains, draws samples by solver and number of evaluations, and measures the variational bound."""
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data)
    denoiser = gm.diffusion.unet(
        train.event_shape, width=width, multipliers=(1, 2, 4), num_classes=len(train.classes), dtype=precision
    )
    model = gm.DDPM(
        train.event_shape, levels=train.levels, num_classes=len(train.classes), denoiser=denoiser, dtype=precision
    )
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, epochs * (len(train) // batch_size), warmup_target=learning_rate, warmup_steps=500
    )
    model.compile(keras.optimizers.Adam(rate), ema=ema, clipnorm=1.0)
    model.fit(train, batch_size=batch_size, epochs=epochs, run_dir=run, seed=seed, save_every=300)


if __name__ == "__main__":
    cli.run(main)
