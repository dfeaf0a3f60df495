"""Flow matching along straight paths."""

import keras

from genmodels.models.diffusion.diffusion import Diffusion
from genmodels.models.diffusion.schedules import Straight


@keras.saving.register_keras_serializable(package="genmodels")
class FlowMatching(Diffusion):
    """Flow matching, or rectified flow (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003).

    x_t = (1 - t) x₀ + t ε, and the network learns the velocity ε - x₀ of these straight paths.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        normal_times: train at t = sigmoid of a standard normal number (Esser et al. 2024), not uniformly.
        solver: of `sample`.
        steps: of `sample`.
        **options: as `Diffusion` has them, but for schedule, prediction and timesteps.

    Example:
        >>> import genmodels as gm
        >>> gm.FlowMatching((2,), levels=None).sample(5).shape
        TensorShape([5, 2])
    """

    title, paper, year = "Flow matching", "Lipman et al., arXiv:2210.02747", 2022

    def __init__(self, event_shape, *, normal_times=False, solver="heun", steps=20, **options):
        super().__init__(
            event_shape, schedule=Straight(normal_times), prediction="velocity", timesteps=None, solver=solver,
            steps=steps, **options,
        )  # fmt: skip

    def default_optimizers(self):
        """Adam with rate 0.001."""
        return {"model": keras.optimizers.Adam(1e-3)}
