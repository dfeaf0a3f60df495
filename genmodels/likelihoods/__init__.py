"""Likelihoods of observations: what the outputs of a network say about integer pixels or real data.

A likelihood reads the last axis of a network's output. For data of C channels, [B, ..., C] (images
[B, H, W, C], vectors [B, C]), the network gives [B, ..., `parameters(C)`]. Every element of an event is
independent of the others given the network's output, but for `LogisticMixture`, which couples a pixel's channels.

All of them work in float32, whatever the dtype of the network, and in eager mode, graphs and XLA alike. Zero
outputs mean the middle of the range at a width that covers it, so an untrained network starts sensibly.
"""

import functools

from genmodels.likelihoods.elementwise import Bernoulli, Categorical, DiscretizedLogistic, Normal
from genmodels.likelihoods.likelihood import Likelihood
from genmodels.likelihoods.mixture import LogisticMixture
from genmodels.settings import checked_count

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogistic", "Likelihood", "LogisticMixture", "Normal", "get"]


def get(likelihood, levels):
    """The likelihood that a name stands for, on data of the given levels.

    Args:
        likelihood: "bernoulli", "categorical", "logistic", "logistic_mixture", "normal", "auto" (Bernoulli for two
            levels, normal for real data, otherwise logistic), or a `Likelihood`, which is checked and handed back.
        levels: levels of the data, an integer ≥ 2, or None for real-valued data.

    Returns:
        A `Likelihood` with these `levels`.

    Raises:
        ValueError: an unknown name, wrong levels, or a likelihood that does not fit the levels.

    Example:
        >>> from genmodels import likelihoods
        >>> likelihoods.get("auto", levels=256)
        DiscretizedLogistic(levels=256)
    """
    if levels is not None:
        checked_count("levels", levels, 2)
    if likelihood == "auto":
        likelihood = "normal" if levels is None else "bernoulli" if levels == 2 else "logistic"
    by_name = {
        "bernoulli": Bernoulli,
        "categorical": functools.partial(Categorical, levels),
        "logistic": functools.partial(DiscretizedLogistic, levels),
        "logistic_mixture": functools.partial(LogisticMixture, levels),
        "normal": Normal,
    }
    if likelihood in ("categorical", "logistic", "logistic_mixture") and levels is None:
        raise ValueError(f'"{likelihood}" needs integer pixels; got real-valued data (levels=None).')
    if isinstance(likelihood, str) and likelihood in by_name:
        likelihood = by_name[likelihood]()
    if not isinstance(likelihood, Likelihood):
        names = ", ".join(f'"{name}"' for name in ("auto", *by_name))
        raise ValueError(f"`likelihood` must be one of {names} or a Likelihood; got {likelihood!r}.")
    if likelihood.levels != levels:
        raise ValueError(
            f"{type(likelihood).__name__} is for data with levels={likelihood.levels}; got levels={levels}."
        )
    return likelihood
