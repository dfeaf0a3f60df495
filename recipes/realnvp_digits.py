"""A RealNVP on the embedded digits, from data to samples, walks and a likelihood in under two minutes.

python recipes/realnvp_digits.py --run runs/realnvp-digits
"""

import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/realnvp-digits"), help="Folder of the run; resumes the run it holds."),
    layers: int = typer.Option(3, help="Couplings of each mask a scale."),
    width: int = 64,
    epochs: int = 150,
    batch_size: int = 64,
    learning_rate: float = typer.Option(4e-3, help="After the warm-up; it falls to 0 along a cosine."),
    clipnorm: float = typer.Option(100.0, help="Largest gradient."),
    ema: float = 0.99,
    seed: int = 0,
):
    """Trains on 8×8 digits and leaves samples at several temperatures, walks between test digits, and curves."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data("digits")
    model = gm.RealNVP(
        train.event_shape, levels=train.levels, num_classes=train.num_classes, layers=layers, width=width
    )
    updates = epochs * -(-len(train) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, updates - updates // 20, warmup_target=learning_rate, warmup_steps=updates // 20
    )
    model.compile(keras.optimizers.Adam(schedule), ema=ema, clipnorm=clipnorm)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=test, run_dir=run, seed=seed, save_every=20)

    # A row a class: from one test digit of it to another, through the latents.
    start, end = np.transpose([np.flatnonzero(test.labels == c)[:2] for c in range(train.num_classes)])
    strips = gm.interpolate_examples(
        model, test.examples[start], test.examples[end], steps=10, labels=test.labels[start]
    )
    temperatures = [model.sample(20, seed=seed, temperature=t).numpy() for t in (1.0, 0.8, 0.6, 0.4)]
    paths = [
        gm.save_grid(run / "samples.png", model.sample(100, seed=seed, temperature=0.7), levels=train.levels),
        gm.save_grid(run / "temperatures.png", np.stack(temperatures), levels=train.levels),  # a row a temperature
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    result = gm.evaluation.log_likelihood(model, test, num_samples=16, seed=seed)
    print(
        f"\nlog p(x | class) ≥ {result['nats']:.1f} ± {result['standard_error']:.1f} nats on {result['examples']} test "
        f"digits (dequantization bound, 16 draws); {time.monotonic() - started:.0f} seconds in all"
    )
    for path in [*paths, run / "samples", run / "log.csv", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
