"""A PixelCNN on the embedded digits, from data to sharp samples in under two minutes.

python recipes/pixelcnn_digits.py --run runs/pixelcnn-digits
"""

import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(Path("runs/pixelcnn-digits"), help="Folder of the run; resumes the run it holds."),
    filters: int = 64,
    blocks: int = 7,
    dropout: float = 0.3,
    epochs: int = 60,
    batch_size: int = 64,
    learning_rate: float = typer.Option(2e-3, help="At the start; it falls to 0 along a cosine."),
    ema: float = 0.99,
    seed: int = 0,
):
    """Trains on 8×8 digits and leaves samples, completions, a picture of what the model is unsure of, and curves."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data("digits")
    model = gm.PixelCNN(
        train.event_shape, levels=train.levels, num_classes=train.num_classes, filters=filters, blocks=blocks,
        dropout=dropout,
    )  # fmt: skip
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(train) // batch_size))
    model.compile(keras.optimizers.Adam(schedule), ema=ema)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=test, run_dir=run, seed=seed, save_every=20)

    pictures, labels = test.examples[:8], test.labels[:8]
    upper = np.broadcast_to(np.arange(8)[:, None] < 4, (8, 8))
    completed = [model.complete(pictures, upper, labels=labels, seed=seed + i).numpy() for i in range(4)]
    # The entropy of each pixel given those before it, as a picture: bright where the next pixel is a surprise.
    entropy = model.predictive(pictures, labels).distribution.entropy().numpy()
    unsure = np.round(entropy / np.log(train.levels) * (train.levels - 1)).astype(np.uint8)
    paths = [
        gm.save_grid(run / "samples.png", model.sample(100, seed=seed), levels=train.levels),  # a column a class
        gm.save_grid(run / "completions.png", np.stack([pictures, *completed], axis=1), levels=train.levels),
        gm.save_grid(run / "entropy.png", gm.images.pairs(pictures, unsure), levels=train.levels, columns=8),
        gm.plots.save_curves(run / "curves.png", gm.plots.read_log(run / "log.csv")),
    ]
    result = gm.evaluation.log_likelihood(model, test)
    print(
        f"\nlog p(x | class) = {result['nats']:.1f} ± {result['standard_error']:.1f} nats, exact, on "
        f"{result['examples']} test digits; {time.monotonic() - started:.0f} seconds in all"
    )
    for path in [*paths, run / "samples", run / "log.csv", run / "model.keras"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
