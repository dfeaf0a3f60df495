"""A DCGAN on Fashion-MNIST: 72 minutes on two CPU cores with AVX2.

    python recipes/dcgan_fashion.py --run runs/dcgan-fashion

The run's `samples/` holds what the same latents became over time. What it ends with stands in docs/results.md.
"""

import json
from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/dcgan-fashion"), help="Folder of the run; resumes the run it holds."),
    data: str = typer.Option("fashion_mnist", help="A named data set of images with classes."),
    epochs: int = typer.Option(40, help="Passes over the data, each of its images seen by one player."),
    batch_size: int = 64,
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    precision: str = typer.Option("auto", help=cli.PRECISION),
    num: int = typer.Option(1000, help="Samples to look for copies among."),
    num_quality: int = typer.Option(10_000, help="Samples to compare with test pictures: Fréchet distance, KID, …"),
    seed: int = 0,
):
    """Trains with the paper's settings; leaves samples, the training images nearest to them, and walks."""
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data)
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.DCGAN(train.event_shape, levels=train.levels, dtype=precision)
    model.compile(ema=ema)
    model.fit(train, batch_size=batch_size, epochs=epochs, run_dir=run, seed=seed)

    samples = model.sample(num, seed=seed).numpy()
    nearest, _ = gm.latent.nearest_neighbours(samples[:32], train)
    shown = gm.images.pairs(samples[:32], train.examples[nearest[:, 0]])
    ends = model.prior(16, seed)
    strips = gm.interpolate(model, ends[:8], ends[8:], steps=10)
    paths = [
        gm.save_grid(run / "samples.png", samples[:100], levels=train.levels),
        gm.save_grid(run / "neighbours.png", shown, levels=train.levels, columns=8),  # sample, nearest, sample, …
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    figures = gm.evaluate(
        run, (train, test), num=num, features="classifier", num_quality=num_quality, seed=seed, progress=True
    )
    (run / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(gm.evaluation.markdown([figures]))
    ratio = samples.var(axis=0).sum() / test.examples[:num].var(axis=0).sum()
    print(f"variance of samples over that of test pictures: {ratio:.3f} (far below 1: collapse)")
    for path in [*paths, run / "samples", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
