"""Figures and settings of runs, flat, and which of the figures may be compared."""

import json
import math
import zlib
from typing import NamedTuple

from genmodels.evaluation.likelihood import given
from genmodels.report.markup import number
from genmodels.training.run_directory import comparable

# Likelihoods by the names that logs and files give them, and whether higher is better.
HIGHER = {
    "nats": True, "log_prob": True, "elbo": True, "bits_per_dim": False, "nll": False, "nll_bound": False,
    "bits_per_dim_bound": False,
}  # fmt: skip
UNITS = {
    "nats": "nats", "log_prob": "nats", "elbo": "nats", "nll": "nats", "nll_bound": "nats", "kl": "nats",
    "reconstruction": "nats", "entropy": "nats", "bits_per_dim": "bits a dimension",
    "bits_per_dim_bound": "bits a dimension",
}  # fmt: skip
UNSTATED = "kind not stated"
KINDS = ("kind", "likelihood")  # what files call the kind of the likelihoods beside it
AGREE = ("data", "examples", "num_samples", "num_times", "steps", "probes")  # must agree for a comparison
PLACE = ("epoch", "step", "seconds")  # columns of a log that are no metrics


class Figure(NamedTuple):
    """A value of a file; of a likelihood its kind in words, and what must agree for two to be compared."""

    value: object
    kind: str | None = None
    measured_on: tuple = ()


def figures(run, file) -> dict[str, Figure]:
    """All values of one of a run's files, by dotted names."""
    found = {}
    _collect(run, run.figures.get(file, {}), "", "log_prob", found)
    if file == "metrics.json":
        found = {name: figure for name, figure in found.items() if name not in PLACE}
    return found


def best(cells) -> set[int]:
    """The runs whose value of one name is the best of at least two of the same kind on the same data.

    Args:
        cells: from run to (name, Figure).
    """
    groups = {}
    for run, (name, figure) in cells.items():
        if figure.kind not in (None, UNSTATED) and math.isfinite(figure.value):
            groups.setdefault((figure.kind, figure.measured_on), {})[run] = (
                figure.value if HIGHER[_leaf(name)] else -figure.value
            )
    return {
        run
        for group in groups.values()
        if len(group) > 1
        for run, value in group.items()
        if value == max(group.values())
    }


def settings(run) -> dict[str, str]:
    """The settings of a run by dotted names, as text; networks by their layers and a checksum of their form."""
    record = run.record["settings"]
    model = {"class": type(run.model).__name__, **run.model.get_config()}
    model.pop("name", None)
    training = {**record["training"], **(run.model.get_compile_config() or {})}
    found = {}
    for part, values in (("model", model), ("data", record["data"]), ("training", training)):
        for key, value in values.items():
            _flatten(value, f"{part}.{key}", found)
    return found


def differing(rows) -> dict[str, list]:
    """Those rows, name to a value a run, in which not all values are equal."""
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def side_by_side(tables) -> dict[str, list]:
    """One table, name to a value a run, from a dictionary a run; None where a run lacks the name."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: [table.get(name) for table in tables] for name in names}


def versions(runs) -> dict[str, list]:
    """The versions of the packages that each run began with."""
    return side_by_side([run.record["versions"] for run in runs])


def unit(name: str) -> str | None:
    """The unit of a metric, where its name says it without being it."""
    unit = UNITS.get(_leaf(name))
    return None if unit == _leaf(name) else unit


def _leaf(name):
    return name.rpartition(".")[2].removeprefix("val_")


def _collect(run, node, prefix, score, found):
    score = node.get("score", score)
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _collect(run, value, f"{name}.", _score(run.model, key, score), found)
        elif _leaf(key) in HIGHER and isinstance(value, int | float) and not isinstance(value, bool):
            stated = next((node[key] for key in KINDS if isinstance(node.get(key), str)), None)
            kind = _kind(run.model, _score(run.model, _leaf(key), score), stated)
            found[name] = Figure(value, kind, (str(run.data), *map(node.get, AGREE)))
        elif key not in KINDS or not isinstance(value, str):
            found[name] = Figure(value)


def _score(model, key, otherwise):
    """The method of the model that a key names, by itself or by its kind: "elbo", "variational_bound"."""
    for score, kind in model.scores.items():
        if key in (score, kind.replace(" ", "_")):
            return score
    return otherwise


def _kind(model, score, stated):
    """The kind of a likelihood in words: the model's, what the file says further, and on what it is conditional."""
    known = model.scores.get(score)
    kind = known or stated or UNSTATED
    if known and stated:
        told = any(stated.startswith(other) for other in model.scores.values())
        kind = stated if told else f"{known} ({stated})"
    return kind.removesuffix(given(model)) + given(model)


def _flatten(value, name, found):
    """A Keras configuration as lines of text; automatic names of objects, which mean nothing, are left out."""
    if isinstance(value, dict) and "class_name" in value:
        kind, config = value["class_name"], value.get("config") or {}
        config = config if isinstance(config, dict) else {"": config}
        if isinstance(config.get("layers"), list):  # a network; of some flows it is a number
            form = f"{zlib.crc32(json.dumps(comparable(value), sort_keys=True).encode()):08x}"
            found[name] = f"{kind} of {len(config['layers'])} layers, {form}"
            return
        if kind.endswith("DTypePolicy"):
            found[name] = config["name"]
            return
        found[name] = kind
        value = {key: inner for key, inner in config.items() if key != "name"}
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}".rstrip("."), found)
    elif isinstance(value, list | tuple) and any(isinstance(inner, dict | list | tuple) for inner in value):
        for place, inner in enumerate(value):
            _flatten(inner, f"{name}.{place}", found)
    elif isinstance(value, list | tuple):
        found[name] = f"({', '.join(map(_text, value))}{',' * (len(value) == 1)})"
    else:
        found[name] = _text(value)


def _text(value):
    return number(value) if isinstance(value, float) else str(value)
