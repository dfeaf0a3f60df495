"""A model's figures on data, each with what kind it is."""

import inspect
import math
import os
import time

import numpy as np

from genmodels import arguments
from genmodels import data as datasets
from genmodels.evaluation.features import ClassifierFeatures, PixelPCA, as_features
from genmodels.evaluation.likelihood import given, log_likelihood
from genmodels.evaluation.memorisation import memorisation
from genmodels.evaluation.quality import check_sets, check_size, sample_quality
from genmodels.memory import peak_memory
from genmodels.settings import checked_count
from genmodels.training import run_directory, source

METRICS = ("likelihood", "cost", "memorisation", "quality")
FITTED = {"pixels": PixelPCA, "classifier": ClassifierFeatures}  # features that are learned from the training data


def evaluate(
    model, data=None, *, metrics=None, score=None, examples=None, num=256, features=None, num_quality=10_000, seed=0,
    options=None, sampling=None, progress=False,
) -> dict:  # fmt: skip
    """What can be said of a model on a data set, as one flat dictionary: a row of `genmodels.evaluation.markdown`.

    Args:
        model: a generative model, the folder of a run, or a `.keras` file of one.
        data: a pair of data sets, training and test; a test set alone; or what `genmodels.load_data` takes. None for
            what a run was trained on. Where that is known and other data are named, those are test data as a whole,
            but for sets with a test split of their own.
        metrics: which of these, None for all that the model and the data allow, quality only where `features` are
            given:

            * "likelihood", of models that have one, on the test set;
            * "cost": parameters, time and memory;
            * "memorisation", with training data: whether samples are copies, see `memorisation`;
            * "quality" of samples beside the test set, see `sample_quality`.
        score: which of `model.scores`; None for the first.
        examples: test examples for the likelihood, drawn by the seed; None for all.
        num: samples for the time of sampling, and for memorisation.
        features: in which to measure quality: "pixels" (`PixelPCA`, of fewer components where the data are few),
            "classifier" (`ClassifierFeatures`), or what `sample_quality` takes. None for "pixels".
        num_quality: samples and test examples for it, at most.
        seed: of the samples, the examples, and a bound's noise.
        options: of the score, such as `{"num_samples": 500}`.
        sampling: options of the model's `sample`, such as `{"steps": 50}`. Classes, and condition vectors, are those
            of test examples that the seed draws.
        progress: print a line about every half minute.

    Returns:
        `model`, `run` and `data`, names; `model_hash`, of the run's file (`run` and it are None of a model in memory),
        and `data_fingerprint`, of the test data; of a run, `training_steps`; `sampling`, the options of samples that
        are measured, in words; and by metric

        * likelihood: `likelihood` (its kind), `score` with its options, `nats`, `standard_error`, `bits_per_dim`,
          `examples`;
        * cost: `parameters`; `seconds_per_sample`, with `samples` at once, after a first call that compiles;
          `memory_mib`, the most that this process has taken; of a run `training_seconds` and `training_memory_mib`,
          the most that the process took that ended it;
        * memorisation: `copies` and `distance_ratio`, beside test examples that the seed draws;
        * quality: the figures of `sample_quality`, whose floor is of the training data where they are given.

    Raises:
        ValueError: for metrics, a score and options that the model does not have, data that do not fit it or are not
            known, fewer samples than features, and a path that holds no model.

    Example:
        >>> import genmodels as gm
        >>> data = gm.load_data("digits")
        >>> model = gm.VAE(data[0].event_shape, levels=data[0].levels, latent_dim=2)
        >>> gm.evaluate(model, data, metrics=["likelihood"], examples=50)["likelihood"]
        'lower bound'
    """
    run = model if isinstance(model, str | os.PathLike) else None
    model = model if run is None else run_directory.load_model(run)
    if not hasattr(model, "generate"):
        raise ValueError(f"`model` must be a generative model, or the path of one; got {type(model).__name__}.")
    train, test = _splits(model, run, data)
    wanted = _metrics(model, train, test, features, metrics)
    num, score = checked_count("num", num, 1), _score(model, score)
    options = _options(model, score if "likelihood" in wanted else None, options)
    sampling = dict(sampling or {})
    arguments.check_options(model.generate, sampling)
    most = min(num_quality, *(len(split) for split in (test, train) if split is not None))
    if "quality" in wanted:
        features = as_features(_features(features, train, test))
        check_sets(features, test, train)  # now, not after the likelihood
        check_size(features, test, train, most)
    took = {} if run is None else run_directory.training_cost(run)
    figures = _named(model, run, test, took)
    if wanted != ["likelihood"]:
        figures["sampling"] = _in_words(model, sampling)
    if "likelihood" in wanted:
        chosen = test if examples is None or examples >= len(test) else test.take(examples, seed=seed)
        figures.update(_likelihood(model, chosen, score, options, seed, progress))
    if "cost" in wanted:
        figures.update(parameters=model.parameters, **took)
        figures.update(_time(model, num, _conditions(model, test, num, seed), seed, sampling))
    if "memorisation" in wanted:
        few = min(num, len(test))
        samples = model.sample(few, labels=_conditions(model, test, few, seed), seed=seed, **sampling).numpy()
        near = memorisation(samples, train, test.take(few, seed=seed))  # the first may be of one class
        figures.update(copies=near["copies"], distance_ratio=near["ratio"])
    if "quality" in wanted:
        conditions = {"labels": _conditions(model, test, most, seed), "num": most, "split": "test", "seed": seed}
        figures.update(sample_quality(
            model, test, features=features, reference=train, progress=progress, **conditions, **sampling
        ))  # fmt: skip
    if "cost" in wanted:
        figures["memory_mib"] = peak_memory()
    return figures


def _named(model, run, test, took):
    """What is measured, on what."""
    figures = {"model": type(model).__name__, "run": run and str(run)}
    figures["model_hash"] = None if run is None else run_directory.model_hash(run)
    figures.update(data=test.name, data_fingerprint=test.fingerprint())
    return {**figures, **{name: value for name, value in took.items() if name == "training_steps"}}


def _splits(model, run, data):
    """Training data, or None, and test data."""
    if data is None:
        if run is None:
            raise ValueError("`data` must be given with a model in memory: a test set, or training and test set.")
        return source.load_of(run)
    if isinstance(data, str | os.PathLike):
        return source.data_for(model, data) if run is None else source.data_beside(run, model, data)
    train, test = data if isinstance(data, tuple | list) else (None, data)
    if not isinstance(test, datasets.Dataset) or not isinstance(train, datasets.Dataset | None):
        kinds = " and ".join(type(split).__name__ for split in (train, test) if split is not None)
        raise ValueError(f"`data` must be a test Dataset, or a pair of training and test Dataset; got {kinds}.")
    return train, test


def _metrics(model, train, test, features, metrics):
    """The metrics that are asked for, checked."""
    missing = {}
    if not model.scores:
        missing["likelihood"] = f"a {type(model).__name__} has no likelihood"
    if train is None:
        missing["memorisation"] = "it compares with training data, which are not given"
    if test.dynamic or (train is not None and train.dynamic):
        missing.update(dict.fromkeys(("memorisation", "quality"), "the data are binarized anew at every visit"))
    if metrics is None and features is not None and "quality" in missing:
        raise ValueError(f"`features` ask for quality, but {missing['quality']}.")
    if metrics is None:
        left_out = {*missing, *(() if features is not None else ("quality",))}
        return [name for name in METRICS if name not in left_out]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"`metrics` must be among {', '.join(METRICS)}; got {name!r}.")
        if name in missing:
            raise ValueError(f"`metrics` asks for {name!r}, but {missing[name]}.")
    return metrics


def _score(model, score):
    if score is not None and score not in model.scores:
        offered = f"the scores {', '.join(model.scores)}" if model.scores else "no likelihood, hence no score"
        raise ValueError(f"{type(model).__name__} has {offered}; got {score!r}.")
    return score or next(iter(model.scores), None)


def _options(model, score, options):
    """The options of a score, checked; there are none without a score."""
    options = dict(options or {})
    if options and score is None:
        raise ValueError(f"`options` are of a likelihood, and none is measured; got {', '.join(options)}.")
    parameters = [] if score is None else list(inspect.signature(getattr(model, score)).parameters.values())[2:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return options
    offered = [p.name for p in parameters if p.name not in ("seed", "first")]  # after examples and labels
    for name in options:
        if name not in offered:
            what = f"{type(model).__name__}.{score}"
            raise ValueError(f"{what} takes the options {', '.join(offered) or 'none'}; got {name!r}.")
    return options


def _features(features, train, test):
    """Features that are named, fitted to the training data; others as they are."""
    features = "pixels" if features is None else features
    if not isinstance(features, str) or features not in FITTED:
        return features
    if train is None:
        raise ValueError(f"the features {features!r} are learned from training data: give `data` as (train, test).")
    if features == "pixels":
        few = max(1, (min(len(train), len(test)) - 1) // 2)  # two examples a component, or more
        return PixelPCA(min(PixelPCA().num, math.prod(train.event_shape), few)).fit(train)
    return FITTED[features]().fit(train)


def _likelihood(model, test, score, options, seed, progress):
    """A score over the test set, its kind, and the options that tell one figure from another."""
    parameters = inspect.signature(getattr(model, score)).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    told = {name: value for name, value in defaults.items() if name not in ("seed", "first") and value is not None}
    figures = log_likelihood(model, test, score=score, seed=seed, progress=progress, **options)
    return {"likelihood": model.scores[score] + given(model), "score": score, **told, **options, **figures}


def _time(model, num, labels, seed, sampling):
    """The time of sampling, compiled."""
    model.sample(num, labels=labels, seed=seed, **sampling).numpy()
    began = time.perf_counter()
    model.sample(num, labels=labels, seed=seed, **sampling).numpy()
    return {"seconds_per_sample": (time.perf_counter() - began) / num, "samples": num}


def _in_words(model, sampling):
    """The options of samples, given ones and defaults: "steps=20, solver=ddim"; None where there are none."""
    words = []
    offered = arguments.sampling_options(model.generate)
    defaults = {} if offered is None else {name: parameter.default for name, parameter in offered.items()}
    for name, value in {**defaults, **sampling}.items():
        value = getattr(model, name, None) if value is None else value  # such as the model's own solver
        if value is not None:
            words.append(f"{name}={getattr(value, '__name__', value)}")
    return ", ".join(words) or None


def _conditions(model, test, num, seed):
    """Labels of samples: those of test examples in an order that the seed draws, in which every class is as frequent.

    None for a model without conditions, and for classes where the data have none: then they come in turn.
    """
    if test.labels is None or (model.num_classes is None and model.condition_dim is None):
        return None
    order = np.random.default_rng(seed).permutation(len(test))
    return np.resize(test.labels[order], (num, *test.labels.shape[1:]))
