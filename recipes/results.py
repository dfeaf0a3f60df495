"""The tables of docs/results.md and their pictures, from what the runs of recipes/half_hour.py leave.

    python recipes/results.py                          # the records in docs/half_hour
    python recipes/results.py --runs runs/half-hour    # of one's own

Nothing is trained, measured or drawn: each run's evaluation.json becomes a row between two marks in the page, and its
samples.png a panel of the picture beside it. Of a run these two files are enough, and what docs/half_hour holds. Runs
that are missing are named.
"""

from pathlib import Path

import numpy as np
import typer
from PIL import Image

import genmodels as gm
from genmodels import cli

MODELS = ("vae", "gated-pixelcnn", "glow", "wgan-gp", "ddpm")  # of recipes/half_hour.py
SAMPLES, COLUMNS = 40, 8  # as its pictures have them
DATA = ("mnist", "fashion_mnist")


def between_marks(text, name, content):
    """A page with new content between the marks of a name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page must hold the marks {begin.strip()} and {end}, in this order.")
    return f"{before}{begin}\n{content}\n\n{end}{after}"


def picture(path, reports, data, seed):
    """Test images, and the samples of each run."""
    _, test = gm.load_data(data)
    shown = test.take(SAMPLES, seed=seed).examples
    panels = {"test images": gm.images.grid(shown, levels=test.levels, columns=COLUMNS, scale=1, padding=1)}
    for report in reports:
        with Image.open(Path(report["run"], "samples.png")) as samples:
            panels[report["model"]] = np.asarray(samples).reshape(*samples.size[::-1], -1)
    panels = {title: pixels[None] for title, pixels in panels.items()}
    return gm.save_gallery(path, panels, levels=256, columns=3, scale=1, padding=0)


def main(
    runs: Path = typer.Option(Path("docs/half_hour"), help="Folder of the runs, or their records, MODEL-DATA each."),
    data: list[str] = typer.Option(DATA, help="Data sets, each with marks of its name in the page."),
    page: Path = typer.Option(Path("docs/results.md"), help="The page to renew; its pictures lie in images beside it."),
    seed: int = typer.Option(0, help="Of the choice of test images."),
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
            reports = [gm.evaluation.recorded(run) for run in found]
            table = gm.evaluation.markdown(reports, without=("run", "data"))  # the heading and the model say them
            text = between_marks(text, source, table)
            drawn.append(picture(page.parent / "images" / f"half_hour_{source}.png", reports, source, seed))
    if not drawn:
        raise ValueError(f"{runs} holds no record of a run on {', '.join(data)}: nothing was written.")
    page.write_text(text, encoding="utf-8")
    for path in (page, *drawn):
        print(path)


if __name__ == "__main__":
    cli.run(main)
