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
STEPS = (5, 10, 20, 50)


def main(
    run: Path = typer.Option(Path("runs/ddpm-fashion"), help="Folder of the run; resumes the run it holds."),
    data: str = typer.Option("fashion_mnist", help="A named data set of images with classes."),
    epochs: int = 10,
    batch_size: int = 64,
    width: int = typer.Option(32, help="Channels of the U-Net at the full size; two and four times as many below."),
    learning_rate: float = typer.Option(1e-3, help="Falls to 0 along a cosine, after 500 steps of rise."),
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    precision: str = typer.Option("auto", help=cli.PRECISION),
    guidance: float = typer.Option(2.0, help="Of the guided samples."),
    num_quality: int = typer.Option(10_000, help="Samples to compare with test pictures: Fréchet distance, KID, …"),
    num_times: int = typer.Option(10, help="Terms of the variational bound, of a thousand, for each test image."),
    seed: int = 0,
):
    """Trains, draws samples by solver and number of evaluations, and measures the variational bound."""
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data)
    precision = cli.precision(precision, run, train.event_shape)
    denoiser = gm.diffusion.unet(
        train.event_shape, width=width, multipliers=(1, 2, 4), num_classes=train.num_classes, dtype=precision
    )
    model = gm.DDPM(
        train.event_shape, levels=train.levels, num_classes=train.num_classes, denoiser=denoiser, dtype=precision
    )
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, epochs * (len(train) // batch_size), warmup_target=learning_rate, warmup_steps=500
    )
    model.compile(keras.optimizers.Adam(rate), ema=ema, clipnorm=1.0)
    model.fit(train, batch_size=batch_size, epochs=epochs, run_dir=run, seed=seed, save_every=300)

    shown = 2 * train.num_classes  # of each solver and number of steps, a row from the same noise
    rows = [model.sample(shown, seed=seed, solver=name, steps=steps) for name in SOLVERS for steps in STEPS]
    guided = [model.sample(shown, seed=seed, guidance=scale) for scale in (0.0, 1.0, guidance, 2 * guidance)]
    samples = model.sample(1000, seed=seed).numpy()
    nearest, _ = gm.latent.nearest_neighbours(samples[:32], train)
    pairs = gm.images.pairs(samples[:32], train.examples[nearest[:, 0]])
    paths = [
        gm.save_grid(run / "samples.png", samples[:100], levels=train.levels),  # a column a class
        gm.save_grid(run / "solvers.png", np.concatenate(rows), levels=train.levels, columns=shown),
        gm.save_grid(run / "guidance.png", np.concatenate(guided), levels=train.levels, columns=shown),
        gm.save_grid(run / "neighbours.png", pairs, levels=train.levels, columns=8),  # sample, nearest, sample, …
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    figures = gm.evaluate(
        run, (train, test), score="elbo", options={"num_times": num_times}, num=1000, features="classifier",
        num_quality=num_quality, seed=seed, progress=True,
    )  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(gm.evaluation.markdown([figures]))
    for path in [*paths, run / "samples", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
