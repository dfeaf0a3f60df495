"""Normalizing flows, and the bijections that they are composed of."""

from genmodels.models.flows.bijections import Bijection, Chain, Inverse, Recomputed
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.dequantization import UniformDequantization, VariationalDequantization
from genmodels.models.flows.elementwise import ActNorm, Logit, Offset, Scaling
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.glow import Glow
from genmodels.models.flows.linear import InvertibleLinear
from genmodels.models.flows.maf import IAF, MAF
from genmodels.models.flows.masked import MaskedAutoregressive, MaskedDense, made
from genmodels.models.flows.nice import NICE
from genmodels.models.flows.realnvp import RealNVP
from genmodels.models.flows.shapes import Flatten, Permutation, Split, Squeeze
from genmodels.models.flows.spline_flow import NeuralSplineFlow
from genmodels.models.flows.splines import rational_quadratic
from genmodels.models.flows.transforms import Additive, Affine, Spline, Transform

__all__ = [
    "IAF",
    "MAF",
    "NICE",
    "ActNorm",
    "Additive",
    "Affine",
    "Bijection",
    "Chain",
    "Coupling",
    "Flatten",
    "Glow",
    "Inverse",
    "InvertibleLinear",
    "Logit",
    "MaskedAutoregressive",
    "MaskedDense",
    "NeuralSplineFlow",
    "NormalizingFlow",
    "Offset",
    "Permutation",
    "RealNVP",
    "Recomputed",
    "Scaling",
    "Spline",
    "Split",
    "Squeeze",
    "Transform",
    "UniformDequantization",
    "VariationalDequantization",
    "made",
    "rational_quadratic",
]
