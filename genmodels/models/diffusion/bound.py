"""The variational bound of a diffusion model, term by term (Sohl-Dickstein et al. 2015; Ho et al. 2020, section 2).

    -log p(x₀) ≤ KL(q(x_T | x₀) ‖ p(x_T)) + Σ_{i ≥ 2} KL(q(x_{i-1} | x_i, x₀) ‖ p(x_{i-1} | x_i)) - log p(x₀ | x_1)

with the levels of the times i / T.
"""

import math

import numpy as np
import tensorflow as tf

from genmodels.models.diffusion.examples import beside, sums


def terms(schedule, steps, t, x0, estimate, place, levels):
    """The terms of the bound at times t = i / `steps`, `[B]` nats.

    Args:
        schedule: of the noise.
        steps: T.
        t: times `[B]`.
        x0: data in the network's units.
        estimate: of x₀, given noisy data at the times t.
        place: of the log-variance of p between the posterior's (0) and β (1), as x0; None for the posterior's.
        levels: of the data, whose last term is a probability of integers; None for a density.
    """

    first = t < 1.5 / steps
    alpha, sigma = (beside(v, x0) for v in schedule.levels(t))
    # The level before; at the first step that of the second, whose result is not taken: no infinity to differentiate.
    before = tf.where(first, t, t - 1.0 / steps)
    alpha_before, sigma_before = (beside(v, x0) for v in schedule.levels(before))
    # The means of q and p differ by the factor of the data in the posterior's mean.
    ratio = alpha * sigma_before / (alpha_before * sigma)  # its square is SNR(t) / SNR before
    large = sigma**2 * (1.0 - ratio**2)
    small = large * (sigma_before / sigma) ** 2
    mean_gap = alpha_before * (1.0 - ratio**2) * (x0 - estimate)
    small, large = tf.maximum(small, 1e-20), tf.maximum(large, 1e-20)
    log_small = tf.math.log(small)
    log_variance = log_small if place is None else log_small + place * (tf.math.log(large) - log_small)
    log_ratio = log_variance - log_small
    kl = 0.5 * (log_ratio - 1.0 + tf.exp(-log_ratio) + mean_gap**2 * tf.exp(-log_variance))
    # The decoder: normal around the estimate, with the deviation of x₁ / α (or what is learned beside it).
    log_scale = tf.math.log(sigma / alpha)
    if place is not None:
        log_scale = log_scale + (place - 1.0)
    final = -decoder(x0, estimate, log_scale, levels)
    return sums(tf.where(beside(first, x0), final, kl))


def drawn_elbo(model, x0, labels, streams, num_times, steps):
    """The bound on log p(x₀) with `num_times` of its T = `steps` terms, drawn evenly and weighed, `[B]` nats.

    Args:
        model: a `Diffusion` model.
        x0: data in the network's units.
        labels: one-hot labels, or None.
        streams: random streams of the examples.
        num_times: how many terms; T for each once.
        steps: T.
    """
    place_of_all = streams.uniform()

    def add(k, total):
        # One from each of num_times parts of equal probability, at the same place in each; or each step once.
        t, weight = drawn(model.schedule, steps, (tf.cast(k, tf.float32) + place_of_all) / num_times)
        if num_times == steps:
            t, weight = tf.zeros_like(t) + (tf.cast(k, tf.float32) + 1.0) / steps, float(steps)
        alpha, sigma = (beside(level, x0) for level in model.schedule.levels(t))
        x = alpha * x0 + sigma * streams.fold(k + 1).normal(model.event_shape)
        output, place = model.predicted(x, t, alpha, sigma, labels)
        estimate = model.prediction.denoised(x, output, alpha, sigma)
        return k + 1, total - weight / num_times * terms(model.schedule, steps, t, x0, estimate, place, model.levels)

    # One at a time: ten at once, which TensorFlow would choose, take ten times the memory.
    start = 0, -prior_term(model.schedule, x0)
    options = {"parallel_iterations": 1, "maximum_iterations": num_times}
    return tf.while_loop(lambda k, _: k < num_times, add, start, **options)[1]


def proposal(schedule, steps):
    """Probabilities `[steps]` to draw the terms with, so that each over its own has about one size.

    A good model's term of step i is about as many nats a dimension as the log-SNR falls there; the decoder's, of step
    1, as one unit of it.
    """
    alphas, sigmas = schedule.values(np.arange(1, steps + 1) / steps)
    falls = -np.diff(2.0 * (np.log(np.maximum(alphas, 1e-6)) - np.log(sigmas)))
    sizes = np.append(1.0, falls)
    return sizes / sizes.sum()


def drawn(schedule, steps, u):
    """Times i / `steps` for uniform numbers, and one over their probabilities; each shaped as `u`."""
    probabilities = proposal(schedule, steps)
    edges = tf.constant(np.cumsum(probabilities)[:-1], tf.float32)
    index = tf.searchsorted(edges, u, side="right")
    weight = tf.gather(tf.constant(1.0 / probabilities, tf.float32), index)
    return (tf.cast(index, tf.float32) + 1.0) / steps, weight


def prior_term(schedule, x0):
    """KL(q(x_T | x₀) ‖ N(0, σ(1)²)), `[B]` nats."""
    alpha, sigma = (float(v[0]) for v in schedule.values([1.0]))
    return sums(0.5 * (alpha / sigma * x0) ** 2)


def decoder(x0, mean, log_scale, levels):
    """log p(x₀) of a normal; of integers, of the interval that each has between -1 and 1 (Ho et al. 2020, eq. 13)."""
    z = (x0 - mean) * tf.exp(-log_scale)
    density = -0.5 * z**2 - log_scale - 0.5 * math.log(2.0 * math.pi)
    if levels is None:
        return density
    half = tf.exp(-log_scale) / (levels - 1)
    above, below = z + half, z - half
    top, bottom = x0 > 1.0 - 1.0 / (levels - 1), x0 < -1.0 + 1.0 / (levels - 1)
    # Of the upper tail both ends are negated, where the CDF is near 0, not 1.
    flip = z > 0.0
    high, low = tf.where(flip, -below, above), tf.where(flip, -above, below)
    high = tf.where(flip & bottom, 1e4, tf.where(~flip & top, 1e4, high))
    low = tf.where(flip & top, -1e4, tf.where(~flip & bottom, -1e4, low))
    probability = 0.5 * (tf.math.erfc(-high / math.sqrt(2.0)) - tf.math.erfc(-low / math.sqrt(2.0)))
    # Where that is rounded away, the density times the width.
    safe = tf.math.log(tf.maximum(probability, 1e-30))
    return tf.where(probability > 1e-30, safe, density + math.log(2.0 / (levels - 1)))
