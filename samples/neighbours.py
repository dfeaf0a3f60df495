"""Does a model copy its data? Each sample stands left of the training examples nearest to it.

    python samples/neighbours.py --run runs/dcgan-fashion --data fashion_mnist --out neighbours.png
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file."),
    data: str = typer.Option(..., help="What the model was trained on: a name, a folder or an .npz file."),
    num: int = typer.Option(8, help="How many samples."),
    k: int = typer.Option(5, help="Neighbours of each."),
    labels: str = typer.Option("", help="Classes of a conditional model, such as 7 or 0,1,2, taken in turn."),
    seed: int = typer.Option(0, help="The same seed gives the same samples."),
    out: Path = typer.Option(Path("neighbours.png"), help="The PNG to write."),
):
    """Draws samples beside their nearest training examples, and compares their distance with that of test examples."""
    model = gm.load_model(run)
    train, test = cli.data_for(model, data)
    samples = model.sample(num, labels=cli.classes_of(model, labels, num, run), seed=seed).numpy()
    indices, distances = gm.latent.nearest_neighbours(samples, train, k)
    figures = gm.evaluation.memorisation(samples, train, test.take(min(num, len(test)), seed=seed))
    print(
        f"Median distance to the nearest training example: {figures['samples']:.4g} of the samples, "
        f"{figures['held_out']:.4g} of as many test examples; nearest of all {distances.min():.4g}."
    )
    pictures = np.concatenate([samples[:, None], train.examples[indices]], axis=1).reshape(-1, *model.event_shape)
    print(gm.plots.save_samples(out, pictures, levels=model.levels, columns=k + 1))


if __name__ == "__main__":
    cli.run(main)
