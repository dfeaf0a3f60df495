"""The discretized logistic mixture of PixelCNN++, which couples the channels of a pixel."""

import dataclasses
import math
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels.likelihoods.elementwise import DiscretizedLogistic, dims
from genmodels.likelihoods.likelihood import Likelihood
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class LogisticMixture(Likelihood):
    """A mixture of discretized logistics for each pixel, whose channels see those before them.

    One of K mixtures is chosen for the pixel with all its channels. Within it the mean of channel c is
    m_c + Σ_{j<c} tanh(a_cj) x_j, where x_j are the pixel's earlier channels scaled to [-1, 1]: for colours, green
    follows red, and blue follows both. Rounding, tails and bounds of the scale are those of `DiscretizedLogistic`,
    which this is with one channel and one mixture.

    The parameters of C channels are read as [B, ..., (C + 1)(C + 2) / 2, K]: a row of logits, C rows of means, C rows
    of log-scales, and C (C - 1) / 2 rows of coefficients a_10, a_20, a_21, a_30 … Source: Salimans et al. 2017
    (PixelCNN++), with any number of channels in place of three.

    `sample` takes C + 1 uniform numbers a pixel, the first of which chooses the mixture. `mean` is that of the mixture
    of clipped variables, as `DiscretizedLogistic` has it; within a mixture, the earlier channels that a channel's mean
    depends on are replaced by their own expectations, which is exact but for rounding and clipping.

    Args:
        levels: pixels are 0 … levels-1.
        mixtures: K.

    Raises:
        ValueError: for fewer than 2 levels or 1 mixture.

    Example:
        >>> import tensorflow as tf
        >>> from genmodels.likelihoods import LogisticMixture
        >>> likelihood = LogisticMixture(levels=256, mixtures=5)
        >>> params = tf.zeros([2, 8, 8, likelihood.parameters(3)])  # [2, 8, 8, 50]
        >>> likelihood.mean(params)[0, 0, 0].numpy().round(3).tolist()
        [127.5, 127.5, 127.5]
    """

    levels: int
    mixtures: int = 10
    couples_channels: ClassVar[bool] = True

    def __post_init__(self):
        DiscretizedLogistic(self.levels)  # checks the levels
        checked_count("mixtures", self.mixtures, 1)

    def parameters(self, channels):
        """K (1 + 2 C + C (C - 1) / 2): logits; means and log-scales; coefficients."""
        return self.mixtures * (channels + 1) * (channels + 2) // 2

    def channels(self, parameters):
        """The C of `parameters(C)`; 0 where there is none."""
        rows = parameters // self.mixtures
        channels = (math.isqrt(8 * rows + 1) - 3) // 2
        return max(channels, 0) if self.parameters(channels) == parameters else 0

    def uniforms(self, channels):
        """One to choose the mixture, and one a channel."""
        return channels + 1

    def tempered(self, params, temperature):
        """Logits divided by the temperature, scales multiplied by it."""
        params, logits = self._checked(params), self.mixtures
        scales = logits + 2 * self.mixtures * self.channels(params.shape[-1])
        tempered = self._logistic.tempered(params[..., logits:scales], temperature)
        return tf.concat([params[..., :logits] / temperature, tempered, params[..., scales:]], -1)

    def _log_probs(self, params, x):
        logits, *rest = self._parts(params)
        joint = tf.nn.log_softmax(logits) + tf.reduce_sum(self._components(*rest, x, x), -2)
        return tf.reduce_logsumexp(joint, -1, keepdims=True)

    def _conditionals(self, params, target, context):
        logits, *rest = self._parts(params)
        earlier = tf.cumsum(self._components(*rest, context, context), axis=-2, exclusive=True)
        # p(mixture | earlier channels) ∝ p(mixture) Π_{j<c} p(x_j | mixture, x_<j)
        weights = tf.nn.log_softmax(logits[..., None, :] + earlier)  # [B, ..., C, K]
        return tf.reduce_logsumexp(weights + self._components(*rest, target, context), -1)

    def _mean(self, params):
        logits, *rest = self._parts(params)
        means = self._in_order(*rest, lambda one, channel: self._logistic.mean(one))
        return tf.reduce_sum(means * tf.nn.softmax(logits)[..., None, :], -1)

    def _sample(self, params, uniform):
        logits, *rest = self._parts(params)
        cdf = tf.cumsum(tf.nn.softmax(logits), axis=-1)
        # As in `Categorical`, the last step of the CDF is left out.
        index = tf.reduce_sum(tf.cast(uniform[..., :1] > cdf[..., :-1], tf.int32), axis=-1)
        chosen = tf.one_hot(index, self.mixtures)[..., None, :]
        rest = [tf.reduce_sum(part * chosen, -1, keepdims=True) for part in rest]

        def quantile(one, channel):
            return self._logistic.sample(one, uniform[..., channel + 1 : channel + 2])

        return self._in_order(*rest, quantile)[..., 0]

    def _elements(self, params):
        from tensorflow_probability import distributions as tfd

        logits, *rest = self._parts(params)
        transposed = tf.linalg.matrix_transpose  # TFP wants events last: [B, ..., K, C]

        def channels_given(x):
            means = self._means(rest[0], rest[2], transposed(x))
            both = tf.concat([tf.broadcast_to(t, tf.shape(means)) for t in (means, rest[1])], -2)
            return tfd.Independent(self._logistic._elements(transposed(both)), 1)

        start = tf.zeros_like(transposed(rest[0]))

        class Channels(tfd.Autoregressive):  # which by itself knows its shapes only when it runs
            def _batch_shape(self):
                return start.shape[:-1]

            def _event_shape(self):
                return start.shape[-1:]

        channels = start.shape[-1]
        components = Channels(channels_given, start, channels) if channels > 1 else channels_given(start)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), components)

    @property
    def _logistic(self):
        return DiscretizedLogistic(self.levels)

    def _parts(self, params):
        """Logits [B, ..., K], means and log-scales [B, ..., C, K], coefficients [B, ..., C (C - 1) / 2, K]."""
        channels = self.channels(params.shape[-1])
        rows = tf.reshape(params, [*dims(params)[:-1], params.shape[-1] // self.mixtures, self.mixtures])
        ends = [1, 1 + channels, 1 + 2 * channels]
        logits, means, log_scales, raw = (rows[..., a:b, :] for a, b in zip([0, *ends], [*ends, None]))
        return logits[..., 0, :], means, log_scales, tf.tanh(raw)

    def _mean_given(self, means, coefficients, channel, earlier):
        """A channel's mean in [-1, 1], [B, ..., K], given those before it in pixels, [B, ..., channel, K or 1]."""
        start = channel * (channel - 1) // 2
        scaled = earlier * (2 / (self.levels - 1)) - 1
        coupling = tf.reduce_sum(coefficients[..., start : start + channel, :] * scaled, -2)
        return means[..., channel, :] + coupling

    def _means(self, means, coefficients, x):
        """The channels' means given the channels of x before each, [B, ..., C, K]; x in pixels, [B, ..., C, K or 1]."""
        every = range(means.shape[-2])
        return tf.stack([self._mean_given(means, coefficients, c, x[..., :c, :]) for c in every], -2)

    def _components(self, means, log_scales, coefficients, x, context):
        """Log-probability of each channel of x within each mixture, [B, ..., C, K]."""
        means = self._means(means, coefficients, context[..., None])
        return self._logistic._log_probs(tf.concat([means, log_scales], -1), x[..., None])

    def _in_order(self, means, log_scales, coefficients, pixel):
        """The channels one after the other, [B, ..., C, K]: `pixel(parameters, channel)` for each, [B, ..., K]."""
        x = means[..., :0, :]
        for channel in range(means.shape[-2]):
            mean = self._mean_given(means, coefficients, channel, x)
            one = pixel(tf.concat([mean, log_scales[..., channel, :]], -1), channel)
            x = tf.concat([x, one[..., None, :]], -2)
        return x
