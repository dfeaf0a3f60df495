"""Solvers of diffusion models: pure functions of a denoiser, noise, and the levels of noise to pass.

Every diffusion process is x = α x₀ + σ ε, and every sampler moves x from one pair (α, σ) to the next with the help of
D(x; α, σ), the denoiser's estimate of x₀; ε is then (x - α D) / σ. Where a sampler of the probability-flow ODE ends
depends on x and on σ / α, not on the way there: each step may take the straight line from one pair to the next,

    dx = D dα + ε dσ,

which is EDM's ODE where α = 1, flow matching's where α + σ = 1, and finite where the noise is pure (α = 0).

Signature: `solver(denoiser, x, alphas, sigmas, streams, **options)`: `denoiser(x, alpha, sigma)` gives D for scalars α
and σ, x `[B, …]` is noise of the first level, alphas and sigmas are NumPy arrays `[N + 1]` of the levels from the first
to the last, and streams are the random streams of the examples. The result is x at the last level, in the type of x.
Of a solver's arguments its docstring names the options alone.
All numbers of a step but x and D are known beforehand: they are computed in float64 (`tables`), and the loop is one
`tf.while_loop`.
"""

import functools
import inspect
import math

import numpy as np
import tensorflow as tf

from genmodels.sampling import tables
from genmodels.sampling.seeds import Streams
from genmodels.settings import checked_nonnegative

__all__ = [
    "ORDERS",
    "SOLVERS",
    "ancestral",
    "ddim",
    "dpmpp_2m",
    "dpmpp_3m",
    "euler",
    "heun",
    "inverted_ddim",
    "ipndm",
    "langevin",
    "rk4",
    "unipc",
]

# ---------------------------------------------------------------------- one step, one evaluation


def ddim(denoiser, x, alphas, sigmas, streams: Streams, *, eta=0.0):
    """x' = α' D + √(σ'² - v) ε + √v ξ, with v = η² times the posterior's variance (Song et al. 2020, arXiv:2010.02502).

    η = 0 follows the ODE in steps of first order, η = 1 is the ancestral sampler with the smaller variance.

    Options:
        eta: η, from 0 to 1.

    Example:
        >>> from genmodels.sampling import Streams, make_seed
        >>> streams = Streams(make_seed(0), 0, 4)
        >>> x = ddim(lambda x, a, s: 0.0 * x, streams.normal([2]), [0.0, 0.6, 1.0], [1.0, 0.8, 0.0], streams)
        >>> float(tf.reduce_max(abs(x)))
        0.0
    """
    if checked_nonnegative("eta", eta) > 1:
        raise ValueError(f"`eta` must be from 0 to 1; got {eta}.")
    a, s, a_next, s_next = tables.pairs(alphas, sigmas)
    noise = eta * np.sqrt(tables.posterior_variances(alphas, sigmas))
    direction = np.sqrt(np.maximum(s_next**2 - noise**2, 0.0))
    return _multistep(denoiser, x, alphas, sigmas, direction / s, (a_next - a * direction / s)[:, None], noise, streams)


def ancestral(denoiser, x, alphas, sigmas, streams: Streams, *, variance="small"):
    """DDPM's sampler: draws from q(x' | x, x₀ = D) (Ho et al. 2020, algorithm 2); no noise in the last step.

    Options:
        variance: "small" for the posterior's, "large" for β, or "learned": the denoiser gives a pair, whose second is
            the place in log-variance between the two, from 0 to 1 (Nichol & Dhariwal 2021).

    Example:
        >>> from genmodels.sampling import Streams, make_seed
        >>> streams = Streams(make_seed(0), 0, 4)
        >>> ancestral(lambda x, a, s: a * x, streams.normal([2]), [0.1, 0.6, 1.0], [0.995, 0.8, 0.0], streams).shape
        TensorShape([4, 2])
    """
    if variance not in ("small", "large", "learned"):
        raise ValueError(f'`variance` must be "small", "large" or "learned"; got {variance!r}.')
    past, future, small = tables.ancestral_moves(alphas, sigmas)
    large = np.where(small > 0, np.sqrt(tables.forward_variances(alphas, sigmas)), 0.0)
    if variance != "learned":
        noise = small if variance == "small" else large
        return _multistep(denoiser, x, alphas, sigmas, past, future[:, None], noise, streams)
    rows = _rows(x, np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1], past, future, small, np.maximum(large, 1e-30))

    def step(i, x):
        alpha, sigma, past, future, small, large = tf.unstack(rows[i])
        estimate, place = denoiser(x, alpha, sigma)
        deviation = tf.where(small > 0.0, large * (small / large) ** (1.0 - place), 0.0)
        return i + 1, past * x + future * estimate + deviation * _noise(streams, i, x)

    return tf.while_loop(lambda i, _: i < len(past), step, [0, x])[1]


def dpmpp_2m(denoiser, x, alphas, sigmas, streams: Streams = None):
    """DPM-Solver++(2M): second order in λ = log(α / σ), from the last two estimates (Lu et al. 2022, arXiv:2211.01095).
    """
    return _dpmpp(denoiser, x, alphas, sigmas, order=2)


def dpmpp_3m(denoiser, x, alphas, sigmas, streams: Streams = None):
    """DPM-Solver++(3M): third order in λ = log(α / σ), from the last three estimates (Lu et al. 2022).
    """
    return _dpmpp(denoiser, x, alphas, sigmas, order=3)


def ipndm(denoiser, x, alphas, sigmas, streams: Streams = None, *, order=4):
    """Adams–Bashforth on dx̂ = ε dς, x̂ = x / α, ς = σ / α, with weights of equal steps (Zhang & Chen 2022, "iPNDM").

    Of the stated order where the steps of ς are equal; on other spacings its weights are not the exact ones, and with
    few steps it is among the best all the same. The first steps are of lower orders.

    Options:
        order: from 1 to 4.
    """
    if order not in tables.ADAMS_BASHFORTH:
        raise ValueError(f"`order` must be from 1 to 4; got {order!r}.")
    rows = _rows(x, *tables.pairs(alphas, sigmas))
    weights = tf.constant(tables.adams_bashforth(alphas, sigmas, order), x.dtype)

    def step(i, x, past):
        alpha, sigma, alpha_next, sigma_next = tf.unstack(rows[i])
        estimate = denoiser(x, alpha, sigma)
        past = _pushed(past, (x - alpha * estimate) / sigma)
        x = alpha_next * estimate + sigma_next * past[0] + _combined(weights[i], past)
        return i + 1, x, past

    return tf.while_loop(lambda i, *_: i < rows.shape[0], step, [0, x, _nothing(x, order)])[1]


def unipc(denoiser, x, alphas, sigmas, streams: Streams = None, *, order=3):
    """UniPC with B₂(h): predicts, and corrects by the next step's own estimate (Zhao et al. 2023, arXiv:2302.04867).

    Options:
        order: of the predictor, from 1 to 3; the corrector adds one.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"`order` must be from 1 to 3; got {order!r}.")
    keep, predict, keep_corrected, correct = tables.unipc(alphas, sigmas, order)
    count = len(keep)
    rows = _rows(x, np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1], keep, keep_corrected)
    predict, correct = tf.constant(predict, x.dtype), tf.constant(correct, x.dtype)

    def step(i, before, predicted, past):
        alpha, sigma, keep, keep_corrected = tf.unstack(rows[i])
        past = _pushed(past, denoiser(predicted, alpha, sigma))
        x = keep_corrected * before + _combined(correct[i], past)
        return i + 1, x, keep * x + _combined(predict[i], past[:-1]), past

    past = _nothing(x, order + 1)
    return tf.while_loop(lambda i, *_: i < count, step, [0, x, x, past])[2]


def inverted_ddim(denoiser, x, alphas, sigmas, *, iterations=3):
    """The noise from which `ddim` with η = 0 comes to x: its steps backwards, each solved by fixed-point iteration.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: data, `[B, …]`, at the last level; where that is free of noise, the level before is reached by the ε of x.
        alphas: α of the levels, `[N + 1]`, in the order of `ddim`.
        sigmas: σ of the levels, `[N + 1]`.
        iterations: a step; each is one evaluation, beside a first one.
    """
    _, s, *_ = tables.pairs(alphas, sigmas)
    steps = len(s) - int(sigmas[-1] == 0)
    rows = _rows(x, *tables.pairs(alphas, sigmas), *tables.inverse_steps(alphas, sigmas))
    if steps < len(s):
        alpha, sigma, *_ = tf.unstack(rows[-1])
        x = alpha * x + sigma * _slope(denoiser, alpha * x, alpha, sigma)[1]

    def step(k, x):
        alpha, sigma, alpha_next, sigma_next, told, of_estimate, of_itself = tf.unstack(rows[steps - 1 - k])
        estimate, epsilon = _slope(denoiser, x, alpha_next, sigma_next)
        y = alpha * estimate + sigma * epsilon

        def nearer(i, y):
            return i + 1, told * x + of_estimate * denoiser(y, alpha, sigma) + of_itself * y

        return k + 1, tf.while_loop(lambda i, _: i < iterations, nearer, [0, y])[1]

    return tf.while_loop(lambda k, _: k < steps, step, [0, x])[1]


# ---------------------------------------------------------------------- several evaluations a step


def euler(denoiser, x, alphas, sigmas, streams: Streams = None, *, churn=0.0, noise=1.0):
    """EDM's sampler of first order (Karras et al. 2022, algorithm 2 without correction); without churn it is `ddim`.

    Options:
        churn: S_churn: how much noise is added anew, shared by the steps.
        noise: S_noise, deviation of the added noise.
    """
    return _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected=False)


def heun(denoiser, x, alphas, sigmas, streams: Streams = None, *, churn=0.0, noise=1.0):
    """EDM's sampler of second order (Karras et al. 2022, algorithm 2): two evaluations a step, one in a step to σ = 0.

    Options:
        churn: S_churn: how much noise is added anew, shared by the steps.
        noise: S_noise, deviation of the added noise.
    """
    return _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected=True)


def rk4(denoiser, x, alphas, sigmas, streams: Streams = None):
    """The classical Runge–Kutta method: fourth order, four evaluations a step; a last step to σ = 0 takes the estimate.

    It asks the denoiser at levels between those given, too. Levels may rise: x is then data, and noise comes out.
    """
    a, s, a_next, s_next = tables.pairs(alphas, sigmas)
    smooth = len(a) - int(s_next[-1] == 0)
    rows = _rows(x, a, s, a_next, s_next)

    def step(i, x):
        alpha, sigma, alpha_next, sigma_next = tf.unstack(rows[i])
        return i + 1, runge_kutta(lambda *at: _slope(denoiser, *at), x, alpha, sigma, alpha_next, sigma_next)

    x = tf.while_loop(lambda i, _: i < smooth, step, [0, x])[1]
    return x if smooth == len(a) else denoiser(x, *tf.unstack(rows[-1][:2]))


def runge_kutta(slope, x, alpha, sigma, alpha_next, sigma_next):
    """x at the end of the straight line between two levels, of fourth order.

    Args:
        slope: `(x, alpha, sigma)` to D and ε, which stand for dx/dα and dx/dσ; or to any such pair.
        x: at the first level; a tensor, or a list of tensors that change together.
        alpha: of the first level, as the others a scalar tensor.
        sigma: of the first level.
        alpha_next: of the second level.
        sigma_next: of the second level.
    """
    wide, high = alpha_next - alpha, sigma_next - sigma

    def combined(values, *scaled):  # values + Σ factor · others, part by part
        total = values
        for factor, others in scaled:
            total = tf.nest.map_structure(lambda v, o, f=factor: v + f * o, total, others)
        return total

    def change(x, place):
        by_alpha, by_sigma = slope(x, alpha + place * wide, sigma + place * high)
        nothing = tf.nest.map_structure(tf.zeros_like, x)
        return combined(nothing, (wide, by_alpha), (high, by_sigma))

    first = change(x, 0.0)
    second = change(combined(x, (0.5, first)), 0.5)
    third = change(combined(x, (0.5, second)), 0.5)
    fourth = change(combined(x, (1.0, third)), 1.0)
    return combined(x, (1 / 6, first), (1 / 3, second), (1 / 3, third), (1 / 6, fourth))


def langevin(denoiser, x, alphas, sigmas, streams: Streams, *, inner=100, step=0.2):
    """Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1): `inner` steps a level, and an estimate at the end.

        x ← x + step/2 · σ² ∇ log p(x) + √step σ ξ

    The paper's step of 2e-5 (σ / 0.01)² is step = 0.2. Nothing is drawn at the last level.

    Options:
        inner: steps a level.
        step: size of a step, in units of σ².
    """
    if inner < 1 or not 0 < step < math.inf:
        raise ValueError(f"`inner` must be at least 1 and `step` above 0; got {inner} and {step}.")
    rows = _rows(x, *tables.pairs(alphas, sigmas)[:2])

    def move(k, x):
        alpha, sigma = tf.unstack(rows[k // inner])
        drift = alpha * denoiser(x, alpha, sigma) - x  # σ² times the score
        return k + 1, x + 0.5 * step * drift + math.sqrt(step) * sigma * _noise(streams, k, x)

    x = tf.while_loop(lambda k, _: k < rows.shape[0] * inner, move, [0, x])[1]
    return denoiser(x, *tf.unstack(rows[-1]))


# ---------------------------------------------------------------------- how they are computed


def _multistep(denoiser, x, alphas, sigmas, keep, weights, noise, streams=None):
    """x' = keep x + Σ_k weights[k] D_k + noise ξ with the last estimates D_k, the newest first; one row a step."""
    rows = _rows(x, np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1], keep, noise)
    weights = tf.constant(weights, x.dtype)
    random = bool(np.any(np.asarray(noise) > 0))

    def step(i, x, past):
        alpha, sigma, keep, noise = tf.unstack(rows[i])
        past = _pushed(past, denoiser(x, alpha, sigma))
        x = keep * x + _combined(weights[i], past)
        if random:
            x += noise * _noise(streams, i, x)
        return i + 1, x, past

    past = _nothing(x, weights.shape[1])
    return tf.while_loop(lambda i, *_: i < len(keep), step, [0, x, past])[1]


def _dpmpp(denoiser, x, alphas, sigmas, order):
    _, s, _, s_next = tables.pairs(alphas, sigmas)
    weights = tables.exponential(alphas, sigmas, order)
    return _multistep(denoiser, x, alphas, sigmas, s_next / s, weights, np.zeros(len(s)))


def _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected):
    """Algorithm 2 of Karras et al. 2022 on straight lines between the levels."""
    churn, noise = checked_nonnegative("churn", churn), checked_nonnegative("noise", noise)
    a, s, a_next, s_next = tables.pairs(alphas, sigmas)
    raised = s * (1.0 + min(churn / len(a), math.sqrt(2.0) - 1.0))
    rows = _rows(x, a, raised, a_next, s_next, noise * np.sqrt(raised**2 - s**2))
    smooth = len(a) - int(corrected and s_next[-1] == 0)

    def step(i, x, corrected=corrected):
        alpha, sigma, alpha_next, sigma_next, added = tf.unstack(rows[i])
        if churn > 0:
            x += added * _noise(streams, i, x)
        first, epsilon = _slope(denoiser, x, alpha, sigma)
        wide, high = alpha_next - alpha, sigma_next - sigma
        moved = x + wide * first + high * epsilon
        if corrected:
            second, epsilon_next = _slope(denoiser, moved, alpha_next, sigma_next)
            moved = x + 0.5 * (wide * (first + second) + high * (epsilon + epsilon_next))
        return i + 1, moved

    x = tf.while_loop(lambda i, _: i < smooth, step, [0, x])[1]
    return x if smooth == len(a) else step(smooth, x, corrected=False)[1]


def _noise(streams, step, x):
    """New normal numbers for a step, as x."""
    return tf.cast(streams.fold(step).normal(x.shape[1:]), x.dtype)


def _slope(denoiser, x, alpha, sigma):
    """D and ε."""
    estimate = denoiser(x, alpha, sigma)
    return estimate, (x - alpha * estimate) / sigma


def _rows(x, *columns):
    """Numbers of each step, one row a step, in the type of x."""
    return tf.constant(np.stack([np.asarray(c, np.float64) for c in columns], axis=-1), x.dtype)


def _nothing(x, count):
    """Zeros in place of the last `count` values."""
    return tf.stack([tf.zeros_like(x)] * count)


def _pushed(past, new):
    """The newest value first, the oldest dropped."""
    return tf.concat([new[None], past[:-1]], axis=0) if past.shape[0] != 1 else new[None]


def _combined(weights, past):
    """Σ_k weights[k] past[k]."""
    if past.shape[0] == 1:
        return weights[0] * past[0]
    return tf.tensordot(weights, past, 1)


SOLVERS = {
    "ancestral": ancestral, "ddim": ddim, "dpmpp_2m": dpmpp_2m, "dpmpp_3m": dpmpp_3m, "euler": euler, "heun": heun,
    "ipndm": ipndm, "langevin": langevin, "rk4": rk4, "unipc": unipc,
}  # fmt: skip
# Of the global error in the size of the steps; UniPC's with its corrector.
ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpmpp_2m": 2, "dpmpp_3m": 3, "ipndm": 4, "unipc": 4, "rk4": 4}


def checked(solver):
    """A solver's name, or a function like those here; another is a ValueError."""
    if not callable(solver) and solver not in SOLVERS:
        raise ValueError(f"`solver` must be {', '.join(SOLVERS)}, or a function like those; got {solver!r}.")
    return solver


@functools.cache
def with_option(solver, name, value):
    """A solver with an option; the same object for the same option, so that it is compiled once."""
    run = SOLVERS[solver] if isinstance(solver, str) else solver
    if name not in inspect.signature(run).parameters:
        raise ValueError(f"`{name}` is no option of the solver {solver!r}.")
    return functools.partial(run, **{name: value})
