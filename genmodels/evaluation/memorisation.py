"""Whether a model copies its training data: distances to the nearest of them."""

import numpy as np

from genmodels.latent import nearest_neighbours


def memorisation(samples, train, held_out, *, features=None) -> dict:
    """How near samples lie to the training examples, beside examples that the model never saw.

    Held-out examples are as near to the training data as new ones are. Samples far nearer are copies; samples
    about as near, or farther, are not.

    Args:
        samples: `[N, *event_shape]`, in the data's units.
        train: the training examples, an array or a `Dataset`.
        held_out: as many test examples, or more, as an array or a `Dataset`; the first N are taken, so that they must
            be as mixed as the samples: of a set sorted by class, `test.take(N, seed=0)`.
        features: a function of examples that gives vectors, in whose space to measure; None for the pixels.

    Returns:
        `samples` and `held_out`, median Euclidean distances to the nearest training example; `ratio` of the two, None
        where half of the held-out examples are among the training data;
        `copies`, the share of samples nearer than 99 in 100 held-out examples are.

    Raises:
        ValueError: for shapes that do not fit each other, and fewer held-out examples than samples.

    Example:
        >>> train, held_out = np.eye(4), np.eye(4) + 0.1
        >>> memorisation(train, train, held_out)["copies"]
        1.0
    """
    held_out = np.asarray(getattr(held_out, "examples", held_out))
    num = len(samples)
    if len(held_out) < num:
        raise ValueError(f"`held_out` must hold as many examples as there are samples, {num}; got {len(held_out)}.")
    near = [
        nearest_neighbours(x, train, features=features)[1][:, 0].astype(np.float64) for x in (samples, held_out[:num])
    ]
    medians = [float(np.median(distances)) for distances in near]
    return {
        "samples": medians[0],
        "held_out": medians[1],
        "ratio": medians[0] / medians[1] if medians[1] else None,
        "copies": float(np.mean(near[0] < np.quantile(near[1], 0.01))),
    }
