"""InfoGAN."""

import math

import keras
import tensorflow as tf

from genmodels.models.gans.gan import GAN, normal
from genmodels.settings import checked_count, checked_positive

CODES = 1000  # of their stream of random numbers; the game folds small numbers


@keras.saving.register_keras_serializable(package="genmodels")
class InfoGAN(GAN):
    """InfoGAN (Chen et al. 2016): some of the latent are codes, which an example must tell.

    The latent is `[noise, one-hot categorical codes, continuous codes]`, the codes uniform. The critic's further
    outputs are q(c | x), a softmax a categorical code and a normal a continuous one, and both players ascend the bound
    of the mutual information

        I(c; G(z, c)) ≥ E log q(c | x) + H(c),

    which is logged in nats as `information_categorical` (at most Σ log K) and `information_continuous`.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        noise_dim: length of the incompressible noise; the paper's 62.
        categorical: number of values of each categorical code.
        continuous: number of continuous codes, each uniform on [-1, 1].
        weight: the paper's λ, of categorical codes.
        continuous_weight: λ of continuous codes, which are of another scale.
        **options: as `GAN` has them, but for `latent_dim`; a `critic` of one's own gives
            `[B, 1 + Σ categorical + 2 · continuous]`: the value, logits, means, log-variances.

    Raises:
        ValueError: without a code, for numbers out of range, and as `GAN`.

    Example:
        >>> import genmodels as gm
        >>> model = gm.InfoGAN((8, 8, 1), levels=17, categorical=(3,), continuous=1)
        >>> z = model.join(model.split(model.prior(3))[0], [[0], [1], [2]], [[0.5]] * 3)
        >>> model.decode(z).shape
        TensorShape([3, 8, 8, 1])
    """

    title, paper, year = "InfoGAN", "Chen et al., arXiv:1606.03657", 2016

    image_normalization = "batch"

    def __init__(
        self, event_shape, *, noise_dim=62, categorical=(10,), continuous=2, weight=1.0, continuous_weight=0.1,
        **options,
    ):  # fmt: skip
        noise_dim = checked_count("noise_dim", noise_dim, 1)
        if not isinstance(categorical, tuple | list):
            raise ValueError(f"`categorical` must be numbers of values, such as (10,); got {categorical!r}.")
        # Before the base's constructor, which asks for the number of outputs.
        self.categorical = tuple(checked_count("categorical", count, 2) for count in categorical)
        self.continuous = checked_count("continuous", continuous, 0)
        self.sizes = (noise_dim, sum(self.categorical), self.continuous)
        if sum(self.sizes) == noise_dim:
            raise ValueError("InfoGAN needs a code: give `categorical` or `continuous`.")
        self.weight = checked_positive("weight", weight)
        self.continuous_weight = checked_positive("continuous_weight", continuous_weight)
        super().__init__(event_shape, latent_dim=sum(self.sizes), **options)

    @property
    def critic_outputs(self):
        """The value, a logit for each value of a code, a mean and a log-variance for each continuous one."""
        return 1 + sum(self.categorical) + 2 * self.continuous

    def default_optimizers(self):
        """The paper's Adam: rate 2e-4 of the discriminator and 1e-3 of the generator, β₁ = 0.5."""
        rates = {self.adversarial_loss.player: 2e-4, "generator": 1e-3}
        return {name: keras.optimizers.Adam(rate, beta_1=0.5) for name, rate in rates.items()}

    # ------------------------------------------------------------------ codes

    def latents(self, streams, truncation=None):
        """Draws from the prior, `[streams.num, *latent_shape]`; truncation is of the noise alone."""
        noise = normal(streams, (self.sizes[0],), truncation)
        uniform = streams.fold(CODES).uniform((len(self.categorical) + self.continuous,))
        values = tf.constant([float(count) for count in self.categorical])
        categorical = tf.cast(uniform[:, : len(self.categorical)] * values, tf.int32)
        return self.join(noise, categorical, 2.0 * uniform[:, len(self.categorical) :] - 1.0)

    def join(self, noise, categorical, continuous):
        """Latents from their parts, `[B, *latent_shape]`.

        Args:
            noise: `[B, noise_dim]`.
            categorical: values of the codes, integers `[B, len(categorical)]`.
            continuous: `[B, continuous]`.
        """
        noise, continuous = (tf.cast(part, tf.float32) for part in (noise, continuous))
        count = tf.shape(noise)[0]  # not -1, of which nothing is known where there are no codes of a kind
        categorical = tf.reshape(tf.cast(categorical, tf.int32), [count, len(self.categorical)])
        most = tf.constant(self.categorical, tf.int32)
        if tf.executing_eagerly() and not tf.reduce_all((categorical >= 0) & (categorical < most)):
            raise ValueError(f"categorical codes must be below {self.categorical}, from 0; got {categorical.numpy()}.")
        one_hot = [tf.one_hot(categorical[:, i], count) for i, count in enumerate(self.categorical)]
        return tf.concat([noise, *one_hot, tf.reshape(continuous, [count, self.continuous])], 1)

    def split(self, z):
        """What `join` joined: noise, values of categorical codes `[B, len(categorical)]` int32, continuous codes."""
        noise, one_hot, continuous = tf.split(tf.cast(z, tf.float32), self.sizes, axis=1)
        parts = tf.split(one_hot, self.categorical, axis=1) if self.categorical else []
        values = [tf.argmax(part, 1, tf.int32) for part in parts]
        return noise, tf.stack(values, 1) if values else tf.zeros([tf.shape(z)[0], 0], tf.int32), continuous

    def codes(self, x, labels=None):
        """What q(c | x) says: a list of probabilities `[B, K]` a categorical code, and means `[B, continuous]`.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
        """
        x, labels = self._examples(x, labels)
        logits, mean, _ = self._posterior(self._judged(self._to_network(x), labels, False)[1])
        return [tf.nn.softmax(part) for part in logits], mean

    # ------------------------------------------------------------------ the bound

    def critic_terms(self, on_real, on_fake, latents, labels):
        """What the codes of generated examples lose; and the bound."""
        categorical, continuous = self._information(on_fake, latents)
        loss = -self.weight * categorical - self.continuous_weight * continuous
        return loss, {"information_categorical": categorical, "information_continuous": continuous}

    def generator_terms(self, on_fake, latents, labels):
        """The same of the generator."""
        return self.critic_terms(None, on_fake, latents, labels)[0]

    def _information(self, outputs, latents):
        """E log q(c | x) + H(c) of the categorical and of the continuous codes, nats."""
        _, values, codes = self.split(latents)
        logits, mean, log_variance = self._posterior(outputs)
        categorical = continuous = tf.constant(0.0)
        for index, part in enumerate(logits):
            cross = tf.nn.sparse_softmax_cross_entropy_with_logits(values[:, index], part)
            categorical += math.log(self.categorical[index]) - tf.reduce_mean(cross)
        if self.continuous:
            log_q = -0.5 * (math.log(2 * math.pi) + log_variance + (codes - mean) ** 2 * tf.exp(-log_variance))
            continuous = tf.reduce_mean(tf.reduce_sum(log_q, 1)) + self.continuous * math.log(2.0)
        return categorical, continuous

    def _posterior(self, outputs):
        """Logits a categorical code, means and log-variances `[B, continuous]`."""
        logits, mean, log_variance = tf.split(outputs, [self.sizes[1], self.continuous, self.continuous], axis=1)
        logits = tf.split(logits, self.categorical, axis=1) if self.categorical else []
        return logits, mean, tf.clip_by_value(log_variance, -10.0, 10.0)  # exp stays finite
