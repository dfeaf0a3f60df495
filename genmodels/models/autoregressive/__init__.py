"""Autoregressive models."""

from genmodels.models.autoregressive.autoregressive import AutoregressiveModel
from genmodels.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from genmodels.models.autoregressive.pixelcnn import PixelCNN
from genmodels.models.autoregressive.pixelcnn_pp import PixelCNNPlusPlus
from genmodels.models.autoregressive.pixelrnn import PixelRNN

__all__ = ["AutoregressiveModel", "GatedPixelCNN", "PixelCNN", "PixelCNNPlusPlus", "PixelRNN"]
