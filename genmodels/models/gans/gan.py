"""What adversarial models share: two networks, one game."""

import math

import keras
import tensorflow as tf

from genmodels import networks as shared
from genmodels.compiling import compiled
from genmodels.core import LatentModel, Objective
from genmodels.models import features
from genmodels.models.gans import augmentation, losses, networks
from genmodels.models.gans.regularizers import SpectralNormalization
from genmodels.models.gans.regularizers import checked as checked_regularizers
from genmodels.sampling import Streams
from genmodels.settings import checked_count, checked_positive

NORMALIZATIONS = ("auto", "batch", "layer", None)


@keras.saving.register_keras_serializable(package="genmodels")
class GAN(LatentModel):
    """Generative adversarial network (Goodfellow et al. 2014): any networks, any loss, any regularizers.

    A generator maps latents z ~ N(0, I) to examples, a critic (their discriminator) tells them from data; each descends
    its own loss. This class composes; `DCGAN`, `WGANGP` and their kin are it with the settings of their papers.

    Logged: the critic's mean values `real` and `fake`; for Wasserstein's loss their difference, the estimated distance
    `wasserstein`; each regularizer's penalty; both losses. In training both networks use their batch's statistics, real
    and generated batches apart; `evaluate`, `sample` and `decode` use the moving averages.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        num_classes: number of classes of a conditional model; both networks then see the one-hot label.
        latent_dim: length of the latent.
        architecture: of the networks not given: "mlp", "dcgan", "residual", or "auto" for "mlp" on points and "dcgan"
            on images, or the class's own there.
        width: of those networks: channels at the largest image, or units; None for their own default.
        normalization: in the hidden layers of the critic that is not given: "batch", "layer", None, or "auto" for
            none, or for the class's own on images.
        attention: heights at which self-attention follows a block of the residual networks not given; None for the
            class's own.
        loss: "minimax", "non_saturating", "least_squares", "wasserstein", "hinge", or an object of `genmodels.gans`.
        regularizers: one or several of `genmodels.gans`, such as `GradientPenalty()`.
        critic_updates: updates of the critic for one of the generator, each on a fresh batch.
        augment: what is done to all images that the critic sees: "color,translation,cutout" or a part of it
            (`DiffAugment`), another object called as it is, or None.
        generator: a Keras model, or the path of its file, from `[B, latent_dim]` (and `[B, num_classes]`) to
            `[B, *event_shape]`, images from -1 to 1 (in the data's units where `levels` is None).
        critic: likewise, from `[B, *event_shape]`, images as the generator's (and `[B, num_classes]`), to `[B, 1]`
            unbounded values. Weight clipping constrains its variables.
        dtype: Keras dtype policy.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, networks of other shapes, and regularizers that do not fit the critic.

    Example:
        >>> import genmodels as gm
        >>> model = gm.GAN((8, 8, 1), levels=17, loss="hinge", regularizers=gm.gans.R1())
        >>> model.sample(3).shape
        TensorShape([3, 8, 8, 1])
    """

    title, paper, year = "GAN", "Goodfellow et al., arXiv:1406.2661", 2014

    image_architecture = "dcgan"  # what "auto" is on images
    image_normalization = None  # of the critic for images
    attends = False  # in residual networks, where `attention` says nothing else
    critic_sees_labels = True  # a family whose critic predicts the label does not show it

    def __init__(
        self, event_shape, *, levels=256, num_classes=None, latent_dim=100, architecture="auto", width=None,
        normalization="auto", attention=None, loss="non_saturating", regularizers=(), critic_updates=1, augment=None,
        generator=None, critic=None, dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        if self.dtype_policy.variable_dtype != "float32":
            raise ValueError(f"`dtype` must be float32 or mixed, with float32 weights; got {self.dtype_policy.name!r}.")
        latent_dim = checked_count("latent_dim", latent_dim, 1)
        width = checked_count("width", width, 1, "None for the network's own")
        if normalization not in NORMALIZATIONS:
            raise ValueError(f'`normalization` must be "auto", "batch", "layer" or None; got {normalization!r}.')
        if normalization == "auto":
            normalization = self.image_normalization if len(self.event_shape) == 3 else None
        self.latent_shape = (latent_dim,)
        self.critic_updates = checked_count("critic_updates", critic_updates, 1)
        self.adversarial_loss = losses.get(loss)
        self.augment = augmentation.get(augment)
        if self.augment is not None and len(self.event_shape) != 3:
            raise ValueError(f"`augment` is for images; the data have shape {self.event_shape}.")
        if architecture not in ("auto", *networks.ARCHITECTURES):
            raise ValueError(f"`architecture` must be auto, {', '.join(networks.ARCHITECTURES)}; got {architecture!r}.")
        if architecture == "auto":
            architecture = self.image_architecture if len(self.event_shape) == 3 else "mlp"
        self.regularizers = checked_regularizers(regularizers)
        options = {"dtype": self.dtype_policy, **({} if width is None else {"width": width})}
        generator = shared.given(self, "generator", generator)
        critic = shared.given(self, "critic", critic)
        if generator is None or critic is None:
            options.update(self._attention(attention, architecture))
        generator = generator or networks.generator(
            architecture, latent_dim, self.event_shape, bounded=self.levels is not None, num_classes=self.num_classes,
            **options,
        )  # fmt: skip
        critic = critic or networks.critic(
            architecture, self.event_shape, outputs=self.critic_outputs, normalization=normalization,
            num_classes=self.num_classes if self.critic_sees_labels else None,
            spectral=any(isinstance(r, SpectralNormalization) for r in self.regularizers), **options,
        )  # fmt: skip
        self._check_networks(generator, critic)
        for regularizer in self.regularizers:
            critic = regularizer.prepare(critic)
        self.generator, self.critic = self.prepared_generator(generator), critic

    def _attention(self, heights, architecture):
        """What residual networks are told of attention."""
        listed = isinstance(heights, tuple | list) and all(type(height) is int for height in heights)
        if heights is not None and not listed:
            raise ValueError(f"`attention` must be heights, such as (7,), or None; got {heights!r}.")
        if architecture != "residual":
            if heights:
                raise ValueError(f"`attention` is of residual networks; got {heights} with {architecture!r}.")
            return {}
        if heights is None:
            heights = networks.a_fourth(self.event_shape) if self.attends else ()
        return {"attention": tuple(heights)}

    def prepared_generator(self, generator):
        """What a family makes of the generator; a regularizer makes of the critic what it needs."""
        return generator

    def _check_networks(self, generator, critic):
        label = [] if self.num_classes is None else [(self.num_classes,)]
        shared.check("generator", generator, [self.latent_shape, *label], self.event_shape)
        seen = label if self.critic_sees_labels else []
        shared.check("critic", critic, [self.event_shape, *seen], (self.critic_outputs,))
        if generator is critic:
            raise ValueError("`generator` and `critic` must be two networks; got one for both.")

    @property
    def critic_outputs(self):
        """Values that the critic gives an example: one, and what a family predicts besides."""
        return 1

    # ------------------------------------------------------------------ the game

    def objectives(self):
        """Two: the critic's, which is named as the loss has it, then the generator's."""
        return (
            Objective(self.adversarial_loss.player, self._critic_loss, self.critic, updates=self.critic_updates),
            Objective("generator", self._generator_loss, self.generator),
        )

    def default_optimizers(self):
        """Adam as DCGAN has it: rate 2e-4, β₁ = 0.5."""
        return self._optimizers_of(lambda: keras.optimizers.Adam(2e-4, beta_1=0.5))

    def _optimizers_of(self, make):
        return {self.adversarial_loss.player: make(), "generator": make()}

    def _critic_loss(self, batch, seed, training):
        streams = Streams(seed, 0, tf.shape(batch.x)[0])
        latents = self.latents(streams)
        real = self._augmented(self._to_network(batch.x), streams.fold(1))
        fake = self._augmented(self._call(self.generator, latents, batch.labels, training), streams.fold(2))

        def judged(x):
            return self._judged(x, batch.labels, training)

        # Apart, not as one batch: the statistics of batch norm must not mix real and generated.
        (on_real, more_on_real), (on_fake, more_on_fake) = judged(real), judged(fake)
        loss = self.adversarial_loss.critic(on_real, on_fake)
        metrics = {"real": tf.reduce_mean(on_real), "fake": tf.reduce_mean(on_fake)}
        if self.adversarial_loss.measures_distance:
            metrics["wasserstein"] = metrics["real"] - metrics["fake"]
        for index, regularizer in enumerate(self.regularizers):
            penalty = regularizer.penalty(lambda x: judged(x)[0], real, fake, streams.fold(3 + index))
            if penalty is not None:
                if regularizer.name in metrics:
                    raise ValueError(f"`name` of {regularizer} is that of another figure, {regularizer.name!r}.")
                loss += penalty
                metrics[regularizer.name] = penalty
        more, named = self.critic_terms(more_on_real, more_on_fake, latents, batch.labels)
        return loss + more, {**metrics, **named}

    def _generator_loss(self, batch, seed, training):
        streams = Streams(seed, 0, tf.shape(batch.x)[0])
        latents = self.latents(streams)
        fake = self._augmented(self._call(self.generator, latents, batch.labels, training), streams.fold(1))
        values, more = self._judged(fake, batch.labels, training)
        return self.adversarial_loss.generator(values) + self.generator_terms(more, latents, batch.labels), {}

    def critic_terms(self, on_real, on_fake, latents, labels):
        """What a family adds to the critic's loss, from the critic's further outputs; and metrics of it."""
        return 0.0, {}

    def generator_terms(self, on_fake, latents, labels):
        """What a family adds to the generator's loss, from the critic's further outputs."""
        return 0.0

    def _judged(self, x, labels, training):
        """The critic's values `[B]`, and its further outputs `[B, critic_outputs - 1]`."""
        outputs = self._call(self.critic, x, labels if self.critic_sees_labels else None, training)
        return outputs[:, 0], outputs[:, 1:]

    def _augmented(self, x, streams):
        return x if self.augment is None else self.augment(x, streams)

    def _call(self, network, x, labels, training):
        if self.num_classes is not None and labels is not None:
            x = [x, tf.one_hot(labels, self.num_classes)]
        return tf.cast(network(x, training=training), tf.float32)

    def _to_network(self, x):
        x = tf.cast(x, tf.float32)
        return x if self.levels is None else x * (2.0 / (self.levels - 1)) - 1.0

    # ------------------------------------------------------------------ what users call

    def decode(self, z, labels=None):
        """The generator's examples, `[B, *event_shape]` float32 in the data's units, differentiable.

        Args:
            z: latents `[B, *latent_shape]`.
            labels: `[B]` class labels of a conditional model; None takes the classes in turn.
        """
        z = tf.cast(z, tf.float32)
        if z.shape[1:] != self.latent_shape:
            raise ValueError(f"latents must have shape [batch, {self.latent_shape[0]}]; got {z.shape}.")
        return self._decode(z, self._labels(labels, z.shape[0]))

    def feature_network(self, *, label=None, layer=None):
        """What the critic's last layer with weights is given (after Radford et al. 2015), or the output of another.

        Args:
            label: class that the critic is shown, where it is shown any; None for zeros.
            layer: name of one of the critic's layers, or None.
        """
        x, inputs = features.inputs(self, label, shown=self.critic_sees_labels)
        hidden = features.last_hidden("critic", self.critic, layer)
        return keras.Model(x, features.vector(hidden(inputs)), name="features")

    @compiled
    def _decode(self, z, labels):
        x = self._call(self.generator, z, labels, False)
        return x if self.levels is None else (x + 1.0) * ((self.levels - 1) / 2.0)

    def generate(self, streams: Streams, labels, *, truncation=None):
        """Samples. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            truncation: draw each normal number of the latent from within ± this bound (Brock et al. 2018): smaller is
                more typical and less varied. None for no bound.

        Returns:
            `[num, *event_shape]` float32.
        """
        bound = None if truncation is None else tf.constant(checked_positive("truncation", truncation))
        return self._generate(streams.seed, streams.start, labels, streams.num, bound)

    @compiled
    def _generate(self, seed, start, labels, num, truncation):
        return self._decode(self.latents(Streams(seed, start, num), truncation), labels)

    def latents(self, streams, truncation=None):
        """Draws from the prior, `[streams.num, *latent_shape]`; of a normal cut off at ± `truncation` where given."""
        return normal(streams, self.latent_shape, truncation)


def normal(streams, shape, truncation=None):
    """Standard normal numbers, `[streams.num, *shape]`, or those within ± `truncation` by the inverse CDF."""
    if truncation is None:
        return streams.normal(shape)
    low = 0.5 * tf.math.erfc(truncation / math.sqrt(2.0))  # P(z < -truncation)
    z = tf.math.ndtri(low + streams.uniform(shape) * (1.0 - 2.0 * low))
    return tf.clip_by_value(z, -truncation, truncation)  # against the rounding of ndtri
