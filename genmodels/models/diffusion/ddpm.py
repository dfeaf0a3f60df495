"""Denoising diffusion probabilistic models."""

import keras

from genmodels.models.diffusion.diffusion import Diffusion


@keras.saving.register_keras_serializable(package="genmodels")
class DDPM(Diffusion):
    """DDPM (Ho et al. 2020, arXiv:2006.11239): a linear schedule of 1000 steps, ε, the simple loss.

    The paper's sampler is `sample(solver="ancestral", steps=1000)`; the default here takes a fiftieth of the time.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        schedule: of the noise.
        timesteps: T, to train at the times i / T.
        **options: as `Diffusion` has them, but for the prediction.

    Example:
        >>> import genmodels as gm
        >>> gm.DDPM((2,), levels=None).sample(5, steps=3).shape
        TensorShape([5, 2])
    """

    title, paper, year = "DDPM", "Ho et al., arXiv:2006.11239", 2020

    def __init__(self, event_shape, *, schedule="linear", timesteps=1000, **options):
        super().__init__(event_shape, schedule=schedule, prediction="epsilon", timesteps=timesteps, **options)


@keras.saving.register_keras_serializable(package="genmodels")
class ImprovedDDPM(Diffusion):
    """Improved DDPM (Nichol & Dhariwal 2021, arXiv:2102.09672): a cosine schedule and learned variances.

    The loss is the simple one of ε and 0.001 of the variational bound, which trains the variances. They serve the
    likelihood, `elbo`, and `sample(solver="ancestral")`.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        schedule: of the noise.
        timesteps: T, to train at the times i / T; the paper has 4000.
        **options: as `Diffusion` has them, but for the prediction and `learned_variance`.

    Example:
        >>> import genmodels as gm
        >>> gm.ImprovedDDPM((2,), levels=None).sample(5, solver="ancestral", steps=3).shape
        TensorShape([5, 2])
    """

    title, paper, year = "Improved DDPM", "Nichol & Dhariwal, arXiv:2102.09672", 2021

    def __init__(self, event_shape, *, schedule="cosine", timesteps=4000, **options):
        super().__init__(
            event_shape, schedule=schedule, prediction="epsilon", timesteps=timesteps, learned_variance=True, **options
        )

    def default_optimizers(self):
        """Adam with the paper's rate, 1e-4."""
        return {"model": keras.optimizers.Adam(1e-4)}
