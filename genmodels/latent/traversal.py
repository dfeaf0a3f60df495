"""One latent dimension at a time, those that change most first."""

import math

import numpy as np
import tensorflow as tf

from genmodels.latent.coding import checked_axes, checked_latents, decoded, one_label
from genmodels.settings import checked_count


def traverse(model, z, *, axes=None, steps=9, span=3.0, num=10, labels=None):
    """Decodes a latent with one of its dimensions at a time moved from -`span` to `span`.

    The effect of a dimension is the mean squared change of what is decoded when it goes to either end,

        ½ Σ± mean (decode(z with zᵢ = ±span) - decode(z))²,

    over all elements. All dimensions are ranked, two decodings each; those of the largest effects are walked.
    Source: Higgins et al. 2017, "beta-VAE", figure 1, for the walks.

    Args:
        model: a `LatentModel`.
        z: the latent from which all walks leave, [*latent_shape].
        axes: the dimensions to rank, indices into the flattened latent; None for all.
        steps: frames a walk, an integer ≥ 2.
        span: the largest value of the dimension, above 0; in units of the latent.
        num: at most so many walks, an integer ≥ 1.
        labels: the class of all frames, or their condition vector [C], of a conditional model.

    Returns:
        `(frames, axes, effects)`: float32 [A, steps, *event_shape] in the data's units, the dimensions walked, int64
        [A], and their effects, float32 [A], the largest first; A is `num`, or the number of `axes` if that is less.

    Raises:
        ValueError: a model without latents, wrong shapes, settings out of range, or a conditional model without a
            label.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=4)
        >>> frames, axes, effects = traverse(model, np.zeros(4), steps=5, num=3)
        >>> frames.shape, len(axes), bool(effects[0] >= effects[1])
        (TensorShape([3, 5, 8, 8, 1]), 3, True)
    """
    z = checked_latents(model, "z", np.asarray(z)[None])[0].numpy().ravel()
    steps, num = checked_count("steps", steps, 2), checked_count("num", num, 1)
    if not 0 < span < math.inf:
        raise ValueError(f"`span` must be a finite number above 0; got {span!r}.")
    axes = np.array(checked_axes(range(len(z)) if axes is None else axes, len(z)))

    def frames(axes, values):
        """Decodings of z with each of the dimensions at each of the values, [A, V, *event_shape]."""
        moved = np.broadcast_to(z, [len(axes), len(values), len(z)]).copy()
        moved[np.arange(len(axes)), :, axes] = values
        count = len(axes) * len(values)
        images = decoded(model, moved.reshape(count, *model.latent_shape), one_label(model, labels, count))
        return tf.reshape(images, [len(axes), len(values), *model.event_shape])

    unmoved = frames(axes[:1], z[axes[:1]])
    change = tf.square(frames(axes, [-span, span]) - unmoved)
    effects = tf.reduce_mean(change, range(1, change.shape.rank)).numpy()
    chosen = np.argsort(-effects, kind="stable")[:num]
    return frames(axes[chosen], np.linspace(-span, span, steps)), axes[chosen], effects[chosen]
