"""Between examples and latents, in batches, and the checks that the tools of this folder share."""

import numpy as np
import tensorflow as tf

from genmodels.core import LatentModel
from genmodels.latent.projection import IMAGES, POINTS, project
from genmodels.settings import checked_count


def check_latents(model) -> None:
    """Refuses a model without latents.

    Raises:
        ValueError: the model defines no `decode`; names the families that do.

    Example:
        >>> import genmodels as gm
        >>> check_latents(gm.VAE((2,), levels=None, latent_dim=2))
    """
    if not hasattr(model, "decode"):
        raise ValueError(
            f"{type(model).__name__} has no latents: it defines no `decode`. Autoencoders, GANs, normalizing flows and "
            "diffusion models have latents."
        )


def has_encoder(model) -> bool:
    """Whether a model has an `encode` of its own; without one its latents are found by search.

    Example:
        >>> import genmodels as gm
        >>> has_encoder(gm.VAE((2,), levels=None, latent_dim=2)), has_encoder(gm.WGAN((2,), levels=None))
        (True, False)
    """
    return getattr(type(model), "encode", LatentModel.encode) is not LatentModel.encode


def encodings(model, x, labels=None, *, batch_size=None, seed=0):
    """The latents of examples, a batch at a time: by `encode`, or by `project` where the model has no encoder.

    Args:
        model: a `LatentModel`.
        x: examples in the data's units, [N, *event_shape]; a memory map is read batch by batch.
        labels: one for each example, [N], or condition vectors [N, C], for conditional models.
        batch_size: examples at a time; None for 256 images or 16 384 points.
        seed: of the search, where there is no encoder.

    Returns:
        float32 [N, *latent_shape].

    Raises:
        ValueError: a model without latents, or wrong shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=3)
        >>> encodings(model, np.zeros([5, 8, 8, 1], "uint8"), batch_size=2).shape
        TensorShape([5, 3])
    """
    check_latents(model)
    x = np.asarray(x)
    if not len(x) or x.shape[1:] != tuple(model.event_shape):
        raise ValueError(f"examples must have shape [batch, {listed(model.event_shape)}]; got [{listed(x.shape)}].")
    labels = None if labels is None else np.asarray(labels)
    if labels is not None and labels.shape[:1] != x.shape[:1]:
        raise ValueError(f"`labels` must be {len(x)}, one an example; got [{listed(labels.shape)}].")
    if batch_size is not None:
        checked_count("batch_size", batch_size, 1)
    if has_encoder(model):
        return _in_batches(model.encode, x, labels, batch_size)
    return project(model, x, labels, seed=seed, batch_size=batch_size)


def decoded(model, z, labels=None):
    """Latents [N, *latent_shape] decoded a batch at a time, float32 [N, *event_shape]; labels are [N] or None."""
    return _in_batches(model.decode, z, labels, POINTS if len(model.event_shape) == 1 else IMAGES)


def checked_latents(model, name, z):
    """Latents as a float32 tensor [N, *latent_shape], not empty, or a ValueError."""
    check_latents(model)
    z = tf.cast(z, tf.float32)
    if not z.shape.rank or not z.shape[0] or tuple(z.shape[1:]) != tuple(model.latent_shape):
        raise ValueError(
            f"`{name}` must be latents of shape [batch, {listed(model.latent_shape)}]; got [{listed(z.shape)}]."
        )
    return z


def one_label(model, label, num):
    """One class, or condition vector, for all of `num` latents: [num] or [num, C]; None for an unconditional model."""
    dim = getattr(model, "condition_dim", None)
    if label is None and dim is None and getattr(model, "num_classes", None) is None:
        return None
    wanted = "one class" if dim is None else f"one condition vector [{dim}]"
    if label is None or np.shape(label) != (() if dim is None else (dim,)):
        raise ValueError(f"`labels` must be {wanted} for all that is decoded; got {label!r}.")
    return np.broadcast_to(np.asarray(label), [num, *np.shape(label)])


def checked_axes(axes, size) -> list[int]:
    """Different dimensions of a flattened latent of so many, at least one, or a ValueError."""
    axes = np.atleast_1d(axes).tolist()
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes)
    if not axes or not whole or len(set(axes)) < len(axes) or min(axes) < 0 or max(axes) >= size:
        raise ValueError(f"`axes` must be different dimensions of the latent, from 0 to {size - 1}; got {axes}.")
    return axes


def listed(shape) -> str:
    """A shape as messages show it, without brackets."""
    return ", ".join(str(n) for n in shape)


def _in_batches(function, x, labels, batch_size):
    """A model's `encode` or `decode` of x [N, …] and labels [N, …] or None, in even batches."""
    x, count = np.asarray(x), len(x)
    most = batch_size or (POINTS if x.ndim == 2 else IMAGES)
    size = -(-count // -(-count // most))
    parts = []
    for first in range(0, count, size):
        # The last batch is filled up and cut: one shape, one trace.
        rows = np.arange(first, first + size) % count
        parts.append(function(tf.constant(x[rows]), None if labels is None else tf.constant(labels[rows])))
    return tf.concat(parts, 0)[:count]
