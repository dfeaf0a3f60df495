"""Keras layers that models share, by kind."""

from genmodels.layers.causal import CausalConv2D, CausalLayer, Sees, Shift, SpaceFromDepth
from genmodels.layers.channels import ChannelHead
from genmodels.layers.gates import Gate

__all__ = ["CausalConv2D", "CausalLayer", "ChannelHead", "Gate", "Sees", "Shift", "SpaceFromDepth"]
