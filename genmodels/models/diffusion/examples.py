"""Numbers of single examples beside tensors of whole batches."""

import tensorflow as tf


def beside(values, x):
    """`[B]` numbers shaped to go with x `[B, …]`."""
    return tf.reshape(values, [-1] + [1] * (x.shape.rank - 1))


def sums(x):
    """Over all axes but the first: `[B]`."""
    return tf.reduce_sum(x, axis=list(range(1, x.shape.rank)))


def means(x):
    """Over all axes but the first: `[B]`."""
    return tf.reduce_mean(x, axis=list(range(1, x.shape.rank)))
