"""Checks of what a model claims about itself."""

import math

import numpy as np
import tensorflow as tf

BATCH = 16  # sub-pixels at a time
FEWEST, MOST = 4, 16  # random images for each sub-pixel; more only while a path is missing


def check_causality(model, *, labels=None, seed=0, blind_spots=False, positions=256) -> dict:
    """Checks by gradients that an autoregressive model factorizes as it should: p(x) = Π p(x_i | x_1 … x_{i-1}).

    The order is that of rows, columns, channels. The conditional distribution of each sub-pixel must depend on no
    sub-pixel at or after it, on all of those before it, and on no other example of the batch. That it does not
    depend on one means a gradient of exactly zero for several random images; that it does, a gradient other than
    zero for one of them.

    The cost is at least four forward and backward passes a sub-pixel, and 16 where some are not reached.

    Args:
        model: an autoregressive model: with `params`, and a `likelihood` that has `conditionals`.
        labels: class labels of a conditional model, taken in turn; None takes all classes in turn.
        seed: seed of the random images.
        blind_spots: permit that a conditional does not depend on a sub-pixel before it, and count these pairs. The
            masks of a PixelCNN have such a blind spot on wide images, and so has a Row LSTM.
        positions: how many sub-pixels are checked at most; of larger images a random choice is.

    Returns:
        `sub_pixels` checked, and how many of the pairs of one of them with one before it are `reached` and `blind`.

    Raises:
        ValueError: naming the first dependence that should not be, or that is missing; for models without
            conditionals; for a model whose gradients are not finite.

    Example:
        >>> import genmodels as gm
        >>> model = gm.GatedPixelCNN((3, 3, 1), levels=4, filters=8, blocks=1)
        >>> gm.evaluation.check_causality(model)
        {'sub_pixels': 9, 'reached': 36, 'blind': 0}
    """
    if not (hasattr(model, "params") and hasattr(getattr(model, "likelihood", None), "conditionals")):
        raise ValueError(
            f"{type(model).__name__} has no conditionals: `params(x, labels)` and a `likelihood` with "
            "`conditionals(params, target, context)` are needed."
        )
    random = np.random.default_rng(seed)
    shape, size = model.event_shape, math.prod(model.event_shape)
    checked = np.arange(size) if size <= positions else np.sort(random.choice(size, positions, replace=False))
    before = np.arange(size) < checked[:, None]  # [sub-pixel checked, sub-pixel]
    reached = np.zeros_like(before)
    if labels is not None:
        labels = np.resize(labels, BATCH)
    gradients = _gradients(model, model._labels(labels, BATCH))
    for trial in range(MOST):
        if trial >= FEWEST and (reached == before).all():
            break
        for start in range(0, len(checked), BATCH):
            rows = np.arange(start, start + BATCH) % len(checked)  # the last batch is filled up: one trace
            context = random.uniform(0, model.levels - 1, (BATCH, *shape))
            target = random.integers(0, model.levels, (BATCH, *shape))
            half = random.permutation(BATCH) < BATCH // 2
            own, others = (
                g.numpy().reshape(BATCH, size)
                for g in gradients(tf.constant(context, tf.float32), tf.constant(target), checked[rows], half)
            )
            if not (np.isfinite(own).all() and np.isfinite(others).all()):
                raise ValueError(f"the gradients of {type(model).__name__} are not finite.")
            if others[~half].any():  # first, as it makes rows of `own` meaningless
                raise ValueError("the distribution of an example depends on another example of the batch.")
            np.logical_or.at(reached, rows, own != 0)
        _refuse(shape, checked, reached & ~before, "depends on")
    blind = before & ~reached
    if not blind_spots:
        hint = " Where that is how the model is built, as a PixelCNN's blind spot is, give blind_spots=True."
        _refuse(shape, checked, blind, "does not depend on", hint)
    return {"sub_pixels": len(checked), "reached": int(reached.sum()), "blind": int(blind.sum())}


def _gradients(model, labels):
    """A function of the gradients of conditionals with respect to the images that they are conditioned on."""

    @tf.function(autograph=False)
    def gradients(context, target, index, half):
        """One sub-pixel of each image at a time; and all sub-pixels of half of the images."""
        zero = tf.UnconnectedGradients.ZERO
        with tf.device("CPU:0"):  # a GPU's fast convolutions put rounding errors where a kernel is zero
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(context)
                params = model.params(model.scaled(context), labels)
                log_probs = model.likelihood.conditionals(params, target, context)
                log_probs = tf.reshape(log_probs, [BATCH, -1])  # [B, H · W · C]
                one = tf.gather(log_probs, index, batch_dims=1)
                some = tf.boolean_mask(log_probs, half)
            return [tape.gradient(y, context, unconnected_gradients=zero) for y in (one, some)]

    return gradients


def _refuse(shape, checked, wrong, what, hint=""):
    """Raises for the first wrong pair, if any."""
    if not wrong.any():
        return
    row, other = np.argwhere(wrong)[0]
    one, two = (
        f"(row {r}, column {c}, channel {k})" for r, c, k in (np.unravel_index(i, shape) for i in (checked[row], other))
    )
    side = "before" if other < checked[row] else "after"
    whom = "itself" if one == two else f"{two}, which comes {side} it"
    raise ValueError(f"the distribution of sub-pixel {one} {what} {whom}.{hint}")
