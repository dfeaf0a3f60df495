"""The nearest training examples of samples: whether a model copies its data."""

import numpy as np

# The rounding of |a|² + |b|² − 2ab in float64, relative to |a|² + |b|², is far below this for any image.
_SLACK = 1e-10


def nearest_neighbours(samples, data, k=1, *, features=None, batch_size=1000):
    """For every sample the k nearest examples of the data, by Euclidean distance.

    In pixel space, over all axes but the first, or in the space of `features`. Exact, a chunk of the data at a
    time, so that memory does not grow with the data: |a − b|² = |a|² + |b|² − 2ab finds the candidates, whose
    distances are then computed from a − b in float64. An equally near example of a lower index comes first.

    Args:
        samples: [N, *event_shape], real numbers in the data's units.
        data: the examples to search, [M, *event_shape], or a `Dataset` that is not binarized dynamically; a memory
            map is read chunk by chunk.
        k: neighbours a sample, 1 … M.
        features: a function of examples [B, *event_shape] that gives their features [B, F]; None for the pixels.
        batch_size: examples at a time; the result does not depend on it.

    Returns:
        `(indices, distances)`: int64 [N, k], positions in the data, the nearest first; and float32 [N, k], in
        units of the pixels or features.

    Raises:
        ValueError: shapes that do not fit each other, k or `batch_size` out of range, numbers that are not finite,
            features that are not one vector an example.

    Example:
        >>> import numpy as np
        >>> from genmodels.latent import nearest_neighbours
        >>> data = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
        >>> indices, distances = nearest_neighbours([[0.0, 1.0], [6.0, 8.0]], data, k=2)
        >>> indices.tolist()
        [[0, 1], [2, 1]]
        >>> distances[1].tolist()
        [0.0, 5.0]
    """
    if getattr(data, "dynamic", False):
        raise ValueError("`data` is binarized anew at every visit; give examples in the units of the samples.")
    data = np.asarray(getattr(data, "examples", data))
    samples = np.asarray(samples)
    if samples.ndim < 2 or samples.shape[1:] != data.shape[1:] or not len(samples):
        raise ValueError(
            f"`samples` must be of the data's shape, {('batch', *data.shape[1:])}; got {samples.shape} "
            f"for data of {data.shape}."
        )
    for name, value, most in (("k", k, len(data)), ("batch_size", batch_size, None)):
        integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not integer or value < 1 or (most is not None and value > most):
            limits = "≥ 1" if most is None else f"from 1 to {most}, the number of examples in the data"
            raise ValueError(f"`{name}` must be an integer {limits}; got {value!r}.")
    parts = range(0, len(samples), batch_size)
    queries = np.concatenate([_vectors("samples", samples[i : i + batch_size], features) for i in parts])
    indices = np.full([len(samples), k], -1, np.int64)
    distances = np.full([len(samples), k], np.inf)
    for first in range(0, len(data), batch_size):
        chunk = _vectors("data", data[first : first + batch_size], features)
        if chunk.shape[1] != queries.shape[1]:
            raise ValueError(f"`features` gave {queries.shape[1]} numbers a sample and {chunk.shape[1]} an example.")
        for i in parts:
            rows = slice(i, i + batch_size)
            indices[rows], distances[rows] = _merged(queries[rows], chunk, first, indices[rows], distances[rows])
    return indices, distances.astype(np.float32)


def _merged(queries, chunk, first, indices, distances):
    """The k nearest of those known, [n, k], and of a chunk of the data that begins at index `first`."""
    n, k = indices.shape
    squared_q, squared_c = np.sum(queries**2, 1, keepdims=True), np.sum(chunk**2, 1)
    rough = squared_q + squared_c - 2 * (queries @ chunk.T)  # [n, chunk]
    # No example beyond the k-th of all so far can be among the k nearest.
    limit = np.partition(np.concatenate([distances**2, rough], 1), k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(rough <= limit + _SLACK * (squared_q + squared_c.max()))
    parts = (slice(i, i + len(chunk)) for i in range(0, len(row), len(chunk)))  # in the memory of a chunk
    exact = [np.sqrt(np.sum((queries[row[part]] - chunk[column[part]]) ** 2, 1)) for part in parts]
    row = np.concatenate([np.repeat(np.arange(n), k), row])
    distance = np.concatenate([distances.ravel(), *exact])
    index = np.concatenate([indices.ravel(), first + column])
    order = np.lexsort([index, distance, row])
    starts = np.searchsorted(row[order], np.arange(n))  # every row has its k known and perhaps more
    order = order[starts[:, None] + np.arange(k)]  # [n, k]
    return index[order], distance[order]


def _vectors(name, examples, features):
    """Examples, or their features, as finite float64 [B, F]."""
    vectors = examples.reshape(len(examples), -1) if features is None else np.asarray(features(examples))
    if vectors.ndim != 2 or len(vectors) != len(examples):
        raise ValueError(f"`features` must give [{len(examples)}, F], a vector an example; got {vectors.shape}.")
    vectors = vectors.astype(np.float64)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{'' if features is None else 'the features of '}`{name}` must be finite numbers.")
    return vectors
