"""The command `genmodels`, and what scripts share."""

from genmodels.cli.scripts import classes_of, data_for, integers, run

__all__ = ["classes_of", "data_for", "integers", "run"]
