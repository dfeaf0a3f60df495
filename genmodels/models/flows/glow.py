"""Glow."""

import keras

from genmodels.models.flows.bijections import PACKAGE, Chain, Recomputed
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.elementwise import ActNorm, unit_interval
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.linear import InvertibleLinear
from genmodels.models.flows.multiscale import checked_scales, multiscale
from genmodels.models.flows.shapes import Squeeze
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package=PACKAGE)
class Glow(NormalizingFlow):
    """Glow (Kingma & Dhariwal 2018): steps of ActNorm, invertible 1×1 convolution and coupling, over several scales.

    The paper has 32 steps a scale of 512 filters, and 3 scales; the defaults here train on a laptop. Images of any even
    size; points have one scale. See `NormalizingFlow` for what every flow offers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        steps: steps a scale.
        scales: how often the image is squeezed; None for as often as its sides stay even, down to 4 pixels or more.
        width: filters of the hidden layers of the couplings' networks.
        depth: hidden layers of these networks.
        transform: of the couplings: "affine" as in the paper, "additive", "spline", or an object of `genmodels.flows`.
        logit: α of the logit that integers pass first; None for none, as in the paper.
        num_classes: number of classes of a conditional model.
        condition_dim: length of a conditional model's real-valued vectors.
        dequantization: "uniform", "variational", or a layer as in `NormalizingFlow`.
        recompute: compute the steps again for the gradient, in place of keeping their activations: less memory, for
            one more forward pass.
        dtype: Keras dtype policy of the networks; the bijections compute in float32.
        name: name of the model.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.Glow(train.event_shape, levels=train.levels, steps=2, width=16)
        >>> history = model.fit(train, steps=2, verbose=0)
        >>> model.sample(4, temperature=0.7).shape
        TensorShape([4, 8, 8, 1])
    """

    title, paper, year = "Glow", "Kingma & Dhariwal, arXiv:1807.03039", 2018

    def __init__(
        self, event_shape, *, levels=256, steps=16, scales=None, width=128, depth=2, transform="affine", logit=None,
        num_classes=None, condition_dim=None, dequantization="uniform", recompute=False, dtype=None, name=None,
    ):  # fmt: skip
        steps = checked_count("steps", steps, 1)
        scales = checked_scales(event_shape, scales)
        policy = keras.dtype_policies.get(dtype)

        def level(index, last):
            parts = [Squeeze()] if len(event_shape) == 3 else []
            for _ in range(steps):
                coupling = Coupling(transform, width=width, depth=depth, dtype=policy)
                step = [ActNorm(), InvertibleLinear(), coupling]
                parts += [Recomputed(Chain(step))] if recompute else step
            return parts

        flow = multiscale(event_shape, scales, level, policy)
        super().__init__(
            event_shape, unit_interval(flow, levels, logit), levels=levels, num_classes=num_classes,
            condition_dim=condition_dim, dequantization=dequantization, dtype=dtype, name=name,
        )  # fmt: skip
