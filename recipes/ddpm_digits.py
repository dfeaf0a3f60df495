"""A class-conditional DDPM on the embedded digits, from data to pictures in under three minutes.

python recipes/ddpm_digits.py --run runs/ddpm-digits
"""

import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/ddpm-digits"), help="Folder of the run; resumes the run it holds."),
    width: int = typer.Option(32, help="Channels of the U-Net at the full size."),
    epochs: int = 60,
    batch_size: int = 64,
    learning_rate: float = typer.Option(2e-3, help="Falls to 0 along a cosine."),
    ema: float = typer.Option(0.995, help="Decay of the average of the weights, which samples."),
    guidance: float = typer.Option(2.0, help="Of the guided samples."),
    seed: int = 0,
):
    """Trains on 8×8 digits and leaves samples a class, completions, variations, walks between digits, and curves."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data("digits")
    denoiser = gm.diffusion.unet(train.event_shape, width=width, blocks=1, num_classes=train.num_classes)
    model = gm.DDPM(train.event_shape, levels=train.levels, num_classes=train.num_classes, denoiser=denoiser)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(train) // batch_size))
    model.compile(keras.optimizers.Adam(rate), ema=ema)
    model.fit(train, batch_size=batch_size, epochs=epochs, run_dir=run, seed=seed, save_every=30)

    samples = model.sample(100, seed=seed).numpy()
    guided = model.sample(100, seed=seed, guidance=guidance).numpy()
    start, end = np.transpose([np.flatnonzero(test.labels == c)[:2] for c in range(train.num_classes)])
    x, labels = test.examples[start], test.labels[start]
    strips = gm.interpolate_examples(model, x, test.examples[end], steps=10, labels=labels)
    known = np.arange(8)[:, None] < 4 + np.zeros(8)  # the upper half
    filled = [gm.diffusion.inpaint(model, x, known, labels=labels, seed=seed + k) for k in range(4)]
    varied = [gm.diffusion.sdedit(model, x, strength=s, labels=labels, seed=seed) for s in (0.3, 0.5, 0.7)]
    edits = np.stack([x, np.where(known[..., None], x, 0), *filled, *varied])  # [9, 10, 8, 8, 1]
    paths = [
        gm.save_grid(run / "samples.png", samples, levels=train.levels),  # a column a class
        gm.save_grid(run / "guided.png", guided, levels=train.levels),
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.save_grid(run / "edits.png", edits.reshape(-1, 8, 8, 1), levels=train.levels, columns=10),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    bound = gm.evaluation.log_likelihood(model, test, score="elbo", num_times=100, seed=seed)
    print(
        f"\nvariational bound: at most {bound['bits_per_dim']:.3f} bits/dim of the test digits; "
        f"{time.monotonic() - started:.0f} seconds in all"
    )
    for path in [*paths, run / "samples", run / "log.csv", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
