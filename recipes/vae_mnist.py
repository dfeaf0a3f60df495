"""A convolutional VAE on statically binarized MNIST, measured by its importance-weighted bound.

    python recipes/vae_mnist.py --data FOLDER

FOLDER holds Larochelle's binarized_mnist_{train,valid,test}.amat; or give an .npz of `train`, `valid`, `test`, packed
by `np.packbits`. The figure that the run ends with, and what it took, stands in docs/results.md.
"""

import json
import time
from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli


def main(
    data: Path = typer.Option(None, help="binarized_mnist.npz, or the folder of .amat files.  [$GENMODELS_DATA]"),
    run: Path = typer.Option(Path("runs/vae-mnist"), help="Folder of the run; resumes the run it holds."),
    latent_dim: int = 32,
    dropout: float = 0.0,
    epochs: int = 24,
    batch_size: int = 128,
    learning_rate: float = typer.Option(1e-3, help="At the start; it falls to 0 along a cosine."),
    clipnorm: float = typer.Option(100.0, help="Largest gradient; the first ones are long, and Adam remembers."),
    ema: float = 0.999,
    precision: str = typer.Option("auto", help=cli.PRECISION),
    num_samples: int = typer.Option(500, help="Draws of z an example in the bound at the end."),
    seed: int = 0,
):
    """Trains on 50 000 pictures, validates on 10 000, and prints the bound on the 10 000 test pictures."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, valid, test = gm.load_data("binarized_mnist", path=data, validation=True)
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.VAE(
        train.event_shape, levels=train.levels, latent_dim=latent_dim, dropout=dropout, dtype=precision
    )
    steps = epochs * -(-len(train) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), ema=ema, clipnorm=clipnorm)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=valid, run_dir=run, seed=seed)

    print(f"measuring the bound of {num_samples} samples on {len(test)} test pictures …", flush=True)
    result = gm.evaluation.log_likelihood(model, test, num_samples=num_samples, seed=seed, progress=True)
    result = {"kind": f"iwae_{num_samples}", **result, "minutes": round((time.monotonic() - started) / 60, 1)}
    (run / "test.json").write_text(json.dumps(result, indent=2) + "\n")
    pictures = test.examples[:: len(test) // 32][:32]  # the split is sorted by class: these show all
    gm.save_grid(run / "reconstructions.png", gm.images.pairs(pictures, model.reconstruct(pictures)), levels=2)
    print(f"log p(x) ≥ {result['nats']:.2f} ± {result['standard_error']:.2f} nats ({result['kind']}); see {run}")


if __name__ == "__main__":
    cli.run(main)
