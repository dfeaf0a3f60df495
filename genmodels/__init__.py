"""genmodels: generative models in Keras under one training harness."""

import os
import platform

if platform.machine() in ("x86_64", "AMD64"):
    # Read when TensorFlow is loaded, which takes oneDNN's kernels by itself only on CPUs with AVX-512 VNNI; on others
    # a training step then takes up to twice as long (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from genmodels import (
    catalogue,
    cli,
    data,
    evaluation,
    export,
    images,
    latent,
    layers,
    likelihoods,
    networks,
    plots,
    report,
    sampling,
)
from genmodels.core import Batch, GenerativeModel, LatentModel, LikelihoodModel, Objective
from genmodels.data import Dataset, load_data
from genmodels.evaluation import evaluate
from genmodels.images import save_gallery, save_gif, save_grid
from genmodels.latent import interpolate, interpolate_examples
from genmodels.models import diffusion, flows, gans
from genmodels.models.autoencoders import AAE, IWAE, VAE, VQVAE
from genmodels.models.autoregressive import (
    AutoregressiveModel,
    GatedPixelCNN,
    ImageGPT,
    PixelCNN,
    PixelCNNPlusPlus,
    PixelRNN,
    PixelSNAIL,
)
from genmodels.models.diffusion import DDPM, EDM, NCSN, Diffusion, FlowMatching, ImprovedDDPM, LatentDiffusion
from genmodels.models.flows import IAF, MAF, NICE, Glow, NeuralSplineFlow, NormalizingFlow, RealNVP
from genmodels.models.gans import ACGAN, DCGAN, GAN, LSGAN, SAGAN, SNGAN, WGAN, WGANGP, InfoGAN
from genmodels.training.run_directory import load_model

__version__ = "0.1.0"

__all__ = [
    "AAE",
    "ACGAN",
    "DCGAN",
    "DDPM",
    "EDM",
    "GAN",
    "IAF",
    "IWAE",
    "LSGAN",
    "MAF",
    "NCSN",
    "NICE",
    "SAGAN",
    "SNGAN",
    "VAE",
    "VQVAE",
    "WGAN",
    "WGANGP",
    "AutoregressiveModel",
    "Batch",
    "Dataset",
    "Diffusion",
    "FlowMatching",
    "GatedPixelCNN",
    "GenerativeModel",
    "Glow",
    "ImageGPT",
    "ImprovedDDPM",
    "InfoGAN",
    "LatentDiffusion",
    "LatentModel",
    "LikelihoodModel",
    "NeuralSplineFlow",
    "NormalizingFlow",
    "Objective",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelRNN",
    "PixelSNAIL",
    "RealNVP",
    "catalogue",
    "cli",
    "data",
    "diffusion",
    "evaluate",
    "evaluation",
    "export",
    "flows",
    "gans",
    "images",
    "interpolate",
    "interpolate_examples",
    "latent",
    "layers",
    "likelihoods",
    "load_data",
    "load_model",
    "networks",
    "plots",
    "report",
    "sampling",
    "save_gallery",
    "save_gif",
    "save_grid",
]
