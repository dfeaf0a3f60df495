"""Generative adversarial networks: losses, regularizers and networks that compose, and the models of the papers."""

from genmodels.models.gans.acgan import ACGAN
from genmodels.models.gans.augmentation import DiffAugment
from genmodels.models.gans.dcgan import DCGAN, LSGAN
from genmodels.models.gans.gan import GAN
from genmodels.models.gans.infogan import InfoGAN
from genmodels.models.gans.losses import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from genmodels.models.gans.networks import (
    dcgan_critic,
    dcgan_generator,
    mlp_critic,
    mlp_generator,
    residual_critic,
    residual_generator,
)
from genmodels.models.gans.regularizers import (
    DRAGAN,
    R1,
    GradientPenalty,
    Regularizer,
    SpectralNormalization,
    WeightClipping,
)
from genmodels.models.gans.sagan import SAGAN
from genmodels.models.gans.sngan import SNGAN
from genmodels.models.gans.spectral import SpectralNormalized, spectral_normalized
from genmodels.models.gans.wgan import WGAN, WGANGP

__all__ = [
    "ACGAN",
    "DCGAN",
    "DRAGAN",
    "GAN",
    "LSGAN",
    "R1",
    "SAGAN",
    "SNGAN",
    "WGAN",
    "WGANGP",
    "AdversarialLoss",
    "DiffAugment",
    "GradientPenalty",
    "Hinge",
    "InfoGAN",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Regularizer",
    "SpectralNormalization",
    "SpectralNormalized",
    "Wasserstein",
    "WeightClipping",
    "dcgan_critic",
    "dcgan_generator",
    "mlp_critic",
    "mlp_generator",
    "residual_critic",
    "residual_generator",
    "spectral_normalized",
]
