"""What autoencoders share: an encoder, a decoder to the parameters of a likelihood, and samples of the prior."""

import keras
import tensorflow as tf

from genmodels import likelihoods, networks
from genmodels.compiling import compiled
from genmodels.core import LatentModel
from genmodels.models import features
from genmodels.sampling import Streams
from genmodels.settings import checked_count, checked_nonnegative


class Autoencoder(LatentModel):
    """A latent z ~ N(0, I), a decoder p(x | z), and an encoder, whose numbers a family reads and trains as it says.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        latent_dim: number of latent units.
        likelihood: p(x | z), a name or an object of `genmodels.likelihoods`.
        architecture: of the networks that are not given: "conv", "mlp", or "auto" for "conv" on images.
        encoder: a Keras model, or the path of its file, or None for the default one.
        decoder: likewise.
        num_classes: number of classes of a conditional model, whose networks take one-hot labels too.
        dropout: rate in the default networks.
        dtype: Keras dtype policy of the default networks.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, and for networks whose shapes do not fit, with both shapes.
    """

    codes = 1  # numbers that the encoder gives for a latent unit

    def __init__(
        self, event_shape, *, levels=256, latent_dim=32, likelihood="auto", architecture="auto", encoder=None,
        decoder=None, num_classes=None, dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        latent_dim = checked_count("latent_dim", latent_dim, 1)
        self.latent_shape = (latent_dim,)
        self.likelihood = likelihoods.get(likelihood, self.levels)
        *grid, channels = self.event_shape
        width, outputs = self.codes * latent_dim, (*grid, self.likelihood.parameters(channels))
        options = {"num_classes": self.num_classes, "dropout": dropout, "dtype": self.dtype_policy}
        encoder = networks.given(self, "encoder", encoder)
        decoder = networks.given(self, "decoder", decoder)
        if encoder is None:
            encoder = networks.encoder(self.event_shape, width, architecture, **options)
        if decoder is None:
            decoder = networks.decoder(latent_dim, outputs, architecture, **options)
        self.encoder, self.decoder = encoder, decoder
        labels = () if self.num_classes is None else ((self.num_classes,),)
        networks.check("encoder", self.encoder, (self.event_shape, *labels), (width,))
        networks.check("decoder", self.decoder, (self.latent_shape, *labels), outputs)

    def _encoder(self, x, labels, training=False):
        """What the encoder gives, `[B, codes · latent_dim]`."""
        x = tf.cast(x, tf.float32)
        if self.levels is not None:
            x = x * (2.0 / (self.levels - 1)) - 1.0
        return self._call(self.encoder, x, labels, training)

    def _decoder(self, z, labels, training=False):
        """Parameters of p(x | z)."""
        return self._call(self.decoder, z, labels, training)

    def _call(self, network, x, labels, training):
        if self.num_classes is None:
            return tf.cast(network(x, training=training), tf.float32)
        one_hot = tf.one_hot(labels, self.num_classes)
        return tf.cast(network([x, one_hot], training=training), tf.float32)

    # ------------------------------------------------------------------ what users call

    def encode(self, x, labels=None):
        """The latent that stands for an example, `[B, latent_dim]` float32: of q(z | x) its mean.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
        """
        x, labels = self._examples(x, labels)
        return self._encoder(x, labels)[:, : self.latent_shape[0]]

    def feature_network(self, *, label=None):
        """What `encode` gives, with a label or with zeros in its place, which training never shows."""
        x, inputs = features.inputs(self, label)
        code, *_ = keras.ops.split(self.encoder(inputs), self.codes, axis=-1)
        return keras.Model(x, features.vector(code), name="features")

    def decode(self, z, labels=None):
        """Means of p(x | z), `[B, *event_shape]` float32 in the data's units, differentiable.

        Args:
            z: latents `[B, latent_dim]`.
            labels: `[B]` class labels of a conditional model; None takes the classes in turn.
        """
        z = tf.cast(z, tf.float32)
        if z.shape[1:] != self.latent_shape:
            raise ValueError(f"latents must have shape [batch, {self.latent_shape[0]}]; got {z.shape}.")
        return self.likelihood.mean(self._decoder(z, self._labels(labels, z.shape[0])))

    def generate(self, streams: Streams, labels, *, temperature=1.0, pixel_noise=False):
        """Samples from the prior, decoded. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            temperature: scale of the prior; below 1 samples are more typical and less varied.
            pixel_noise: draw from p(x | z) as the model of the data has it; by default its mean is shown.

        Returns:
            `[num, *event_shape]` float32.
        """
        temperature = checked_nonnegative("temperature", temperature)
        return self._generate(streams.seed, streams.start, labels, streams.num, temperature, bool(pixel_noise))

    @compiled
    def _generate(self, seed, start, labels, num, temperature, pixel_noise):
        streams = Streams(seed, start, num)
        params = self._decoder(temperature * self.latents(streams), labels)
        if pixel_noise:
            *grid, channels = self.event_shape
            uniform = streams.fold(1).uniform((*grid, self.likelihood.uniforms(channels)))
            return self.likelihood.sample(params, uniform)
        return self.likelihood.mean(params)


class Together(keras.layers.Layer):
    """Networks that one player trains."""

    def __init__(self, name, **networks):
        super().__init__(name=name, dtype="float32")
        for role, network in networks.items():
            setattr(self, role, network)
        self.built = True
