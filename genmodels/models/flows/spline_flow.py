"""Neural spline flows."""

import math

import keras

from genmodels.models.flows.bijections import PACKAGE, Chain
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.elementwise import ActNorm, unit_interval
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.linear import InvertibleLinear
from genmodels.models.flows.masked import MaskedAutoregressive
from genmodels.models.flows.multiscale import checked_scales, multiscale
from genmodels.models.flows.shapes import Flatten, Squeeze
from genmodels.models.flows.transforms import Spline
from genmodels.settings import checked_count, checked_shape

KINDS = ("coupling", "autoregressive")


@keras.saving.register_keras_serializable(package=PACKAGE)
class NeuralSplineFlow(NormalizingFlow):
    """A neural spline flow (Durkan et al. 2019): monotone rational-quadratic splines in place of affine maps.

    Each layer is an ActNorm, an LU-parameterized linear map of the elements or channels, and the splines. Images pass
    several scales as in Glow (coupling), or are flattened (autoregressive). See `NormalizingFlow` for what every flow
    offers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        kind: "coupling" (RQ-NSF (C): densities and samples take one pass), or "autoregressive" (RQ-NSF (AR): samples
            take D passes, densities are a little better).
        layers: layers in all; of images in couplings, layers a scale.
        scales: how often an image is squeezed (coupling); None for as often as its sides stay even, down to 4 pixels or
            more.
        width: units or filters of the hidden layers of the networks; None for 128, and with autoregressive layers for
            at least D, so that every element can see all before it.
        depth: hidden layers of each network.
        bins: bins of each spline.
        bound: half the side of the interval outside which a spline is the identity; the data have variance 1 there.
        logit: α of the logit that integers pass first; None for none.
        num_classes: number of classes of a conditional model.
        condition_dim: length of a conditional model's real-valued vectors.
        dequantization: "uniform", "variational", or a layer as in `NormalizingFlow`.
        dtype: Keras dtype policy of the networks; the bijections compute in float32.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, and those that do not go together.

    Example:
        >>> import genmodels as gm
        >>> model = gm.NeuralSplineFlow((2,), levels=None, layers=2, width=32)
        >>> model.log_prob(tf.zeros([5, 2])).shape, model.sample(3).shape
        (TensorShape([5]), TensorShape([3, 2]))
    """

    title, paper, year = "Neural spline flow", "Durkan et al., arXiv:1906.04032", 2019

    def __init__(
        self, event_shape, *, levels=256, kind="coupling", layers=8, scales=None, width=None, depth=2, bins=8,
        bound=5.0, logit=1e-6, num_classes=None, condition_dim=None, dequantization="uniform", dtype=None, name=None,
    ):  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {kind!r}.")
        if kind == "autoregressive" and scales is not None:
            raise ValueError(f'`scales` does not apply to kind="autoregressive"; got {scales}.')
        layers = checked_count("layers", layers, 1)
        width = checked_count("width", width, 1, "None")
        width = width or max(128, math.prod(checked_shape(event_shape)) if kind == "autoregressive" else 0)
        options = {"width": width, "depth": depth, "dtype": keras.dtype_policies.get(dtype)}
        spline = Spline(bins, bound)

        def level(index, last):
            parts = [Squeeze()] if len(event_shape) == 3 and kind == "coupling" else []
            for _ in range(layers):
                layer = Coupling if kind == "coupling" else MaskedAutoregressive
                parts += [ActNorm(), InvertibleLinear(), layer(spline, **options)]
            return parts

        if kind == "coupling":
            flow = multiscale(event_shape, checked_scales(event_shape, scales), level, options["dtype"])
        else:
            flow = Chain([Flatten(), *level(0, True)])
        super().__init__(
            event_shape, unit_interval(flow, levels, logit), levels=levels, num_classes=num_classes,
            condition_dim=condition_dim, dequantization=dequantization, dtype=dtype, name=name,
        )  # fmt: skip
