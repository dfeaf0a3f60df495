"""A WGAN-GP on Fashion-MNIST: an hour on two CPU cores with AVX2.

    python recipes/wgan_gp_fashion.py --run runs/wgan-gp-fashion

The model and the rates are those of recipes/half_hour.py, which says how they were found: half the default width, two
updates of the critic a step, and a rate five times the paper's that falls to 0. With the paper's settings but for the
fall, `--width 64 --critic-updates 5 --rate 1e-4`, a step takes six times as long.
The run's `samples/` holds what the same latents became over time. What it ends with stands in docs/results.md.
"""

import json
from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/wgan-gp-fashion"), help="Folder of the run; resumes the run it holds."),
    data: str = typer.Option("fashion_mnist", help="A named data set of images with classes."),
    steps: int = typer.Option(20_000, help="Updates of the generator."),
    batch_size: int = 64,
    width: int = typer.Option(32, help="Channels at the largest size."),
    critic_updates: int = typer.Option(2, help="Updates of the critic for one of the generator."),
    rate: float = typer.Option(5e-4, help="Of both optimizers at the start; along a cosine it falls to 0."),
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    precision: str = typer.Option("auto", help=cli.PRECISION),
    num: int = typer.Option(1000, help="Samples to look for copies among."),
    num_quality: int = typer.Option(10_000, help="Samples to compare with test pictures: Fréchet distance, KID, …"),
    seed: int = 0,
):
    """Trains; leaves samples, the training images nearest to them, and walks."""
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data)
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.WGANGP(
        train.event_shape, levels=train.levels, width=width, critic_updates=critic_updates, dtype=precision
    )
    optimizers = {}
    for player, updates in (("critic", critic_updates * steps), ("generator", steps)):
        falling = keras.optimizers.schedules.CosineDecay(rate, updates)
        optimizers[player] = keras.optimizers.Adam(falling, beta_1=0.0, beta_2=0.9)
    model.compile(optimizers, ema=ema)
    model.fit(train, batch_size=batch_size, steps=steps, run_dir=run, seed=seed)

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
