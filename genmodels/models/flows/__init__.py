"""Normalizing flows, and the bijections that they are composed of."""

from genmodels.models.flows.bijections import Bijection, Chain, Inverse
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.dequantization import UniformDequantization, VariationalDequantization
from genmodels.models.flows.elementwise import ActNorm, Logit, Scaling, Shift
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.glow import Glow
from genmodels.models.flows.linear import InvertibleLinear
from genmodels.models.flows.shapes import Flatten, Permutation, Split, Squeeze
from genmodels.models.flows.transforms import Additive, Affine, Spline, Transform
