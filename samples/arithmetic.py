"""Arithmetic of latents: what class a has and class b has not is added to class c.

    python samples/arithmetic.py --run runs/vae-fashion --data fashion_mnist --a 2 --b 0 --c 3 --out arithmetic.png
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of a model with latents."),
    data: str = typer.Option(..., help="Examples with classes: a name, a folder or an .npz file."),
    a: int = typer.Option(..., help="The class whose mean latent is added."),
    b: int = typer.Option(..., help="The class whose mean latent is subtracted."),
    c: int = typer.Option(..., help="The class to which the difference is added."),
    num: int = typer.Option(100, help="Training examples of a class whose latents are averaged."),
    rows: int = typer.Option(4, help="Test examples of c to which the difference is added."),
    seed: int = typer.Option(0, help="Seed of the choice of examples, and of the search for latents."),
    out: Path = typer.Option(Path("arithmetic.png"), help="The PNG to write."),
):
    """Draws the means of a, b and c and a - b + c; below, examples of c with 0, 0.5, 1 and 1.5 times a - b."""
    model = gm.load_model(run)
    gm.latent.check_latents(model)
    train, test = cli.data_for(model, data)
    if not gm.latent.has_encoder(model):
        print(f"A {type(model).__name__} has no encoder: searching for the latents of {3 * num + rows} examples.")

    def chosen(part, label, count):
        """Examples of one class, and their labels where the model takes any."""
        places = np.flatnonzero(part.labels == label) if part.labels is not None else []
        if len(places) < count:
            raise ValueError(f"expected {count} examples of class {label}; {data} has {len(places)} in that part.")
        x = part.examples[np.random.default_rng(seed).choice(places, count, replace=False)]
        return x, None if model.num_classes is None else np.full(count, label)

    examples, labels = chosen(test, c, rows)
    averaged = [chosen(train, label, num) for label in (a, b, c)]
    latents = [gm.latent.encodings(model, *given, seed=seed).numpy() for given in averaged]
    means = np.stack([z.mean(0) for z in latents])
    of_means = model.decode(means, None if labels is None else [a, b, c]).numpy()
    result = gm.latent.arithmetic(model, *latents, labels=None if labels is None else c).numpy()
    moved = gm.latent.apply_attribute(model, examples, means[0] - means[1], labels=labels, seed=seed)
    pictures = np.concatenate([of_means, result[None], moved.numpy().reshape(-1, *model.event_shape)])
    print(gm.plots.save_samples(out, pictures, levels=model.levels, columns=moved.shape[1]))


if __name__ == "__main__":
    cli.run(main)
