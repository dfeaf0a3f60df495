"""The plane of two latent dimensions, decoded: every picture stands for an equal share of the prior.

    python samples/manifold.py --run runs/plane --out manifold.png
"""

from pathlib import Path

import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of a model with latents."),
    num: int = typer.Option(20, help="Pictures a side."),
    axes: str = typer.Option("", help="Two dimensions, such as 0,1; empty: those that change the pictures most."),
    tail: float = typer.Option(0.05, help="Probability that is left out at either end."),
    labels: int = typer.Option(None, help="The class of a conditional model."),
    seed: int = typer.Option(0, help="Of the latent at which the dimensions are compared, where no --axes are given."),
    out: Path = typer.Option(Path("manifold.png"), help="The PNG to write."),
):
    """Decodes a grid over two latent dimensions, through the inverse CDF of the prior."""
    model = gm.load_model(run)
    gm.latent.check_latents(model)
    chosen = cli.integers(axes)
    if chosen is None:
        chosen = gm.latent.traverse(model, model.prior(1, seed)[0], steps=2, num=2, labels=labels)[1]
    frames = gm.latent.manifold(model, num, axes=chosen, tail=tail, labels=labels).numpy()
    print(gm.plots.save_samples(out, frames.reshape(-1, *model.event_shape), levels=model.levels, columns=num))


if __name__ == "__main__":
    cli.run(main)
