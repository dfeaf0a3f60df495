"""The variational autoencoder."""

import math
import numbers
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels import arguments
from genmodels.compiling import compiled
from genmodels.core import Objective
from genmodels.models.autoencoders.autoencoder import Autoencoder
from genmodels.sampling import Streams, fold, make_seed
from genmodels.settings import checked_count

ACTIVE = 0.01  # variance of a posterior mean over the data above which a latent unit counts as active
POSTERIOR = 0x9057  # a stream apart from the prior's: else a sample would be judged by the latent that it came from


@keras.saving.register_keras_serializable(package="genmodels")
class VAE(Autoencoder):
    """Variational autoencoder (Kingma & Welling 2013, "Auto-Encoding Variational Bayes").

    A latent z ~ N(0, I), a decoder p(x | z), an encoder q(z | x) = N(μ(x), diag σ²(x)); training maximises the
    evidence lower bound E_q log p(x | z) − β KL(q(z | x) ‖ p(z)). With β ≠ 1 it is the β-VAE of Higgins et al.
    2017; with `num_classes` encoder and decoder see the label (Sohn et al. 2015).

    Logged, in nats an example: `reconstruction` −E_q log p(x | z), `kl`, `elbo` (always with β = 1), and
    `active_units`, the latent units whose posterior mean varies over the batch by more than 0.01 (Burda et al. 2016).

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        latent_dim: number of latent units.
        likelihood: p(x | z): "bernoulli", "categorical", "logistic", "logistic_mixture", "normal", or "auto" for
            the one that fits `levels`; see `genmodels.likelihoods`.
        architecture: of the networks that are not given: "conv", "mlp", or "auto" for "conv" on images.
        encoder: a Keras model, or the path of its file, from `event_shape` (scaled to [-1, 1] where `levels` is set)
            to `2 * latent_dim` numbers, μ and log σ²; with `num_classes` also from one-hot labels, as second input.
        decoder: likewise, from `latent_dim` numbers (and one-hot labels) to the likelihood's parameters.
        num_classes: number of classes of a conditional model.
        beta: weight of the KL term.
        free_bits: nats a latent unit that cost nothing (Kingma et al. 2016), averaged over the batch.
        kl_warmup: updates over which the KL term's weight rises from 0 to β.
        dropout: rate in the default networks.
        dtype: Keras dtype policy of the default networks.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, and for networks whose shapes do not fit, with both shapes.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=8)
        >>> history = model.fit(train, steps=10, verbose=0)
        >>> model.sample(16, seed=1).shape
        TensorShape([16, 8, 8, 1])
    """

    title, paper, year = "VAE", "Kingma & Welling, arXiv:1312.6114", 2013
    scores: ClassVar = {"elbo": "lower bound", "log_prob": "importance-weighted bound"}
    codes = 2  # means of q(z | x), then log-variances

    def __init__(
        self, event_shape, *, levels=256, latent_dim=32, likelihood="auto", architecture="auto", encoder=None,
        decoder=None, num_classes=None, beta=1.0, free_bits=0.0, kl_warmup=0, dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        for setting, value in (("beta", beta), ("free_bits", free_bits), ("kl_warmup", kl_warmup)):
            if not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
                raise ValueError(f"`{setting}` must be a finite number of at least 0; got {value!r}.")
        super().__init__(
            event_shape, levels=levels, latent_dim=latent_dim, likelihood=likelihood, architecture=architecture,
            encoder=encoder, decoder=decoder, num_classes=num_classes, dropout=dropout, dtype=dtype, name=name,
        )  # fmt: skip
        self.beta, self.free_bits, self.kl_warmup = beta, free_bits, kl_warmup

    def default_optimizers(self):
        """Adam with a rate of 0.001."""
        return {"model": keras.optimizers.Adam(1e-3)}

    def objectives(self):
        """One: the negative bound."""
        return (Objective("model", self._loss, self),)

    # ------------------------------------------------------------------ the bound

    def _loss(self, batch, seed, training):
        mean, log_variance = self._posterior(batch.x, batch.labels, training)
        noise = Streams(seed, 0, tf.shape(mean)[0]).normal(self.latent_shape)
        z = mean + tf.exp(0.5 * log_variance) * noise
        reconstruction = -tf.reduce_mean(self.likelihood.log_prob(self._decoder(z, batch.labels, training), batch.x))
        kl = tf.reduce_mean(kl_divergence(mean, log_variance), axis=0)  # [latent_dim]
        penalty = tf.reduce_sum(tf.maximum(kl, self.free_bits)) if training else tf.reduce_sum(kl)
        weight = self.beta
        if training and self.kl_warmup:
            updates = tf.cast(self.optimizers["model"].iterations, tf.float32)
            weight = self.beta * tf.minimum(1.0, updates / self.kl_warmup)
        return reconstruction + weight * penalty, logged(mean, tf.reduce_sum(kl), reconstruction)

    def _posterior(self, x, labels, training=False):
        """Mean and log-variance of q(z | x), each `[B, latent_dim]`."""
        mean, log_variance = tf.split(self._encoder(x, labels, training), 2, axis=-1)
        # Beyond ±20 exp would overflow float32 sums; a trained posterior lies well within.
        return mean, tf.clip_by_value(log_variance, -20.0, 20.0)

    def _weights(self, x, labels, mean, log_variance, noise, training=False):
        """log p(x | z) and log p(z) / q(z | x), each `[B, k]`, at the draws that `noise` `[B, k, latent_dim]` makes.

        `x` and `labels` hold every example k times in a row.
        """
        k, dim = noise.shape[1:]
        z = mean[:, None] + tf.exp(0.5 * log_variance)[:, None] * noise
        likelihood = self.likelihood.log_prob(self._decoder(tf.reshape(z, [-1, dim]), labels, training), x)
        ratio = 0.5 * tf.reduce_sum(noise**2 + log_variance[:, None] - z**2, axis=-1)  # the 2π cancel
        return tf.reshape(likelihood, [-1, k]), ratio

    # ------------------------------------------------------------------ what users call

    def elbo(self, x, labels=None, *, seed=0, first=0):
        """The evidence lower bound with one sample of z an example, `[B]` nats: the bound of `log_prob` at 1."""
        return self.log_prob(x, labels, num_samples=1, seed=seed, first=first, analytic_kl=True)

    def log_prob(self, x, labels=None, *, num_samples=500, seed=0, batch_size=None, analytic_kl=False, first=0):
        """The importance-weighted lower bound of log p(x) (Burda et al. 2016), `[B]` nats.

        log 1/k Σ p(x, z_i) / q(z_i | x) with k = `num_samples` draws from q; it rises towards log p(x) with k.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            num_samples: k.
            seed: the same seed gives the same bound for example i, whatever the batch size.
            batch_size: examples at a time; None for about 1 000 decoded images at a time.
            first: number of the first example in the stream of noise, where `x` is a part of more.
            analytic_kl: with one sample, take the KL in closed form: the bound that training maximises.

        Returns:
            `[B]` float32.
        """
        x, labels = self._examples(x, labels)
        num_samples = checked_count("num_samples", num_samples, 1)
        if analytic_kl and num_samples != 1:
            raise ValueError(f"`analytic_kl` needs `num_samples=1`; got {num_samples}.")
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ValueError(f"`batch_size` must be an integer ≥ 1 or None; got {batch_size!r}.")
        chunk = math.gcd(num_samples, 50) if num_samples > 50 else num_samples  # samples of z at a time
        batch_size = batch_size or max(1, 1000 // chunk)
        bound = self._elbo if analytic_kl else self._importance_weighted
        more = () if analytic_kl else (tf.constant(num_samples // chunk), chunk)
        bounds = [
            bound(*part, make_seed(seed), tf.cast(first + start, tf.int64), *more)
            for start, *part in arguments.parts(x, labels, batch_size)
        ]
        return tf.concat(bounds, 0)

    @compiled
    def _elbo(self, x, labels, seed, start):
        mean, log_variance = self._posterior(x, labels)
        noise = Streams(fold(seed, POSTERIOR), start, tf.shape(x)[0]).normal(self.latent_shape)
        params = self._decoder(mean + tf.exp(0.5 * log_variance) * noise, labels)
        return self.likelihood.log_prob(params, x) - tf.reduce_sum(kl_divergence(mean, log_variance), -1)

    @compiled
    def _importance_weighted(self, x, labels, seed, start, chunks, chunk):
        count = tf.shape(x)[0]
        mean, log_variance = self._posterior(x, labels)
        repeated = tf.repeat(x, chunk, axis=0)  # [B·chunk, …]
        labels = None if labels is None else tf.repeat(labels, chunk, axis=0)

        def add(index, total):  # log Σ of the weights so far
            noise = Streams(fold(fold(seed, POSTERIOR), index), start, count).normal((chunk, *self.latent_shape))
            likelihood, ratio = self._weights(repeated, labels, mean, log_variance, noise)
            return index + 1, tf.reduce_logsumexp(tf.concat([total[:, None], likelihood + ratio], 1), axis=1)

        nothing = 0, tf.fill([count], -math.inf)
        _, total = tf.while_loop(lambda index, _: index < chunks, add, nothing, maximum_iterations=chunks)
        return total - tf.math.log(tf.cast(chunks * chunk, tf.float32))


def kl_divergence(mean, log_variance):
    """KL(N(μ, σ²) ‖ N(0, 1)) of each unit in nats, as its arguments: ½ (μ² + σ² − 1 − log σ²)."""
    return 0.5 * (mean**2 + tf.exp(log_variance) - 1.0 - log_variance)


def logged(mean, kl, reconstruction):
    """What a run logs of the bound, from posterior means `[B, latent_dim]` and nats an example."""
    active = tf.reduce_sum(tf.cast(tf.math.reduce_variance(mean, axis=0) > ACTIVE, tf.float32))
    return {"elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl, "active_units": active}
