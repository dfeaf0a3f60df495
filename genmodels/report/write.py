"""From run directories to a file."""

from pathlib import Path

from genmodels.report import figures, page, pictures
from genmodels.report.runs import gathered
from genmodels.settings import checked_count
from genmodels.training.run_directory import write_atomically


def write_report(runs, path, *, title=None, data=None, num=64, seed=0) -> Path:
    """Writes one self-contained HTML file that shows runs side by side.

    It holds samples, walks between latents or completions, reconstructions, training curves, the figures of
    `metrics.json`, `test.json` and `evaluation.json`, settings and versions. It needs no network and no script.

    Args:
        runs: folders of finished runs, at least one; or one folder.
        path: the file, ending in .html; missing folders are made, an older report is replaced.
        title: of the page; None for one made of the runs' names.
        data: examples to reconstruct and complete, such as test splits: a `Dataset`, or None, for each run. By
            default the test split of runs whose data have one of `gm.data.data_names()` and are at hand.
        num: images drawn from each model, in columns by class where it is conditional; of points at least 1000.
        seed: of all that is drawn; the same for every run.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: a folder that is no run, or one not finished; a run given twice; data that do not fit; a path
            that does not end in .html. Before anything is drawn.

    Example:
        >>> from genmodels.report import write_report
        >>> model = gm.RealNVP((2,), levels=None, layers=2, width=8)
        >>> _ = model.fit(np.random.normal(size=[100, 2]), steps=2, run_dir="run", verbose=0)
        >>> write_report("run", "report.html").name
        'report.html'
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"`path` must end in .html; got {str(path)!r}.")
    if path.is_dir():
        raise ValueError(f"`path` must be a file; {path} is a folder.")
    num = checked_count("num", num, 1)
    seed = checked_count("seed", seed, 0)
    runs = gathered(runs, data)
    if title is None:
        title = f"The run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs side by side"
    sections = [
        page.section("Runs", page.overview(runs)),
        page.section("Samples", page.gallery(runs, lambda run: pictures.samples(run, num, seed))),
        page.section("Interpolation and completion", page.gallery(runs, lambda run: pictures.between(run, seed))),
        page.section("Reconstructions", page.gallery(runs, pictures.reconstructions)),
        page.section("Training", page.curves(runs)),
        page.section("Figures", page.figure_tables(runs)),
        page.section("Settings", page.settings_tables(runs)),
        page.section("Versions", page.table(runs, figures.versions(runs))),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.document(title, sections, len(runs), seed))
    return path
