"""The commands on a trained run: draw, rebuild, walk, measure, compare, take away."""

import itertools
import json
import os
import shlex
import warnings
from pathlib import Path

import numpy as np
import typer

from genmodels import evaluation, images, latent, plots
from genmodels.arguments import sampling_options
from genmodels.cli import training
from genmodels.cli.scripts import classes_of
from genmodels.evaluation.progress import counted
from genmodels.export.formats import FORMATS, write
from genmodels.report import check_finished, write_report
from genmodels.settings import checked_count
from genmodels.training import source
from genmodels.training.run_directory import load_model, write_atomically

RUN = typer.Argument(help="A run's folder, or a .keras file.")
DATA = typer.Option(None, help="A named set, a folder, or an .npz file.  [default: what the run was trained on]")
LABELS = typer.Option("", help="Classes of a conditional model, numbers or names, such as 7 or 0,1,2, in turn.")
SEED = typer.Option(0, help="The same seed gives the same result.")


def sample(
    run: Path = RUN,
    num: int = typer.Option(64, help="How many."),
    labels: str = LABELS,
    columns: int = typer.Option(None, help="Samples in a row.  [default: the classes; else as many as rows]"),
    seed: int = SEED,
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Such as temperature=0.8, steps=10."),
    out: Path = typer.Option(Path("samples.png"), help="A .png, or an .npz file of the numbers."),
):
    """Draws samples into one picture, or an array."""
    model = load_model(run)
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out must end in .png or .npz; got {out}.")
    options = training.settings_of(set_, sampling_options(model.generate), f"{type(model).__name__} samples with")
    if model.condition_dim is not None:
        raise ValueError(f"{run} is conditional on vectors: sample it in Python by model.sample(num, labels=vectors).")
    classes = classes_of(model, labels, num, run)
    batches = model.sample_batches(num, labels=classes, seed=seed, **options)
    drawn = np.concatenate([batch.numpy() for batch in counted(batches, num, "samples")])
    if out.suffix == ".npz":
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.stem}.{os.getpid()}.npz")
        np.savez(partial, samples=drawn)
        os.replace(partial, out)
        print(out)
    else:
        if columns is None and model.num_classes is not None and classes is None and model.num_classes <= num:
            columns = model.num_classes  # a column a class
        print(plots.save_samples(out, drawn, levels=model.levels, columns=columns))


def reconstruct(
    run: Path = RUN,
    data: str = DATA,
    num: int = typer.Option(32, help="How many test examples; all, where there are fewer."),
    seed: int = SEED,
    out: Path = typer.Option(Path("reconstructions.png"), help="The .png to write."),
):
    """Encodes test pictures and decodes them again: each stands left of its reconstruction."""
    if out.suffix != ".png":
        raise ValueError(f"--out must end in .png; got {out}.")
    model = _pictures(_with_latents(load_model(run)), run)
    _, test = _data(model, run, data)
    chosen = test.take(min(checked_count("num", num, 1), len(test)), seed=seed)
    labels = None if model.num_classes is None and model.condition_dim is None else chosen.labels
    if not latent.has_encoder(model):
        print(f"a {type(model).__name__} has no encoder: searching for the nearest latents", flush=True)
        rebuilt = model.decode(latent.project(model, chosen.examples, labels, seed=seed), labels)
    else:
        rebuilt = model.reconstruct(chosen.examples, labels)
    pairs, levels = images.stretched(images.pairs(chosen.examples, rebuilt), model.levels)
    print(images.save_grid(out, pairs, levels=levels, columns=2 * max(1, round(len(pairs) ** 0.5 / 2))))


def interpolate(
    run: Path = RUN,
    data: str = typer.Option(None, help="Walk between its test pictures; without it, between draws of the prior."),
    rows: int = typer.Option(8, help="How many walks; fewer, where the test pictures are."),
    steps: int = typer.Option(10, help="Pictures in a walk, both ends included."),
    labels: str = LABELS,
    loop: bool = typer.Option(
        False, help="One way through all draws and back, for an endless film; of one class, the first of --labels."
    ),
    seed: int = SEED,
    out: Path = typer.Option(Path("interpolation.png"), help="A .png of strips, or a .gif film."),
):
    """Walks between latents: one strip a row, or a film."""
    model = _pictures(_with_latents(load_model(run)), run)
    if out.suffix not in (".png", ".gif"):
        raise ValueError(f"--out must end in .png or .gif; got {out}.")
    checked_count("rows", rows, 1)
    classes = classes_of(model, labels, rows, run)
    if loop and data is not None:
        raise ValueError("--loop goes through draws of the prior; it takes no --data.")
    if loop:
        label = None if model.num_classes is None else (classes or [0])[0]
        strips = latent.walk(model, model.prior(rows, seed, label), steps=steps, closed=True, labels=label)[None]
    elif data is not None:
        start, end, classes = _ends(model, _data(model, run, data)[1], rows, classes, seed)
        strips = latent.interpolate_examples(model, start, end, steps=steps, labels=classes, seed=seed)
    else:
        ends = model.prior(2 * rows, seed, None if classes is None else 2 * classes)
        strips = latent.interpolate(model, ends[:rows], ends[rows:], steps=steps, labels=classes)
    strips, levels = images.stretched(strips.numpy(), model.levels)
    if out.suffix == ".gif":
        print(images.save_gif(out, strips.swapaxes(0, 1), levels=levels))
    else:
        print(images.save_grid(out, strips, levels=levels))


def evaluate(
    run: Path = RUN,
    data: str = DATA,
    metrics: str = typer.Option(None, help=f"Only these of {', '.join(evaluation.METRICS)}, with commas."),
    score: str = typer.Option(
        None, help="Of two likelihoods: elbo, or log_prob (of a VAE the importance-weighted bound).  [default: elbo]"
    ),
    examples: int = typer.Option(None, help="Test examples for the likelihood.  [default: all]"),
    num: int = typer.Option(256, help="Samples, for their time and their distance to the training data."),
    features: str = typer.Option(None, help="Measure samples in these: pixels, classifier, or a network's file."),
    num_quality: int = typer.Option(10_000, help="Samples and test examples for that, at most."),
    seed: int = SEED,
    set_: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Of the score: num_times=1000, num_samples=500 (flows, VAEs' log_prob)."
    ),
    sampling: list[str] = typer.Option([], metavar="KEY=VALUE", help="Of the samples: steps=50, temperature=0.8."),
    out: Path = typer.Option(
        None, help="The .json to write, and a .md beside it.  [default: evaluation.json in the run's folder]"
    ),
):
    """Measures the likelihood with its kind, time and memory, and whether samples are copies of training data.

    Copies are samples nearer to a training example than 99% of test examples are, the distance ratio is the median
    distance to the nearest one, of samples over test examples: about 1% and 1 for a good model, more and less for one
    that copies. With --features also how samples differ from test examples (Fréchet distance, KID, precision and
    recall, density and coverage), beside how training examples do. All figures are in the file, with what an earlier
    report of the same weights and data has besides.
    """
    out = _beside(run, "evaluation.json") if out is None else out
    if out.suffix != ".json":
        raise ValueError(f"--out must end in .json; got {out}.")
    figures = evaluation.evaluate(
        run, data, metrics=None if metrics is None else metrics.replace(" ", "").split(","), score=score,
        examples=examples, num=num, features=_features(features), num_quality=num_quality, seed=seed,
        options=training.settings_of(set_), sampling=training.settings_of(sampling), progress=True,
    )  # fmt: skip
    print(evaluation.listing(figures))
    figures = _with_earlier(out, figures)
    _write_figures(out, figures, [figures])


def compare(
    runs: list[Path] = typer.Argument(help="Folders of runs, such as runs/*; what is no finished run is left out."),
    num: int = typer.Option(64, help="Samples of each."),
    seed: int = SEED,
    out: Path = typer.Option(Path("report.html"), help="The page to write; the table also as .json and .md beside it."),
):
    """Sets runs side by side in one HTML page: samples, walks, curves, figures, settings. Prints their table.

    The table's figures are those that `genmodels evaluate` left in the runs' folders.
    """
    runs = _finished(runs)
    print(write_report(runs, out, data=[_test_split(run) for run in runs], num=num, seed=seed))
    found = [evaluation.recorded(run) for run in runs]
    print(evaluation.markdown(found))
    for run in runs:
        if not (run / evaluation.tables.FILE).is_file():
            print(f"{run} has not been measured: genmodels evaluate {shlex.quote(str(run))}")
    _write_figures(out.with_suffix(".json"), found, found)


def export(
    run: Path = RUN,
    format: str = typer.Option("keras", help=f"{', '.join(FORMATS)}: see docs/keras.md."),
    out: Path = typer.Option(None, help="The folder to write.  [default: export/FORMAT in the run's folder]"),
):
    """Takes the model away: its networks as plain Keras files, a SavedModel, ONNX, or LiteRT."""
    if format not in FORMATS:
        raise ValueError(f"--format must be {', '.join(FORMATS)}; got {format!r}.")
    out = _beside(run, "export") / format if out is None else out
    try:
        for path in write(load_model(run), out, format):
            print(path)
    except ImportError as error:
        raise ValueError(error) from None


def _ends(model, test, rows, classes, seed):
    """Pairs of test pictures, and the classes of a conditional model: both pictures of a walk are then of its class."""
    order = np.random.default_rng(seed).permutation(len(test))
    if model.num_classes is None:
        rows = min(rows, len(test) // 2)
        start, end = order[:rows], order[rows : 2 * rows]
    else:
        if test.labels is None:
            raise ValueError("the model is of classes, and a walk between two pictures of one; the data have none.")
        queues = [list(order[test.labels[order] == label]) for label in range(model.num_classes)]
        if classes is None:  # in turn, of each as many as it has pairs
            turns = range(1, rows + 1)
            classes = [c for turn in turns for c, queue in enumerate(queues) if len(queue) >= 2 * turn][:rows]
        pairs = [(queues[c].pop(), queues[c].pop(), c) for c in classes if len(queues[c]) > 1]
        start, end, classes = (np.array(column) for column in zip(*pairs)) if pairs else ([], [], [])
    if not len(start):
        one = "" if model.num_classes is None else " of one class"
        raise ValueError(f"a walk needs two test pictures{one}; there are {len(test)} in all.")
    if len(start) < rows:
        warnings.warn(f"{len(start)} walks in place of {rows}: there are no more pairs of test pictures.", stacklevel=2)
    return test.examples[start], test.examples[end], classes


def _with_latents(model):
    latent.check_latents(model)
    return model


def _pictures(model, run):
    if len(model.event_shape) != 3 or model.event_shape[2] not in (1, 3):
        raise ValueError(f"expected a model of gray or colour pictures; that in {run} is of shape {model.event_shape}.")
    return model


def _data(model, run, given):
    """Train and test split, as pixels that stay: of the source given, or of what the run was trained on."""
    return source.drawn(source.load_of(run)) if given is None else source.data_for(model, given)


def _features(name):
    """A name of `evaluation.FITTED`, or a network's file."""
    if name is None or name in evaluation.FITTED or Path(name).is_file():
        return name
    raise ValueError(f"--features must be {', '.join(evaluation.FITTED)}, or a .keras file; got {name!r}.")


def _write_figures(path, figures, rows):
    """Figures as JSON, and as a table in Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, text in ((path, json.dumps(figures, indent=2)), (path.with_suffix(".md"), evaluation.markdown(rows))):
        write_atomically(file, text + "\n")
        print(file)


def _with_earlier(path, figures):
    """Figures with those of an earlier report there that were not measured anew; one of other things steps aside."""
    if not path.is_file():
        return figures
    try:
        before = json.loads(path.read_text())
    except ValueError:
        before = None
    whole = evaluation.tables.merged(figures, before) if isinstance(before, dict) else None
    if whole is None:
        aside = next(p for i in itertools.count(1) if not (p := path.with_stem(f"{path.stem}-{i}")).exists())
        os.replace(path, aside)
        print(f"{path} was a report of other weights, data or samplers, or did not say of which; it is now {aside}")
    return figures if whole is None else whole


def _finished(runs):
    """Those of the folders that hold finished runs; the others are named."""
    kept, reason = [], None
    for run in runs:
        try:
            check_finished(run)
            kept.append(run)
        except ValueError as error:
            reason = error
            warnings.warn(f"{error} It is left out.", stacklevel=2)
    if not kept:
        raise reason
    return kept


def _test_split(run):
    """What a run keeps of its data for the page; None where nothing says it, or the data are gone."""
    try:
        return source.load_of(run)[1]
    except (ValueError, OSError):
        return None


def _beside(run, name):
    """A path in the run's folder, or in that of a .keras file."""
    return (run if run.is_dir() else run.parent) / name
