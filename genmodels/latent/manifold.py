"""The plane of two latent dimensions, decoded."""

import math

import numpy as np
import tensorflow as tf

from genmodels.latent.coding import check_latents, checked_axes, decoded, one_label
from genmodels.settings import checked_count

DRAWS, FAR = 1024, 0.1  # 1024 normal numbers are as far as this from their CDF less than once in 10⁸ times


def manifold(model, num=20, *, axes=(0, 1), tail=0.05, labels=None):
    """Decodes a grid over two latent dimensions, even in probability; the other dimensions are 0.

    The grid is that of equally spaced quantiles of the prior, from `tail` to 1 - `tail`, through its inverse CDF, the
    normal's. With more than two dimensions it is a plane through the origin, which lies inside the shell where
    latents of many dimensions are, so that its images are more alike than samples.
    Source: Kingma & Welling 2013, arXiv:1312.6114, figure 4.

    Args:
        model: a `LatentModel` whose prior along both axes is standard normal.
        num: points a side, an integer ≥ 2.
        axes: two dimensions, indices into the flattened latent: the first grows along a row, the second from row to
            row.
        tail: probability that the grid leaves out at either end, above 0 and below 0.5.
        labels: the class of the whole grid, or its condition vector [C], of a conditional model.

    Returns:
        float32 [num, num, *event_shape], in the data's units.

    Raises:
        ValueError: a model without latents or of another prior, settings out of range, or a conditional model without
            a label.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> manifold(model, 3).shape
        TensorShape([3, 3, 8, 8, 1])
    """
    check_latents(model)
    num, size = checked_count("num", num, 2), math.prod(model.latent_shape)
    axes = checked_axes(axes, size)
    if len(axes) != 2:
        raise ValueError(f"`axes` must be two dimensions of the latent; got {axes}.")
    if not 0 < tail < 0.5:
        raise ValueError(f"`tail` must be above 0 and below 0.5; got {tail!r}.")
    labels = one_label(model, labels, num * num)
    _check_normal(model, axes)
    values = tf.math.ndtri(np.linspace(tail, 1 - tail, num)).numpy()
    z = np.zeros([num, num, size], np.float32)
    z[:, :, axes[0]], z[:, :, axes[1]] = values, values[:, None]
    frames = decoded(model, z.reshape(-1, *model.latent_shape), labels)
    return tf.reshape(frames, [num, num, *model.event_shape])


def _check_normal(model, axes):
    """Refuses codes of other distributions, such as InfoGAN's, by Kolmogorov and Smirnov's distance."""
    draws = np.asarray(model.prior(DRAWS, seed=0), np.float64).reshape(DRAWS, -1)
    for axis in axes:
        expected = 0.5 + 0.5 * tf.math.erf(np.sort(draws[:, axis]) / math.sqrt(2.0)).numpy()  # Φ
        if np.abs(expected - (np.arange(DRAWS) + 0.5) / DRAWS).max() > FAR:
            raise ValueError(
                f"the prior of latent dimension {axis} of {type(model).__name__} is not standard normal, whose inverse "
                "CDF makes the grid: take other `axes`, or `traverse` in the range of its values."
            )
