"""Completes pictures with an autoregressive model: the known part stands left, then several completions.

python samples/complete.py --run runs/pixelcnn-digits --data digits --known 0.5 --out completions.png
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of an autoregressive model."),
    data: str = typer.Option(..., help="Complete test examples of this data set: a name, a folder or an .npz file."),
    known: float = typer.Option(0.5, help="Part of the rows, from above, that is kept."),
    rows: int = typer.Option(8, help="How many pictures."),
    num: int = typer.Option(4, help="Completions of each."),
    temperature: float = typer.Option(1.0, help="Below 1 the completions are more typical and less varied."),
    seed: int = typer.Option(0, help="Seed of the choice of pictures and of the completions."),
    out: Path = typer.Option(Path("completions.png"), help="The PNG to write."),
):
    """Completes the lower part of test pictures: each row shows one, its known part, and completions."""
    model = gm.load_model(run)
    if not hasattr(model, "complete"):
        raise ValueError(
            f"expected an autoregressive model, which completes pictures; {run} is a {type(model).__name__}."
        )
    if not 0 <= known <= 1:
        raise ValueError(f"--known must be from 0 to 1; got {known}.")
    chosen = cli.data_for(model, data)[1].take(rows, seed=seed)
    height, width, _ = model.event_shape
    mask = np.broadcast_to(np.arange(height)[:, None] < round(known * height), (height, width))
    labels = chosen.labels if model.num_classes else None
    pictures = [
        model.complete(chosen.examples, mask, labels=labels, seed=seed + i, temperature=temperature).numpy()
        for i in range(num)
    ]
    grey = (model.levels - 1) // 2  # what is unknown, where there is a grey
    shown = [chosen.examples, np.where(mask[..., None], chosen.examples, grey).astype(np.uint8), *pictures]
    print(gm.save_grid(out, np.stack(shown, axis=1), levels=model.levels))


if __name__ == "__main__":
    cli.run(main)
