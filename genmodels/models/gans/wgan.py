"""Wasserstein GANs: by weight clipping, and by a gradient penalty."""

import keras

from genmodels.models.gans.gan import GAN
from genmodels.models.gans.regularizers import GradientPenalty, WeightClipping, several


@keras.saving.register_keras_serializable(package="genmodels")
class WGAN(GAN):
    """Wasserstein GAN (Arjovsky et al. 2017): clipped weights, RMSprop with rate 5e-5, five updates of the critic.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        clip: bound of the critic's weights, the paper's c.
        critic_updates: the paper's n_critic.
        **options: as `GAN` has them, but for the loss; more `regularizers` join the clipping.

    Example:
        >>> import genmodels as gm
        >>> [objective.name for objective in gm.WGAN((28, 28, 1)).objectives()]
        ['critic', 'generator']
    """

    title, paper, year = "WGAN", "Arjovsky et al., arXiv:1701.07875", 2017

    image_normalization = "batch"

    def __init__(self, event_shape, *, clip=0.01, critic_updates=5, regularizers=(), **options):
        _refuse_loss(options)
        super().__init__(
            event_shape, loss="wasserstein", critic_updates=critic_updates,
            regularizers=(WeightClipping(clip), *several(regularizers)), **options,
        )  # fmt: skip

    def default_optimizers(self):
        """RMSprop with rate 5e-5: the paper found momentum to make the critic's training unstable."""
        return self._optimizers_of(lambda: keras.optimizers.RMSprop(5e-5))


@keras.saving.register_keras_serializable(package="genmodels")
class WGANGP(GAN):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017): Adam with rate 1e-4, β₁ = 0, β₂ = 0.9.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        penalty: weight of the penalty, the paper's λ.
        one_sided: penalize only norms above 1.
        critic_updates: the paper's n_critic.
        **options: as `GAN` has them, but for the loss; more `regularizers` join the penalty.

    Example:
        >>> import genmodels as gm
        >>> gm.WGANGP((2,), levels=None).sample(4).shape
        TensorShape([4, 2])
    """

    title, paper, year = "WGAN-GP", "Gulrajani et al., arXiv:1704.00028", 2017

    def __init__(self, event_shape, *, penalty=10.0, one_sided=False, critic_updates=5, regularizers=(), **options):
        _refuse_loss(options)
        super().__init__(
            event_shape, loss="wasserstein", critic_updates=critic_updates,
            regularizers=(GradientPenalty(penalty, one_sided=one_sided), *several(regularizers)), **options,
        )  # fmt: skip

    def default_optimizers(self):
        """The paper's Adam: no momentum, which a moving critic would mislead."""
        return self._optimizers_of(lambda: keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9))


def _refuse_loss(options):
    if "loss" in options:
        raise ValueError(f"a Wasserstein GAN has one loss; for another, as {options['loss']!r}, take GAN.")
