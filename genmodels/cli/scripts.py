"""Scripts from functions: typed arguments become flags, wrong inputs one line and exit code 2."""

import sys
import warnings

from genmodels.training import source

__all__ = ["application", "call", "classes_of", "integers", "run"]

_SAID = set()  # warnings of this process


def run(function) -> None:
    """Runs a function as a script: its typed arguments with defaults are the flags, its docstring the `--help`.

    A wrong flag, a ValueError, a file that cannot be read or a training that diverges is told in one line on standard
    error, with exit code 2; an interruption exits with 130. Other exceptions are bugs and keep their traceback.

    Args:
        function: annotated for typer.

    Example:
        >>> def main(num: int = 3):
        ...     print("#" * num)
        >>> run(main)  # doctest: +SKIP
    """
    app = application()
    app.command()(function)
    call(app)


def application(**options):
    """An empty `typer.Typer` whose help is plain text."""
    import typer  # here, so that `import genmodels` need not

    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def call(app, *, debug=False) -> None:
    """Runs an application with the process's arguments and ends the process with its code.

    Args:
        app: from `application`.
        debug: let errors of the input show their traceback.
    """
    import typer

    warnings.showwarning = _told
    try:
        code = app(standalone_mode=False)
    except typer.exceptions.TyperException as error:  # flags that there are not, and values of another type
        _refuse(error.format_message())
    except (ValueError, OSError, FloatingPointError) as error:  # the last is of a training that diverges
        if debug:
            raise
        _refuse(error)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def _told(message, category, filename, lineno, file=None, line=None):
    """A warning as a line for users, without the place in the source; once each."""
    if str(message) not in _SAID:
        _SAID.add(str(message))
        print(f"note: {' '.join(str(message).split())}", file=sys.stderr)


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


def classes_of(model, text: str, num: int, run=None) -> list[int] | None:
    """Classes of `num` samples from a flag such as "0,1,2", or their names, taken in turn; None from an empty one.

    Args:
        model: a generative model.
        text: numbers or names, with commas between.
        num: how many.
        run: the folder of the model's run, which may know the names of the classes.

    Raises:
        ValueError: for classes that there are not.

    Example:
        >>> import genmodels as gm
        >>> classes_of(gm.VAE((8, 8, 1), latent_dim=2, num_classes=10), "7,1", 3)
        [7, 1, 7]
    """
    if not text:
        return None
    if model.num_classes is None:
        raise ValueError("the model was trained without classes, and has none to choose.")
    names = [] if run is None else (source.noted(run) or {}).get("classes") or []
    parts = [part.strip() for part in text.split(",")]
    classes = [names.index(part) for part in parts] if set(parts) <= set(names) else _numbers(text, names)
    if not all(0 <= label < model.num_classes for label in classes):
        raise ValueError(f"classes go from 0 to {model.num_classes - 1}{_listed(names)}; got {text}.")
    return [classes[i % len(classes)] for i in range(num)]


def _numbers(text, names):
    try:
        return integers(text)
    except ValueError:
        kinds = "numbers or names" if names else "numbers"
        raise ValueError(f"classes are {kinds}, with commas, such as 0,1,2{_listed(names)}; got {text!r}.") from None


def _listed(names):
    return f" ({', '.join(f'{i} {name}' for i, name in enumerate(names))})" if names else ""
