"""EDM: the design space of diffusion models, elucidated."""

import math

import keras

from genmodels.models.diffusion.diffusion import Diffusion
from genmodels.models.diffusion.predictions import Prediction
from genmodels.models.diffusion.schedules import Karras
from genmodels.settings import checked_positive


@keras.saving.register_keras_serializable(package="genmodels")
class EDM(Diffusion):
    """EDM (Karras et al. 2022, arXiv:2206.00364): preconditioned network, log-normal σ, Heun's method on σ^(1/7).

    The network is told t, the place of σ between its ends on the scale of σ^(1/ρ), where the paper tells it ln(σ) / 4.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        data_deviation: σ_data, standard deviation of the data as the network sees them: images from -1 to 1, points as
            they are. Its default is the paper's; all that follows is of such data, and scaled along with it.
        sigma_min: of the sampler.
        sigma_max: of the sampler and the prior.
        mean: P_mean, of ln σ in training.
        deviation: P_std, of ln σ in training.
        solver: of `sample`.
        steps: of `sample`; with Heun's method 2 · 18 - 1 evaluations.
        **options: as `Diffusion` has them, but for schedule and prediction; the "simple" weighting is the paper's λ(σ).

    Example:
        >>> import genmodels as gm
        >>> gm.EDM((2,), levels=None).sample(5, steps=3).shape
        TensorShape([5, 2])
    """

    title, paper, year = "EDM", "Karras et al., arXiv:2206.00364", 2022

    def __init__(
        self, event_shape, *, data_deviation=0.5, sigma_min=0.002, sigma_max=80.0, mean=-1.2, deviation=1.2,
        solver="heun", steps=18, **options,
    ):  # fmt: skip
        scale = checked_positive("data_deviation", data_deviation) / 0.5
        schedule = Karras(scale * sigma_min, scale * sigma_max, mean=mean + math.log(scale), deviation=deviation)
        super().__init__(
            event_shape, schedule=schedule, prediction=Prediction("edm", data_deviation), solver=solver, steps=steps,
            **options,
        )  # fmt: skip

    def default_optimizers(self):
        """Adam with the paper's rate, 0.001."""
        return {"model": keras.optimizers.Adam(1e-3)}
