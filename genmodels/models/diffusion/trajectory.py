"""The way of a sample from noise to data."""

import tensorflow as tf

from genmodels.compiling import compiled
from genmodels.models.diffusion.editing import check_denoises
from genmodels.sampling import Streams, make_seed, solvers
from genmodels.settings import checked_count


def trajectory(model, num, *, labels=None, steps=10, guidance=1.0, seed=0):
    """What DDIM passes on its way (Song et al. 2020, arXiv:2010.02502): x_t, and what the network takes it for.

    Args:
        model: a `Diffusion` model.
        num: how many samples, all at once.
        labels: `[num]` class labels, or one for all, as of `sample`.
        steps: of the solver.
        guidance: as of `sample`.
        seed: the last of the way is `model.sample(num, solver="ddim", …)` of the same seed, before its rounding.

    Returns:
        `(noisy, estimates)`: `[num, steps + 1, *event_shape]` x at every level, from noise to the sample, and
        `[num, steps, *event_shape]` the estimates of the data from all but the last. float32 in the data's units;
        noise leaves their range.

    Raises:
        ValueError: for a model of another family, settings out of range, and labels that do not fit.

    Example:
        >>> import genmodels as gm
        >>> noisy, estimates = gm.diffusion.trajectory(gm.DDPM((2,), levels=None), 5, steps=3)
        >>> noisy.shape, estimates.shape
        (TensorShape([5, 4, 2]), TensorShape([5, 3, 2]))
    """
    check_denoises(model)
    num, labels = checked_count("num", num, 1), model._labels(labels, num)
    alphas, sigmas = model.grid(checked_count("steps", steps, 1))
    scale = model.checked_guidance(guidance)
    x = float(sigmas[0]) * model.latents(Streams(make_seed(seed), 0, num))
    noisy, estimates = [x], []
    for i in range(steps):
        alpha, sigma = tf.constant([alphas[i], sigmas[i]], tf.float32)
        estimate = _estimate(model, x, alpha, sigma, labels, scale)
        # The solver's own step from this level to the next, with the estimate that is known.
        x = solvers.ddim(lambda *_, known=estimate: known, x, alphas[i : i + 2], sigmas[i : i + 2], None)
        noisy.append(x)
        estimates.append(estimate)
    return tuple(model.from_network(tf.stack(states, axis=1)) for states in (noisy, estimates))


@compiled
def _estimate(model, x, alpha, sigma, labels, scale):
    return model.denoiser_for(labels, scale, clip=True)(x, alpha, sigma)[0]
