"""Autoencoders."""

from genmodels.models.autoencoders.aae import AAE
from genmodels.models.autoencoders.autoencoder import Autoencoder
from genmodels.models.autoencoders.iwae import IWAE
from genmodels.models.autoencoders.vae import VAE
from genmodels.models.autoencoders.vqvae import VQVAE

__all__ = ["AAE", "IWAE", "VAE", "VQVAE", "Autoencoder"]
