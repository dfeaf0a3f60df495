"""The command `genmodels`: its commands, and what is told of errors."""

import sys

import typer

from genmodels.cli import listing, training, using

DEBUG = "--debug"


def application() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        help="Generative models: train one on your data, and use it. `genmodels COMMAND --help` tells more.",
        epilog=f"A wrong input is told in one line, with exit code 2; {DEBUG} before the command shows where it rose.",
    )
    app.callback()(_options)
    for function in (
        listing.models, listing.data, training.train, using.sample, using.reconstruct, using.interpolate,
        using.evaluate, using.compare, using.export,
    ):  # fmt: skip
        app.command()(function)
    return app


def main() -> None:
    """Runs the command with the arguments of the process."""
    try:
        application()()
    except (ValueError, OSError, ImportError) as error:
        if DEBUG in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _options(debug: bool = typer.Option(False, DEBUG, help="Show the traceback of an error.")):
    """Generative models: train one on your data, and use it."""
