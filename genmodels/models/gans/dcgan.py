"""DCGAN, and LSGAN: the same networks with another loss."""

import keras

from genmodels.models.gans.gan import GAN


@keras.saving.register_keras_serializable(package="genmodels")
class DCGAN(GAN):
    """Deep convolutional GAN (Radford et al. 2015, "Unsupervised Representation Learning with DCGANs").

    Strided convolutions and batch norm, ReLU and tanh in the generator, LeakyReLU in the discriminator; the
    non-saturating loss; Adam with rate 2e-4 and β₁ = 0.5; batches of 128 in the paper. Latents are uniform there and
    normal here, as everywhere since, so that walks and truncation mean the same for all GANs.

    Args:
        event_shape: `(height, width, channels)`, from 8 to 128 pixels a side.
        architecture: of the networks not given, as in `GAN`.
        **options: as `GAN` has them.

    Example:
        >>> import genmodels as gm
        >>> gm.DCGAN((28, 28, 1)).sample(2).shape
        TensorShape([2, 28, 28, 1])
    """

    title, paper, year = "DCGAN", "Radford et al., arXiv:1511.06434", 2015

    image_normalization = "batch"

    def __init__(self, event_shape, *, architecture="dcgan", **options):
        super().__init__(event_shape, architecture=architecture, **options)


@keras.saving.register_keras_serializable(package="genmodels")
class LSGAN(GAN):
    """Least-squares GAN (Mao et al. 2016) with DCGAN's networks and optimizers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        loss: "least_squares", or a `genmodels.gans.LeastSquares` with label smoothing.
        **options: as `GAN` has them.

    Example:
        >>> import genmodels as gm
        >>> gm.LSGAN((8, 8, 1), levels=17).sample(2).shape
        TensorShape([2, 8, 8, 1])
    """

    title, paper, year = "LSGAN", "Mao et al., arXiv:1611.04076", 2016

    image_normalization = "batch"

    def __init__(self, event_shape, *, loss="least_squares", **options):
        super().__init__(event_shape, loss=loss, **options)
