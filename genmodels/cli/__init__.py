"""The command `genmodels`, and what scripts share."""

from genmodels.cli.scripts import classes_of, integers, run
from genmodels.training.precision import HELP as PRECISION
from genmodels.training.precision import chosen as precision
from genmodels.training.source import data_for

__all__ = ["PRECISION", "classes_of", "data_for", "integers", "precision", "run"]
