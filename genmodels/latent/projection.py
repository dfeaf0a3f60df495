"""The latent whose decoding is nearest to an example, by search: for models without an encoder."""

import math

import numpy as np
import tensorflow as tf

from genmodels.core import LatentModel
from genmodels.sampling import Streams, make_seed

ROWS = {"images": 256, "points": 16_384}  # latents searched at a time


def project(model, x, labels=None, *, steps=300, starts=4, learning_rate=0.05, prior_weight=0.0, seed=0, batch_size=None):
    x, labels = _checked_examples(model, x, labels)
    for name, value in (("steps", steps), ("starts", starts), ("batch_size", batch_size)):
        if isinstance(value, bool) or not (isinstance(value, int) and value >= 1 or name == "batch_size" and value is None):
            raise ValueError(f"`{name}` must be an integer ≥ 1; got {value!r}.")
    num, seed = x.shape[0], make_seed(seed)
    most = max(1, ROWS["points" if x.shape.rank == 2 else "images"] // starts) if batch_size is None else batch_size
    batch_size = -(-num // -(-num // most))
    levels = getattr(model, "levels", None)
    scale = 1.0 if levels is None else 1.0 / (levels - 1)

    def search(z, x, labels):
        return _search(lambda z: model.decode(z, labels) * scale, z, tf.cast(x, tf.float32) * scale, steps, learning_rate, prior_weight)

    compiled = tf.function(search)
    found = []
    for first in range(0, num, batch_size):
        rows = tf.tile(tf.range(first, first + batch_size) % num, [starts])
        streams = Streams(seed, first, batch_size)
        z = tf.concat([model.latents(streams.fold(i)) for i in range(starts)], 0)
        best, nearest = compiled(z, tf.gather(x, rows), labels)
        choice = tf.argmin(tf.reshape(nearest, [starts, -1]), 0, output_type=tf.int32)
        found.append(tf.gather(best, choice * batch_size + tf.range(batch_size)))
    return tf.concat(found, 0)[:num]


def _search(decode, z, target, steps, learning_rate, prior_weight):
    m = v = tf.zeros_like(z)
    best, nearest = z, tf.fill(z.shape[:1], math.inf)
    column = [-1] + [1] * (z.shape.rank - 1)
    for step in tf.range(steps):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            distance = tf.reduce_mean(tf.square(decode(z) - target), range(1, target.shape.rank))
            distance += prior_weight * tf.reduce_mean(tf.square(z), range(1, z.shape.rank))
        gradient = tape.gradient(distance, z)
        closer = distance < nearest
        best, nearest = tf.where(tf.reshape(closer, column), z, best), tf.where(closer, distance, nearest)
        done = tf.cast(step, tf.float32)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        rate = 0.5 * learning_rate * (1.0 + tf.cos(math.pi * done / steps))
        z -= rate * (m / (1.0 - 0.9 ** (done + 1.0))) / (tf.sqrt(v / (1.0 - 0.999 ** (done + 1.0))) + 1e-8)
    return best, nearest


def _checked_examples(model, x, labels):
    return model._examples(x, labels)
