"""What a latent space is good for: paths, directions and planes in it, the latents of examples, their neighbours."""

from genmodels.latent.arithmetic import apply_attribute, arithmetic, attribute_vector, mean_latent
from genmodels.latent.coding import check_latents, encodings, has_encoder
from genmodels.latent.embedding import embed_2d
from genmodels.latent.interpolation import interpolate, interpolate_examples, lerp, slerp, walk
from genmodels.latent.manifold import manifold
from genmodels.latent.neighbours import nearest_neighbours
from genmodels.latent.projection import project
from genmodels.latent.traversal import traverse

__all__ = [
    "apply_attribute",
    "arithmetic",
    "attribute_vector",
    "check_latents",
    "embed_2d",
    "encodings",
    "has_encoder",
    "interpolate",
    "interpolate_examples",
    "lerp",
    "manifold",
    "mean_latent",
    "nearest_neighbours",
    "project",
    "slerp",
    "traverse",
    "walk",
]
