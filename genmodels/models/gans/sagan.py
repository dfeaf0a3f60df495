"""SAGAN."""

import keras

from genmodels.models.gans.gan import GAN
from genmodels.models.gans.regularizers import SpectralNormalization, several
from genmodels.models.gans.spectral import spectral_normalized


@keras.saving.register_keras_serializable(package="genmodels")
class SAGAN(GAN):
    """Self-attention GAN (Zhang et al. 2018): every pixel of a small grid sees all others, in both networks.

    Residual networks on images, with self-attention at a fourth of the height; every kernel of both networks has norm
    1; hinge loss, an update of each player a step, the discriminator's rate four times the generator's: the paper's
    settings, but for its batches of 256, its 128 latents, and its batch norm, which the class scales.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points, on which nothing attends.
        loss: as in `GAN`.
        regularizers: more of them, besides the normalization.
        **options: as `GAN` has them. A generator that is given is normalized too, and has dense layers and plain
            convolutions only.

    Raises:
        ValueError: as `GAN`, and for the architecture "dcgan", whose transposed convolutions are not normalized.

    Example:
        >>> import genmodels as gm
        >>> gm.SAGAN((8, 8, 1), levels=17, width=8).sample(2).shape
        TensorShape([2, 8, 8, 1])
    """

    title, paper, year = "SAGAN", "Zhang et al., arXiv:1805.08318", 2018

    image_architecture = "residual"
    attends = True

    def __init__(self, event_shape, *, loss="hinge", regularizers=(), **options):
        if options.get("architecture") == "dcgan":
            raise ValueError("SAGAN normalizes no transposed convolutions: `architecture` must be residual or mlp.")
        regularizers = (SpectralNormalization(), *several(regularizers))
        super().__init__(event_shape, loss=loss, regularizers=regularizers, **options)

    def prepared_generator(self, generator):
        """With wrapped layers, as the critic."""
        return spectral_normalized(generator)

    def default_optimizers(self):
        """The paper's Adam: rates of 4e-4 and 1e-4, β₁ = 0, β₂ = 0.9."""
        rates = {self.adversarial_loss.player: 4e-4, "generator": 1e-4}
        return {player: keras.optimizers.Adam(rate, beta_1=0.0, beta_2=0.9) for player, rate in rates.items()}
