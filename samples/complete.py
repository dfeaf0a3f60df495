"""Completes pictures with an autoregressive or a diffusion model: the known part stands left, then completions.

python samples/complete.py --run runs/pixelcnn-digits --data digits --known 0.5 --out completions.png
"""

import functools
from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file: an autoregressive model or diffusion."),
    data: str = typer.Option(..., help="Complete test examples of this data set: a name, a folder or an .npz file."),
    known: float = typer.Option(0.5, help="Part of the rows, from above, that is kept."),
    rows: int = typer.Option(8, help="How many pictures."),
    num: int = typer.Option(4, help="Completions of each."),
    temperature: float = typer.Option(None, help="Of autoregressive models: below 1 completions vary less."),
    seed: int = typer.Option(0, help="Seed of the choice of pictures and of the completions."),
    out: Path = typer.Option(Path("completions.png"), help="The PNG to write."),
):
    """Completes the lower part of test pictures: each row shows one, its known part, and completions."""
    model = gm.load_model(run)
    options = {} if temperature is None else {"temperature": temperature}
    if hasattr(model, "complete"):
        complete = functools.partial(model.complete, **options)
    elif isinstance(model, gm.Diffusion) and len(model.event_shape) == 3 and not options:
        complete = functools.partial(gm.diffusion.inpaint, model)
    else:
        raise ValueError(
            "expected an autoregressive model, or diffusion of pictures and no --temperature, which complete; "
            f"{run} holds {type(model).__name__} of {model.event_shape}."
        )
    if not 0 <= known <= 1:
        raise ValueError(f"--known must be from 0 to 1; got {known}.")
    chosen = cli.data_for(model, data)[1].take(rows, seed=seed)
    height, width, _ = model.event_shape
    mask = np.broadcast_to(np.arange(height)[:, None] < round(known * height), (height, width))
    labels = chosen.labels if model.num_classes else None
    pictures = [complete(chosen.examples, mask, labels=labels, seed=seed + i) for i in range(num)]
    grey = 0 if model.levels is None else (model.levels - 1) // 2  # what is unknown, where there is a grey
    known = np.where(mask[..., None], chosen.examples, grey).astype(chosen.examples.dtype)
    shown, levels = gm.images.stretched(np.stack([chosen.examples, known, *pictures], axis=1), model.levels)
    print(gm.save_grid(out, shown, levels=levels))


if __name__ == "__main__":
    cli.run(main)
