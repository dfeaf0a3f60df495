"""Coupling layers: one part of the input is transformed, element by element, as a network of the other part says."""

import keras
import tensorflow as tf

from genmodels import networks
from genmodels.models.flows import transforms
from genmodels.models.flows.bijections import PACKAGE, Bijection, sum_over_event
from genmodels.models.flows.conditioners import conditioner
from genmodels.settings import checked_count

MASKS = ("halves", "checkerboard")


@keras.saving.register_keras_serializable(package=PACKAGE)
class Coupling(Bijection):
    """z_a = x_a, z_b = T(x_b; network(x_a, condition)): inverted without inverting the network (Dinh et al. 2014).

    Args:
        transform: T: "additive", "affine", "spline", or an object of `genmodels.flows`.
        mask: "halves": x_a is the first half of the last axis; "checkerboard": x_a is the pixels whose row and column
            sum to an even number (images only).
        swap: exchange the roles of the two parts.
        width: units, or filters, of the default network's hidden layers.
        depth: its hidden layers.
        network: a Keras model of one's own, or the path of its file, from x_a (and the condition, as second input) to
            the transform's parameters, `[…, elements of x_b * transform.parameters]` on the last axis. With a
            checkerboard its input is the whole image with zeros in place of x_b, its output that of every pixel.
        dtype: Keras dtype policy of the network; the bijection itself computes in float32.
        name: name of the layer.

    Raises:
        ValueError: for another mask or transform, and when built for a network of other shapes, one channel without a
            checkerboard, and a checkerboard of points.

    Example:
        >>> import genmodels as gm
        >>> coupling = gm.flows.Coupling("affine", width=16)
        >>> z, log_det = coupling(tf.ones([5, 3]))
        >>> z.shape, log_det.shape
        (TensorShape([5, 3]), TensorShape([5]))
    """

    def __init__(
        self, transform="affine", *, mask="halves", swap=False, width=128, depth=2, network=None, dtype="float32",
        name=None,
    ):  # fmt: skip
        super().__init__(dtype=dtype, name=name)
        if mask not in MASKS:
            raise ValueError(f"`mask` must be one of {', '.join(MASKS)}; got {mask!r}.")
        self.transform = transforms.get(transform)
        self.mask, self.swap = mask, swap
        self.network = networks.given(self, "network", network)
        self.width, self.depth = checked_count("width", width, 1), checked_count("depth", depth, 0)

    def build(self, x_shape, condition_shape=None):
        """Creates the network, or checks the given one."""
        *grid, last = x_shape[1:]
        self.kept = last // 2  # a single dimension is transformed, as the condition says
        if self.mask == "checkerboard":
            if len(grid) != 2:
                raise ValueError(f"a checkerboard is of images [B, H, W, C]; got shape {tuple(x_shape)}.")
            inputs, outputs = (*grid, last), (*grid, last * self.transform.parameters)
        elif grid and not self.kept:
            raise ValueError(f"one channel has no halves: squeeze it, or take a checkerboard; got {tuple(x_shape)}.")
        else:
            inputs, outputs = (*grid, self.kept), (*grid, (last - self.kept) * self.transform.parameters)
        condition = () if condition_shape is None else (tuple(condition_shape[1:]),)
        if self.network is None:
            options = {"width": self.width, "depth": self.depth, "dtype": self.dtype_policy}
            self.network = conditioner(inputs, outputs, *condition, **options)
        else:
            networks.check("network", self.network, (inputs, *condition), outputs)
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and log |det ∂z/∂x|."""
        return self._apply(self.transform.forward, x, condition)

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|."""
        return self._apply(self.transform.inverse, z, condition)

    def _apply(self, transform, x, condition):
        if self.mask == "checkerboard":
            keep = self._board(x)
            changed, slopes = transform(x, self._parameters(tf.where(keep, x, 0.0), condition))
            return tf.where(keep, x, changed), sum_over_event(tf.where(keep, 0.0, slopes))
        last = x.shape[-1]
        sizes = [last - self.kept, self.kept] if self.swap else [self.kept, last - self.kept]
        first, second = tf.split(x, sizes, axis=-1)
        if self.swap:
            first, slopes = transform(first, self._parameters(second, condition))
        else:
            second, slopes = transform(second, self._parameters(first, condition))
        return tf.concat([first, second], -1), sum_over_event(slopes)

    def _parameters(self, x, condition):
        raw = self.network(x if condition is None else [x, condition])
        return tf.cast(raw, x.dtype)

    def _board(self, x):
        """True where a pixel is kept, `[1, H, W, 1]`."""
        rows, columns = tf.range(x.shape[1])[:, None], tf.range(x.shape[2])
        return ((rows + columns) % 2 == int(self.swap))[None, :, :, None]
