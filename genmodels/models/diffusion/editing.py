"""What a trained diffusion model does to images: fill in, and make anew from a sketch."""

import numpy as np
import tensorflow as tf

from genmodels import arguments
from genmodels.compiling import compiled
from genmodels.models.diffusion.examples import beside
from genmodels.sampling import Streams, make_seed, solvers, tables
from genmodels.settings import checked_count

OWN = 0x0ED17  # a stream apart from that of `sample`: what a sample was made of is no noise to edit it with


def _streams(seed, num):
    return Streams(seed, 0, num).fold(OWN)


def check_denoises(model) -> None:
    """Raises ValueError for a model that does not sample by removing noise from examples.

    Args:
        model: any.
    """
    if not hasattr(model, "denoiser_for"):
        raise ValueError(
            f"{type(model).__name__} does not sample by removing noise from examples; diffusion models do: DDPM, EDM, "
            "NCSN, flow matching and their kin."
        )


def noised(model, x, t, *, seed=0):
    """x_t = α(t) x₀ + σ(t) ε of examples, in the network's units: what a classifier for guidance is trained on.

    Args:
        model: a `Diffusion` model.
        x: examples `[B, *event_shape]` in the data's units.
        t: times from 0 to 1, one or `[B]`.
        seed: of the noise.

    Returns:
        `[B, *event_shape]` float32; images without noise lie between -1 and 1.

    Raises:
        ValueError: for examples that do not fit, and times out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.DDPM((8, 8, 1), levels=17, width=8)
        >>> gm.diffusion.noised(model, np.zeros([2, 8, 8, 1], "uint8"), 0.5).shape
        TensorShape([2, 8, 8, 1])
    """
    check_denoises(model)
    x0 = model.to_network(arguments.examples(x, model.event_shape, model.levels))
    times = np.asarray(t, np.float32)
    if times.shape not in ((), (x0.shape[0],)) or not np.all((times >= 0) & (times <= 1)):
        raise ValueError(f"`t` must be times from 0 to 1, one or [{x0.shape[0]}]; got {t!r}.")
    t = tf.broadcast_to(tf.constant(times), [x0.shape[0]])
    alpha, sigma = (beside(level, x0) for level in model.schedule.levels(t))
    return alpha * x0 + sigma * _streams(make_seed(seed), x0.shape[0]).normal(model.event_shape)


def sdedit(model, x, *, strength=0.5, labels=None, steps=20, solver=None, guidance=1.0, seed=0):
    """Image to image (Meng et al. 2021, arXiv:2108.01073, "SDEdit"): noise up to t = `strength`, and the way back.

    Args:
        model: a `Diffusion` model.
        x: examples `[B, *event_shape]` in the data's units: drawings, or images to vary.
        strength: t, above 0 and at most 1; more noise keeps less of x.
        labels: `[B]` classes that the result is to have, of a conditional model.
        steps: of the solver, from there on.
        solver: as of `sample`.
        guidance: as of `sample`.
        seed: of the noise.

    Returns:
        `[B, *event_shape]` in the data's own type.

    Raises:
        ValueError: for settings out of range, and for examples that do not fit.

    Example:
        >>> import genmodels as gm
        >>> model = gm.DDPM((2,), levels=None)
        >>> gm.diffusion.sdedit(model, np.zeros([5, 2], "float32"), strength=0.3, steps=3).shape
        TensorShape([5, 2])
    """
    check_denoises(model)
    x, labels = model._examples(x, labels)
    if not model.first_time < strength <= 1:
        raise ValueError(f"`strength` must be above {model.first_time} and at most 1; got {strength!r}.")
    solver = solvers.checked(model.solver if solver is None else solver)
    steps, scale = checked_count("steps", steps, 1), model.checked_guidance(guidance)
    return model._to_data(_sdedit(model, x, labels, make_seed(seed), scale, float(strength), steps, solver))


@compiled
def _sdedit(model, x, labels, seed, scale, strength, steps, solver):
    alphas, sigmas = model.grid(steps, start=strength)
    streams = _streams(seed, tf.shape(x)[0])
    noisy = float(alphas[0]) * model.to_network(x) + float(sigmas[0]) * streams.normal(model.event_shape)
    denoiser = model.denoiser_for(labels, scale, clip=True)
    return model.from_network(model.solved(solver, noisy, alphas, sigmas, streams.fold(1), denoiser))


def inpaint(model, x, known, *, labels=None, steps=50, jump=5, resamples=5, guidance=1.0, seed=0):
    """Fills in what is not known of images (Lugmayr et al. 2022, arXiv:2201.09865, "RePaint").

    Ancestral steps, in which the known pixels are put in with the noise of their level; every `jump` steps the image is
    noised back by as many, `resamples` - 1 times, so that both parts come to agree.

    Args:
        model: a `Diffusion` model.
        x: examples `[B, *event_shape]` in the data's units; what is not known may be anything.
        known: True where x is kept: `[H, W]`, `[*event_shape]`, or one for each example.
        labels: `[B]` classes of a conditional model.
        steps: levels of noise.
        jump: steps back at a time.
        resamples: times that each stretch of `jump` steps is walked; 1 never goes back.
        guidance: as of `sample`.
        seed: of the noise.

    Returns:
        `[B, *event_shape]` in the data's own type; known pixels are those of x.

    Raises:
        ValueError: for settings out of range, and for examples and masks that do not fit.

    Example:
        >>> import genmodels as gm
        >>> model, x = gm.DDPM((8, 8, 1), levels=17, width=8), np.ones([2, 8, 8, 1], "uint8")
        >>> known = np.arange(8)[:, None] < 4 + np.zeros(8)
        >>> y = gm.diffusion.inpaint(model, x, known, steps=4, jump=2, resamples=2)
        >>> bool(np.all(y[:, :4] == 1))
        True
    """
    check_denoises(model)
    x, labels = model._examples(x, labels)
    known = np.asarray(known)
    if known.dtype != bool:
        raise ValueError(f"`known` must be of booleans, True where a pixel is kept; got {known.dtype}.")
    if known.shape == model.event_shape[:-1]:
        known = known[..., None]
    try:
        known = np.broadcast_to(known, x.shape)
    except ValueError:
        raise ValueError(
            f"`known` must have shape {model.event_shape[:-1]}, {model.event_shape} or {tuple(x.shape)}; got "
            f"{known.shape}."
        ) from None
    x = tf.where(tf.constant(known), x, tf.zeros_like(x))  # missing values are often NaN, and 0 · NaN is NaN
    moves = repaint_moves(*model.grid(steps), checked_count("jump", jump, 1), resamples)
    mask, scale = tf.constant(known, tf.float32), model.checked_guidance(guidance)
    y = model._to_data(_inpaint(model, x, mask, labels, make_seed(seed), scale, tf.constant(moves, tf.float32)))
    return tf.where(tf.constant(known), tf.cast(x, y.dtype), y)


def repaint_moves(alphas, sigmas, jump, resamples):
    """Numbers of each step of RePaint, `[moves, 9]`: the noise before it, its level, and the ancestral step.

    Returns:
        rows of: factor of x and deviation of the noise before; α, σ; factors of x and of the estimate, deviation of the
        noise; σ and α after that.
    """
    checked_count("resamples", resamples, 1)
    count = len(alphas) - 1
    stretches = [range(start, min(start + jump, count)) for start in range(0, count, jump)]
    rows = []
    for stretch in stretches:
        for again in range(resamples):
            for i in stretch:
                keep, noise = 1.0, 0.0
                if again and i == stretch[0]:  # from the end of the stretch back to its start
                    end = stretch[-1] + 1
                    keep = alphas[i] / alphas[end]
                    noise = np.sqrt(sigmas[i] ** 2 - (keep * sigmas[end]) ** 2)
                moves = (np.ravel(move)[0] for move in tables.ancestral_moves(alphas[i : i + 2], sigmas[i : i + 2]))
                rows.append([keep, noise, alphas[i], sigmas[i], *moves, sigmas[i + 1], alphas[i + 1]])
    return np.array(rows)


@compiled
def _inpaint(model, x, mask, labels, seed, scale, moves):
    streams, shape = _streams(seed, tf.shape(x)[0]), model.event_shape
    x0 = model.to_network(x)
    denoiser = model.denoiser_for(labels, scale, clip=True)

    def step(i, y):
        keep, noise, alpha, sigma, past, future, deviation, sigma_next, alpha_next = tf.unstack(moves[i])
        mine = streams.fold(i + 1)
        y = keep * y + noise * mine.fold(0).normal(shape)
        y = past * y + future * denoiser(y, alpha, sigma)[0] + deviation * mine.fold(1).normal(shape)
        told = alpha_next * x0 + sigma_next * mine.fold(2).normal(shape)
        return i + 1, mask * told + (1.0 - mask) * y

    start = moves[0, 3] * streams.normal(shape)
    return model.from_network(tf.while_loop(lambda i, _: i < tf.shape(moves)[0], step, [0, start])[1])
