"""What a latent space is good for: paths between examples, the latents of examples, the neighbours of samples."""

from genmodels.latent.interpolation import interpolate, interpolate_examples, lerp, slerp
from genmodels.latent.neighbours import nearest_neighbours
from genmodels.latent.projection import project

__all__ = ["interpolate", "interpolate_examples", "lerp", "nearest_neighbours", "project", "slerp"]
