"""Diffusion models: schedules, predictions, networks and solvers that compose, and the models of the papers."""

from genmodels.models.diffusion.ddpm import DDPM, ImprovedDDPM
from genmodels.models.diffusion.diffusion import Diffusion
from genmodels.models.diffusion.editing import inpaint, noised, sdedit
from genmodels.models.diffusion.edm import EDM
from genmodels.models.diffusion.flow_matching import FlowMatching
from genmodels.models.diffusion.latent import LatentDiffusion
from genmodels.models.diffusion.ncsn import NCSN
from genmodels.models.diffusion.networks import mlp_denoiser, unet
from genmodels.models.diffusion.predictions import Prediction, Weighting
from genmodels.models.diffusion.schedules import (
    Cosine,
    Karras,
    Linear,
    Schedule,
    Sigmoid,
    Straight,
    VarianceExploding,
    VariancePreserving,
    ZeroTerminalSNR,
)
from genmodels.models.diffusion.trajectory import trajectory

__all__ = [
    "DDPM",
    "EDM",
    "NCSN",
    "Cosine",
    "Diffusion",
    "FlowMatching",
    "ImprovedDDPM",
    "Karras",
    "LatentDiffusion",
    "Linear",
    "Prediction",
    "Schedule",
    "Sigmoid",
    "Straight",
    "VarianceExploding",
    "VariancePreserving",
    "Weighting",
    "ZeroTerminalSNR",
    "inpaint",
    "mlp_denoiser",
    "noised",
    "sdedit",
    "trajectory",
    "unet",
]
