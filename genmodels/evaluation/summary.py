"""A model's figures on data, each with what kind it is."""

import inspect
import time

import numpy as np

from genmodels.evaluation.likelihood import log_likelihood
from genmodels.evaluation.memorisation import memorisation
from genmodels.evaluation.quality import sample_quality


def summary(
    model, test, train=None, *, score=None, examples=None, num=256, features=None, num_quality=10_000, seed=0,
    options=None, progress=False,
):  # fmt: skip
    """What can be said of a model on a data set, as one flat dictionary.

    Args:
        model: a generative model.
        test: a `Dataset` that the model was not trained on.
        train: the training data, to tell whether samples are copies; None leaves that out.
        score: which of `model.scores`; None for the first, where there is one.
        examples: test examples for the likelihood, drawn by the seed; None for all.
        num: samples for the time of sampling, and the comparison with the training data.
        features: in which to measure the quality of samples, see `sample_quality`; None leaves that out.
        num_quality: samples and test examples for it, at most.
        seed: of the samples, the examples, and a bound's noise.
        options: of the score, such as `{"num_samples": 500}`.
        progress: print a line about every half minute.

    Returns:
        `parameters`; of models with a likelihood `likelihood` (its kind), `score`, the score's options, `nats`,
        `standard_error`, `bits_per_dim` and `examples`; `seconds_per_sample`, with `samples` at once, after a first
        call that compiles; `copies` and `distance_ratio` where `train` is given, see `memorisation`; and where
        `features` are, the figures of `sample_quality`, whose floor is of `train`.

    Raises:
        ValueError: for a score that the model does not have, and data that do not fit it.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=2)
        >>> gm.evaluation.summary(model, test, examples=50, num=8)["likelihood"]
        'lower bound'
    """
    if score is not None and score not in model.scores:
        offered = f"the scores {', '.join(model.scores)}" if model.scores else "no likelihood, hence no score"
        raise ValueError(f"{type(model).__name__} has {offered}; got {score!r}.")
    figures = {"parameters": model.parameters}
    if model.scores:
        score = score or next(iter(model.scores))
        chosen = test if examples is None or examples >= len(test) else test.take(examples, seed=seed)
        likelihood = log_likelihood(model, chosen, score=score, seed=seed, progress=progress, **(options or {}))
        figures.update(likelihood=model.scores[score], score=score, **_options(model, score, options), **likelihood)
    labels = _conditions(model, test, num)
    samples = model.sample(num, labels=labels, seed=seed).numpy()
    began = time.perf_counter()
    model.sample(num, labels=labels, seed=seed + 1).numpy()
    figures.update(seconds_per_sample=(time.perf_counter() - began) / num, samples=num)
    if train is not None:
        near = memorisation(samples[: len(test)], train, test)
        figures.update(copies=near["copies"], distance_ratio=near["ratio"])
    if features is not None:
        most = min(num_quality, *(len(data) for data in (test, train) if data is not None))
        conditions = {"labels": _conditions(model, test, most), "num": most, "split": "test", "seed": seed}
        figures.update(sample_quality(model, test, features=features, reference=train, **conditions))
    return figures


def _conditions(model, test, num):
    """Condition vectors of samples, those of the data in turn; None where the model takes classes, or nothing."""
    return None if model.condition_dim is None else np.resize(test.labels, (num, model.condition_dim))


def _options(model, score, given):
    """The options of a score that tell one figure from another: those given, and what stands for the others."""
    parameters = inspect.signature(getattr(model, score)).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    told = {name: value for name, value in defaults.items() if name not in ("seed", "first") and value is not None}
    return {**told, **(given or {})}
