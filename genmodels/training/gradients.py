"""Gradients of an objective: differentiated, accumulated over parts of a batch, clipped."""

import keras
import tensorflow as tf

from genmodels.core import Batch
from genmodels.sampling import fold


def accumulated(objective, optimizer, parts, seed, first):
    """Loss, metrics and gradients, averaged over parts of a batch that are taken one after the other.

    Args:
        objective: the `Objective`.
        optimizer: its optimizer.
        parts: a `Batch` of parts, `[parts, size, …]`.
        seed: of the whole batch; part i draws from stream i of it.
        first: number of the first part in the whole batch.
    """

    def part(i):
        mine = Batch(*(None if t is None else t[i] for t in parts))
        return differentiated(objective, optimizer, mine, fold(seed, first + i))

    def add(i, sums):
        return i + 1, tf.nest.map_structure(tf.add, sums, part(i))

    count, sums = parts.x.shape[0], part(0)
    if count > 1:
        _, sums = tf.while_loop(lambda i, _: i < count, add, (1, sums))
    return tf.nest.map_structure(lambda t: t / tf.cast(count, t.dtype), sums)


def differentiated(objective, optimizer, batch, seed):
    """Loss, metrics and gradients; gradients are scaled where the optimizer scales its loss (float16)."""
    variables = objective.network.trainable_variables
    with tf.GradientTape() as tape:
        loss, metrics = objective.loss(batch, seed, True)
        loss = tf.cast(loss, tf.float32)
        penalties = [v.regularizer(v) for v in variables if v.regularizer is not None]
        if penalties:
            penalty = tf.add_n(penalties)
            loss, metrics = loss + penalty, {**metrics, "regularization": penalty}
        scaled = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, variables)
    unreached = [v.path for v, gradient in zip(variables, gradients) if gradient is None]
    if unreached:
        raise ValueError(f"the loss of objective {objective.name!r} does not depend on {', '.join(unreached)}.")
    return loss, metrics, [tf.convert_to_tensor(g) for g in gradients]


def clipped(gradients, clipnorm, optimizer):
    """Gradients with a global norm of at most `clipnorm`, in the units of the unscaled loss."""
    dynamic = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    scale = optimizer.dynamic_scale if dynamic else optimizer.loss_scale_factor or 1.0
    norm = tf.linalg.global_norm([tf.cast(g, tf.float32) for g in gradients]) / scale
    factor = tf.minimum(1.0, clipnorm / tf.maximum(norm, 1e-12))
    return [g * tf.cast(factor, g.dtype) for g in gradients]
