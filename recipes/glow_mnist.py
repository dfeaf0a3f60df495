"""A Glow with spline couplings on MNIST in 256 levels, measured in bits a dimension.

    python recipes/glow_mnist.py --run runs/glow-mnist
    python recipes/glow_mnist.py --run runs/glow-mnist-variational --dequantization variational

The figures that the runs end with, and what they took, stand in docs/results.md.
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
    data: str = typer.Option("mnist", help="Name of a data set, a folder of pictures, or an .npz file."),
    run: Path = typer.Option(Path("runs/glow-mnist"), help="Folder of the run; resumes the run it holds."),
    steps: int = typer.Option(8, help="Steps of flow a scale."),
    width: int = typer.Option(128, help="Filters of the couplings' networks."),
    transform: str = typer.Option("spline", help="Of the couplings: spline, affine (as in the paper) or additive."),
    dequantization: str = typer.Option("uniform", help="uniform or variational."),
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = typer.Option(1e-3, help="After the warm-up; it falls to 0 along a cosine."),
    warmup: int = typer.Option(300, help="Updates over which the learning rate rises from 0."),
    clipnorm: float = typer.Option(200.0, help="Largest gradient."),
    ema: float = 0.999,
    precision: str = typer.Option("auto", help=cli.PRECISION),
    num_samples: int = typer.Option(1, help="Draws of the dequantization noise an example in the bound at the end."),
    seed: int = 0,
):
    """Trains on nine tenths of the training pictures, validates on the rest, and prints the bound on the test set."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    train, valid, test = gm.load_data(data, validation=True)
    # With the logit the black and the white of MNIST start as broad as its grays; without, training is far slower.
    precision = cli.precision(precision, run, train.event_shape)
    model = gm.Glow(
        train.event_shape, levels=train.levels, steps=steps, width=width, transform=transform, logit=1e-6,
        dequantization=dequantization, dtype=precision,
    )  # fmt: skip
    updates = epochs * -(-len(train) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, updates - warmup, warmup_target=learning_rate, warmup_steps=warmup
    )
    model.compile(keras.optimizers.Adam(schedule), ema=ema, clipnorm=clipnorm)
    model.fit(train, batch_size=batch_size, epochs=epochs, validation_data=valid, run_dir=run, seed=seed)

    print(f"measuring the bound on {len(test)} test pictures …", flush=True)
    result = gm.evaluation.log_likelihood(model, test, num_samples=num_samples, seed=seed, progress=True)
    kind = f"dequantization bound, {dequantization} noise, {num_samples} draw{'s' * (num_samples > 1)}"
    result = {"kind": kind, **result, "minutes": round((time.monotonic() - started) / 60, 1)}
    (run / "test.json").write_text(json.dumps(result, indent=2) + "\n")
    rows = [model.sample(10, seed=seed, temperature=t).numpy() for t in (1.0, 0.9, 0.8, 0.7, 0.5)]
    gm.save_grid(run / "temperatures.png", np.stack(rows), levels=train.levels)  # a row a temperature
    ends = test.examples[:16]
    gm.save_grid(
        run / "interpolation.png", gm.interpolate_examples(model, ends[:8], ends[8:], steps=10), levels=train.levels
    )
    error = result["standard_error"] / np.prod(train.event_shape) / np.log(2)
    print(f"≤ {result['bits_per_dim']:.3f} ± {error:.3f} bits/dim ({result['kind']}); see {run}")


if __name__ == "__main__":
    cli.run(main)
