"""Solvers of diffusion models: pure functions of a denoiser, noise, and the levels of noise to pass.

Every diffusion process is x = α x₀ + σ ε, and every sampler moves x from one pair (α, σ) to the next with the help of
D(x; α, σ), the denoiser's estimate of x₀; ε is then (x - α D) / σ. Where a sampler follows the probability-flow ODE, where
it ends depends on x and on σ / α, not on the way there: each step may take the straight line from one pair to the next,

    dx = D dα + ε dσ,

which is EDM's ODE where α = 1, flow matching's where α + σ = 1, and finite where the noise is pure (α = 0).

Signature: `solver(denoiser, x, alphas, sigmas, streams, **options)`: `denoiser(x, alpha, sigma)` gives D for scalars α and
σ, x `[B, …]` is noise of the first level, alphas and sigmas are NumPy arrays `[N + 1]` of the levels from the first to
the last, and streams are the random streams of the examples. The result is x at the last level. All numbers of a step
but x and D are known beforehand; they are computed here in float64 and make a table, and the loop over it is one
`tf.while_loop`.
"""

import math

import numpy as np
import tensorflow as tf

from genmodels.sampling.seeds import Streams

__all__ = [
    "ORDERS", "SOLVERS", "ancestral", "ddim", "dpmpp_2m", "dpmpp_3m", "euler", "heun", "inverted_ddim", "ipndm", "langevin", "rk4", "unipc",
]  # fmt: skip

# Adams–Bashforth's weights of the newest value and those before it, by how many there are.
ADAMS_BASHFORTH = {1: [1.0], 2: [3 / 2, -1 / 2], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}


# ---------------------------------------------------------------------- one step, one evaluation


def ddim(denoiser, x, alphas, sigmas, streams: Streams, *, eta=0.0):
    """x' = α' D + √(σ'² - v) ε + √v ξ, with v = η² times the posterior's variance (Song et al. 2020, arXiv:2010.02502).

    η = 0 follows the ODE in steps of first order, η = 1 is the ancestral sampler with the smaller variance.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: random streams of the examples; used where η > 0.
        eta: η, from 0 to 1.

    Example:
        >>> from genmodels.sampling import Streams, make_seed
        >>> streams = Streams(make_seed(0), 0, 4)
        >>> x = ddim(lambda x, a, s: 0.0 * x, streams.normal([2]), [0.0, 0.6, 1.0], [1.0, 0.8, 0.0], streams)
        >>> float(tf.reduce_max(abs(x)))
        0.0
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"`eta` must be from 0 to 1; got {eta}.")
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    noise = eta * np.sqrt(_posterior_variances(alphas, sigmas))
    direction = np.sqrt(np.maximum(s_next**2 - noise**2, 0.0))
    return _multistep(denoiser, x, alphas, sigmas, direction / s, [a_next - a * direction / s], noise, streams)


def ancestral(denoiser, x, alphas, sigmas, streams: Streams, *, variance="small"):
    """DDPM's sampler: draws from q(x' | x, x₀ = D) (Ho et al. 2020, algorithm 2); no noise in the last step.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: random streams of the examples.
        variance: "small" for the posterior's, "large" for β, or "learned": the denoiser gives a pair, whose second is the
            place in log-variance between the two, from 0 to 1 (Nichol & Dhariwal 2021).

    Example:
        >>> from genmodels.sampling import Streams, make_seed
        >>> streams = Streams(make_seed(0), 0, 4)
        >>> ancestral(lambda x, a, s: a * x, streams.normal([2]), [0.1, 0.6, 1.0], [0.995, 0.8, 0.0], streams).shape
        TensorShape([4, 2])
    """
    if variance not in ("small", "large", "learned"):
        raise ValueError(f'`variance` must be "small", "large" or "learned"; got {variance!r}.')
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    small, large = _posterior_variances(alphas, sigmas), _forward_variances(alphas, sigmas)
    large = np.where(s_next > 0, large, 0.0)
    past = a / a_next * s_next**2 / s**2
    future = a_next - a * past
    if variance != "learned":
        noise = np.sqrt(small if variance == "small" else large)
        return _multistep(denoiser, x, alphas, sigmas, past, [future], noise, streams)
    tiny = 1e-20
    rows = _rows(alphas[:-1], sigmas[:-1], past, future, *np.log([np.maximum(v, tiny) for v in (small, large)]), s_next)

    def step(i, x):
        alpha, sigma, past, future, low, high, end = tf.unstack(rows[i])
        estimate, place = denoiser(x, alpha, sigma)
        deviation = tf.exp(0.5 * (low + place * (high - low)))
        noise = streams.fold(i).normal(x.shape[1:]) * tf.cast(end > 0.0, tf.float32)
        return i + 1, past * x + future * estimate + deviation * noise

    return tf.while_loop(lambda i, _: i < len(rows), step, [0, x])[1]


def dpmpp_2m(denoiser, x, alphas, sigmas, streams: Streams = None):
    """DPM-Solver++(2M): second order in λ = log(α / σ), from the last two estimates (Lu et al. 2022, arXiv:2211.01095).

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: not used.
    """
    return _exponential(denoiser, x, alphas, sigmas, order=2)


def dpmpp_3m(denoiser, x, alphas, sigmas, streams: Streams = None):
    """DPM-Solver++(3M): third order in λ = log(α / σ), from the last three estimates (Lu et al. 2022).

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: not used.
    """
    return _exponential(denoiser, x, alphas, sigmas, order=3)


def ipndm(denoiser, x, alphas, sigmas, streams: Streams = None, *, order=4):
    """Adams–Bashforth on dx̂ = ε dς, x̂ = x / α, ς = σ / α, with weights of equal steps (Zhang & Chen 2022, "iPNDM").

    Of the stated order where the steps of ς are equal; on other spacings its weights are not the exact ones, and with few
    steps it is among the best all the same. The first steps are of lower orders.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: not used.
        order: from 1 to 4.
    """
    if order not in ADAMS_BASHFORTH:
        raise ValueError(f"`order` must be from 1 to 4; got {order!r}.")
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    weights = np.zeros([len(a), order])
    for i in range(len(a)):
        known = ADAMS_BASHFORTH[min(i + 1, order)]
        weights[i, : len(known)] = known
    weights[:, 0] -= 1.0  # what differs from a step of the newest ε alone
    reach = np.where(np.arange(len(a)) > 0, s_next - s * a_next / np.maximum(a, 1e-30), 0.0)  # α may be 0 at first
    rows = _rows(a, s, a_next, s_next)
    weights = tf.constant(weights * reach[:, None], tf.float32)

    def step(i, x, past):
        alpha, sigma, alpha_next, sigma_next = tf.unstack(rows[i])
        estimate = denoiser(x, alpha, sigma)
        past = _pushed(past, (x - alpha * estimate) / sigma)
        x = alpha_next * estimate + sigma_next * past[0] + _combined(weights[i], past)
        return i + 1, x, past

    return tf.while_loop(lambda i, *_: i < len(a), step, [0, x, tf.zeros([order, *x.shape])])[1]


def unipc(denoiser, x, alphas, sigmas, streams: Streams = None, *, order=3):
    """UniPC with B₂(h): predicts, and corrects by the next step's own estimate (Zhao et al. 2023, arXiv:2302.04867).

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: not used.
        order: of the predictor, from 1 to 3; the corrector adds one.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"`order` must be from 1 to 3; got {order!r}.")
    count = len(alphas) - 1
    keep, predict = np.zeros(count), np.zeros([count, order])
    # Row i corrects x_i, with the newest estimate first; x_0 needs none.
    keep_corrected, correct = np.ones(count), np.zeros([count, order + 1])
    for i in range(count):
        keep[i], predict[i] = _unipc_row(alphas, sigmas, i, order, corrector=False)
        if i + 1 < count:
            keep_corrected[i + 1], correct[i + 1] = _unipc_row(alphas, sigmas, i, order, corrector=True)
    rows = _rows(np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1], keep, keep_corrected)
    predict, correct = tf.constant(predict, tf.float32), tf.constant(correct, tf.float32)

    def step(i, before, predicted, past):
        alpha, sigma, keep, keep_corrected = tf.unstack(rows[i])
        past = _pushed(past, denoiser(predicted, alpha, sigma))
        x = keep_corrected * before + _combined(correct[i], past)
        return i + 1, x, keep * x + _combined(predict[i], past[:-1]), past

    past = tf.zeros([order + 1, *x.shape])
    return tf.while_loop(lambda i, *_: i < count, step, [0, x, x, past])[2]


def inverted_ddim(denoiser, x, alphas, sigmas, *, iterations=3):
    """The noise from which `ddim` with η = 0 comes to x: its steps backwards, each solved by fixed-point iteration.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: data, `[B, …]`, at the last level; where that is free of noise it is taken as the estimate of the level before.
        alphas: α of the levels, `[N + 1]`, in the order of `ddim`.
        sigmas: σ of the levels, `[N + 1]`.
        iterations: a step; each is one evaluation, beside a first one.
    """
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    clean = int(s_next[-1] == 0)
    rows = _rows(a, s, a_next, s_next)
    if clean:  # ε there is what the network sees in x itself
        alpha, sigma, *_ = tf.unstack(rows[-1])
        _, epsilon = _slope(denoiser, alpha * x, alpha, sigma)
        x = alpha * x + sigma * epsilon

    def step(k, x):
        alpha, sigma, alpha_next, sigma_next = tf.unstack(rows[len(a) - clean - 1 - k])
        ratio = sigma / sigma_next  # x' = α' D + (σ'/σ) (x - α D), solved for x with D at x
        y = ratio * x + (alpha - alpha_next * ratio) * denoiser(x, alpha_next, sigma_next)
        for _ in range(iterations):
            y = ratio * x + (alpha - alpha_next * ratio) * denoiser(y, alpha, sigma)
        return k + 1, y

    return tf.while_loop(lambda k, _: k < len(a) - clean, step, [0, x])[1]


# ---------------------------------------------------------------------- several evaluations a step


def euler(denoiser, x, alphas, sigmas, streams: Streams = None, *, churn=0.0, noise=1.0):
    """EDM's sampler of first order (Karras et al. 2022, algorithm 2 without correction); without churn it is `ddim`.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: random streams of the examples; used where there is churn.
        churn: S_churn: how much noise is added anew, shared by the steps.
        noise: S_noise, deviation of the added noise.
    """
    return _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected=False)


def heun(denoiser, x, alphas, sigmas, streams: Streams = None, *, churn=0.0, noise=1.0):
    """EDM's sampler of second order (Karras et al. 2022, algorithm 2): two evaluations a step, one in a step to σ = 0.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: random streams of the examples; used where there is churn.
        churn: S_churn: how much noise is added anew, shared by the steps.
        noise: S_noise, deviation of the added noise.
    """
    return _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected=True)


def rk4(denoiser, x, alphas, sigmas, streams: Streams = None):
    """The classical Runge–Kutta method: fourth order, four evaluations a step; it ends above σ = 0, or starts there not.

    A last step to σ = 0 takes the estimate.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀, at levels between those given, too.
        x: noise of the first level, `[B, …]`, or data of it: levels may rise.
        alphas: α of the levels, `[N + 1]`.
        sigmas: σ of the levels, `[N + 1]`.
        streams: not used.
    """
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    smooth = len(a) - int(s_next[-1] == 0)
    rows = _rows(a, s, a_next, s_next)

    def step(i, x):
        alpha, sigma, alpha_next, sigma_next = tf.unstack(rows[i])
        return i + 1, x + runge_kutta(lambda *at: _slope(denoiser, *at), x, alpha, sigma, alpha_next, sigma_next)

    x = tf.while_loop(lambda i, _: i < smooth, step, [0, x])[1]
    return x if smooth == len(a) else denoiser(x, *tf.unstack(rows[-1][:2]))


def runge_kutta(slope, x, alpha, sigma, alpha_next, sigma_next):
    """The change of x along the straight line between two levels, of fourth order.

    Args:
        slope: `(x, alpha, sigma)` to D and ε, which stand for dx/dα and dx/dσ; or to any such pair.
        x: at the first level; a tensor, or a list of tensors that change together.
        alpha: of the first level, as the others a scalar tensor.
        sigma: of the first level.
        alpha_next: of the second level.
        sigma_next: of the second level.
    """
    wide, high = alpha_next - alpha, sigma_next - sigma
    change, total = None, None
    for place, weight in ((0.0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 6)):
        here = x if change is None else tf.nest.map_structure(lambda v, c: v + place * c, x, change)
        estimate, epsilon = slope(here, alpha + place * wide, sigma + place * high)
        change = tf.nest.map_structure(lambda d, e: wide * d + high * e, estimate, epsilon)
        part = tf.nest.map_structure(lambda c: weight * c, change)
        total = part if total is None else tf.nest.map_structure(lambda t, p: t + p, total, part)
    return total


def langevin(denoiser, x, alphas, sigmas, streams: Streams, *, inner=100, step=0.2):
    """Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1): `inner` steps at each level, and an estimate at the end.

        x ← x + step/2 · σ² ∇ log p(x) + √step σ ξ

    The paper's step of 2e-5 (σ / 0.01)² is step = 0.2.

    Args:
        denoiser: `(x, alpha, sigma)` to the estimate of x₀.
        x: noise of the first level, `[B, …]`.
        alphas: α of the levels, `[N + 1]`; of the last level nothing is drawn.
        sigmas: σ of the levels, `[N + 1]`.
        streams: random streams of the examples.
        inner: steps a level.
        step: size of a step, in units of σ².
    """
    count = len(alphas) - 1
    rows = _rows(np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1])

    def move(k, x):
        alpha, sigma = tf.unstack(rows[k // inner])
        drift = alpha * denoiser(x, alpha, sigma) - x  # σ² times the score
        return k + 1, x + 0.5 * step * drift + math.sqrt(step) * sigma * streams.fold(k).normal(x.shape[1:])

    x = tf.while_loop(lambda k, _: k < count * inner, move, [0, x])[1]
    return denoiser(x, *tf.unstack(rows[-1]))


# ---------------------------------------------------------------------- how they are computed


def _multistep(denoiser, x, alphas, sigmas, keep, weights, noise, streams=None):
    """x' = keep x + Σ_k weights[k] D_{-k} + noise ξ, D₀ the newest estimate; arrays over the steps."""
    rows = _rows(np.asarray(alphas)[:-1], np.asarray(sigmas)[:-1], keep, noise)
    weights = tf.constant(np.stack(weights, axis=-1), tf.float32)  # [N, K]
    random = bool(np.any(np.asarray(noise) > 0))

    def step(i, x, past):
        alpha, sigma, keep, noise = tf.unstack(rows[i])
        past = _pushed(past, denoiser(x, alpha, sigma))
        x = keep * x + _combined(weights[i], past)
        if random:
            x += noise * streams.fold(i).normal(x.shape[1:])
        return i + 1, x, past

    past = tf.zeros([weights.shape[1], *x.shape])
    return tf.while_loop(lambda i, *_: i < len(keep), step, [0, x, past])[1]


def _exponential(denoiser, x, alphas, sigmas, order):
    """DPM-Solver++ of a table: x' = (σ'/σ) x + α' (1 - e^-h) (D and its differences)."""
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    weights = np.zeros([order, len(a)])
    lambdas = _log_ratios(alphas, sigmas)
    for i in range(len(a)):
        weights[0, i] = a_next[i] - a[i] * s_next[i] / s[i]  # α' (1 - e^-h), finite at both ends
        h = lambdas[i + 1] - lambdas[i]
        steps = [lambdas[i - k] - lambdas[i - k - 1] for k in range(min(order - 1, i))]
        while steps and not np.isfinite(steps[-1]):
            steps.pop()  # an estimate from pure noise lies infinitely far back
        if not steps or not np.isfinite(h):
            continue  # a first step, or one to σ = 0: first order
        weights[:, i] += a_next[i] * _difference_weights(h, steps, order)
    return _multistep(denoiser, x, alphas, sigmas, s_next / s, weights, np.zeros(len(a)))


def _difference_weights(h, steps, order):
    """What the differences of past estimates add, over α', by the number of steps back; Lu et al. 2022, appendix."""
    first = -math.expm1(-h)  # 1 - e^-h
    r0 = steps[0] / h
    back = np.zeros(order)
    if len(steps) == 1:  # 2M: (1 - e^-h) (D₀ - D₁) / 2r₀
        back[:2] = np.array([1.0, -1.0]) * first / (2.0 * r0)
        return back
    r1 = steps[1] / h
    newest, before = np.array([1.0, -1.0, 0.0]) / r0, np.array([0.0, 1.0, -1.0]) / r1
    slope = newest + r0 / (r0 + r1) * (newest - before)
    curve = (newest - before) / (r0 + r1)
    second = 1.0 - first / h  # ∫ of the slope's factor: (h - 1 + e^-h) / h
    return slope * second + curve * (0.5 - second / h)


def _unipc_row(alphas, sigmas, i, order, corrector):
    """Factors of x_i, and of the estimates, for x_{i+1}; a corrector's estimates begin with that at i + 1."""
    a, s, a_next, s_next = (column[i] for column in _pairs(alphas, sigmas))
    lambdas = _log_ratios(alphas, sigmas)
    weights = np.zeros(order + corrector)  # of D_{i+1} where corrected, D_i, D_{i-1}, …
    now = int(corrector)
    weights[now] = a_next - a * s_next / s
    h = lambdas[i + 1] - lambdas[i]
    if not np.isfinite(h):
        return s_next / s, weights  # from pure noise, or to σ = 0: first order
    ratios = [(lambdas[i - k] - lambdas[i]) / h for k in range(1, min(order, i + 1)) if np.isfinite(lambdas[i - k])]
    columns = [now + 1 + k for k in range(len(ratios))]
    if corrector:
        ratios, columns = [*ratios, 1.0], [*columns, 0]
    if not ratios:
        return s_next / s, weights
    # Σ_k ρ_k r_k^(m-1) = m! φ_{m+1}(-h) h^… / B(h) for m = 1 …: the expansion of the integral, term by term.
    size = -h
    phi, factorial, right = math.expm1(size) / size - 1.0, 1.0, []
    for m in range(1, len(ratios) + 1):
        right.append(phi * factorial / math.expm1(size))
        factorial *= m + 1
        phi = phi / size - 1.0 / factorial
    matrix = np.vander(ratios, len(ratios), increasing=True).T
    rho = np.linalg.solve(matrix, right)
    if len(ratios) == 1:
        rho = np.array([0.5])  # as the authors take it: of the same order
    for ratio, column, share in zip(ratios, columns, rho):
        change = -a_next * math.expm1(size) * share / ratio
        weights[column] += change
        weights[now] -= change
    return s_next / s, weights


def _edm(denoiser, x, alphas, sigmas, streams, churn, noise, corrected):
    """Algorithm 2 of Karras et al. 2022 on straight lines between the levels."""
    if not 0 <= churn < math.inf or not 0 <= noise < math.inf:
        raise ValueError(f"`churn` and `noise` must be finite and at least 0; got {churn} and {noise}.")
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    raised = s * (1.0 + min(churn / len(a), math.sqrt(2.0) - 1.0))
    rows = _rows(a, raised, a_next, s_next, noise * np.sqrt(raised**2 - s**2))
    smooth = len(a) - int(corrected and s_next[-1] == 0)

    def step(i, x, corrected=corrected):
        alpha, sigma, alpha_next, sigma_next, added = tf.unstack(rows[i])
        if churn > 0:
            x += added * streams.fold(i).normal(x.shape[1:])
        first, epsilon = _slope(denoiser, x, alpha, sigma)
        wide, high = alpha_next - alpha, sigma_next - sigma
        moved = x + wide * first + high * epsilon
        if corrected:
            second, epsilon_next = _slope(denoiser, moved, alpha_next, sigma_next)
            moved = x + 0.5 * (wide * (first + second) + high * (epsilon + epsilon_next))
        return i + 1, moved

    x = tf.while_loop(lambda i, _: i < smooth, step, [0, x])[1]
    return x if smooth == len(a) else step(smooth, x, corrected=False)[1]


def _slope(denoiser, x, alpha, sigma):
    """D and ε."""
    estimate = denoiser(x, alpha, sigma)
    return estimate, (x - alpha * estimate) / sigma


def _pairs(alphas, sigmas):
    """α, σ of the levels and of those after them, `[N]` each; checked."""
    a, s = np.asarray(alphas, np.float64), np.asarray(sigmas, np.float64)
    if a.ndim != 1 or a.shape != s.shape or len(a) < 2:
        raise ValueError(f"`alphas` and `sigmas` must be two arrays of N + 1 ≥ 2 levels; got {a.shape} and {s.shape}.")
    if np.any(s[:-1] <= 0) or s[-1] < 0 or np.any(a < 0) or np.any(a[1:] <= 0):
        raise ValueError("levels must have σ > 0 but for the last, and α > 0 but for the first.")
    return a[:-1], s[:-1], a[1:], s[1:]


def _log_ratios(alphas, sigmas):
    """λ = log(α / σ); infinite where one of them is 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(alphas, np.float64)) - np.log(np.asarray(sigmas, np.float64))


def _forward_variances(alphas, sigmas):
    """Of x given x' one level nearer to the data: β."""
    a, s, a_next, s_next = _pairs(alphas, sigmas)
    return np.maximum(s**2 - (a / a_next) ** 2 * s_next**2, 0.0)


def _posterior_variances(alphas, sigmas):
    """Of x' given x and x₀: β̃."""
    _, s, _, s_next = _pairs(alphas, sigmas)
    return _forward_variances(alphas, sigmas) * s_next**2 / s**2


def _rows(*columns):
    """Numbers of each step, one row a step."""
    return tf.constant(np.stack([np.asarray(c, np.float64) for c in columns], axis=-1), tf.float32)


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
