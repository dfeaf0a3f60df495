"""Features laid out in the plane."""

import numpy as np

METHODS = ("pca", "tsne")
PERPLEXITY = 30  # the default of van der Maaten & Hinton's implementations


def embed_2d(features, method="pca", seed=0):
    """Features in the plane, such as encodings, so that one can look at them.

    "pca" projects on the two directions of largest variance, by an exact SVD; a direction's largest entry is positive,
    so that its sign is determined. "tsne" keeps neighbours near (van der Maaten & Hinton 2008, "Visualizing Data using
    t-SNE"), begins at the principal components, and takes a perplexity of 30, or (N - 1) / 3 where that is less.
    Distances in its picture mean little beyond the nearest.

    Args:
        features: [N, …], each flattened, finite numbers; at least 3 examples of 2 numbers.
        method: "pca" or "tsne".
        seed: of t-SNE.

    Returns:
        float32 [N, 2].

    Raises:
        ValueError: another method, or features of a wrong shape or not finite.

    Example:
        >>> points = np.array([[3.0, 0.0, 1.0], [0.0, 1.0, 1.0], [-3.0, 0.0, 1.0], [0.0, -1.0, 1.0]])
        >>> embed_2d(points).tolist()
        [[3.0, 0.0], [0.0, 1.0], [-3.0, 0.0], [0.0, -1.0]]
    """
    if method not in METHODS:
        raise ValueError(f'`method` must be "pca" or "tsne"; got {method!r}.')
    features = np.asarray(features, np.float64)
    shape = features.shape
    features = features.reshape(len(features), -1) if features.ndim > 1 and len(features) else np.empty([0, 0])
    if features.shape[0] < 3 or features.shape[1] < 2:
        raise ValueError(f"`features` must be [N, F] with N of at least 3 and F of at least 2; got {shape}.")
    if not np.isfinite(features).all():
        raise ValueError("`features` must be finite; found NaN or infinity.")
    if method == "pca":
        return _principal(features).astype(np.float32)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init=_start(features), random_state=seed).fit_transform(features)


def _principal(features):
    """The first two principal components, [N, 2] float64."""
    centred = features - features.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return centred @ (directions * np.sign(largest)).T


def _start(features):
    """Where t-SNE begins: the principal components, at the deviation of 10⁻⁴ that Kobak & Berens 2019 advise."""
    start = _principal(features)
    return (1e-4 * start / (start[:, 0].std() or 1.0)).astype(np.float32)
