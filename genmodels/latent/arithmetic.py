"""Sums and differences of latents that mean something: attributes of examples, and analogies between them."""

import numpy as np
import tensorflow as tf

from genmodels.latent.coding import checked_latents, decoded, encodings, one_label


def mean_latent(model, x, labels=None, *, seed=0):
    """The mean of the latents of examples.

    Args:
        model: a `LatentModel`; one without an encoder is searched, by `project`.
        x: examples in the data's units, [N, *event_shape].
        labels: one for each example, [N], or condition vectors [N, C], for conditional models.
        seed: of the search, where there is no encoder.

    Returns:
        float32 [*latent_shape].

    Raises:
        ValueError: a model without latents, or wrong shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((2,), levels=None, latent_dim=3)
        >>> mean_latent(model, np.ones([5, 2])).shape
        TensorShape([3])
    """
    return tf.reduce_mean(encodings(model, x, labels, seed=seed), 0)


def attribute_vector(model, with_attribute, without_attribute, *, labels_with=None, labels_without=None, seed=0):
    """The direction of an attribute: the mean latent of examples that have it, less that of examples without.

    Source: Larsen et al. 2016, arXiv:1512.09300, section 4.2.1; White 2016, "Sampling Generative Networks".

    Args:
        model: a `LatentModel`; one without an encoder is searched, by `project`.
        with_attribute: examples in the data's units, [N, *event_shape].
        without_attribute: examples, [M, *event_shape]. The more the two differ in nothing else, the purer the vector.
        labels_with: one for each example with the attribute, [N], for conditional models.
        labels_without: one for each example without it, [M].
        seed: of the search, where there is no encoder.

    Returns:
        float32 [*latent_shape].

    Raises:
        ValueError: a model without latents, or wrong shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((2,), levels=None, latent_dim=3)
        >>> vector = attribute_vector(model, np.ones([5, 2]), np.zeros([4, 2]))
        >>> apply_attribute(model, np.zeros([2, 2]), vector).shape
        TensorShape([2, 4, 2])
    """
    having = mean_latent(model, with_attribute, labels_with, seed=seed)
    return having - mean_latent(model, without_attribute, labels_without, seed=seed)


def apply_attribute(model, x, vector, *, strengths=(0.0, 0.5, 1.0, 1.5), labels=None, seed=0):
    """Examples with more or less of an attribute: decode(z + s · vector) of their latents z.

    Args:
        model: a `LatentModel`; one without an encoder is searched, by `project`.
        x: examples in the data's units, [B, *event_shape].
        vector: from `attribute_vector`, [*latent_shape].
        strengths: s, numbers: 0 reconstructs the examples, below 0 takes of the attribute.
        labels: one for each example, [B], or condition vectors [B, C], for conditional models.
        seed: of the search, where there is no encoder.

    Returns:
        float32 [B, len(strengths), *event_shape], in the data's units.

    Raises:
        ValueError: a model without latents, wrong shapes, or strengths that are not finite numbers.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((2,), levels=None, latent_dim=3)
        >>> apply_attribute(model, np.ones([5, 2]), np.zeros(3), strengths=(-1, 1)).shape
        TensorShape([5, 2, 2])
    """
    vector = checked_latents(model, "vector", np.asarray(vector)[None])
    factors = np.asarray(strengths, np.float32)
    if factors.ndim != 1 or not len(factors) or not np.isfinite(factors).all():
        raise ValueError(f"`strengths` must be finite numbers, such as (-1.0, 0.0, 1.0); got {strengths!r}.")
    z = np.asarray(encodings(model, x, labels, seed=seed))
    factors = factors.reshape(-1, *[1] * len(model.latent_shape))
    moved = z[:, None] + factors * np.asarray(vector)  # [B, S, *latent_shape]
    labels = None if labels is None else np.repeat(labels, len(factors), axis=0)
    frames = decoded(model, moved.reshape(-1, *model.latent_shape), labels)
    return tf.reshape(frames, [*moved.shape[:2], *model.event_shape])


def arithmetic(model, a, b, c, *, labels=None):
    """"a - b + c": what the mean latents decode to.

    Of latents with variance one, means of three keep it: 1/3 + 1/3 + 1/3. Means of many lie nearer to the origin than
    the latents of examples do; in many dimensions a decoder knows little of that place.
    Source: Radford et al. 2015, arXiv:1511.06434, section 6.3.2, with means of three.

    Args:
        model: a `LatentModel`.
        a: latents, [N, *latent_shape]; those of examples are `encodings(model, x)`.
        b: latents, [M, *latent_shape].
        c: latents, [K, *latent_shape].
        labels: the class that the result is to have, or its condition vector [C], of a conditional model.

    Returns:
        float32 [*event_shape], in the data's units.

    Raises:
        ValueError: a model without latents, wrong shapes, or a conditional model without a label.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((2,), levels=None, latent_dim=3)
        >>> arithmetic(model, *(model.prior(3, seed) for seed in range(3))).shape
        TensorShape([2])
    """
    named = (("a", a), ("b", b), ("c", c))
    a, b, c = (tf.reduce_mean(checked_latents(model, name, z), 0) for name, z in named)
    return decoded(model, (a - b + c)[None], one_label(model, labels, 1))[0]
