"""The way of a diffusion model from noise to samples: what it passes above, what it takes that for below.

    python samples/denoise_steps.py --run runs/ddpm-digits --labels 3,8 --out denoising.png
    python samples/denoise_steps.py --run runs/ddpm-digits --num 64 --steps 30 --out denoising.gif
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file, of a diffusion model."),
    num: int = typer.Option(4, help="How many samples."),
    steps: int = typer.Option(10, help="Steps of DDIM."),
    guidance: float = typer.Option(1.0, help="Above 1 samples of a conditional model are clearer of their class."),
    labels: str = typer.Option("", help="Classes of a conditional model, such as 7 or 0,1,2, taken in turn."),
    seed: int = typer.Option(0, help="The same seed gives the same samples."),
    out: Path = typer.Option(Path("denoising.png"), help="A .png for strips, a .gif for a film."),
):
    """Shows a diffusion model at work: two rows a sample, of which the lower ends with the sample."""
    model = gm.load_model(run)
    classes = cli.classes_of(model, labels, num, run)
    noisy, estimates = gm.diffusion.trajectory(model, num, labels=classes, steps=steps, guidance=guidance, seed=seed)
    if out.suffix == ".gif":
        frames, levels = gm.images.stretched(noisy.numpy().swapaxes(0, 1), model.levels)
        print(gm.save_gif(out, frames, levels=levels))
        return
    # A column a level of noise: the last estimate is where the last step leads.
    rows = np.stack([noisy[:, :-1], estimates], axis=1).reshape(-1, *model.event_shape)
    print(gm.plots.save_samples(out, rows, levels=model.levels, columns=steps))


if __name__ == "__main__":
    cli.run(main)
