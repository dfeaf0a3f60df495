"""Autoregressive models."""

from genmodels.models.autoregressive.autoregressive import AutoregressiveModel
from genmodels.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from genmodels.models.autoregressive.image_gpt import ImageGPT
from genmodels.models.autoregressive.pixelcnn import PixelCNN
from genmodels.models.autoregressive.pixelcnn_pp import PixelCNNPlusPlus
from genmodels.models.autoregressive.pixelrnn import PixelRNN
from genmodels.models.autoregressive.pixelsnail import PixelSNAIL

__all__ = [
    "AutoregressiveModel",
    "GatedPixelCNN",
    "ImageGPT",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelRNN",
    "PixelSNAIL",
]
