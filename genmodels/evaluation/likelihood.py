"""Log-likelihoods over a data set, with their standard error."""

import inspect
import math

import numpy as np

from genmodels import data as datasets
from genmodels.evaluation.progress import Pace


def log_likelihood(model, x, y=None, *, score="log_prob", batch_size=500, seed=0, progress=False, **options) -> dict:
    """The mean of `model.log_prob` over data, or of another score in nats.

    Args:
        model: a model with `log_prob`.
        x: a data set, an array, or a `tf.data.Dataset`, as in `fit`.
        y: labels of an array `x`, as in `fit`.
        score: the model's method: "log_prob", or "elbo" of a VAE or a diffusion model.
        batch_size: examples handed to `log_prob` at a time.
        seed: seed of a bound's noise.
        progress: print a line about every half minute, with the time left.
        **options: for that method, such as `num_samples=500` for a VAE's importance-weighted bound.

    Returns:
        `nats` (the mean log-probability, higher is better), `standard_error` of that mean over the examples (None of
        a single one), `bits_per_dim`, `examples`.

    Raises:
        ValueError: for a model without that score, and data that do not fit it.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=2)
        >>> gm.evaluation.log_likelihood(model, test, num_samples=5)["examples"] == len(test)
        True
    """
    if not hasattr(model, score):
        raise ValueError(f"{type(model).__name__} has no likelihood: it defines no `{score}`.")
    data = datasets.as_dataset(
        x, y, event_shape=model.event_shape, levels=model.levels, num_classes=model.num_classes,
        condition_dim=model.condition_dim,
    )  # fmt: skip
    random = "first" in inspect.signature(getattr(model, score)).parameters  # a bound, with noise of its own an example
    values, count, pace = [], 0, Pace(None if isinstance(data, datasets.Stream) else len(data), "examples")
    with model.averaged():
        for element in datasets.once(data, batch_size, seed=seed):
            examples, labels = element if isinstance(element, tuple) else (element, None)
            stream = {"seed": seed, "first": count} if random else {}
            values.append(getattr(model, score)(examples, labels, **stream, **options).numpy())
            count += len(values[-1])
            pace.passed(count)
            if progress and pace.due():
                pace.say(count, f": {np.concatenate(values).mean():.2f} nats")
    values = np.concatenate(values).astype(np.float64)
    dims = math.prod(model.event_shape)
    return {
        "nats": float(values.mean()),
        "standard_error": float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None,
        "bits_per_dim": float(-values.mean() / (dims * math.log(2.0))),
        "examples": len(values),
    }


def given(model) -> str:
    """On what a model's likelihood is conditional, to be put behind its kind: ", given the class", or nothing.

    Example:
        >>> import genmodels as gm
        >>> given(gm.VAE((8, 8, 1), levels=17, latent_dim=2, num_classes=10))
        ', given the class'
    """
    if model.num_classes is not None:
        return ", given the class"
    return "" if model.condition_dim is None else ", given the condition"
