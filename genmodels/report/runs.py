"""What a report knows of a run: everything that is read, before anything is drawn."""

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

from genmodels import catalogue, plots
from genmodels.core import GenerativeModel
from genmodels.data import Dataset, as_dataset, data_names, load_data, once, place
from genmodels.evaluation import tables
from genmodels.training.run_directory import load_model

FIGURES = ("metrics.json", "test.json", "evaluation.json")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: of its folder; the whole path where two folders have one name.
        number: its place in the report.
        model: with its averaged weights.
        record: `run.json`.
        figures: from file name to what the file holds.
        log: rows of `log.csv`.
        examples: its test split as the model takes it, or None.
        absent: why there are no examples; empty where there are.
    """

    name: str
    number: int
    model: GenerativeModel
    record: dict
    figures: dict[str, dict]
    log: list[dict[str, float]]
    examples: Dataset | None
    absent: str

    @property
    def family(self) -> str:
        """The model's family, in words."""
        return catalogue.family(type(self.model))

    @property
    def data(self) -> dict:
        """Name and fingerprint of the data it was trained on."""
        return self.record["settings"]["data"]

    def first(self, num: int):
        """The first examples as the model takes them, and their labels or None."""
        batch = next(iter(once(self.examples, min(num, len(self.examples)))))
        return batch if isinstance(batch, tuple) else (batch, None)


def gathered(folders, data=None) -> list[Run]:
    """The runs in folders, checked before the first is loaded."""
    folders = [Path(folder) for folder in ([folders] if isinstance(folders, str | Path) else folders)]
    if not folders:
        raise ValueError("`runs` must name at least one run's folder; got none.")
    for folder in folders:
        check_finished(folder)
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        twice = next(folder for folder, place in zip(folders, places) if places.count(place) > 1)
        raise ValueError(f"`runs` must be different folders; {twice} is given twice.")
    data = [None] * len(folders) if data is None else list(data)
    if len(data) != len(folders):
        raise ValueError(f"`data` must be a data set or None for each of {len(folders)} runs; got {len(data)}.")
    names = [os.path.basename(os.path.abspath(folder)) for folder in folders]
    counts = Counter(names)
    names = [name if counts[name] == 1 else str(folder) for name, folder in zip(names, folders)]
    return [_run(*parts) for parts in zip(range(len(folders)), names, folders, data)]


def check_finished(folder) -> None:
    """Raises ValueError unless a folder holds a finished run.

    Args:
        folder: its path.

    Raises:
        ValueError: names what is missing.

    Example:
        >>> check_finished("runs/vae-mnist")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise ValueError(f"expected a run's folder, with run.json; {folder} is none.")
    for name in ("model.keras", "metrics.json", "log.csv"):
        if not (folder / name).is_file():
            raise ValueError(f"the run in {folder} is not finished: it has no {name}; run its command again.")


def _run(number, name, folder, given):
    record, figures = _read(folder / "run.json"), {}
    for file in FIGURES:
        if (folder / file).is_file():
            figures[file] = _read(folder / file)
    if tables.outdated(figures.get("evaluation.json", {}), folder):
        del figures["evaluation.json"]  # of other weights, as the command says that prints the table
    model = load_model(folder)
    if given is not None:
        examples, absent = _fitting(model, given), ""
    else:
        examples, absent = _named(model, record["settings"]["data"]["name"])
    return Run(name, number, model, record, figures, plots.read_log(folder / "log.csv"), examples, absent)


def _read(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object; it holds a {type(found).__name__}.")
    return found


def _fitting(model, data):
    return as_dataset(
        data, event_shape=model.event_shape, levels=model.levels, num_classes=model.num_classes,
        condition_dim=model.condition_dim,
    )  # fmt: skip


def _named(model, name):
    """The test split of a set of that name, or None with the reason."""
    if name not in data_names():
        return None, f"its data, {name}, are no named set"
    if place(name).startswith("missing: "):
        return None, f"its data, {name}, are not at hand"  # a report downloads nothing
    try:
        return _fitting(model, load_data(name)[-1]), ""
    except FileNotFoundError:
        return None, f"its data, {name}, are not at hand"
    except ValueError as error:
        return None, f"it was trained on {name} in another form: {error}"
