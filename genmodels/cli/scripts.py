"""Scripts from functions: typed arguments become flags, wrong inputs one line and exit code 2."""

import sys
from pathlib import Path

from genmodels.data import load_data

__all__ = ["classes_of", "data_for", "integers", "run"]


def run(function) -> None:
    """Runs a function as a script: its typed arguments with defaults are the flags, its docstring the `--help`.

    A ValueError or a missing file is told in one line on standard error, with exit code 2; an interruption exits
    with 130. Other exceptions are bugs and keep their traceback.

    Args:
        function: annotated for typer.

    Example:
        >>> def main(num: int = 3):
        ...     print("#" * num)
        >>> run(main)  # doctest: +SKIP
    """
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        app()
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def integers(text: str) -> list[int] | None:
    """Integers from a flag such as "0,1,2"; None from an empty one.

    Example:
        >>> integers("3, 1")
        [3, 1]
    """
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError:
        raise ValueError(f"expected integers separated by commas, such as 0,1,2; got {text!r}.") from None


def classes_of(model, text: str, num: int) -> list[int] | None:
    """Classes of `num` samples from a flag such as "0,1,2", taken in turn; None from an empty one.

    Example:
        >>> import genmodels as gm
        >>> classes_of(gm.VAE((8, 8, 1), latent_dim=2, num_classes=10), "7,1", 3)
        [7, 1, 7]
    """
    classes = integers(text)
    if classes is None:
        return None
    if model.num_classes is None:
        raise ValueError("the model was trained without classes, and has none to choose.")
    return [classes[i % len(classes)] for i in range(num)]


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
    pictures = len(model.event_shape) == 3
    shape = {"size": model.event_shape[:2], "channels": model.event_shape[2]} if pictures else {}
    parts = load_data(source, **shape) if Path(source).is_dir() else load_data(source)
    if pictures and parts[0].event_shape != model.event_shape and parts[0].levels is not None:
        parts = load_data(source, **shape)
    if model.levels == 2 and parts[0].levels not in (2, None):
        parts = tuple(part.binarized("static", seed) for seed, part in enumerate(parts))
    for part in parts:
        if part.event_shape != model.event_shape or part.levels != model.levels:
            raise ValueError(
                f"the model takes examples of shape {model.event_shape} with levels={model.levels}; {source} has "
                f"{part.event_shape} with levels={part.levels}."
            )
    return parts
