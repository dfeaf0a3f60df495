"""What every likelihood offers: shapes are checked here, elements summed, tensors cast to float32."""

import abc
import dataclasses
from typing import ClassVar

import tensorflow as tf


class Likelihood(abc.ABC):
    """p(x | params) over one event; `Bernoulli`, `Categorical`, `DiscretizedLogistic` and `Normal` are final.

    A new one defines the abstract methods, element by element; this class checks shapes and sums elements. One that
    couples channels works pixel by pixel, and also defines `channels`, `uniforms` and `_conditionals`.

    Attributes:
        levels: pixels are the integers 0 … levels-1; None for real-valued data.
        couples_channels: whether a channel depends on those before it, given the network's output.
        kinds_apart: whether the means of all channels come before their scales, say; otherwise the parameters of a
            channel lie side by side.

    Raises:
        ValueError: by its methods, for shapes that do not fit each other.

    Example:
        >>> import genmodels as gm
        >>> nats = gm.likelihoods.Bernoulli().log_prob(tf.zeros([2, 4, 4, 1]), tf.ones([2, 4, 4, 1]))
        >>> nats.shape, round(float(nats[0]), 2)  # 16 log ½
        (TensorShape([2]), -11.09)
    """

    levels: int | None
    couples_channels: ClassVar[bool] = False
    kinds_apart: ClassVar[bool] = False

    def get_config(self):
        """The fields, so that a model built with a likelihood can be saved."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The likelihood of these fields."""
        return cls(**config)

    def log_prob(self, params, x):
        """Log-probability (log-density of real data) of x: float32 [B], nats, summed over the event.

        Args:
            params: network output, [B, ..., `parameters(C)`].
            x: data of any dtype, [B, ..., C], in data units. Pixels are taken to lie in 0 … levels-1.

        Raises:
            ValueError: the shapes do not fit each other.
        """
        params, x = self._fitting(params, x)
        return tf.reduce_sum(self._log_probs(params, x), axis=range(1, x.shape.rank))

    def conditionals(self, params, target, context):
        """Log-probability of each channel of `target` given the pixel's earlier channels: float32 [B, ..., C], nats.

        With `context` equal to `target` it sums to `log_prob`.

        Args:
            params: network output, [B, ..., `parameters(C)`].
            target: data of any dtype, [B, ..., C], in data units.
            context: where the earlier channels are read, [B, ..., C], in data units but not necessarily whole numbers;
                the result is differentiable in it. Ignored where channels are independent.

        Raises:
            ValueError: the shapes do not fit each other.
        """
        params, target = self._fitting(params, target)
        return self._conditionals(params, target, tf.cast(context, tf.float32))

    def mean(self, params):
        """Expected x: float32 [B, ..., C] in data units, unrounded and differentiable.

        Args:
            params: network output, [B, ..., `parameters(C)`].

        Raises:
            ValueError: the last axis of `params` is `parameters(C)` for no C.
        """
        return self._mean(self._checked(params))

    def sample(self, params, uniform):
        """One x by inverse CDF: float32 [B, ..., C] in data units.

        Where channels are independent each element has its own number, and a greater one gives no smaller x.

        Args:
            params: network output, [B, ..., `parameters(C)`].
            uniform: independent numbers in the open interval (0, 1), [B, ..., `uniforms(C)`].

        Raises:
            ValueError: the shapes do not fit each other.
        """
        params, uniform = self._checked(params), tf.cast(uniform, tf.float32)
        needed = [*params.shape[:-1], self.uniforms(self.channels(params.shape[-1]))]
        if not uniform.shape.is_compatible_with(needed):
            raise ValueError(
                f"{type(self).__name__} needs `uniform` of shape {needed} for `params` of shape "
                f"{[*params.shape]}; got {[*uniform.shape]}."
            )
        return self._sample(params, uniform)

    def distribution(self, params):
        """The TFP distribution of batch shape [B] over events of [..., C], in data units.

        Args:
            params: network output, [B, ..., `parameters(C)`].

        Raises:
            ValueError: the last axis of `params` is `parameters(C)` for no C.
        """
        from tensorflow_probability import distributions as tfd

        elements = self._elements(self._checked(params))
        return tfd.Independent(elements, reinterpreted_batch_ndims=elements.batch_shape.rank - 1)

    def uniforms(self, channels):
        """How many uniform numbers `sample` takes for the `channels` elements of a pixel."""
        return channels

    def channels(self, parameters):
        """How many data channels that many parameters are for, the inverse of `parameters`; 0 where for none."""
        each = self.parameters(1)
        return 0 if parameters % each else parameters // each

    @abc.abstractmethod
    def tempered(self, params, temperature):
        """Parameters of a distribution that is narrower for temperatures below 1, wider above."""

    @abc.abstractmethod
    def parameters(self, channels):
        """Number of network output channels needed for `channels` data channels."""

    @abc.abstractmethod
    def _log_probs(self, params, x):
        """Log-probability of each element, [B, ..., C], or pixel, [B, ..., 1]; all tensors are float32 from here on."""

    @abc.abstractmethod
    def _mean(self, params):
        """Mean of each element, [B, ..., C]."""

    @abc.abstractmethod
    def _sample(self, params, uniform):
        """Quantile of each element, [B, ..., C]."""

    @abc.abstractmethod
    def _elements(self, params):
        """TFP distribution of batch shape [B, ..., C] over scalars, or [B, ...] over pixels of C channels."""

    def _conditionals(self, params, target, context):
        """Log-probability of each element given the earlier channels of the context, [B, ..., C]."""
        return self._log_probs(params, target)

    def _checked(self, params):
        params = tf.cast(params, tf.float32)
        if params.shape.rank is None or params.shape.rank < 2 or not self.channels(params.shape[-1]):
            sizes = ", ".join(str(self.parameters(channels)) for channels in (1, 2, 3))
            raise ValueError(
                f"{type(self).__name__} needs `params` of shape [batch, ..., n] with n one of {sizes}, … for 1, 2, 3, "
                f"… channels; got {params.shape}."
            )
        return params

    def _fitting(self, params, x):
        """Parameters and data in float32, their shapes checked against each other."""
        params, x = self._checked(params), tf.cast(x, tf.float32)
        needed = [*x.shape[:-1], self.parameters(x.shape[-1])]
        if not params.shape.is_compatible_with(needed):
            raise ValueError(
                f"{type(self).__name__} needs `params` of shape {needed} for data of shape {[*x.shape]}; "
                f"got {[*params.shape]}."
            )
        return params, x
