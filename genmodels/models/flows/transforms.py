"""Elementwise maps with given parameters: what couplings and masked autoregressive layers apply to each element."""

import math
import numbers

import keras
import tensorflow as tf

from genmodels.compiling import fused
from genmodels.models.flows.splines import MIN_SIZE, rational_quadratic
from genmodels.settings import checked_count


class Transform:
    """A monotone map of each element, whose `parameters` numbers an element are given by a network.

    `forward(x, raw)` and `inverse(z, raw)` take x `[…, D]` and raw `[…, D * parameters]`, and return the result and
    the logarithm of its derivative, each `[…, D]`. Zeros as parameters give the identity.

    Raises:
        TypeError: when a method is called that the subclass lacks.

    Example:
        >>> import genmodels as gm
        >>> @keras.saving.register_keras_serializable(package="mine")
        ... class Scale(gm.flows.Transform):
        ...     parameters = 1
        ...     def forward(self, x, raw):
        ...         return x * tf.exp(raw), raw
        ...     def inverse(self, z, raw):
        ...         return z * tf.exp(-raw), -raw
        >>> gm.flows.Coupling(Scale(), width=8)(tf.ones([5, 2]))[0].shape
        TensorShape([5, 2])
    """

    parameters: int

    def forward(self, x, raw):
        """z and log dz/dx."""
        raise TypeError(f"{type(self).__name__} must define `forward(x, raw)`.")

    def inverse(self, z, raw):
        """x and log dx/dz."""
        raise TypeError(f"{type(self).__name__} must define `inverse(z, raw)`.")

    def get_config(self):
        """The constructor's arguments."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config):
        """The transform that `get_config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="genmodels")
class Additive(Transform):
    """z = x + t (NICE, Dinh et al. 2014): volume is kept.

    Example:
        >>> z, log_derivative = Additive().forward(tf.constant([1.0]), tf.constant([2.0]))
        >>> z.numpy().tolist(), log_derivative.numpy().tolist()
        ([3.0], [0.0])
    """

    parameters = 1

    def forward(self, x, raw):
        """z and zeros."""
        return x + raw, tf.zeros_like(x)

    def inverse(self, z, raw):
        """x and zeros."""
        return z - raw, tf.zeros_like(z)


@keras.saving.register_keras_serializable(package="genmodels")
class Affine(Transform):
    """z = x exp(s) + t (RealNVP, Dinh et al. 2016), with s = bound · tanh(raw / bound).

    Args:
        bound: the largest |s|: one layer scales by at most exp(bound), so that neither direction overflows.

    Raises:
        ValueError: for a bound that is not a finite number above 0.

    Example:
        >>> z, log_derivative = Affine().forward(tf.constant([1.0]), tf.constant([0.0, 2.0]))  # s = 0, t = 2
        >>> z.numpy().tolist(), log_derivative.numpy().tolist()
        ([3.0], [0.0])
    """

    parameters = 2

    def __init__(self, bound=3.0):
        self.bound = checked_bound(bound)

    def forward(self, x, raw):
        """z and s."""
        scale, shift = self._scale_and_shift(raw)
        return x * tf.exp(scale) + shift, scale

    def inverse(self, z, raw):
        """x and -s."""
        scale, shift = self._scale_and_shift(raw)
        return (z - shift) * tf.exp(-scale), -scale

    def _scale_and_shift(self, raw):
        scale, shift = tf.split(raw, 2, axis=-1)
        return self.bound * tf.tanh(scale / self.bound), shift


@keras.saving.register_keras_serializable(package="genmodels")
class Spline(Transform):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside (Durkan et al. 2019).

    Args:
        bins: number of bins K; 3 K - 1 parameters an element.
        bound: half the side of the interval.

    Raises:
        ValueError: for fewer than 2 bins, too many, and a bound that is not a finite number above 0.

    Example:
        >>> z, _ = Spline(bins=4).forward(tf.constant([[0.5]]), tf.zeros([1, 11]))
        >>> abs(float(z[0, 0]) - 0.5) < 1e-6
        True
    """

    def __init__(self, bins=8, bound=5.0):
        self.bins = checked_count("bins", bins, 2)
        if self.bins * MIN_SIZE >= 1:
            raise ValueError(f"`bins` must be below {1 / MIN_SIZE:.0f}; got {bins}.")
        self.bound = checked_bound(bound)

    @property
    def parameters(self):
        """3 K - 1: widths, heights, and slopes at the inner knots."""
        return 3 * self.bins - 1

    def forward(self, x, raw):
        """z and log dz/dx."""
        return spline(x, raw, bins=self.bins, bound=self.bound, inverse=False)

    def inverse(self, z, raw):
        """x and log dx/dz."""
        return spline(z, raw, bins=self.bins, bound=self.bound, inverse=True)


def spline(x, raw, *, bins, bound, inverse):
    """`rational_quadratic` of one tensor of parameters, `[…, D * (3 bins - 1)]`."""
    # Parameters first, elements last: compilers vectorize along the last axis. The transpose is TensorFlow's own, which
    # uses all cores.
    raw = tf.transpose(tf.reshape(raw, [-1, 3 * bins - 1]))  # [P, N]
    results = _spline(tf.reshape(x, [-1]), raw, bins=bins, bound=bound, inverse=inverse)
    return tuple(tf.reshape(result, tf.shape(x)) for result in results)


@fused
def _spline(x, raw, *, bins, bound, inverse):
    parameters = tf.split(tf.transpose(raw), [bins, bins, bins - 1], axis=-1)
    return rational_quadratic(x, *parameters, bound=bound, inverse=inverse)


NAMES = {"additive": Additive, "affine": Affine, "spline": Spline}


def checked_bound(bound) -> float:
    """A finite number above 0, or a ValueError."""
    if isinstance(bound, bool) or not isinstance(bound, numbers.Real) or not 0 < bound < math.inf:
        raise ValueError(f"`bound` must be a finite number above 0; got {bound!r}.")
    return float(bound)


def get(transform) -> Transform:
    """The transform that a name stands for, or the object itself."""
    if isinstance(transform, Transform):
        return transform
    if transform not in NAMES:
        raise ValueError(f"`transform` must be one of {', '.join(NAMES)}, or a Transform; got {transform!r}.")
    return NAMES[transform]()
