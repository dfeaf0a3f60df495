"""Paths between latents, and what a model decodes along them."""

import numpy as np
import tensorflow as tf

from genmodels.latent.coding import (
    check_latents,
    checked_latents,
    decoded,
    encodings,
    listed,
    one_label,
)
from genmodels.settings import checked_count

# Below this sine of the angle, spherical and linear weights agree to float32 rounding.
_PARALLEL = 1e-3


def lerp(a, b, t):
    """Linear interpolation, (1 − t) a + t b.

    Args:
        a: start, float [B, ...].
        b: end, the same shape.
        t: position, a scalar or one for each example, [B]; 0 gives exactly a and 1 exactly b.

    Returns:
        float32 [B, ...].

    Raises:
        ValueError: the shapes do not fit each other.

    Example:
        >>> from genmodels.latent import lerp
        >>> lerp([[0.0, 2.0]], [[4.0, 2.0]], 0.25).numpy().tolist()
        [[1.0, 2.0]]
    """
    a, b, t = _checked(a, b, t)
    return (1 - t) * a + t * b


def slerp(a, b, t):
    """Spherical interpolation: along the arc between the directions of a and b, over all axes but the first.

    With ω the angle between a and b, sin((1 − t) ω) / sin ω · a + sin(t ω) / sin ω · b. Where no arc is
    defined, because a and b are parallel or opposite or one is zero, this is `lerp`.
    Source: Shoemake 1985; White 2016, "Sampling Generative Networks", for latents.

    Args:
        a: start, float [B, ...].
        b: end, the same shape.
        t: position, a scalar or one for each example, [B]; 0 gives exactly a and 1 exactly b.

    Returns:
        float32 [B, ...].

    Raises:
        ValueError: the shapes do not fit each other.

    Example:
        >>> from genmodels.latent import slerp
        >>> print(slerp([[1.0, 0.0]], [[0.0, 1.0]], 0.5).numpy())
        [[0.70710677 0.70710677]]
    """
    a, b, t = _checked(a, b, t)
    squared_a, squared_b = _squared_norm(a), _squared_norm(b)  # [B, 1, ...]
    zero = (squared_a == 0) | (squared_b == 0)
    u = a * tf.math.rsqrt(tf.where(zero, 1.0, squared_a))
    v = b * tf.math.rsqrt(tf.where(zero, 1.0, squared_b))
    # ω = 2 atan2(|u − v|, |u + v|) is accurate at every angle, where acos(u·v) is not near 0 and π.
    difference, total = _squared_norm(u - v), _squared_norm(u + v)
    straight = zero | (difference * total < (2 * _PARALLEL) ** 2)  # |u − v| |u + v| = 2 sin ω
    difference, total = tf.where(straight, 1.0, difference), tf.where(straight, 1.0, total)
    omega = 2 * tf.atan2(tf.sqrt(difference), tf.sqrt(total))
    weight_a = tf.where(straight, 1 - t, tf.sin((1 - t) * omega) / tf.sin(omega))
    weight_b = tf.where(straight, t, tf.sin(t * omega) / tf.sin(omega))
    return weight_a * a + weight_b * b


def interpolate(model, start, end, *, steps=8, method="auto", labels=None):
    """Decoded images or points along the path from one latent to another.

    Args:
        model: a `LatentModel`.
        start: latents, [B, *latent_shape].
        end: latents, the same shape.
        steps: frames a path, an integer ≥ 2; the first and last are exactly the decoded `start` and `end`.
        method: "lerp", "slerp", or "auto": "slerp" where the model's prior is a shell around the origin, as a
            normal one in many dimensions is, and a straight path would leave it; otherwise "lerp".
        labels: one for each path, [B], or condition vectors [B, C], for conditional models.

    Returns:
        float32 [B, steps, *event_shape], in the data's units.

    Raises:
        ValueError: wrong shapes, steps or method.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.latent import interpolate
        >>> class Doubling:  # any LatentModel
        ...     latent_shape = event_shape = (1,)
        ...     def decode(self, z, labels=None):
        ...         return 2 * z
        >>> interpolate(Doubling(), [[0.0]], [[1.0]], steps=3, method="lerp").numpy().tolist()
        [[[0.0], [1.0], [2.0]]]
    """
    start, end, _ = _checked(start, end, 0.0)
    _check_options(model, steps, method)
    if tuple(start.shape[1:]) != tuple(model.latent_shape):
        raise ValueError(
            f"`start` and `end` must be latents of shape [batch, {listed(model.latent_shape)}]; "
            f"got [{listed(start.shape)}]."
        )
    labels = _checked_labels(labels, start.shape[0])
    between = _between(model, method)
    # One frame of all paths at a time: the ends are then the very numbers that decoding them alone gives.
    frames = [model.decode(between(start, end, i / (steps - 1)), labels) for i in range(steps)]
    return tf.stack(frames, axis=1)


def interpolate_examples(model, x_start, x_end, *, steps=8, method="auto", labels=None, seed=0):
    """`interpolate` between the encodings of two batches of examples.

    A model without an encoder, such as a GAN, is searched for latents that decode to nearly the examples, by
    `project` with its defaults.

    Args:
        model: a `LatentModel`.
        x_start: examples in the data's units, [B, *event_shape].
        x_end: examples, the same shape.
        steps: frames a path, an integer ≥ 2; the first and last are the reconstructions of the examples.
        method: "lerp", "slerp" or "auto", as in `interpolate`.
        labels: one for each path, [B], or condition vectors [B, C], for conditional models.
        seed: of the search, where there is no encoder.

    Returns:
        float32 [B, steps, *event_shape], in the data's units.

    Raises:
        ValueError: wrong shapes, steps or method.

    Example:
        >>> from genmodels.latent import interpolate_examples
        >>> class Doubling:  # any LatentModel with an encoder
        ...     latent_shape = event_shape = (1,)
        ...     def encode(self, x, labels=None):
        ...         return x / 2
        ...     def decode(self, z, labels=None):
        ...         return 2 * z
        >>> path = interpolate_examples(Doubling(), [[0.0]], [[1.0]], steps=3, method="lerp")
        >>> path.numpy().tolist()
        [[[0.0], [0.5], [1.0]]]
    """
    x_start, x_end = tf.convert_to_tensor(x_start), tf.convert_to_tensor(x_end)
    _check_options(model, steps, method)
    if x_start.shape != x_end.shape or tuple(x_start.shape[1:]) != tuple(model.event_shape):
        raise ValueError(
            f"`x_start` and `x_end` must both be examples of shape [batch, {listed(model.event_shape)}]; "
            f"got [{listed(x_start.shape)}] and [{listed(x_end.shape)}]."
        )
    labels = _checked_labels(labels, x_start.shape[0])
    both = None if labels is None else tf.concat([labels, labels], 0)
    start, end = tf.split(encodings(model, tf.concat([x_start, x_end], 0), both, seed=seed), 2)
    return interpolate(model, start, end, steps=steps, method=method, labels=labels)


def walk(model, keyframes, *, steps=8, method="auto", closed=False, labels=None):
    """Decoded images or points along a path through many latents, one after the other: the frames of a film.

    Args:
        model: a `LatentModel`.
        keyframes: latents, [K, *latent_shape], K ≥ 2; those of examples are `encodings(model, x)`.
        steps: frames from one keyframe to the next, both included, an integer ≥ 2.
        method: "lerp", "slerp" or "auto", as in `interpolate`.
        closed: go back to the first keyframe, and end just before it, so that a film can repeat without a halt.
        labels: the class of all frames, or their condition vector [C], of a conditional model.

    Returns:
        float32 [frames, *event_shape], in the data's units: (K - 1) (steps - 1) + 1 frames, closed K (steps - 1); no
        keyframe comes twice.

    Raises:
        ValueError: a model without latents, wrong shapes, steps or method, or a conditional model without a label.

    Example:
        >>> from genmodels.latent import walk
        >>> class Doubling:  # any LatentModel
        ...     latent_shape = event_shape = (1,)
        ...     def decode(self, z, labels=None):
        ...         return 2 * z
        >>> walk(Doubling(), [[0.0], [2.0], [1.0]], steps=3, method="lerp").numpy().ravel().tolist()
        [0.0, 2.0, 4.0, 3.0, 2.0]
        >>> walk(Doubling(), [[0.0], [2.0], [1.0]], steps=3, method="lerp", closed=True).numpy().ravel().tolist()
        [0.0, 2.0, 4.0, 3.0, 2.0, 1.0]
    """
    _check_options(model, steps, method)
    keyframes = checked_latents(model, "keyframes", keyframes)
    if len(keyframes) < 2:
        raise ValueError(f"`keyframes` must be at least 2 latents; got {len(keyframes)}.")
    starts, ends = keyframes if closed else keyframes[:-1], tf.roll(keyframes, -1, axis=0)
    each = steps - 1
    frames = len(starts) * each + (not closed)
    labels = one_label(model, labels, frames)
    t = np.tile(np.arange(each, dtype=np.float32) / each, len(starts))
    z = _between(model, method)(tf.repeat(starts, each, axis=0), tf.repeat(ends[: len(starts)], each, axis=0), t)
    return decoded(model, z if closed else tf.concat([z, keyframes[-1:]], 0), labels)


def _between(model, method):
    """`lerp` or `slerp`; "auto" is what suits the prior."""
    if method == "auto":
        method = "slerp" if _prior_is_shell(model) else "lerp"
    return {"lerp": lerp, "slerp": slerp}[method]


def _prior_is_shell(model):
    """Whether the norms of the prior's latents are nearly equal: N(0, I) in about 6 dimensions or more."""
    norms = tf.sqrt(_squared_norm(tf.cast(model.prior(256, seed=0), tf.float32)))
    # The relative deviation of the norm of N(0, I) in D dimensions is about 1/√(2D).
    return bool(tf.math.reduce_std(norms) < 0.3 * tf.reduce_mean(norms))


def _check_options(model, steps, method):
    check_latents(model)
    checked_count("steps", steps, 2)
    if method not in ("auto", "lerp", "slerp"):
        raise ValueError(f'`method` must be "auto", "lerp" or "slerp"; got {method!r}.')


def _checked_labels(labels, paths):
    if labels is None:
        return None
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (1, 2) or labels.shape[0] != paths:  # classes, or condition vectors
        raise ValueError(f"`labels` must be of shape [{paths}], one for each path; got [{listed(labels.shape)}].")
    return labels


def _checked(a, b, t):
    """Both ends and t as float32, t of a shape that broadcasts over all axes but the first."""
    a, b, t = (tf.cast(value, tf.float32) for value in (a, b, t))
    if a.shape.rank < 2 or a.shape != b.shape:
        raise ValueError(
            f"Both ends must be of one shape [batch, ...]; got [{listed(a.shape)}] and [{listed(b.shape)}]."
        )
    if t.shape.rank and t.shape != a.shape[:1]:
        raise ValueError(f"`t` must be a scalar or of shape [{a.shape[0]}]; got [{listed(t.shape)}].")
    return a, b, tf.reshape(t, [-1] + [1] * (a.shape.rank - 1))


def _squared_norm(x):
    """Over all axes but the first, kept: [B, 1, ...]."""
    return tf.reduce_sum(tf.square(x), axis=range(1, x.shape.rank), keepdims=True)
