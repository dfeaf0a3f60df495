"""Autoencoders."""

from genmodels.models.autoencoders.aae import AAE
from genmodels.models.autoencoders.autoencoder import Autoencoder
from genmodels.models.autoencoders.vae import VAE

__all__ = ["AAE", "VAE", "Autoencoder"]
