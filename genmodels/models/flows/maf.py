"""MAF and IAF: flows of masked autoregressive layers."""

import math

import keras

from genmodels.models.flows.bijections import PACKAGE, Chain, Inverse
from genmodels.models.flows.elementwise import ActNorm, unit_interval
from genmodels.models.flows.flow import NormalizingFlow
from genmodels.models.flows.masked import MaskedAutoregressive
from genmodels.models.flows.shapes import Flatten, Permutation
from genmodels.settings import checked_count, checked_shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class MAF(NormalizingFlow):
    """A masked autoregressive flow (Papamakarios et al. 2017): layers of MADE, the order of elements reversed between.

    Densities take one pass of each layer's network, samples D passes. Images are flattened, and their pixels go through
    a logit. ActNorm before each layer is in place of the paper's batch normalization. See `NormalizingFlow` for what
    every flow offers.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        layers: autoregressive layers; the paper has 5 and 10.
        width: units of the hidden layers of each network; None for D, and at least 128.
        depth: hidden layers of each network.
        transform: "affine" as in the paper, "additive", "spline", or an object of `genmodels.flows`.
        logit: α of the logit that integers pass first, None for none; the paper has 1e-6 for MNIST, 0.05 for CIFAR-10.
        num_classes: number of classes of a conditional model.
        condition_dim: length of a conditional model's real-valued vectors.
        dequantization: "uniform", "variational", or a layer as in `NormalizingFlow`.
        dtype: Keras dtype policy of the networks; the bijections compute in float32.
        name: name of the model.

    Example:
        >>> import genmodels as gm
        >>> model = gm.MAF((2,), levels=None, layers=2, width=16)
        >>> history = model.fit(np.random.default_rng(0).normal(size=(64, 2)).astype("float32"), steps=2, verbose=0)
        >>> model.log_prob(tf.zeros([5, 2])).shape, model.sample(3).shape
        (TensorShape([5]), TensorShape([3, 2]))
    """

    title, paper, year = "MAF", "Papamakarios et al., arXiv:1705.07057", 2017

    def __init__(
        self, event_shape, *, levels=256, layers=5, width=None, depth=2, transform="affine", logit=0.05,
        num_classes=None, condition_dim=None, dequantization="uniform", dtype=None, name=None,
    ):  # fmt: skip
        layers = checked_count("layers", layers, 1)
        width = checked_count("width", width, 1, "None for D, and at least 128")
        width = width or max(128, math.prod(checked_shape(event_shape)))
        policy = keras.dtype_policies.get(dtype)
        parts = [Flatten()]
        for index in range(layers):
            layer = MaskedAutoregressive(transform, width=width, depth=depth, dtype=policy)
            parts += [Permutation("reverse")] if index else []
            parts += [ActNorm(), self._directed(layer)]
        super().__init__(
            event_shape, unit_interval(Chain(parts), levels, logit), levels=levels, num_classes=num_classes,
            condition_dim=condition_dim, dequantization=dequantization, dtype=dtype, name=name,
        )  # fmt: skip

    @staticmethod
    def _directed(layer):
        """The layer in the direction in which its network reads the data."""
        return layer


@keras.saving.register_keras_serializable(package=PACKAGE)
class IAF(MAF):
    """An inverse autoregressive flow (Kingma et al. 2016): MAF turned around, whose networks read the latents.

    Samples take one pass of each layer's network, densities, and so training, D passes. The arguments are MAF's.

    Example:
        >>> import genmodels as gm
        >>> model = gm.IAF((2,), levels=None, layers=2, width=16)
        >>> model.log_prob(tf.zeros([5, 2])).shape, model.sample(3).shape
        (TensorShape([5]), TensorShape([3, 2]))
    """

    title, paper, year = "IAF", "Kingma et al., arXiv:1606.04934", 2016

    @staticmethod
    def _directed(layer):
        """The layer turned around."""
        return Inverse(layer)
