"""A gated PixelCNN on statically binarized MNIST, measured by its exact likelihood.

    python recipes/gated_pixelcnn_mnist.py --data FOLDER

FOLDER holds Larochelle's binarized_mnist_{train,valid,test}.amat; or give an .npz of `train`, `valid`, `test`, packed
by `np.packbits`. The figure that the run ends with, and what it took, stands in docs/results.md.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    data: Path = typer.Option(None, help="binarized_mnist.npz, or the folder of .amat files.  [$GENMODELS_DATA]"),
    run: Path = typer.Option(Path("runs/gated-pixelcnn-mnist"), help="Folder of the run; resumes the run it holds."),
    filters: int = 32,
    blocks: int = 8,
    kernel_size: int = typer.Option(7, help="Side of the square that each block reads."),
    dropout: float = 0.0,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = typer.Option(1e-3, help="At the start; it falls to 0 along a cosine."),
    clipnorm: float = typer.Option(100.0, help="Largest gradient; the first ones are long, and Adam remembers."),
    ema: float = 0.999,
    precision: str = typer.Option("auto", help=cli.PRECISION),
    seed: int = 0,
):
    """Trains on 50 000 pictures, validates on 10 000, and prints the likelihood of the 10 000 test pictures."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, valid, test = gm.load_data("binarized_mnist", path=data, validation=True)
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.GatedPixelCNN(
        train.event_shape, levels=train.levels, filters=filters, blocks=blocks, kernel_size=kernel_size,
        dropout=dropout, dtype=precision,
    )  # fmt: skip
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(train) // batch_size))
    model.compile(keras.optimizers.Adam(schedule), ema=ema, clipnorm=clipnorm)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=valid, run_dir=run, seed=seed)

    print(f"measuring the likelihood of {len(test)} test pictures …", flush=True)
    result = gm.evaluation.log_likelihood(model, test, progress=True)
    result = {"kind": "nll", **result, "minutes": round((time.monotonic() - started) / 60, 1)}
    (run / "test.json").write_text(json.dumps(result, indent=2) + "\n")
    # The upper half of eight test pictures, completed three times; the split is sorted by class: these show all.
    pictures = test.examples[:: len(test) // 8][:8]
    upper = np.broadcast_to(np.arange(28)[:, None] < 14, (28, 28))
    completed = [model.complete(pictures, upper, seed=seed + i).numpy() for i in range(3)]
    gm.save_grid(run / "completions.png", np.stack([pictures, *completed], axis=1), levels=2)
    print(f"log p(x) = {result['nats']:.2f} ± {result['standard_error']:.2f} nats (exact); see {run}")


if __name__ == "__main__":
    cli.run(main)
