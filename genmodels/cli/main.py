"""The command `genmodels`: its commands, and what is told of errors."""

import sys

import typer

from genmodels.cli import listing, training, using
from genmodels.cli.scripts import application, call

DEBUG = "--debug"
COMMANDS = (
    listing.models, listing.data, training.train, using.sample, using.reconstruct, using.interpolate, using.evaluate,
    using.compare, using.export,
)  # fmt: skip


def main() -> None:
    """Runs the command with the arguments of the process."""
    app = application(epilog="`genmodels COMMAND --help` tells more. A wrong input ends with one line and exit code 2.")
    app.callback()(_options)
    for function in COMMANDS:
        app.command()(function)
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    call(app, debug=DEBUG in sys.argv)


def _options(debug: bool = typer.Option(False, DEBUG, help="Show the traceback of an error.")):
    """Generative models: train one on your data, and use it."""
