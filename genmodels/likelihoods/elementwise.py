"""Likelihoods of independent elements: Bernoulli, categorical, discretized logistic, normal."""

import dataclasses
import math
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels.likelihoods.likelihood import Likelihood
from genmodels.settings import checked_count

# PixelCNN++ (Salimans et al. 2017) floors log-scales at -7, in units where the data span [-1, 1].
MAX_LOG_SCALE = 7.0


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Binary pixels; the parameters are logits of 1.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.likelihoods import Bernoulli
        >>> likelihood = Bernoulli()
        >>> params = tf.zeros([1, 2, 2, likelihood.parameters(1)])
        >>> round(float(likelihood.log_prob(params, tf.ones([1, 2, 2, 1]))[0]), 4)  # 4 log ½
        -2.7726
    """

    levels: ClassVar[int] = 2

    def parameters(self, channels):
        """One logit a channel."""
        return channels

    def tempered(self, params, temperature):
        """Logits divided by the temperature."""
        return self._checked(params) / temperature

    def _mean(self, params):
        return tf.sigmoid(params)

    def _sample(self, params, uniform):
        return tf.cast(uniform > tf.sigmoid(-params), tf.float32)

    def _elements(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Bernoulli(logits=params, dtype=tf.float32)

    def _log_probs(self, params, x):
        return self._elements(params).log_prob(x)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Categorical(Likelihood):
    """Pixels of unordered levels, a softmax over the levels for each element.

    The parameters are logits; those of one channel lie side by side: [B, ..., C * levels] is read as
    [B, ..., C, levels]. PixelRNN (van den Oord et al. 2016) introduced it with 256 levels.

    Args:
        levels: pixels are 0 … levels-1.

    Raises:
        ValueError: for fewer than 2 levels.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.likelihoods import Categorical
        >>> likelihood = Categorical(levels=4)
        >>> params = tf.zeros([1, 2, 2, likelihood.parameters(3)])  # [1, 2, 2, 12]
        >>> round(float(likelihood.mean(params)[0, 0, 0, 0]), 3)
        1.5
    """

    levels: int

    def __post_init__(self):
        checked_count("levels", self.levels, 2)

    def parameters(self, channels):
        """`levels` logits a channel."""
        return channels * self.levels

    def tempered(self, params, temperature):
        """Logits divided by the temperature."""
        return self._checked(params) / temperature

    def _mean(self, params):
        return tf.linalg.matvec(tf.nn.softmax(self._logits(params)), tf.range(self.levels, dtype=tf.float32))

    def _sample(self, params, uniform):
        cdf = tf.cumsum(tf.nn.softmax(self._logits(params)), axis=-1)
        # The last step of the CDF is left out: rounded below 1, it could be passed.
        return tf.reduce_sum(tf.cast(uniform[..., None] > cdf[..., :-1], tf.float32), axis=-1)

    def _elements(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Categorical(logits=self._logits(params), dtype=tf.int32)

    def _log_probs(self, params, x):
        return self._elements(params).log_prob(tf.cast(x, tf.int32))

    def _logits(self, params):
        channels = params.shape[-1] // self.levels
        return tf.reshape(params, [*dims(params)[:-1], channels, self.levels])


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic(Likelihood):
    """Pixels of ordered levels: a logistic variable rounded to the nearest level, the tails to the ends.

    The first C parameters are means and the last C log-scales, both in units where 0 … levels-1 span [-1, 1].
    The log-scale is bounded smoothly to ±7. `mean` is that of the variable clipped to 0 … levels-1 and not
    rounded: rounding would move it by less than half a level, in jumps. Source: one component of the mixture
    of Salimans et al. 2017 (PixelCNN++).

    Args:
        levels: pixels are 0 … levels-1.

    Raises:
        ValueError: for fewer than 2 levels.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.likelihoods import DiscretizedLogistic
        >>> likelihood = DiscretizedLogistic(levels=256)
        >>> params = tf.zeros([2, 8, 8, likelihood.parameters(3)])  # [2, 8, 8, 6]
        >>> float(likelihood.mean(params)[0, 0, 0, 0])
        127.5
    """

    levels: int
    kinds_apart: ClassVar[bool] = True

    def __post_init__(self):
        checked_count("levels", self.levels, 2)

    def parameters(self, channels):
        """A mean and a log-scale a channel."""
        return 2 * channels

    def tempered(self, params, temperature):
        """Scales multiplied by the temperature."""
        mean, log_scale = tf.split(self._checked(params), 2, axis=-1)
        return tf.concat([mean, _unbounded(_bounded(log_scale) + tf.math.log(tf.cast(temperature, tf.float32)))], -1)

    def _mean(self, params):
        mean, log_scale = self._logistic(params)
        scale, top = tf.exp(log_scale), self.levels - 1.0
        # ∫ σ((μ−y)/s) dy, 0 to top, is s·softplus(μ/s) − s·softplus((μ−top)/s); the clip is its linear part, and
        # log(1 + low) − log(1 + high), here as one logarithm, the rest.
        rate = -1.0 / scale
        low, high = tf.exp(tf.abs(mean) * rate), tf.exp(tf.abs(mean - top) * rate)
        return tf.clip_by_value(mean, 0.0, top) + scale * tf.math.log1p((low - high) / (1.0 + high))

    def _sample(self, params, uniform):
        mean, log_scale = self._logistic(params)
        logit = tf.math.log(uniform) - tf.math.log1p(-uniform)
        return tf.clip_by_value(tf.round(mean + tf.exp(log_scale) * logit), 0.0, self.levels - 1.0)

    def _elements(self, params):
        from tensorflow_probability import distributions as tfd

        mean, log_scale = self._logistic(params)
        # TFP rounds up, hence the shift by half a level.
        return tfd.QuantizedDistribution(tfd.Logistic(mean - 0.5, tf.exp(log_scale)), low=0.0, high=self.levels - 1.0)

    def _log_probs(self, params, x):
        mean, log_scale = self._logistic(params)
        width = tf.exp(-log_scale)  # one level is `width` scales wide
        below = tf.math.log_sigmoid((x + 0.5 - mean) * width)  # log σ(a)
        above = tf.math.log_sigmoid((mean - x + 0.5) * width)  # log σ(−b)
        # σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{−(a−b)}) has no cancellation.
        # The lowest level has all below it, the highest all above. Factors, not `tf.where`, whose gradient is slow.
        ends, begins = tf.cast(x <= self.levels - 1.5, tf.float32), tf.cast(x >= 0.5, tf.float32)
        return ends * below + begins * above + ends * begins * tf.math.log(-tf.math.expm1(-width))

    def _logistic(self, params):
        """Mean and log-scale in pixels."""
        mean, log_scale = tf.split(params, 2, axis=-1)
        half = (self.levels - 1) / 2
        return half * (mean + 1), _bounded(log_scale) + math.log(half)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Normal(Likelihood):
    """Real data of unit order, a normal density with learned mean and scale for each element.

    The first C parameters are means and the last C log-scales. The log-scale is bounded smoothly to ±7, so
    the density stays finite where the data can be fitted exactly.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.likelihoods import Normal
        >>> likelihood = Normal()
        >>> params = tf.zeros([1, likelihood.parameters(2)])  # points in the plane
        >>> round(float(likelihood.log_prob(params, tf.zeros([1, 2]))[0]), 4)  # −log 2π
        -1.8379
    """

    levels: ClassVar[None] = None
    kinds_apart: ClassVar[bool] = True

    def parameters(self, channels):
        """A mean and a log-scale a channel."""
        return 2 * channels

    def tempered(self, params, temperature):
        """Scales multiplied by the temperature."""
        mean, log_scale = tf.split(self._checked(params), 2, axis=-1)
        return tf.concat([mean, _unbounded(_bounded(log_scale) + tf.math.log(tf.cast(temperature, tf.float32)))], -1)

    def _mean(self, params):
        return self._normal(params)[0]

    def _sample(self, params, uniform):
        mean, log_scale = self._normal(params)
        return mean + tf.exp(log_scale) * tf.math.ndtri(uniform)

    def _elements(self, params):
        from tensorflow_probability import distributions as tfd

        mean, log_scale = self._normal(params)
        return tfd.Normal(mean, tf.exp(log_scale))

    def _log_probs(self, params, x):
        return self._elements(params).log_prob(x)

    def _normal(self, params):
        mean, log_scale = tf.split(params, 2, axis=-1)
        return mean, _bounded(log_scale)


def _bounded(log_scale):
    """Identity near zero, ±`MAX_LOG_SCALE` far away; a hard floor would have no gradient to leave it by."""
    return log_scale * tf.math.rsqrt(1 + tf.square(log_scale / MAX_LOG_SCALE))


def _unbounded(log_scale):
    """The inverse of `_bounded`; what lies beyond the bounds becomes very large."""
    inside = tf.clip_by_value(log_scale, -MAX_LOG_SCALE * (1 - 1e-6), MAX_LOG_SCALE * (1 - 1e-6))
    return inside * tf.math.rsqrt(1 - tf.square(inside / MAX_LOG_SCALE))


def dims(tensor):
    """Shape as a list, static where known."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if n is None else n for i, n in enumerate(tensor.shape)]
