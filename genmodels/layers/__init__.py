"""Keras layers that models share, by kind."""

from genmodels.layers.attention import CausalAttention, PositionEmbedding, RasterShift
from genmodels.layers.causal import CausalConv2D, CausalLayer, Sees, Shift, SpaceFromDepth
from genmodels.layers.channels import ChannelHead
from genmodels.layers.convolution import FastConv2D, FastConv2DTranspose
from genmodels.layers.embedding import SinusoidalEmbedding
from genmodels.layers.gates import ConcatELU, Gate, LinearGate
from genmodels.layers.normalization import FusedBatchNormalization, FusedGroupNormalization, synchronize_batch_norm
from genmodels.layers.recompute import Recompute
from genmodels.layers.recurrent import DiagonalLSTM, RowLSTM

__all__ = [
    "CausalAttention",
    "CausalConv2D",
    "CausalLayer",
    "ChannelHead",
    "ConcatELU",
    "DiagonalLSTM",
    "FastConv2D",
    "FastConv2DTranspose",
    "FusedBatchNormalization",
    "FusedGroupNormalization",
    "Gate",
    "LinearGate",
    "PositionEmbedding",
    "RasterShift",
    "Recompute",
    "RowLSTM",
    "Sees",
    "Shift",
    "SinusoidalEmbedding",
    "SpaceFromDepth",
    "synchronize_batch_norm",
]
