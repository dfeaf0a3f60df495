"""SNGAN."""

import keras

from genmodels.models.gans.gan import GAN
from genmodels.models.gans.regularizers import SpectralNormalization, several


@keras.saving.register_keras_serializable(package="genmodels")
class SNGAN(GAN):
    """Spectrally normalized GAN (Miyato et al. 2018): every kernel of the critic has norm 1; hinge loss.

    Residual networks on images, five updates of the critic, Adam with rate 2e-4, β₁ = 0, β₂ = 0.9: the paper's settings
    for its residual networks.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        loss: as in `GAN`.
        critic_updates: updates of the critic for one of the generator.
        regularizers: more of them, besides the normalization.
        **options: as `GAN` has them.

    Example:
        >>> import genmodels as gm
        >>> gm.SNGAN((8, 8, 1), levels=17, width=8).sample(2).shape
        TensorShape([2, 8, 8, 1])
    """

    title, paper, year = "SNGAN", "Miyato et al., arXiv:1802.05957", 2018

    image_architecture = "residual"

    def __init__(self, event_shape, *, loss="hinge", critic_updates=5, regularizers=(), **options):
        super().__init__(
            event_shape, loss=loss, critic_updates=critic_updates,
            regularizers=(SpectralNormalization(), *several(regularizers)), **options,
        )  # fmt: skip

    def default_optimizers(self):
        """The paper's Adam for residual networks."""
        return self._optimizers_of(lambda: keras.optimizers.Adam(2e-4, beta_1=0.0, beta_2=0.9))
