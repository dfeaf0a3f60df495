"""What a run was trained on: noted in its folder by `genmodels train`, or known by name."""

import dataclasses
import json
from pathlib import Path

from genmodels import data as datasets
from genmodels.training.run_directory import write_atomically

FILE = "command.json"  # what `genmodels train` was told of the data, for whatever comes after


def note(run, record) -> None:
    """Writes what `train` was told of a run's data into its folder."""
    write_atomically(Path(run, FILE), json.dumps(record, indent=2) + "\n")


def noted(run) -> dict | None:
    """What `train` was told of a run's data; None where something else trained it."""
    path = Path(run, FILE)
    return json.loads(path.read_text()) if path.is_file() else None


def load(source, validation=False):
    """Train and test split of what `train` was told of the data, and the validation split between them."""
    options = {name: source[name] for name in ("size", "channels", "binarize") if source.get(name) is not None}
    train, *others = datasets.load_data(source["data"], validation=validation, **options)
    changes = {name: source[name] for name in ("flip", "shift") if source.get(name)}
    return train.augmented(**changes) if changes else train, *others


def load_of(run):
    """Train and test split of the data that a run was trained on.

    Args:
        run: its folder.

    Returns:
        Two data sets.

    Raises:
        ValueError: where the folder does not say what the data are, and where they are others today: pictures that were
            added since would move between training and test.
    """
    record = Path(run, "run.json")
    known = json.loads(record.read_text())["settings"]["data"] if record.is_file() else {"name": None}
    source = noted(run)
    if source is None and known["name"] in datasets.data_names():
        source = {"data": known["name"]}
    if source is None:
        raise ValueError(f"{run} does not say what it was trained on: give `data` (--data).")
    named = source["data"].lower().replace("-", "_") in datasets.data_names()
    if not named and not Path(source["data"]).exists():
        raise ValueError(f"{run} was trained on {source['data']}, which is not there now: give `data` (--data).")
    for validation in (False, True):  # recipes that watch a validation split train on the rest
        splits = load(source, validation)
        if known.get("fingerprint") in _fingerprints(splits[0]):
            return splits[0], splits[-1]
    raise ValueError(
        f"{run} was trained on {known['name']} in another form or with other examples (their fingerprint differs): "
        "give `data` (--data)."
    )


def data_beside(run, model, source: str) -> tuple:
    """Training and test data for a run, where a source is given that it may have been trained on, or not.

    Where the run's own training data are known and the source is another, no part of the source was seen in training:
    all of it is test data, or its own test split.

    Args:
        run: a run's folder.
        model: what it holds.
        source: a name, a folder, or an `.npz` file, as `load_data` takes.

    Raises:
        ValueError: as `data_for`.
        FileNotFoundError: likewise.
    """
    given = data_for(model, source)
    try:
        own = load_of(run)[0]
    except (ValueError, OSError):  # not known, or gone: it may be this
        return given
    told = noted(run) or {"data": own.name.removesuffix(", dynamically binarized")}
    alike = _is_folder(source) == _is_folder(told["data"])
    if alike and _content({**told, "data": source}) == _content(told):
        return given
    test = _fitting(model, source, lambda *place, **options: (datasets.load_test(*place, **options),))
    return drawn((own,))[0], *test


def drawn(splits) -> tuple:
    """Train and test split, where they are binarized anew at every visit as `load_data(binarize="static")` has them."""
    seeds = (0, 2)
    return tuple(split.binarized("static", seed) if split.dynamic else split for split, seed in zip(splits, seeds))


def _is_folder(source):
    return Path(source).expanduser().is_dir()  # as `load_data` finds it


def _content(told):
    """What tells a source from others, as `told` but before it is binarized and varied; None for what it cannot be."""
    try:
        return load({**told, "binarize": None, "flip": False, "shift": 0})[0].fingerprint()
    except ValueError:
        return None


def _fingerprints(train):
    """Of training data as a conditional model takes them, and as an unconditional one does, without labels."""
    return train.fingerprint(), dataclasses.replace(train, labels=None, classes=None).fingerprint()


def data_for(model, source: str) -> tuple:
    """Train and test split of a source in the form that a model was trained on: pictures of its size and levels.

    Args:
        model: a generative model.
        source: a name, a folder, or an `.npz` file, as `load_data` takes.

    Raises:
        ValueError: data that do not fit the model.
        FileNotFoundError: data that are not there.

    Example:
        >>> import genmodels as gm
        >>> train, test = data_for(gm.VAE((8, 8, 1), levels=17, latent_dim=2), "digits")
        >>> test
        Dataset('digits', 359 × (8, 8, 1), levels=17, 10 classes)
    """
    return _fitting(model, source, datasets.load_data)


def _fitting(model, source, load):
    """Splits of a source that fit a model; `load` makes them."""
    pictures = len(model.event_shape) == 3
    shape = {"size": model.event_shape[:2], "channels": model.event_shape[2]} if pictures else {}
    options = shape if _is_folder(source) else {}
    parts = load(source, **options)
    if pictures and parts[0].event_shape != model.event_shape and parts[0].levels is not None:
        options = shape
        parts = load(source, **options)
    if model.levels == 2 and parts[0].levels not in (2, None):
        parts = load(source, **options, binarize="static")
    for part in parts:
        if part.event_shape != model.event_shape or part.levels != model.levels:
            raise ValueError(
                f"the model takes examples of shape {model.event_shape} with levels={model.levels}; {source} has "
                f"{part.event_shape} with levels={part.levels}."
            )
    return parts
