"""NICE."""

import math

import keras

from genmodels.models.flows.bijections import PACKAGE, Chain
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.elementwise import Scaling
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.shapes import Flatten, Permutation
from genmodels.settings import checked_count, checked_shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class NICE(NormalizingFlow):
    """NICE (Dinh et al. 2014, "Non-linear Independent Components Estimation"): additive couplings, then a scaling.

    Images are flattened, and their even and odd elements are the two parts, as in the paper, whose settings the
    defaults are: four couplings of five hidden layers of 1000 units, and a logistic prior. See `NormalizingFlow` for
    what every flow offers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        layers: number of couplings; at least 3 let every element depend on every other.
        width: units of the hidden layers of the couplings' networks.
        depth: hidden layers of these networks.
        prior: of the latents: "logistic" or "normal".
        num_classes: number of classes of a conditional model.
        condition_dim: length of a conditional model's real-valued vectors.
        dequantization: "uniform", "variational", or a layer as in `NormalizingFlow`.
        dtype: Keras dtype policy of the networks; the bijections compute in float32.
        name: name of the model.

    Example:
        >>> import genmodels as gm
        >>> model = gm.NICE((8, 8, 1), levels=17, width=32, depth=1)
        >>> model.sample(4).shape
        TensorShape([4, 8, 8, 1])
    """

    title, paper, year = "NICE", "Dinh et al., arXiv:1410.8516", 2014

    def __init__(
        self, event_shape, *, levels=256, layers=4, width=1000, depth=5, prior="logistic", num_classes=None,
        condition_dim=None, dequantization="uniform", dtype=None, name=None,
    ):  # fmt: skip
        policy = keras.dtype_policies.get(dtype)
        size = math.prod(checked_shape(event_shape))
        parts = [Flatten(), Permutation((*range(0, size, 2), *range(1, size, 2)))]
        for index in range(checked_count("layers", layers, 1)):
            parts.append(Coupling("additive", swap=bool(index % 2), width=width, depth=depth, dtype=policy))
        super().__init__(
            event_shape, Chain([*parts, Scaling()]), levels=levels, num_classes=num_classes,
            condition_dim=condition_dim, prior=prior, dequantization=dequantization, dtype=dtype, name=name,
        )  # fmt: skip
