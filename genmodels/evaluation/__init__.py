"""Evaluation: figures that say what they are."""

from genmodels.evaluation.checks import check_causality
from genmodels.evaluation.invertible import check_invertible
from genmodels.evaluation.likelihood import log_likelihood
from genmodels.evaluation.memorisation import memorisation
from genmodels.evaluation.probe import encoder_for, linear_probe
from genmodels.evaluation.summary import summary

__all__ = [
    "check_causality",
    "check_invertible",
    "encoder_for",
    "linear_probe",
    "log_likelihood",
    "memorisation",
    "summary",
]
