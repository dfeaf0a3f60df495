"""Walks between random latents, or between examples of a data set, one strip a row.

    python samples/interpolate.py --run runs/vae-digits --out strips.png
    python samples/interpolate.py --run runs/vae-digits --data digits --labels 3 --out walk.gif
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of a model with latents."),
    data: str = typer.Option("", help="Walk between test examples of this data set; empty: between prior draws."),
    rows: int = typer.Option(8, help="How many walks."),
    steps: int = typer.Option(10, help="Pictures in a walk, both ends included."),
    method: str = typer.Option("auto", help="lerp, slerp, or auto for what suits the prior."),
    labels: str = typer.Option("", help="Classes of a conditional model, such as 7 or 0,1,2, one a walk in turn."),
    seed: int = typer.Option(0, help="Seed of the latents, or of the choice of examples and the search for them."),
    out: Path = typer.Option(Path("interpolation.png"), help="A .png for strips, a .gif for a film."),
):
    """Interpolates in the latent space of a trained model."""
    model = gm.load_model(run)
    gm.latent.check_latents(model)
    if len(model.event_shape) != 3:
        raise ValueError(f"expected a model of pictures; that in {run} is of shape {model.event_shape}.")
    classes = cli.classes_of(model, labels, rows, run)
    if data:
        test = cli.data_for(model, data)[1]
        if len(test) < 2 * rows:
            raise ValueError(f"{rows} walks need {2 * rows} test examples; {data} has {len(test)}: take fewer --rows.")
        if model.num_classes is not None and classes is None:
            raise ValueError(f"the model has {model.num_classes} classes: name those of the walks with --labels.")
        ends = _ends(test, rows, classes, seed)
        if not gm.latent.has_encoder(model):
            print(f"A {type(model).__name__} has no encoder: searching for the latents nearest to {2 * rows} examples.")
        options = {"steps": steps, "method": method, "labels": classes, "seed": seed}
        strips = gm.interpolate_examples(model, *ends, **options)
    else:
        ends = model.prior(2 * rows, seed, None if classes is None else 2 * classes)
        strips = gm.interpolate(model, ends[:rows], ends[rows:], steps=steps, method=method, labels=classes)
    strips, levels = gm.images.stretched(strips.numpy(), model.levels)
    if out.suffix == ".gif":
        print(gm.save_gif(out, strips.swapaxes(0, 1), levels=levels))
    else:
        print(gm.save_grid(out, strips, levels=levels))


def _ends(test, rows, classes, seed):
    """The test examples between which to walk; where the walks have classes, both ends are of the walk's."""
    order = np.random.default_rng(seed).permutation(len(test))
    if classes is None:
        return test.examples[order[:rows]], test.examples[order[rows : 2 * rows]]
    of_class = {label: iter(order[test.labels[order] == label]) for label in set(classes)}
    try:
        pairs = [(next(of_class[label]), next(of_class[label])) for label in classes]
    except StopIteration:
        raise ValueError(f"the data have fewer than two examples for each of the walks of {set(classes)}.") from None
    return tuple(test.examples[list(column)] for column in zip(*pairs))


if __name__ == "__main__":
    cli.run(main)
