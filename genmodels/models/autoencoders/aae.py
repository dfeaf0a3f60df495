"""The adversarial autoencoder."""

import keras
import tensorflow as tf

from genmodels import networks
from genmodels.core import Objective
from genmodels.models.autoencoders.autoencoder import Autoencoder, Together
from genmodels.models.gans import losses
from genmodels.sampling import Streams
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package="genmodels")
class AAE(Autoencoder):
    """Adversarial autoencoder (Makhzani et al. 2015): a game lets the codes of the data be distributed as the prior.

    Three players in turn. The autoencoder lowers the reconstruction's −log p(x | z) at z = e(x); a discriminator tells
    draws of the prior N(0, I) from codes of the data; the encoder makes codes that it takes for draws. There is no
    bound of the likelihood. With `num_classes` encoder and decoder see the label, so that the code is left with the
    style (section 4 of the paper).

    Logged, beside the players' losses: `reconstruction` in nats an example, which is the autoencoder's loss; the
    discriminator's mean values `prior` and `codes`; and `code_deviation`, the root of the codes' mean square, 1 of the
    prior.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        latent_dim: number of latent units; the paper has 8 to 15 for digits.
        loss: of the game, as of `gm.GAN`: "non_saturating", "least_squares", "hinge", …, or an object of `gm.gans`.
        discriminator: a Keras model, or the path of its file, from codes `[B, latent_dim]` to values `[B, 1]`; None for
            a perceptron of two layers.
        width: units of its layers.
        **options: levels, likelihood, architecture, encoder (to `latent_dim` numbers), decoder, num_classes, dropout,
            dtype and name, as `gm.VAE` has them.

    Raises:
        ValueError: for settings out of range, and for networks whose shapes do not fit, with both shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.AAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp")
        >>> [player.name for player in model.objectives()]
        ['autoencoder', 'discriminator', 'encoder']
        >>> model.sample(3, seed=1).shape
        TensorShape([3, 8, 8, 1])
    """

    title, paper, year = "AAE", "Makhzani et al., arXiv:1511.05644", 2015

    def __init__(
        self, event_shape, *, latent_dim=8, loss="non_saturating", discriminator=None, width=512, **options
    ):
        super().__init__(event_shape, latent_dim=latent_dim, **options)
        self.adversarial_loss = losses.get(loss)
        discriminator = networks.given(self, "discriminator", discriminator)
        if discriminator is None:
            widths = 2 * (checked_count("width", width, 1),)
            discriminator = networks.mlp(
                self.latent_shape, (1,), widths=widths, dtype=self.dtype_policy, name="discriminator"
            )
        networks.check("discriminator", discriminator, (self.latent_shape,), (1,))
        self.discriminator = discriminator
        self.autoencoder = Together("autoencoder", encoder=self.encoder, decoder=self.decoder)

    def objectives(self):
        """Three: reconstruction, the discriminator, and the encoder that deceives it."""
        return (
            Objective("autoencoder", self._reconstruction_loss, self.autoencoder),
            Objective("discriminator", self._discriminator_loss, self.discriminator),
            Objective("encoder", self._encoder_loss, self.encoder),
        )

    def default_optimizers(self):
        """Adam: rate 0.001 of the autoencoder, 2e-4 and β₁ = 0.5 of the game. The paper has SGD with momentum."""
        game = {name: keras.optimizers.Adam(2e-4, beta_1=0.5) for name in ("discriminator", "encoder")}
        return {"autoencoder": keras.optimizers.Adam(1e-3), **game}

    def _reconstruction_loss(self, batch, seed, training):
        z = self._encoder(batch.x, batch.labels, training)
        loss = -tf.reduce_mean(self.likelihood.log_prob(self._decoder(z, batch.labels, training), batch.x))
        return loss, {"reconstruction": loss}

    def _discriminator_loss(self, batch, seed, training):
        draws = Streams(seed, 0, tf.shape(batch.x)[0]).normal(self.latent_shape)
        codes = self._encoder(batch.x, batch.labels, training)
        on_draws, on_codes = self._judged(draws, training), self._judged(codes, training)
        metrics = {
            "prior": tf.reduce_mean(on_draws), "codes": tf.reduce_mean(on_codes),
            "code_deviation": tf.sqrt(tf.reduce_mean(codes**2)),
        }  # fmt: skip
        return self.adversarial_loss.critic(on_draws, on_codes), metrics

    def _encoder_loss(self, batch, seed, training):
        codes = self._encoder(batch.x, batch.labels, training)
        return self.adversarial_loss.generator(self._judged(codes, training)), {}

    def _judged(self, z, training):
        return tf.cast(self.discriminator(z, training=training), tf.float32)[:, 0]
