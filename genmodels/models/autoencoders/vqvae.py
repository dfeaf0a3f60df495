"""The vector-quantized autoencoder, and the autoregressive prior of its codes."""

from typing import ClassVar

import keras
import tensorflow as tf

from genmodels import arguments, likelihoods, networks
from genmodels.compiling import compiled
from genmodels.core import Batch, LatentModel, Objective
from genmodels.layers import CausalConv2D, CausalLayer
from genmodels.models import features
from genmodels.models.autoencoders.autoencoder import Together
from genmodels.models.autoregressive.autoregressive import (
    AutoregressiveModel,
    functional,
    network_inputs,
    pixel_head,
    pixel_likelihood,
)
from genmodels.models.autoregressive.gated_pixelcnn import gated_stacks
from genmodels.sampling import Streams, make_seed
from genmodels.settings import checked_count, checked_nonnegative

LOG_PROB_IMAGES = 250  # decoded at a time
IDLE = 0.01  # weight of what draws the codebook to the encoder's vectors
FASTER = 10.0  # times as fast as other weights the codebook moves


@keras.saving.register_keras_serializable(package="genmodels")
class VQVAE(LatentModel):
    """Vector-quantized VAE (van den Oord et al. 2017, "Neural Discrete Representation Learning").

    An encoder gives a small grid of vectors, each of which is replaced by the nearest of a codebook; a decoder
    p(x | codes) sees those. A gated PixelCNN learns the distribution of the codes, P(codes): samples are its samples,
    decoded. With `num_classes` it is P(codes | class), and the autoencoder sees no labels.

    Two players: the autoencoder lowers −log p(x | codes) + Σ ‖sg[z] − e‖² + β Σ ‖z − sg[e]‖², where z are the encoder's
    vectors, e those of the codebook and sg stops gradients, and the decoder's gradient goes past the codebook straight
    to the encoder; the prior lowers −log P(codes). The paper trains the prior afterwards; here both train at once: with
    a learning rate that falls, the codes settle, and the prior with them.

    Two things are not the paper's, and keep the encoder from running away from a codebook of which then a few vectors
    serve for all: each vector of the codebook is drawn a little, 0.01 ‖e − sg[z]‖², to the z of an example that is
    nearest to it, whether that is told by it or not; and the codebook moves ten times as fast as other weights.

    Of all codes that could stand for an image `log_prob` takes the encoder's, which gives a lower bound:
    log p(x) ≥ log p(x | codes) + log P(codes).

    Logged: in nats an example `reconstruction`, −log p(x | codes), and `code_nll`, −log P(codes); `commitment`,
    Σ ‖z − e‖²; and `perplexity`, how many codes a batch uses: e to the entropy of their frequencies.

    Args:
        event_shape: `(height, width, channels)`.
        levels: pixels are 0 … levels-1; None for real-valued images.
        num_codes: vectors of the codebook, 2 … 256.
        latent_dim: their length.
        halvings: how often the image is halved, rounded up, to the grid of codes: 2 makes 7×7 of 28×28.
        filters: channels of the default encoder and decoder.
        blocks: residual blocks at each of their sizes.
        likelihood: p(x | codes), a name or an object of `genmodels.likelihoods`.
        beta: weight of the commitment of the encoder to the codebook.
        encoder: a Keras model, or the path of its file, from `event_shape` (scaled to [-1, 1] where `levels` is set) to
            the grid `[height / 2^halvings, width / 2^halvings, latent_dim]`.
        decoder: likewise, from that grid to the likelihood's parameters.
        prior_filters: channels of each stack of the prior.
        prior_blocks: its gated blocks.
        num_classes: number of classes of a conditional model.
        dropout: rate in the default networks and in the prior.
        dtype: Keras dtype policy of the default networks.
        name: name of the model.

    Attributes:
        code_prior: the `gm.AutoregressiveModel` of codes `[*grid, 1]`.

    Raises:
        ValueError: for settings out of range, and for networks whose shapes do not fit, with both shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VQVAE((8, 8, 1), levels=17, num_codes=16, halvings=1, filters=8, prior_filters=8, prior_blocks=1)
        >>> codes = model.codes(tf.zeros([3, 8, 8, 1], tf.uint8))
        >>> codes.shape, model.decode(model.embed(codes)).shape
        (TensorShape([3, 4, 4]), TensorShape([3, 8, 8, 1]))
    """

    title, paper, year = "VQ-VAE", "van den Oord et al., arXiv:1711.00937", 2017
    scores: ClassVar = {"log_prob": "lower bound"}

    def __init__(
        self, event_shape, *, levels=256, num_codes=128, latent_dim=16, halvings=2, filters=64, blocks=1,
        likelihood="auto", beta=0.25, encoder=None, decoder=None, prior_filters=64, prior_blocks=5, num_classes=None,
        dropout=0.0, dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        if len(self.event_shape) != 3:
            raise ValueError(f"a VQ-VAE is of images, (height, width, channels); got `event_shape` {self.event_shape}.")
        num_codes = checked_count("num_codes", num_codes, 2, most=256)
        latent_dim, halvings = checked_count("latent_dim", latent_dim, 1), checked_count("halvings", halvings, 1)
        filters, blocks = checked_count("filters", filters, 1), checked_count("blocks", blocks, 0)
        prior_filters = checked_count("prior_filters", prior_filters, 1)
        prior_blocks = checked_count("prior_blocks", prior_blocks, 1)
        self.beta = checked_nonnegative("beta", beta)
        self.likelihood = likelihoods.get(likelihood, self.levels)
        *size, channels = self.event_shape
        grid, outputs = networks.halvings(size, halvings)[0], (*size, self.likelihood.parameters(channels))
        self.latent_shape = (*grid, latent_dim)
        stages = (halvings * [filters], blocks, dropout, self.dtype_policy)
        encoder, decoder = (networks.given(self, *one) for one in (("encoder", encoder), ("decoder", decoder)))
        self.encoder = grid_encoder(self.event_shape, latent_dim, *stages) if encoder is None else encoder
        self.decoder = grid_decoder(self.latent_shape, outputs, *stages) if decoder is None else decoder
        networks.check("encoder", self.encoder, (self.event_shape,), self.latent_shape)
        networks.check("decoder", self.decoder, (self.latent_shape,), outputs)
        self.codebook = Codebook(num_codes, latent_dim)
        self.autoencoder = Together("autoencoder", encoder=self.encoder, codebook=self.codebook, decoder=self.decoder)
        self.code_prior = code_prior(grid, num_codes, prior_filters, prior_blocks, num_classes, dropout, dtype)

    def default_optimizers(self):
        """Adam with a rate of 0.001 for both; the paper has 0.0002, for many more steps."""
        return {"autoencoder": keras.optimizers.Adam(1e-3), "prior": keras.optimizers.Adam(1e-3)}

    def objectives(self):
        """Two: the autoencoder with its codebook, and the prior of the codes."""
        return (
            Objective("autoencoder", self._autoencoder_loss, self.autoencoder),
            Objective("prior", self._prior_loss, self.code_prior.network),
        )

    def _autoencoder_loss(self, batch, seed, training):
        z = self._vectors(batch.x, training)
        distances = self.codebook.distances(tf.stop_gradient(z))  # [B, *grid, num_codes]
        codes = tf.argmin(distances, -1, tf.int32)
        e = self.codebook(codes)
        straight = z + tf.stop_gradient(e - z)  # e, and gradients of the identity
        reconstruction = -tf.reduce_mean(self.likelihood.log_prob(self._parameters(straight, training), batch.x))
        follow = squared(e, tf.stop_gradient(z))  # moves the codebook
        idle = tf.reduce_mean(tf.reduce_sum(tf.reduce_min(distances, (1, 2)), -1))  # moves all of the codebook
        commitment = squared(z, tf.stop_gradient(e))  # moves the encoder
        metrics = {
            "reconstruction": reconstruction, "commitment": commitment, "perplexity": self.codebook.perplexity(codes)
        }  # fmt: skip
        return reconstruction + follow + IDLE * idle + self.beta * commitment, metrics

    def _prior_loss(self, batch, seed, training):
        codes = self.codebook.nearest(self._vectors(batch.x))[..., None]
        (objective,) = self.code_prior.objectives()
        nll, _ = objective.loss(Batch(codes, batch.labels), seed, training)
        return nll, {"code_nll": nll}

    def _vectors(self, x, training=False):
        """What the encoder gives, `[B, *latent_shape]` float32."""
        x = tf.cast(x, tf.float32)
        if self.levels is not None:
            x = x * (2.0 / (self.levels - 1)) - 1.0
        return tf.cast(self.encoder(x, training=training), tf.float32)

    def _parameters(self, z, training=False):
        """Parameters of p(x | codes) of embedded codes."""
        return tf.cast(self.decoder(z, training=training), tf.float32)

    # ------------------------------------------------------------------ what users call

    def codes(self, x, labels=None):
        """The codes that stand for examples, int32 `[B, *grid]` from 0 to `num_codes` - 1.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: checked, and not used: the encoder sees none.
        """
        x, _ = self._examples(x, [0] * len(x) if self.num_classes is not None and labels is None else labels)
        return self._codes(x)

    @compiled
    def _codes(self, x):
        return self.codebook.nearest(self._vectors(x))

    def embed(self, codes):
        """The codebook's vectors of codes `[B, *grid]`: latents `[B, *latent_shape]`."""
        return self.codebook(codes)

    def encode(self, x, labels=None):
        """The codebook's vectors of an example's codes, `[B, *latent_shape]` float32; arguments as of `codes`."""
        return self.embed(self.codes(x, labels))

    def decode(self, z, labels=None):
        """Means of p(x | z), `[B, *event_shape]` float32 in the data's units, differentiable.

        Args:
            z: latents `[B, *latent_shape]`: embedded codes, or what lies between them.
            labels: checked, and not used: the decoder sees none.
        """
        z = tf.cast(z, tf.float32)
        if z.shape[1:] != self.latent_shape:
            raise ValueError(f"latents must have shape {('batch', *self.latent_shape)}; got {tuple(z.shape)}.")
        self._labels(labels, z.shape[0])
        return self.likelihood.mean(self._parameters(z))

    def log_prob(self, x, labels=None):
        """The lower bound log p(x | codes) + log P(codes) of log p(x) at the encoder's codes, `[B]` nats.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
        """
        x, labels = self._examples(x, labels)
        return tf.concat([self._log_prob(*part) for _, *part in arguments.parts(x, labels, LOG_PROB_IMAGES)], 0)

    @compiled
    def _log_prob(self, x, labels):
        codes = self.codebook.nearest(self._vectors(x))
        prior = self.code_prior.likelihood.log_prob(
            self.code_prior.params(self.code_prior.scaled(codes[..., None]), labels), codes[..., None]
        )
        return prior + self.likelihood.log_prob(self._parameters(self.codebook(codes)), x)

    def feature_network(self, *, label=None):
        """The encoder's vectors, averaged over the grid; it sees no labels."""
        x, inputs = features.inputs(self, label, shown=False)
        return keras.Model(x, features.vector(self.encoder(inputs)), name="features")

    # ------------------------------------------------------------------ sampling

    def prior(self, num, seed=0, labels=None):
        """Draws of the prior, embedded, `[num, *latent_shape]`; of a conditional model `labels`, or classes in turn."""
        return self._drawn(Streams(make_seed(seed), 0, num), self._labels(labels, num), 1.0)

    def latents(self, streams: Streams):
        """As `prior`, from one random stream a draw; the classes in turn by the streams' numbers."""
        labels = None
        if self.num_classes is not None:
            numbers = tf.cast(streams.start, tf.int64) + tf.range(streams.num, dtype=tf.int64)
            labels = tf.cast(numbers % self.num_classes, tf.int32)
        return self._drawn(streams, labels, 1.0)

    def _drawn(self, streams, labels, temperature):
        codes = self.code_prior.generate(streams, labels, temperature=temperature)
        return self.embed(tf.cast(codes[..., 0], tf.int32))

    def generate(self, streams: Streams, labels, *, temperature=1.0, pixel_noise=False):
        """Samples of the prior, decoded. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            temperature: of the prior; below 1 codes are more typical and less varied.
            pixel_noise: draw from p(x | codes) as the model of the data has it; by default its mean is shown.

        Returns:
            `[num, *event_shape]` float32.
        """
        z = self._drawn(streams, labels, temperature)
        return self._decoded(z, streams.seed, streams.start, streams.num, bool(pixel_noise))

    @compiled
    def _decoded(self, z, seed, start, num, pixel_noise):
        params = self._parameters(z)
        if not pixel_noise:
            return self.likelihood.mean(params)
        *size, channels = self.event_shape
        uniform = Streams(seed, start, num).fold(1).uniform((*size, self.likelihood.uniforms(channels)))
        return self.likelihood.sample(params, uniform)


# ---------------------------------------------------------------------- parts


class Codebook(keras.layers.Layer):
    """Vectors by number."""

    def __init__(self, num_codes, latent_dim):
        super().__init__(name="codebook", dtype="float32")
        near = keras.initializers.RandomUniform(-1.0 / num_codes, 1.0 / num_codes)  # the vectors of the authors' code
        # Adam moves every weight by about its rate: the vectors, multiples of theirs, by a multiple of it.
        self.scaled = self.add_weight(name="scaled", shape=(num_codes, latent_dim), initializer=near)
        self.built = True

    @property
    def vectors(self):
        """All vectors, `[num_codes, latent_dim]` float32."""
        scaled = tf.convert_to_tensor(self.scaled)
        return scaled + tf.stop_gradient((FASTER - 1.0) * scaled)  # gradients as long as the vectors' own

    def call(self, codes):
        """Codes `[…]` to vectors `[…, latent_dim]`."""
        return tf.gather(self.vectors, codes)

    def distances(self, z):
        """‖z − e‖² of z `[…, latent_dim]` and each vector e, `[…, num_codes]`."""
        vectors = self.vectors
        lengths = tf.reduce_sum(z**2, -1, keepdims=True) + tf.reduce_sum(vectors**2, -1)
        return lengths - 2.0 * tf.linalg.matmul(z, vectors, transpose_b=True)

    def nearest(self, z):
        """Codes `[…]`, int32, of the vectors nearest to z `[…, latent_dim]`."""
        return tf.argmin(self.distances(z), -1, tf.int32)

    def perplexity(self, codes):
        """e to the entropy of the codes' frequencies: from 1 to their number."""
        num_codes = self.scaled.shape[0]
        frequencies = tf.reduce_mean(tf.reshape(tf.one_hot(codes, num_codes), [-1, num_codes]), 0)
        return tf.exp(-tf.reduce_sum(tf.math.xlogy(frequencies, frequencies)))


@keras.saving.register_keras_serializable(package="genmodels")
class OneHotLevels(CausalLayer):
    """A pixel's level as zeros and a one, `[B, H, W, 1]` from -1 to 1 to `[B, H, W, levels]`: codes have no order.

    Between two levels it goes linearly from one to the other, so that gradients tell what depends on the pixel.
    """

    def __init__(self, levels, **options):
        super().__init__(**options)
        self.levels = levels

    def window(self, x):
        """On each pixel alone."""
        level = (x + 1.0) * (0.5 * (self.levels - 1))
        return tf.nn.relu(1.0 - tf.abs(level - tf.range(self.levels, dtype=level.dtype)))

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "levels": self.levels}


def code_prior(grid, num_codes, filters, blocks, num_classes, dropout, dtype):
    """A gated PixelCNN of codes, which it embeds."""
    codes, label = network_inputs((*grid, 1), num_classes)
    x = CausalConv2D(filters, use_bias=False, dtype=dtype)(OneHotLevels(num_codes, dtype="float32")(codes))
    x = gated_stacks(x, label, filters, blocks, 3, dropout, dtype)
    outputs = pixel_head(x, codes, pixel_likelihood("auto", num_codes), filters, dtype)
    network = functional(codes, label, outputs)
    return AutoregressiveModel((*grid, 1), network, levels=num_codes, num_classes=num_classes, dtype=dtype)


def grid_encoder(event_shape, latent_dim, filters, blocks, dropout, dtype):
    """An image to a grid of vectors."""
    image = keras.Input(event_shape)
    x = networks.halved(image, filters, blocks, dropout, dtype)
    return keras.Model(image, keras.layers.Conv2D(latent_dim, 1, dtype="float32")(x), name="encoder")


def grid_decoder(latent_shape, output_shape, filters, blocks, dropout, dtype):
    """The mirror of `grid_encoder`."""
    grid = keras.Input(latent_shape)
    x = keras.layers.Conv2D(filters[0], 3, padding="same", dtype=dtype)(grid)
    return keras.Model(grid, networks.doubled(x, output_shape, filters, blocks, dropout, dtype), name="decoder")


def squared(a, b):
    """‖a − b‖² an example, the mean over the batch."""
    return tf.reduce_mean(tf.reduce_sum((a - b) ** 2, axis=range(1, a.shape.rank)))
