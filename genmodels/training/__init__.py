"""The harness: one training loop for every family."""

from genmodels.training.averaging import WeightAverage
from genmodels.training.evaluation import evaluate
from genmodels.training.schedules import CosineFall
from genmodels.training.trainer import Trainer

__all__ = ["CosineFall", "Trainer", "WeightAverage", "evaluate"]
