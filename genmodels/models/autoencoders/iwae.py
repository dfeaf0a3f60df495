"""The importance-weighted autoencoder."""

import math

import keras
import tensorflow as tf

from genmodels.models.autoencoders.vae import VAE, kl_divergence, logged
from genmodels.sampling import Streams
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class IWAE(VAE):
    """Importance-weighted autoencoder (Burda et al. 2015): a VAE trained on the bound that `log_prob` computes.

    Training maximises E log 1/k Σ p(x, zᵢ) / q(zᵢ | x) over k draws of q(z | x). It lies between the evidence lower
    bound, which it is at k = 1, and log p(x), and asks less of q: posteriors need not be normal, and more latent units
    stay active. A step decodes k times as many latents as the VAE's.

    Logged, in nats an example, beside the loss, which is the negative bound: what `gm.VAE` logs, of the same draws.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        num_samples: k, in training and `evaluate`; the paper has 5 and 50.
        **options: levels, latent_dim, likelihood, architecture, encoder, decoder, num_classes, dropout, dtype and name,
            as `gm.VAE` has them.

    Raises:
        ValueError: for settings out of range, and for networks whose shapes do not fit, with both shapes.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.IWAE(train.event_shape, levels=train.levels, latent_dim=8, num_samples=5)
        >>> history = model.fit(train, steps=10, verbose=0)
        >>> sorted(history.history)
        ['active_units', 'elbo', 'kl', 'loss', 'reconstruction']
    """

    title, paper, year = "IWAE", "Burda et al., arXiv:1509.00519", 2015

    def __init__(self, event_shape, *, num_samples=5, **options):
        num_samples = checked_count("num_samples", num_samples, 1)
        super().__init__(event_shape, beta=1.0, free_bits=0.0, kl_warmup=0, **options)  # there is no KL term to weigh
        self.num_samples = num_samples

    def _loss(self, batch, seed, training):
        mean, log_variance = self._posterior(batch.x, batch.labels, training)
        noise = Streams(seed, 0, tf.shape(mean)[0]).normal((self.num_samples, *self.latent_shape))
        x = tf.repeat(batch.x, self.num_samples, axis=0)  # [B·k, …]
        labels = None if batch.labels is None else tf.repeat(batch.labels, self.num_samples, axis=0)
        likelihood, ratio = self._weights(x, labels, mean, log_variance, noise, training)
        bound = tf.reduce_logsumexp(likelihood + ratio, axis=1) - math.log(self.num_samples)
        kl = tf.reduce_sum(tf.reduce_mean(kl_divergence(mean, log_variance), axis=0))
        return -tf.reduce_mean(bound), logged(mean, kl, -tf.reduce_mean(likelihood))
