"""One latent dimension a row, from low to high, those that change the picture most above.

    python samples/traverse.py --run runs/vae-digits --labels 3 --out traversal.png
"""

from pathlib import Path

import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of a model with latents."),
    num: int = typer.Option(10, help="How many dimensions, at most."),
    steps: int = typer.Option(9, help="Pictures of each."),
    span: float = typer.Option(3.0, help="The dimension goes from minus this to this."),
    labels: int = typer.Option(None, help="The class of a conditional model."),
    seed: int = typer.Option(0, help="Seed of the latent, drawn from the prior, whose dimensions are moved."),
    out: Path = typer.Option(Path("traversal.png"), help="The PNG to write."),
):
    """Moves one latent dimension at a time, and lists how much each changes what is decoded."""
    model = gm.load_model(run)
    gm.latent.check_latents(model)
    z = model.prior(1, seed, labels)[0]
    frames, axes, effects = gm.latent.traverse(model, z, steps=steps, span=span, num=num, labels=labels)
    for axis, effect in zip(axes, effects):
        print(f"dimension {axis}: mean squared change {effect:.3g}")
    pictures = frames.numpy().reshape(-1, *model.event_shape)
    print(gm.plots.save_samples(out, pictures, levels=model.levels, columns=steps))


if __name__ == "__main__":
    cli.run(main)
