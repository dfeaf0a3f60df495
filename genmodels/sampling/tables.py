"""The numbers of each solver step that depend on the levels alone, in NumPy's float64.

Levels are arrays of α and σ, `[N + 1]`, from the first to the last; what comes back is one number, or row, a step.
"""

import math

import numpy as np

# Adams–Bashforth's weights of the newest value and those before it, by how many there are.
ADAMS_BASHFORTH = {
    1: [1.0],
    2: [3 / 2, -1 / 2],
    3: [23 / 12, -16 / 12, 5 / 12],
    4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
}


def pairs(alphas, sigmas):
    """α, σ of the levels and of those after them, `[N]` each; checked."""
    a, s = np.asarray(alphas, np.float64), np.asarray(sigmas, np.float64)
    if a.ndim != 1 or a.shape != s.shape or len(a) < 2:
        raise ValueError(f"`alphas` and `sigmas` must be two arrays of N + 1 ≥ 2 levels; got {a.shape} and {s.shape}.")
    if np.any(s[:-1] <= 0) or s[-1] < 0 or np.any(a < 0) or np.any(a[1:] <= 0):
        raise ValueError("levels must have σ > 0 but for the last, and α > 0 but for the first.")
    return a[:-1], s[:-1], a[1:], s[1:]


def log_ratios(alphas, sigmas):
    """λ = log(α / σ); infinite where one of them is 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(alphas, np.float64)) - np.log(np.asarray(sigmas, np.float64))


def forward_variances(alphas, sigmas):
    """Of x given x' one level nearer to the data: β."""
    a, s, a_next, s_next = pairs(alphas, sigmas)
    return np.maximum(s**2 - (a / a_next) ** 2 * s_next**2, 0.0)


def posterior_variances(alphas, sigmas):
    """Of x' given x and x₀: β̃."""
    _, s, _, s_next = pairs(alphas, sigmas)
    return forward_variances(alphas, sigmas) * s_next**2 / s**2


def ancestral_moves(alphas, sigmas):
    """What a draw from q(x' | x, x₀) makes of x and x₀, and its deviation: three arrays over the steps."""
    a, s, a_next, s_next = pairs(alphas, sigmas)
    past = a / a_next * s_next**2 / s**2
    return past, a_next - a * past, np.sqrt(posterior_variances(alphas, sigmas))


def inverse_steps(alphas, sigmas):
    """Factors p, q, r, `[N]` each, of an iteration y ← p x' + q D(y) + r y whose fixed point DDIM takes to x'.

    The step solved for y with D at y, or with ε at y: what contracts more for data of variance 1, the one where noise
    prevails, the other where data do.
    """
    a, s, a_next, s_next = pairs(alphas, sigmas)
    ratio, slope = s / np.maximum(s_next, 1e-30), a / (a**2 + s**2)  # ∂D/∂y
    by_estimate = ratio, a - a_next * ratio, np.zeros_like(a)
    share = 1.0 - s_next * a / (s * a_next)
    by_noise = a / a_next, -a * share, share
    contraction = [np.abs(q * slope + r) for _, q, r in (by_estimate, by_noise)]
    return tuple(np.where(contraction[0] < contraction[1], d, n) for d, n in zip(by_estimate, by_noise))


def adams_bashforth(alphas, sigmas, order):
    """What the last ε, the newest first, add to α' D + σ' ε, `[N, order]`."""
    a, s, a_next, s_next = pairs(alphas, sigmas)
    weights = np.zeros([len(a), order])
    for i in range(len(a)):
        known = ADAMS_BASHFORTH[min(i + 1, order)]
        weights[i, : len(known)] = known
    weights[:, 0] -= 1.0
    with np.errstate(divide="ignore"):
        reach = np.where(np.arange(len(a)) > 0, s_next - s * a_next / a, 0.0)  # α' (ς' - ς); at first α may be 0
    return weights * reach[:, None]


def exponential(alphas, sigmas, order):
    """Factors of the last estimates, the newest first, of DPM-Solver++, `[N, order]`; x' has σ'/σ parts of x."""
    a, s, a_next, s_next = pairs(alphas, sigmas)
    weights = np.zeros([len(a), order])
    lambdas = log_ratios(alphas, sigmas)
    for i in range(len(a)):
        weights[i, 0] = a_next[i] - a[i] * s_next[i] / s[i]  # α' (1 - e^-h), finite at both ends
        h = lambdas[i + 1] - lambdas[i]
        steps = [lambdas[i - k] - lambdas[i - k - 1] for k in range(min(order - 1, i))]
        while steps and not np.isfinite(steps[-1]):
            steps.pop()  # an estimate from pure noise lies infinitely far back
        if steps and np.isfinite(h):  # otherwise a first step, or one to σ = 0: first order
            weights[i] += a_next[i] * _difference_weights(h, steps, order)
    return weights


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
    # The second difference, and half the second derivative; the authors' code halves it again and is of second order.
    curve = 2.0 * (newest - before) / (r0 + r1)
    second = 1.0 - first / h  # ∫ of the slope's factor: (h - 1 + e^-h) / h
    return slope * second + curve * (0.5 - second / h)


def unipc(alphas, sigmas, order):
    """UniPC's factors: of x and the last estimates for the next x, and for its correction.

    Returns:
        keep `[N]` and weights `[N, order]` of the prediction after each evaluation, and keep `[N]` and weights
        `[N, order + 1]` of the correction that the evaluation allows, from the corrected x before; the newest first.
    """
    count = len(pairs(alphas, sigmas)[0])
    keep, predict = np.zeros(count), np.zeros([count, order])
    keep_corrected, correct = np.ones(count), np.zeros([count, order + 1])  # the first x needs no correction
    for i in range(count):
        keep[i], predict[i] = _unipc_row(alphas, sigmas, i, order, corrector=False)
        if i + 1 < count:
            keep_corrected[i + 1], correct[i + 1] = _unipc_row(alphas, sigmas, i, order, corrector=True)
    return keep, predict, keep_corrected, correct


def _unipc_row(alphas, sigmas, i, order, corrector):
    """Factors of x_i, and of the estimates, for x_{i+1}; a corrector's estimates begin with that at i + 1."""
    a, s, a_next, s_next = (column[i] for column in pairs(alphas, sigmas))
    lambdas = log_ratios(alphas, sigmas)
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
