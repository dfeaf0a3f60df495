"""A class-conditional VAE on the embedded digits, from data to pictures in half a minute.

    python recipes/vae_digits.py --run runs/vae-digits
"""

import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/vae-digits"), help="Folder of the run; resumes the run it holds."),
    latent_dim: int = 8,
    beta: float = typer.Option(1.0, help="Weight of the KL term."),
    dropout: float = 0.2,
    epochs: int = 150,
    batch_size: int = 64,
    learning_rate: float = typer.Option(1e-3, help="At the start; it falls to 0 along a cosine."),
    ema: float = 0.99,
    seed: int = 0,
):
    """Trains on 8×8 digits and leaves samples, reconstructions, interpolations and the loss curves."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data("digits")
    model = gm.VAE(
        train.event_shape, levels=train.levels, num_classes=train.num_classes, latent_dim=latent_dim, beta=beta,
        dropout=dropout, architecture="mlp",
    )  # fmt: skip
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(train) // batch_size))
    model.compile(keras.optimizers.Adam(schedule), ema=ema)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=test, run_dir=run, seed=seed, save_every=10)

    pictures, labels = test.examples[:32], test.labels[:32]
    compared = gm.images.pairs(pictures, model.reconstruct(pictures, labels))
    # A row a class: from one test example of it to another.
    start, end = np.transpose([np.flatnonzero(test.labels == c)[:2] for c in range(train.num_classes)])
    strips = gm.interpolate_examples(
        model, test.examples[start], test.examples[end], steps=10, labels=test.labels[start]
    )
    paths = [
        gm.save_grid(run / "samples.png", model.sample(100, seed=seed), levels=train.levels),  # a column a class
        gm.save_grid(run / "reconstructions.png", compared, levels=train.levels, columns=8),
        gm.save_grid(run / "interpolation.png", strips, levels=train.levels),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    bound = gm.evaluation.log_likelihood(model, test, num_samples=100, seed=seed)
    print(
        f"\nlog p(x | class) ≥ {bound['nats']:.1f} ± {bound['standard_error']:.1f} nats on {bound['examples']} test "
        f"digits (iwae_100); {time.monotonic() - started:.0f} seconds in all"
    )
    for path in [*paths, run / "samples", run / "log.csv", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
