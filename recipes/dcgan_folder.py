"""A DCGAN on a folder of your own images.

    python recipes/dcgan_folder.py --data photos --run runs/photos

With a few thousand images, augmentation keeps the discriminator from learning them by heart.
"""

from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli


def main(
    data: Path = typer.Option(..., help="Folder of images, of any sizes; folders inside it are classes."),
    run: Path = typer.Option(Path("runs/dcgan-folder"), help="Folder of the run; resumes the run it holds."),
    size: int = typer.Option(64, help="Pixels a side, from 8 to 128; images are resized and cropped to it."),
    channels: int = typer.Option(3, help="3 for colour, 1 for gray."),
    conditional: bool = typer.Option(False, help="Learn the classes too."),
    width: int = typer.Option(64, help="Channels of the networks at the largest image."),
    augment: str = typer.Option("color,translation,cutout", help="What the discriminator's images go through."),
    steps: int = 10_000,
    batch_size: int = 64,
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    precision: str = typer.Option("auto", help=cli.PRECISION),
    seed: int = 0,
):
    """Trains, and leaves samples, the training images nearest to them, and walks."""
    keras.utils.set_random_seed(seed)
    train, _ = gm.load_data(data, size=size, channels=channels)
    if conditional and train.num_classes is None:
        raise ValueError(f"--conditional needs classes, folders inside {data}; there are none.")
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.DCGAN(
        train.event_shape, levels=train.levels, num_classes=train.num_classes if conditional else None, width=width,
        augment=augment or None, dtype=precision,
    )  # fmt: skip
    model.compile(ema=ema)
    model.fit(train, batch_size=batch_size, steps=steps, run_dir=run, seed=seed)

    samples = model.sample(64, seed=seed).numpy()
    nearest, _ = gm.latent.nearest_neighbours(samples[:32], train)
    shown = gm.images.pairs(samples[:32], train.examples[nearest[:, 0]])
    ends = model.prior(16, seed)
    strips = gm.interpolate(model, ends[:8], ends[8:], steps=10)
    for path in [
        gm.save_grid(run / "samples.png", samples, levels=train.levels),
        gm.save_grid(run / "neighbours.png", shown, levels=train.levels, columns=8),  # sample, nearest, sample, …
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
        run / "samples",
        run / "model.keras",
    ]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
