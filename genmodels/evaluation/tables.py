"""Reports of `evaluate` as one table in Markdown, whose columns hold only what may be compared."""

import json
import os
import warnings
from pathlib import Path

from genmodels.training import run_directory

FILE = "evaluation.json"  # in a run's folder
ABSENT = "–"


def recorded(run) -> dict:
    """What is known of a run without measuring: the report that `genmodels evaluate` left, or else its training.

    A report of other weights than the folder's is not taken, with a warning.

    Args:
        run: the folder of a run.

    Returns:
        A dictionary as of `evaluate`, of fewer entries where there is no report.

    Raises:
        ValueError: where the folder holds no run, or its report is damaged.

    Example:
        >>> _ = gm.NICE((2,), levels=None).fit(np.zeros([8, 2], "float32"), steps=2, run_dir="run", verbose=0)
        >>> recorded("run")["training_steps"]
        2
    """
    report = Path(run, FILE)
    if report.is_file():
        try:
            found = json.loads(report.read_text())
            if not isinstance(found, dict):
                raise ValueError(f"expected an object, found {type(found).__name__}")
        except ValueError as error:
            raise ValueError(f"{report} is no report of `genmodels evaluate`: {error}.") from None
        if not outdated(found, run):
            return {**found, "run": str(run)}
        warnings.warn(f"{run} was trained on since it was measured; its {FILE} is left out.", stacklevel=2)
    path = Path(run, "run.json")
    if not path.is_file():
        raise ValueError(f"expected a run's folder, with run.json; {run} is none.")
    settings = json.loads(path.read_text())["settings"]
    names = {"model": settings["model"]["class"], "run": str(run), "data": settings["data"]["name"]}
    return {**names, **run_directory.training_cost(run)}


def outdated(report, run) -> bool:
    """Whether a report is of other weights than a run's folder holds; a folder without a model holds the report alone.

    Example:
        >>> outdated({"model_hash": "2c2dd4a1"}, "no-run")
        False
    """
    held = run_directory.model_hash(run)
    if held is None or "model_hash" in report:
        return None not in (held, report.get("model_hash")) and held != report["model_hash"]
    steps = run_directory.training_cost(run).get("training_steps")  # of reports from before there was a hash
    return "parameters" in report and report.get("training_steps") != steps


def merged(report, before) -> dict | None:
    """A report with what an earlier one of the same weights, data and samplers measured and it did not.

    Args:
        report: of `evaluate`, of a run.
        before: another.

    Returns:
        One dictionary; None where the two are not of the same, or do not say of which they are.

    Example:
        >>> run = {"model": "VAE", "model_hash": "2c2dd4a1", "data": "digits", "data_fingerprint": "8e3a1b2c"}
        >>> merged({**run, "copies": 0.01}, {**run, "nats": -80.0})["nats"]
        -80.0
    """
    same = ("model_hash", "data_fingerprint")
    if any(report.get(name) is None or report[name] != before.get(name) for name in same):
        return None
    samplers = [found["sampling"] for found in (report, before) if "sampling" in found]
    if samplers[1:] and samplers[0] != samplers[1]:
        return None
    measured = {_metric(name) for name in report} - {None}
    return {**{name: value for name, value in before.items() if _metric(name) not in measured}, **report}


def _metric(name):
    """Which metric a figure is of; an option of a score is a likelihood's."""
    return next((metric for metric, names in FIGURES.items() if name.removeprefix("floor_") in names), "likelihood")


def markdown(reports, *, floor=True, without=()) -> str:
    """Reports as a table, a row each, and what is to be known of its columns below.

    A bound is marked ≤ before its bits a dimension and ≥ before its nats, an estimate that is none, ≈; the kind stands
    beside it. Figures of samples that were measured in other features, on other data, or of other numbers, stand in one
    column only with a mark, and a line for each below.

    Args:
        reports: dictionaries of `evaluate`, in the order of the rows.
        floor: give the distance of training data from test data as the first row, where all reports agree on it.
        without: columns to leave out, such as "run".

    Returns:
        Lines of Markdown. Columns of which no report knows anything are left out.

    Example:
        >>> reports = [{"model": "NICE", "parameters": 8000, "nats": -2.5, "bits_per_dim": 1.8, "likelihood": "exact"}]
        >>> print(markdown(reports))
        | model | nats | bits/dim | kind of likelihood | parameters |
        |---|---:|---:|---|---:|
        | NICE | −2.50 | 1.800 | exact | 8 000 |
    """
    reports = list(reports)
    protocols = list(dict.fromkeys(filter(None, map(_protocol, reports))))
    rows = [_row(report, protocols) for report in reports]
    if floor and len(protocols) == 1:
        measured = next(report for report in reports if _protocol(report))
        rows.insert(0, _floor(measured))
    columns = [name for name in COLUMNS if name not in without and any(row.get(name) for row in rows)]
    lines = [columns, ["---" if name in WORDS else "---:" for name in columns]]
    lines += [[row.get(name) or ABSENT for name in columns] for row in rows]
    table = ["|" + "|".join(lines[1]) + "|" if i == 1 else f"| {' | '.join(cells)} |" for i, cells in enumerate(lines)]
    return "\n".join([*table, *_below(protocols), *_samplers(reports)])


def listing(report) -> str:
    """One report, a line a figure; beside a figure of samples, that of training data or what stands for them.

    Args:
        report: a dictionary of `evaluate`.

    Returns:
        Lines of text.

    Example:
        >>> print(listing({"model": "NICE", "parameters": 8000, "nats": -2.5, "likelihood": "exact"}))
        model               NICE
        nats                −2.50
        kind of likelihood  exact
        parameters          8 000
    """
    protocols = list(filter(None, [_protocol(report)]))
    cells = {**_row(report, protocols), "distance ratio": _number(report.get("distance_ratio"), "{:.3f}")}
    floor = _floor(report) if protocols else {}
    beside = {name: f" ({floor['model'].strip('*')}: {floor[name]})" for name in _quality(report) if floor.get(name)}
    names = [name for name in (*COLUMNS, "distance ratio") if cells.get(name)]
    width = max(map(len, names))
    lines = [f"{name:<{width}}  {cells[name]}{beside.get(name, '')}" for name in names]
    return "\n".join(line.rstrip() for line in [*lines, *_below(protocols), *_samplers([report])])


def _row(report, protocols):
    """Cells by column; of what is not known, nothing."""
    mark = _raised(protocols.index(_protocol(report))) if len(protocols) > 1 and _protocol(report) else ""
    cells = {
        "model": report["model"],
        "run": report.get("run") and os.path.basename(os.path.abspath(report["run"])),
        "data": report.get("data"),
        "nats": _nats(report),
        "bits/dim": _number(report.get("bits_per_dim"), f"{_mark(report, '≤ ')}{{:.3f}}"),
        "kind of likelihood": _kind(report),
        **{name: text and text + mark for name, text in _quality(report).items()},
        "copies": _number(report.get("copies"), "{:.1%}"),
        "parameters": _number(report.get("parameters"), "{:,}"),
        "training": _time(report.get("training_seconds")),
        "steps": _number(report.get("training_steps"), "{:,}"),
        "memory": _number(report.get("training_memory_mib"), "{:,.0f} MiB"),
        "1000 samples": _time(1000 * report["seconds_per_sample"] if "seconds_per_sample" in report else None),
    }
    return cells


def _quality(report, prefix=""):
    kid, error = (report.get(f"{prefix}{name}") for name in ("kid", "kid_standard_error"))
    cells = {
        "Fréchet": _number(report.get(f"{prefix}frechet"), "{:.3f}"),
        "KID × 1000": None if kid is None else _number(1000 * kid, "{:.2f}") + _number(1000 * error, " ± {:.2f}"),
    }
    for name in ("precision", "recall", "density", "coverage", "classifier_score"):
        cells[name.replace("_", " ")] = _number(report.get(f"{prefix}{name}"), "{:.3f}")
    return cells


def _floor(report):
    others = {"reference": "training data", "rest": "other test data", "halves": "two halves of the data"}
    return {"model": f"*{others[report['floor_of']]}*", "data": report.get("data"), **_quality(report, "floor_")}


def _protocol(report):
    """What must agree for figures of samples to be compared; None where there are none."""
    if "frechet" not in report:
        return None
    names = ("frechet_name", "features", "features_hash", "num_fake", "num_real", "data", "split", "resize")
    return *(report[name] for name in names), report.get("data_fingerprint")


def _below(protocols):
    """A line for each protocol that figures of samples were measured by."""
    lines = [""] * bool(protocols)
    for index, (name, features, digest, fake, real, data, split, resize, fingerprint) in enumerate(protocols):
        mark = f"{_raised(index)} " if len(protocols) > 1 else ""
        data = f"{data}, {fingerprint}" if fingerprint else data
        sizes = f"{_number(fake, '{:,}')} samples against {_number(real, '{:,}')} examples"
        lines.append(
            f"{mark}{name}, KID and what follows: features {features}, {digest}; {sizes} of {data}"
            f"{f' ({split})' if split else ''}; resized: {resize}.  "
        )
    return lines


def _samplers(reports):
    """A line that says how samples were drawn, where that is a choice."""
    said = dict.fromkeys(f"{r['model']} {r['sampling']}" for r in reports if r.get("sampling"))
    return [f"Samples are drawn by: {'; '.join(said)}.  "] if said else []


def _raised(index):
    """The mark of a protocol: 1, 2, … above the line."""
    return str(index + 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _nats(report):
    nats = _number(report.get("nats"), f"{_mark(report, '≥ ')}{{:.2f}}")
    return nats and nats + _number(report.get("standard_error"), " ± {:.2f}")


def _mark(report, bound):
    """What stands before a likelihood: nothing where it is exact, that mark at a bound, else ≈: an ODE's."""
    kind = report.get("likelihood", "")
    ode = kind.startswith("probability-flow")  # whose steps err either way, also in a bound
    return "" if kind.startswith("exact") else bound if "bound" in kind and not ode else "≈ "


def _kind(report):
    """The kind of likelihood with the options that tell one figure from another: terms, draws."""
    if "likelihood" not in report:
        return None
    said = {"num_samples": "draw", "num_times": "term", "steps": "step", "probes": "probe"}
    known = {word: report[name] for name, word in said.items() if report.get(name) is not None}
    options = [f"{number} {word}{'s' * (number != 1)}" for word, number in known.items()]
    return ", ".join([report["likelihood"], *options])


def _time(seconds):
    if seconds is None:
        return None
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _number(value, form):
    """A number as text, with a true minus sign and narrow groups; nothing for None."""
    return "" if value is None else form.format(value).replace(",", " ").replace("-", "−")


# Figures by the metric of `evaluate` that gives them.
FIGURES = {
    None: ("model", "run", "model_hash", "data", "data_fingerprint", "training_steps", "sampling"),
    "cost": (
        "parameters", "seconds_per_sample", "samples", "memory_mib", "training_seconds", "training_memory_mib",
    ),
    "memorisation": ("copies", "distance_ratio"),
    "quality": (
        "frechet", "kid", "kid_standard_error", "precision", "recall", "density", "coverage", "classifier_score",
        "frechet_name", "features", "features_hash", "num_real", "num_fake", "split", "resize", "seed", "num", "of",
    ),
}  # fmt: skip
WORDS = ("model", "run", "data", "kind of likelihood")
COLUMNS = (
    "model", "run", "data", "nats", "bits/dim", "kind of likelihood", "Fréchet", "KID × 1000", "precision", "recall",
    "density", "coverage", "classifier score", "copies", "parameters", "steps", "training", "memory", "1000 samples",
)  # fmt: skip
