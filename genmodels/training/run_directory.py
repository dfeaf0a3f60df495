"""The folder that holds everything of a run.

    run.json      model, data, settings, versions, seed
    log.csv       one row an epoch
    samples/      grids while training
    checkpoints/  the last three
    model.keras   the model with its averaged weights
    metrics.json  the final figures, and the memory that the process took at most
"""

import csv
import functools
import hashlib
import io
import json
import os
import platform
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

from genmodels import files, plots
from genmodels.training import checkpoints

PACKAGES = ("tensorflow", "keras", "numpy")


def _by_the_chief(method):
    """A method that does nothing on the other workers."""

    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        return method(self, *args, **kwargs) if self.chief else None

    return guarded


class RunDirectory:
    """A run's folder: refuses another run's, and writes every file whole or not at all.

    Args:
        path: the folder; made when missing. Several hosts share it.
        settings: what defines the run, a nested dictionary that JSON can hold.
        resume: whether a run that the folder holds may be continued.
        chief: whether this process writes; of several workers, one does.

    Raises:
        ValueError: when the folder holds another run (named by the setting that differs), a run although
            `resume` is False, or something that is no run.
    """

    def __init__(self, path, settings, resume, chief=True):
        self.path, self.chief = Path(path), chief
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"run_dir must be a folder; {self.path} is a file.")
        description = self.path / "run.json"
        if description.exists():
            if not resume and chief:  # to another worker it may be the one that the chief has just begun
                raise ValueError(f"{self.path} already holds a run: give another run_dir, or resume=True to continue.")
            _refuse_difference(self.path, _plain(settings), json.loads(description.read_text())["settings"])
            return
        if not chief:
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty and holds no run.json: give a new or empty folder as run_dir.")
        self.path.mkdir(parents=True, exist_ok=True)
        versions = {package: metadata.version(package) for package in PACKAGES}
        versions.update(python=platform.python_version(), genmodels=sys.modules["genmodels"].__version__)
        record = {"settings": settings, "versions": versions}
        write_atomically(description, json.dumps(record, indent=2) + "\n")

    @_by_the_chief
    def save_checkpoint(self, step, arrays, record):
        """Writes a checkpoint."""
        checkpoints.save(self.path / "checkpoints", step, arrays, record)

    def load_checkpoint(self):
        """The newest readable checkpoint as (arrays, record), or None."""
        return checkpoints.load_latest(self.path / "checkpoints")

    @_by_the_chief
    def write_log(self, rows):
        """Writes `log.csv` from one dictionary an epoch; later rows may have more columns."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / "log.csv", text.getvalue())

    @_by_the_chief
    def save_samples(self, model, step, seed, conditions=None):
        """Draws samples into a picture: 64 images, or 1 000 points. What no picture can show is left out.

        Args:
            model: what to sample.
            step: training steps done; names the file.
            seed: of the samples.
            conditions: `[N, condition_dim]`, the first of which are taken, in turn; None where the model has none.
        """
        *grid, channels = model.event_shape
        if (grid and channels not in (1, 3)) or (not grid and channels < 2):
            return
        num = 64 if grid else 1000
        labels = None if conditions is None else np.resize(conditions[:num], (num, conditions.shape[1]))
        samples = model.sample(num, labels=labels, seed=seed).numpy()
        if not np.isfinite(samples).all():
            warnings.warn(f"samples of step {step} are not finite; there is no picture of them.", stacklevel=2)
            return
        plots.save_samples(self.path / "samples" / f"step-{step:08d}.png", samples, levels=model.levels)

    def finished(self, step: int) -> bool:
        """Whether the run that ended at this step has left its last file."""
        return final_figures(self.path).get("step") == step

    @_by_the_chief
    def save_model(self, model):
        """Writes `model.keras`."""
        temporary = self.path / f".model.{os.getpid()}.keras"
        model.save(temporary)
        os.replace(temporary, self.path / "model.keras")

    @_by_the_chief
    def write_metrics(self, metrics):
        """Writes `metrics.json`."""
        write_atomically(self.path / "metrics.json", json.dumps(metrics, indent=2) + "\n")

    @_by_the_chief
    def withdraw_metrics(self):
        """Removes `metrics.json`: the model to be saved is another than its figures are of."""
        (self.path / "metrics.json").unlink(missing_ok=True)


def load_model(path):
    """Loads a model from a run directory or a `.keras` file, with its averaged weights.

    Args:
        path: a folder that holds `model.keras`, or the file itself.

    Returns:
        The model, compiled as it was, ready to sample or to train on.

    Raises:
        ValueError: when there is no such file, when it is damaged or unsafe (see `genmodels.files`), needs a class that
            is not registered, or holds something other than a generative model.

    Example:
        >>> import genmodels as gm
        >>> model = gm.load_model("runs/demo")  # doctest: +SKIP
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        hint = " (the run there has not finished; run its command again)" if (path / "run.json").exists() else ""
        raise ValueError(f"expected a run directory with model.keras, or a .keras file; found none at {path}{hint}.")
    model = files.load(file)
    if not hasattr(model, "event_shape"):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a generative model of this package.")
    return model


def final_figures(path) -> dict:
    """What `metrics.json` in a run's folder holds; nothing where there is none."""
    path = Path(path, "metrics.json")
    return json.loads(path.read_text()) if path.is_file() else {}


def training_cost(path) -> dict:
    """What the training of a run took: `training_steps`, `training_seconds`, `training_memory_mib`, as far as known."""
    names = {"step": "training_steps", "seconds": "training_seconds", "peak_memory_mib": "training_memory_mib"}
    found = final_figures(path)
    return {name: found[key] for key, name in names.items() if found.get(key) is not None}


def model_hash(path) -> str | None:
    """What tells the model of a run's folder, or of a file, from others: 16 hexadecimal digits; None where none is."""
    path = Path(path, "model.keras") if Path(path).is_dir() else Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None


def precision(path) -> str | None:
    """The dtype policy of the model that a run in this folder trains; None where there is no run."""
    path = Path(path, "run.json")
    if not path.is_file():
        return None
    policy = json.loads(path.read_text())["settings"]["model"].get("dtype")
    return policy["config"]["name"] if isinstance(policy, dict) else policy


def comparable(configuration: dict) -> dict:
    """A Keras configuration as another process would write it: automatic names of objects are numbered."""
    configuration, names = _plain(configuration), {}
    _collect_names(configuration, names)
    return _renamed(configuration, names)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def _collect_names(config, names):
    if isinstance(config, dict):
        inner = config.get("config")
        if isinstance(inner, dict) and "name" in inner and config.get("class_name") != "DTypePolicy":
            names.setdefault(inner["name"], f"object {len(names)}")
        for value in config.values():
            _collect_names(value, names)
    elif isinstance(config, list):
        for value in config:
            _collect_names(value, names)


def _renamed(config, names):
    if isinstance(config, dict):
        return {key: value if key == "class_name" else _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _plain(settings):
    """As it comes back from JSON: tuples are lists, keys are strings."""
    return json.loads(json.dumps(settings))


def _refuse_difference(path, now, before):
    now, before = _flat(now), _flat(before)
    absent = "absent"
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, absent), now.get(name, absent)
        if old is absent and new is None:
            continue  # an argument that has come since, left out
        if name == "data.name" and now["data.fingerprint"] == before.get("data.fingerprint"):
            continue  # the same examples, in another place
        if name == "data.fingerprint" and old != new:
            raise ValueError(
                f"{path} holds a run on other data, varied otherwise by augmentation (--flip, --shift), or with "
                "another part set apart (--validate): their fingerprint differs. Give another run_dir (--run)."
            )
        if old != new:
            raise ValueError(
                f"{path} holds a run with {name}={old!r}, and this one has {name}={new!r}: "
                "give another run_dir (--run), or the old setting to continue that run."
            )


def _flat(settings, prefix=""):
    flat = {}
    items = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for key, value in items:
        name = f"{prefix}{key}"
        whole = isinstance(value, list) and not any(isinstance(part, (dict, list)) for part in value)  # a shape
        if isinstance(value, (dict, list)) and value and not whole:
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat
