"""Bijections of each element or channel alone: activation normalization, scaling, logit."""

import math

import keras
import tensorflow as tf

from genmodels.models.flows.bijections import PACKAGE, Bijection, Chain, constant_log_det, positions, sum_over_event


@keras.saving.register_keras_serializable(package=PACKAGE)
class ActNorm(Bijection):
    """A scale and a shift for each channel (Kingma & Dhariwal 2018), set by the first batch that it is trained on.

    The first call with `training=True` sets them so that its outputs have mean 0 and variance 1, in eager mode, graphs
    and XLA; channels that are constant keep their scale.

    Example:
        >>> z, log_det = ActNorm()(tf.constant([[1.0], [5.0]]), training=True)
        >>> z.numpy().tolist()
        [[-1.0], [1.0]]
    """

    def build(self, x_shape, condition_shape=None):
        """Creates scale, shift and the mark that they are set."""
        # Of several replicas, each with a part of the first batch, one sets them for all.
        options = {"shape": (x_shape[-1],), "initializer": "zeros", "aggregation": "only_first_replica"}
        self.log_scale = self.add_weight(**options, name="log_scale")
        self.shift = self.add_weight(**options, name="shift")
        # An integer: averages of weights leave it alone.
        self.initialized = self.add_weight((), initializer="zeros", dtype="int32", trainable=False, name="initialized")
        self.built = True

    def call(self, x, condition=None, training=False):
        """`forward_and_log_det`, after the first batch of training has set the weights."""
        if training:
            self._initialize(x)
        return self.forward_and_log_det(x)

    def _initialize(self, x):
        # Neither a Python flag (Keras builds symbolically) nor tf.cond (XLA) works: always assign, choose by `done`.
        x = tf.stop_gradient(x)
        first = x[(0,) * (x.shape.rank - 1)]  # [C]; without it the variance of a large constant is rounding, not 0
        mean, variance = tf.nn.moments(x - first, list(range(x.shape.rank - 1)))
        mean += first
        varies = variance > 1e-12 * (1.0 + mean**2)
        log_scale = tf.where(varies, -0.5 * tf.math.log(tf.where(varies, variance, 1.0)), 0.0)
        done = self.initialized.value > 0
        self.log_scale.assign(tf.where(done, self.log_scale.value, log_scale))
        self.shift.assign(tf.where(done, self.shift.value, -mean * tf.exp(log_scale)))
        self.initialized.assign(tf.ones_like(self.initialized.value))

    def forward_and_log_det(self, x, condition=None):
        """z = x exp(s) + t and H·W Σ s."""
        log_det = positions(x.shape) * tf.reduce_sum(self.log_scale.value)
        return x * tf.exp(self.log_scale.value) + self.shift.value, constant_log_det(log_det, x)

    def inverse_and_log_det(self, z, condition=None):
        """x and -H·W Σ s."""
        log_det = positions(z.shape) * tf.reduce_sum(self.log_scale.value)
        return (z - self.shift.value) * tf.exp(-self.log_scale.value), constant_log_det(-log_det, z)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Scaling(Bijection):
    """A learned scale for each element, z = x exp(s): the last layer of NICE (Dinh et al. 2014).

    Example:
        >>> z, log_det = Scaling()(tf.ones([2, 3]))  # s = 0 at first
        >>> z.shape, log_det.numpy().tolist()
        (TensorShape([2, 3]), [0.0, 0.0])
    """

    def build(self, x_shape, condition_shape=None):
        """Creates the scales, 1 at first."""
        self.log_scale = self.add_weight(x_shape[1:], initializer="zeros", name="log_scale")
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and Σ s."""
        return x * tf.exp(self.log_scale.value), constant_log_det(tf.reduce_sum(self.log_scale.value), x)

    def inverse_and_log_det(self, z, condition=None):
        """x and -Σ s."""
        return z * tf.exp(-self.log_scale.value), constant_log_det(-tf.reduce_sum(self.log_scale.value), z)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Logit(Bijection):
    """The open unit interval to the real line: z = logit(α + (1 − 2 α) x) (Dinh et al. 2016).

    Args:
        alpha: keeps 0 and 1 away from the infinities; x may then lie in [0, 1].
        dtype: Keras dtype policy.
        name: name of the layer.

    Raises:
        ValueError: for an α that is not at least 0 and below ½.

    Example:
        >>> Logit().forward(tf.constant([[0.5]])).numpy().tolist()
        [[0.0]]
    """

    def __init__(self, alpha=0.0, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        if not 0 <= alpha < 0.5:
            raise ValueError(f"`alpha` must be at least 0 and below 0.5; got {alpha}.")
        self.alpha = alpha

    def forward_and_log_det(self, x, condition=None):
        """z and Σ log dz/dx."""
        p = self.alpha + (1.0 - 2.0 * self.alpha) * x
        z = tf.math.log(p) - tf.math.log1p(-p)
        return z, sum_over_event(tf.nn.softplus(z) + tf.nn.softplus(-z) + math.log(1.0 - 2.0 * self.alpha))

    def inverse_and_log_det(self, z, condition=None):
        """x and Σ log dx/dz."""
        x = (tf.sigmoid(z) - self.alpha) / (1.0 - 2.0 * self.alpha)
        return x, -sum_over_event(tf.nn.softplus(z) + tf.nn.softplus(-z) + math.log(1.0 - 2.0 * self.alpha))


def unit_interval(flow, levels, logit) -> Bijection:
    """A flow of real numbers as one of the model's data: integers, scaled to [0, 1], pass a logit first or are centred.

    Args:
        flow: the flow.
        levels: number of pixel values; None for real numbers, which are left alone.
        logit: α of the logit, or None to subtract ½.

    Raises:
        ValueError: for an α that is not between 0 and ½.
    """
    if logit is not None and not 0 < logit < 0.5:
        raise ValueError(f"`logit` must be above 0 and below 0.5, or None for no logit; got {logit!r}.")
    if levels is None:
        return flow
    return Chain([Offset(-0.5) if logit is None else Logit(logit), flow])


@keras.saving.register_keras_serializable(package=PACKAGE)
class Offset(Bijection):
    """z = x + offset, a constant.

    Args:
        offset: the constant.
        dtype: Keras dtype policy.
        name: name of the layer.

    Example:
        >>> Offset(-0.5).forward(tf.constant([[1.0]])).numpy().tolist()
        [[0.5]]
    """

    def __init__(self, offset, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        self.offset = float(offset)

    def forward_and_log_det(self, x, condition=None):
        """z and zeros."""
        return x + self.offset, constant_log_det(0.0, x)

    def inverse_and_log_det(self, z, condition=None):
        """x and zeros."""
        return z - self.offset, constant_log_det(0.0, z)
