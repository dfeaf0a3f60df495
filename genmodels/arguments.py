"""What users hand to a model's methods: examples, labels, condition vectors, options; checked."""

import inspect

import numpy as np
import tensorflow as tf


def examples(x, event_shape, levels):
    """Examples as a tensor `[B, *event_shape]`; integers within 0 … levels-1 where `levels` is set."""
    x = tf.convert_to_tensor(x)
    if x.shape[0] == 0 or x.shape[1:] != event_shape:
        raise ValueError(f"examples must have shape {('batch', *event_shape)}; got {tuple(x.shape)}.")
    if levels is not None and not x.dtype.is_integer:
        raise ValueError(f"the model has levels={levels}: examples must be integers; got {x.dtype.name}.")
    if levels is not None and tf.executing_eagerly():
        low, high = int(tf.reduce_min(x)), int(tf.reduce_max(x))
        if low < 0 or high >= levels:
            raise ValueError(f"pixels must lie in 0 … {levels - 1}; found {low} … {high}.")
    return x


def parts(x, labels, size):
    """Examples and labels (or None) of at most `size` rows at a time, with the number of the first of them."""
    for start in range(0, x.shape[0], size):
        rows = slice(start, start + size)
        yield start, x[rows], None if labels is None else labels[rows]


def labels(given, num, num_classes, condition_dim):
    """Labels as a tensor, `[num]` int32 or `[num, condition_dim]` float32; None for an unconditional model."""
    if condition_dim is not None:
        return conditions(given, num, condition_dim)
    if num_classes is None:
        if given is not None:
            raise ValueError("`labels` were given, but the model was built without `num_classes` or `condition_dim`.")
        return None
    if given is None:
        return tf.range(num, dtype=tf.int32) % num_classes
    if tf.is_tensor(given) and not tf.executing_eagerly():
        return tf.cast(given, tf.int32)  # checked where its values were known
    given = np.broadcast_to(np.asarray(given), (num,)) if np.ndim(given) == 0 else np.asarray(given)
    if given.shape != (num,) or given.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be {num} integers, one an example; got shape {given.shape} of {given.dtype}.")
    if given.min() < 0 or given.max() >= num_classes:
        wrong = given.max() if given.max() >= num_classes else given.min()
        raise ValueError(f"`labels` must be from 0 to {num_classes - 1}; got {wrong}.")
    return tf.constant(given, tf.int32)


def conditions(vectors, num, dim):
    """Condition vectors as a `[num, dim]` float32 tensor, through which gradients flow."""
    wanted = f"{num} vectors of {dim} finite numbers (condition_dim={dim}), or one vector for all"
    if vectors is None:
        raise ValueError(f"the model is conditional and has no default: give `labels`, {wanted}.")
    vectors = tf.convert_to_tensor(vectors if tf.is_tensor(vectors) else np.asarray(vectors))
    number = vectors.dtype.is_floating or vectors.dtype.is_integer
    if not number or vectors.shape not in ([dim], [num, dim]):
        raise ValueError(f"`labels` must be {wanted}; got shape {tuple(vectors.shape)} of {vectors.dtype.name}.")
    vectors = tf.broadcast_to(tf.cast(vectors, tf.float32), [num, dim])
    if tf.executing_eagerly() and not tf.reduce_all(tf.math.is_finite(vectors)):
        raise ValueError(f"`labels` must be {wanted}; found NaN or infinity.")
    return vectors


def sampling_options(generate) -> dict | None:
    """What a model's `generate` takes beside streams and labels, by name; None where it takes whatever is given."""
    options = dict(list(inspect.signature(generate).parameters.items())[2:])
    return None if any(p.kind is p.VAR_KEYWORD for p in options.values()) else options


def check_options(generate, options):
    """Refuses options of `sample` that the model's `generate` does not take."""
    if not options:
        return  # before the signature is read, at every call of `sample`
    offered = sampling_options(generate)
    unknown = [] if offered is None else sorted(set(options) - set(offered))
    if unknown:
        family = type(generate.__self__).__name__
        raise ValueError(
            f"{family} samples with the options {', '.join(offered) or 'none'}; got {', '.join(unknown)}."
        )
