"""`genmodels models` and `genmodels data`: what there is."""

import inspect

import typer
from rich.console import Console
from rich.table import Table

from genmodels import catalogue
from genmodels.cli.training import settable
from genmodels.data import data_names, place


def models(model: str = typer.Argument(None, help="One of them: lists what --set takes, with defaults.")):
    """Lists the models: family, paper, likelihood, latents, conditions."""
    if model is not None:
        _settings(catalogue.model_class(model))
        return
    rows = [
        (name, catalogue.family(cls), cls.paper, cls.year, *catalogue.abilities(cls).values())
        for name, cls in catalogue.models().items()
    ]
    _print(("model", "family", "paper", "year", "likelihood", "latents", "conditional on"), rows)


def _settings(cls):
    """What `--set` takes in training and in sampling, with defaults."""
    _print((f"train {catalogue.slug(cls)} … --set", "default"), settable(cls).items())
    options = list(inspect.signature(cls.generate).parameters.values())[3:]  # after self, streams and labels
    _print(("sample … --set", "default"), [(option.name, option.default) for option in options])


def data():
    """Lists the named data sets and where they are. A folder of pictures or an .npz file needs no name."""
    _print(("data", "where"), [(name, place(name)) for name in data_names()])


def _print(header, rows):
    """A table, whole: in a file or a pipe it is as wide as it needs."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)
