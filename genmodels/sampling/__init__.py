"""Sampling: pure functions of noise and networks."""

from genmodels.sampling import solvers
from genmodels.sampling.seeds import Streams, fold, make_seed

__all__ = ["Streams", "fold", "make_seed", "solvers"]
