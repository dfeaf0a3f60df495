"""Autoregressive models."""

from genmodels.models.autoregressive.autoregressive import AutoregressiveModel
from genmodels.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from genmodels.models.autoregressive.pixelcnn import PixelCNN

__all__ = ["AutoregressiveModel", "GatedPixelCNN", "PixelCNN"]
