"""Noise-conditional score networks."""

import keras

from genmodels.models.diffusion.diffusion import Diffusion
from genmodels.models.diffusion.schedules import VarianceExploding
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class NCSN(Diffusion):
    """Score matching at a geometric scale of noise levels, sampled by annealed Langevin dynamics (Song & Ermon 2019).

    The network gives the score times σ (Song & Ermon 2020): one size at all levels, which makes the paper's weights σ²
    the simple loss. Samples go down the paper's levels, ten from 1 to 0.01 in its units of [0, 1], twice that here;
    each takes 100 steps of Langevin dynamics, so that they cost a thousand evaluations. `sample(solver="heun",
    steps=20)` costs 39. Training takes all levels between, evenly in log σ, where the paper takes the ten alone.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        sigma_min: the smallest σ, in the network's units, in which images go from -1 to 1.
        sigma_max: the largest σ.
        noise_levels: of Langevin's sampling, how many.
        solver: of `sample`.
        steps: of `sample`; None for `noise_levels`.
        **options: as `Diffusion` has them, but for schedule, prediction and timesteps.

    Example:
        >>> import genmodels as gm
        >>> gm.NCSN((2,), levels=None).sample(5, solver="heun", steps=3).shape
        TensorShape([5, 2])
    """

    title, paper, year = "NCSN", "Song & Ermon, arXiv:1907.05600", 2019

    def __init__(
        self, event_shape, *, sigma_min=0.02, sigma_max=2.0, noise_levels=10, solver="langevin", steps=None, **options
    ):
        noise_levels = checked_count("noise_levels", noise_levels, 1)
        super().__init__(
            event_shape, schedule=VarianceExploding(sigma_min, sigma_max), prediction="score", timesteps=None,
            solver=solver, steps=noise_levels if steps is None else steps, **options,
        )  # fmt: skip

    def default_optimizers(self):
        """Adam with the paper's rate, 0.001."""
        return {"model": keras.optimizers.Adam(1e-3)}
