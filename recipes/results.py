"""The tables of docs/results.md and their pictures, from the run directories that recipes/half_hour.py leaves.

    python recipes/results.py --runs runs/half-hour

Nothing is trained or measured: what stands in each run's evaluation.json and metrics.json is set side by side and put
between two marks in the page, and each model draws forty samples for the picture. Runs that are missing are named.
"""

from pathlib import Path

import numpy as np
import typer

import genmodels as gm
from genmodels import cli

MODELS = ("vae", "gated-pixelcnn", "glow", "wgan-gp", "ddpm")  # of recipes/half_hour.py
DATA = ("mnist", "fashion_mnist")
SAMPLES = 40  # of each model in the picture


def between_marks(text, name, content):
    """A page with new content between the marks of a name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page must hold the marks {begin.strip()} and {end}, in this order.")
    return f"{before}{begin}\n{content}\n\n{end}{after}"


def picture(path, runs, data, seed):
    """Test images, and as many samples of each model."""
    _, test = gm.load_data(data)
    panels = {"test images": test.take(SAMPLES, seed=seed).examples}
    for run in runs:
        model = gm.load_model(run)
        panels[model.title] = np.asarray(model.sample(SAMPLES, seed=seed))
    shown = {title: images.reshape(5, -1, *test.event_shape) for title, images in panels.items()}
    return gm.save_gallery(path, shown, levels=test.levels, columns=3, scale=1)


def main(
    runs: Path = typer.Option(Path("runs/half-hour"), help="Folder of the runs, MODEL-DATA each."),
    data: list[str] = typer.Option(DATA, help="Data sets, each with marks of its name in the page."),
    page: Path = typer.Option(Path("docs/results.md"), help="The page to renew; its pictures lie in images beside it."),
    seed: int = typer.Option(0, help="Of the samples in the pictures."),
):
    """Renews the tables of the page and their pictures."""
    text, drawn = page.read_text(encoding="utf-8"), []
    for source in data:
        folders = [runs / f"{name}-{source}" for name in MODELS]
        found = [run for run in folders if (run / "evaluation.json").is_file()]
        for run in folders:
            if run not in found:
                print(f"missing: {run}")
        if found:
            reports = [{**gm.evaluation.recorded(run), "run": None, "data": None} for run in found]
            text = between_marks(text, source, gm.evaluation.markdown(reports))
            drawn.append(picture(page.parent / "images" / f"half_hour_{source}.png", found, source, seed))
    page.write_text(text, encoding="utf-8")
    for path in (page, *drawn):
        print(path)


if __name__ == "__main__":
    cli.run(main)
