"""The likelihood of a diffusion model's probability-flow ODE (Chen et al. 2018; Song et al. 2021, arXiv:2011.13456)."""

import math

import numpy as np
import tensorflow as tf

from genmodels.models.diffusion.examples import sums
from genmodels.sampling.solvers import runge_kutta

EXACT = 16  # dimensions up to which the trace is taken whole, by one gradient each


def log_prob(model, denoise, x, streams, steps, probes):
    """log p of the data as given, `[B]` nats; integers are dequantized uniformly, by one draw.

    Args:
        model: a `Diffusion` model.
        denoise: `(x, alpha, sigma)` to the estimate of x₀.
        x: examples in the data's units.
        streams: random streams of the examples.
        steps: of the classical Runge–Kutta method.
        probes: random signs by which the trace is estimated, or None for the whole trace.
    """
    if model.levels is not None:
        x = tf.cast(x, tf.float32) + streams.fold(0).uniform(model.event_shape) - 0.5
    signs = None
    if probes is not None:
        draws = [streams.fold(k + 1).uniform(model.event_shape) for k in range(probes)]
        signs = tf.sign(tf.stack(draws) - 0.5)
    # Along the straight line from data to noise, whatever the schedule. The ODE turns where the noise is as large as
    # the data's own deviation, which is small for pixels that hardly vary: steps are shorter towards the data.
    alphas, sigmas = model.schedule.values([max(model.first_time, 1e-3), 1.0])
    sigmas = np.linspace(*np.sqrt(sigmas / (alphas + sigmas)), steps + 1) ** 2
    score = ode_log_prob(denoise, model.to_network(x), 1.0 - sigmas, sigmas, signs)
    if model.levels is not None:
        score += math.prod(model.event_shape) * math.log(2.0 / (model.levels - 1))  # the network's units a level
    return score


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
    log_prior = -0.5 * (sums((x / scale) ** 2) + dimensions * math.log(2.0 * math.pi * scale**2))
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
            parts = [sums(y * probe) for probe in tf.unstack(probes)]
    gradients = [tape.gradient(part, x) for part in parts]
    if probes is None:
        rows = [tf.reshape(g, tf.shape(flat))[:, i] for i, g in enumerate(gradients)]
        return y, tf.add_n(rows)
    return y, tf.add_n([sums(g * v) for g, v in zip(gradients, tf.unstack(probes))]) / len(parts)
