"""Evaluation: figures that say what they are."""

from genmodels.evaluation.checks import check_causality
from genmodels.evaluation.evaluate import FITTED, METRICS, evaluate
from genmodels.evaluation.features import ClassifierFeatures, Features, NetworkFeatures, PixelPCA
from genmodels.evaluation.frechet import Moments, frechet_distance
from genmodels.evaluation.invertible import check_invertible
from genmodels.evaluation.kernel import kernel_distance
from genmodels.evaluation.likelihood import log_likelihood
from genmodels.evaluation.memorisation import memorisation
from genmodels.evaluation.neighbourhoods import density_coverage, precision_recall
from genmodels.evaluation.probe import encoder_for, linear_probe
from genmodels.evaluation.quality import classifier_score, sample_quality
from genmodels.evaluation.tables import listing, markdown, recorded

__all__ = [
    "FITTED",
    "METRICS",
    "ClassifierFeatures",
    "Features",
    "Moments",
    "NetworkFeatures",
    "PixelPCA",
    "check_causality",
    "check_invertible",
    "classifier_score",
    "density_coverage",
    "encoder_for",
    "evaluate",
    "frechet_distance",
    "kernel_distance",
    "linear_probe",
    "listing",
    "log_likelihood",
    "markdown",
    "memorisation",
    "precision_recall",
    "recorded",
    "sample_quality",
]
