"""RealNVP."""

import keras

from genmodels.models.flows.bijections import PACKAGE
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.elementwise import ActNorm, unit_interval
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.multiscale import checked_scales, multiscale
from genmodels.models.flows.shapes import Squeeze
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package=PACKAGE)
class RealNVP(NormalizingFlow):
    """RealNVP (Dinh et al. 2016, "Density estimation using Real NVP"): affine couplings of alternating masks.

    An image passes, at each scale, couplings with checkerboard masks, a squeeze, and couplings with channel masks; half
    of the channels are factored out. Points pass couplings of alternating halves. Where the paper has batch
    normalization (whose densities depend on the batch while it trains) there is an `ActNorm` before each coupling, and
    the networks are those of Glow. See `NormalizingFlow` for what every flow offers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        layers: couplings: of each mask a scale for images (the paper: 3), in all for points; None for 3 and 8.
        scales: how often the image is squeezed; None for as often as its sides stay even, down to 4 pixels or more.
        width: units or filters of the hidden layers of the couplings' networks.
        depth: hidden layers of these networks.
        logit: α of the logit that integers pass first (the paper: 0.05); None for none.
        num_classes: number of classes of a conditional model.
        condition_dim: length of a conditional model's real-valued vectors.
        dequantization: "uniform", "variational", or a layer as in `NormalizingFlow`.
        dtype: Keras dtype policy of the networks; the bijections compute in float32.
        name: name of the model.

    Example:
        >>> import genmodels as gm
        >>> model = gm.RealNVP((2,), levels=None, layers=4, width=32)
        >>> points = model.sample(5)
        >>> bool(tf.reduce_all(tf.abs(model.reconstruct(points) - points) < 1e-5))
        True
    """

    title, paper, year = "RealNVP", "Dinh et al., arXiv:1605.08803", 2016

    def __init__(
        self, event_shape, *, levels=256, layers=None, scales=None, width=128, depth=2, logit=0.05, num_classes=None,
        condition_dim=None, dequantization="uniform", dtype=None, name=None,
    ):  # fmt: skip
        scales = checked_scales(event_shape, scales)
        image = len(event_shape) == 3
        layers = checked_count("layers", layers, 1, "None for the default") or (3 if image else 8)
        options = {"width": width, "depth": depth, "dtype": keras.dtype_policies.get(dtype)}

        def couplings(mask):
            pairs = ((ActNorm(), Coupling("affine", mask=mask, swap=bool(i % 2), **options)) for i in range(layers))
            return [part for pair in pairs for part in pair]

        def level(index, last):
            if not image:
                return couplings("halves")
            return [*couplings("checkerboard"), Squeeze(), *couplings("halves")]

        flow = multiscale(event_shape, scales, level, options["dtype"])
        super().__init__(
            event_shape, unit_interval(flow, levels, logit), levels=levels, num_classes=num_classes,
            condition_dim=condition_dim, dequantization=dequantization, dtype=dtype, name=name,
        )  # fmt: skip
