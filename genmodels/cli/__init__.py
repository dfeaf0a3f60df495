"""The command `genmodels`, and what scripts share."""

from genmodels.cli.scripts import classes_of, integers, run
from genmodels.training.source import data_for

__all__ = ["classes_of", "data_for", "integers", "run"]
