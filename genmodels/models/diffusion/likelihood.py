"""The likelihood of a diffusion model's probability-flow ODE (Chen et al. 2018; Song et al. 2021, arXiv:2011.13456)."""

import math

import numpy as np
import tensorflow as tf

from genmodels.sampling.solvers import runge_kutta

EXACT = 16  # dimensions up to which the trace is taken whole, by one gradient each


def ode_log_prob(denoise, x0, alphas, sigmas, probes):
    """log p(x₀), `[B]` nats, by the change of variables along the ODE from the data's level to pure noise.

        log p(x₀) = log p(x_T) + ∫ tr(∂v/∂x) along dx = v = D dα + ε dσ

    x₀ is taken as data at the first level: the density is that of the data blurred by σ / α of that level.

    Args:
        denoise: `(x, alpha, sigma)` to the estimate of x₀.
        x0: data in the network's units.
        alphas: α of the levels, from the data's to the noise's, `[N + 1]`.
        sigmas: σ of the levels.
        probes: `[K, B, …]` vectors of mean 0 and variance 1 to estimate the trace by (Skilling 1989; Hutchinson
            1990), or None for the whole trace.
    """
    dimensions = math.prod(x0.shape[1:])
    rows = tf.constant(np.stack([alphas[:-1], sigmas[:-1], alphas[1:], sigmas[1:]], axis=-1), tf.float32)

    def slope(state, alpha, sigma):
        estimate, trace = estimate_and_trace(lambda x: denoise(x, alpha, sigma), state[0], probes)
        epsilon = (state[0] - alpha * estimate) / sigma
        return [estimate, trace], [epsilon, (dimensions - alpha * trace) / sigma]

    def step(i, *state):
        return i + 1, *runge_kutta(slope, list(state), *tf.unstack(rows[i]))

    def more(i, *_):
        return i < len(alphas) - 1

    _, x, log_det = tf.while_loop(more, step, [0, alphas[0] * x0, tf.zeros([tf.shape(x0)[0]])])
    scale = float(sigmas[-1])
    log_prior = -0.5 * (_sum((x / scale) ** 2) + dimensions * math.log(2.0 * math.pi * scale**2))
    return log_prior + log_det + dimensions * math.log(alphas[0])


def estimate_and_trace(function, x, probes):
    """f(x) and the trace of its Jacobian for each example: whole, or estimated with probes `[K, B, …]`."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
        if probes is None:
            flat = tf.reshape(y, [tf.shape(x)[0], math.prod(x.shape[1:])])
            parts = tf.unstack(flat, axis=1)
        else:
            parts = [_sum(y * probe) for probe in tf.unstack(probes)]
    gradients = [tape.gradient(part, x) for part in parts]
    if probes is None:
        rows = [tf.reshape(g, tf.shape(flat))[:, i] for i, g in enumerate(gradients)]
        return y, tf.add_n(rows)
    return y, tf.add_n([_sum(g * v) for g, v in zip(gradients, tf.unstack(probes))]) / len(parts)


def _sum(values):
    return tf.reduce_sum(values, axis=list(range(1, values.shape.rank)))
