"""What normalizing flows share: densities by the change of variables, samples by the inverse."""

import math
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels import arguments
from genmodels.compiling import compiled, parts_at_once
from genmodels.core import LatentModel, LikelihoodModel, Objective
from genmodels.models.flows import dequantization as dequantizations
from genmodels.models.flows.bijections import Bijection, Chain, sum_over_event
from genmodels.models.flows.shapes import Flatten
from genmodels.sampling import Streams, fold, make_seed
from genmodels.settings import checked_count, checked_nonnegative

LOG_PROB_ELEMENTS = 256 * 28 * 28  # of examples at a time: the features of a whole data set would fill the memory
PRIORS = ("normal", "logistic")


@keras.saving.register_keras_serializable(package="genmodels")
class NormalizingFlow(LikelihoodModel, LatentModel):
    """log p(x) = log p(f(x)) + log |det ∂f/∂x| for an invertible network f and a simple prior of z = f(x).

    This class takes any bijection; `RealNVP`, `Glow` and their kin bring theirs. Real-valued data (`levels=None`) have
    an exact density. Integers are dequantized: noise within each level makes them real, and `log_prob` is a lower bound
    of the log-probability of the integers, the dequantization bound (Theis et al. 2016).

    Logged, in nats an example: `nll` of real-valued data; of integers `nll_bound`, and `bits_per_dim_bound`. With
    `compile(jit_compile=True)` samples are drawn under XLA too, compiled anew for each of the few batch sizes.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        bijection: from the data, integers scaled to [0, 1], to latents of as many elements.
        levels: pixels are 0 … levels-1; None for real-valued data.
        num_classes: number of classes of a conditional model; couplings see the one-hot label.
        condition_dim: length of the real-valued vector that a conditional model sees in place of a class; it is given
            wherever labels are.
        prior: of the latents: "normal" or "logistic".
        dequantization: "uniform", "variational", or a layer: for x, integers divided by levels - 1, `call(x, streams)`
            gives noise u in (0, 1) and log q(u | x) `[B]`, and `center(x)` the u that stands for it in `encode`.
        dtype: Keras dtype policy of the dequantization's networks.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, and for bijections that do not fit.

    Example:
        >>> import genmodels as gm
        >>> parts = [gm.flows.ActNorm(), gm.flows.Coupling("affine"), gm.flows.Coupling("affine", swap=True)]
        >>> model = gm.NormalizingFlow((2,), gm.flows.Chain(parts), levels=None)
        >>> model.log_prob(tf.zeros([5, 2])).shape, model.sample(3).shape
        (TensorShape([5]), TensorShape([3, 2]))
    """

    scores: ClassVar = {"log_prob": "exact; of pixels a dequantization bound"}

    def __init__(
        self, event_shape, bijection, *, levels=256, num_classes=None, condition_dim=None, prior="normal",
        dequantization="uniform", dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        self.condition_dim = checked_count("condition_dim", condition_dim, 1, "None without a condition vector")
        if self.num_classes is not None and self.condition_dim is not None:
            raise ValueError("give `num_classes` or `condition_dim`, not both.")
        if prior not in PRIORS:
            raise ValueError(f"`prior` must be one of {', '.join(PRIORS)}; got {prior!r}.")
        if not isinstance(bijection, Bijection):
            raise ValueError(f"`bijection` must be a genmodels.flows.Bijection; got {bijection!r}.")
        self.prior_name = prior
        width = self.num_classes or self.condition_dim
        shape = (None, *self.event_shape)
        if not bijection.built:
            bijection.build(shape, None if width is None else (None, width))
        latent = tuple(bijection.compute_output_shape(shape)[1:])
        self.dimensions = math.prod(self.event_shape)
        if math.prod(latent) != self.dimensions:
            raise ValueError(
                f"`bijection` must keep the number of elements: {self.event_shape} has {self.dimensions}, its latents "
                f"{latent} {math.prod(latent)}."
            )
        if len(latent) > 1:
            bijection = Chain([bijection, Flatten()])
            bijection.build(shape)
        self.bijection = bijection
        self.latent_shape = (self.dimensions,)
        self.dequantization = None
        self.scores = {"log_prob": "exact" if self.levels is None else "dequantization bound"}
        if self.levels is None and dequantization != "uniform":
            raise ValueError(f"real-valued data need no dequantization; got {dequantization!r} with levels=None.")
        if self.levels is not None:
            self.dequantization = dequantizations.get(dequantization, self.dtype_policy)
            if not self.dequantization.built:
                self.dequantization.build(shape)

    def default_optimizers(self):
        """Adam whose rate rises from 0 to 0.001 over 500 updates: layers that start at zero would leap all at once."""
        rate = keras.optimizers.schedules.PolynomialDecay(0.0, 500, end_learning_rate=1e-3)
        return {"model": keras.optimizers.Adam(rate)}

    def objectives(self):
        """One: the negative log-likelihood, or its bound."""
        return (Objective("model", self._loss, self),)

    def _loss(self, batch, seed, training):
        streams = Streams(seed, 0, tf.shape(batch.x)[0])
        nll = -tf.reduce_mean(self._score(batch.x, batch.labels, streams, training))
        if self.levels is None:
            return nll, {"nll": nll}
        return nll, {"nll_bound": nll, "bits_per_dim_bound": nll / (self.dimensions * math.log(2.0))}

    # ------------------------------------------------------------------ densities

    def _score(self, x, labels, streams, training=False):
        """log p of real-valued data; of integers, the bound with one draw of noise. `[B]` nats."""
        condition = self._condition(labels)
        x = tf.cast(x, tf.float32)
        cost = 0.0
        if self.levels is not None:
            noise, log_q = self.dequantization(x / (self.levels - 1), streams=streams, training=training)
            x = (x + noise) / self.levels
            cost = log_q + self.dimensions * math.log(self.levels)
        z, log_det = self.bijection(x, condition, training=training)
        return self._log_prior(z) + log_det - cost

    def _condition(self, labels):
        """What the couplings see: one-hot classes, the condition vector, or None."""
        return tf.one_hot(labels, self.num_classes) if self.num_classes is not None else labels

    def _log_prior(self, z):
        if self.prior_name == "logistic":
            return -sum_over_event(tf.nn.softplus(z) + tf.nn.softplus(-z))
        return -0.5 * sum_over_event(z**2 + math.log(2 * math.pi))

    def log_prob(self, x, labels=None, *, num_samples=1, seed=0, first=0):
        """Log-likelihood of the data as given, `[B]` nats: exact for real numbers, a dequantization bound for integers.

        The bound averages over draws of the noise inside the logarithm, log 1/k Σ p(y_i) / q(u_i | x), and rises
        towards log P(x) with k = `num_samples`.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels, or `[B, condition_dim]` vectors, of a conditional model.
            num_samples: k; 1 for real-valued data, which need no noise.
            seed: the same seed gives the same bound for example i, whatever the batch size.
            first: number of the first example in the stream of noise, where `x` is a part of more.
        """
        x, labels = self._examples(x, labels)
        num_samples = checked_count("num_samples", num_samples, 1)
        if self.levels is None and num_samples != 1:
            raise ValueError("real-valued data have an exact density: `num_samples` must be 1.")
        size = max(1, LOG_PROB_ELEMENTS // self.dimensions)
        scores = [
            self._log_prob(*part, make_seed(seed), tf.cast(first + start, tf.int64), num_samples)
            for start, *part in arguments.parts(x, labels, size)
        ]
        return tf.concat(scores, 0)

    @compiled
    def _log_prob(self, x, labels, seed, start, num_samples):
        def add(index, total):
            score = self._score(x, labels, Streams(fold(seed, index), start, tf.shape(x)[0]))
            return index + 1, tf.reduce_logsumexp(tf.stack([total, score]), axis=0)

        # `maximum_iterations` lets XLA differentiate it.
        nothing = 0, tf.fill([tf.shape(x)[0]], -math.inf)
        _, total = tf.while_loop(lambda index, _: index < num_samples, add, nothing, maximum_iterations=num_samples)
        return total - math.log(num_samples)

    # ------------------------------------------------------------------ latents

    def latents(self, streams):
        """Draws from the prior, `[streams.num, dimensions]`."""
        if self.prior_name == "normal":
            return streams.normal(self.latent_shape)
        uniform = streams.uniform(self.latent_shape)
        return tf.math.log(uniform) - tf.math.log1p(-uniform)

    def encode(self, x, labels=None):
        """The latents z = f(x) in one vector, `[B, dimensions]`; of integers, those of the centre of their noise.

        Under uniform noise that is the middle of the level, and `decode` gives x. Learned noise may lie far off the
        middle, where the flow has seen no data; from its centre `decode` gives what rounds to x. Both hold in float32:
        with networks in bfloat16 some pixels come back a few levels off.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels, or condition vectors, of a conditional model.
        """
        return self._encode(*self._examples(x, labels))

    @compiled
    def _encode(self, x, labels):
        x = tf.cast(x, tf.float32)
        if self.levels is not None:
            x = (x + self.dequantization.center(x / (self.levels - 1))) / self.levels
        return self.bijection.forward(x, self._condition(labels))

    def decode(self, z, labels=None):
        """The data of latents, x = f⁻¹(z), `[B, *event_shape]` float32 in the data's units, unrounded, differentiable.

        Args:
            z: latents `[B, dimensions]`.
            labels: `[B]` class labels, or condition vectors, of a conditional model; None takes the classes in turn,
                and is refused where vectors are needed.
        """
        z = tf.cast(z, tf.float32)
        if z.shape[1:] != self.latent_shape:
            raise ValueError(f"latents must have shape [batch, {self.latent_shape[0]}]; got {z.shape}.")
        return self._decode(z, self._labels(labels, z.shape[0]))

    @compiled
    def _decode(self, z, labels):
        x = self.bijection.inverse(z, self._condition(labels))
        return x if self.levels is None else x * self.levels - 0.5  # the middle of a level is its integer

    def generate(self, streams: Streams, labels, *, temperature=1.0):
        """Samples. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels, `[num, condition_dim]` vectors, or None.
            temperature: scale of the prior at every level; below 1 samples are more typical and less varied.

        Returns:
            `[num, *event_shape]` float32.
        """
        temperature = checked_nonnegative("temperature", temperature)
        parts = parts_at_once(streams.num)
        size, xla = streams.num // parts, self._settings.get("jit_compile", False)
        size = size if xla else tf.constant(size, tf.int64)  # a tensor: one trace for all numbers of samples
        start, temperature = tf.cast(streams.start, tf.int64), tf.constant(temperature, tf.float32)
        return self._generate(streams.seed, start, size, temperature, labels, parts, xla)

    @compiled
    def _generate(self, seed, start, size, temperature, labels, parts, xla):
        labels = [None] * parts if labels is None else tf.split(labels, parts)
        draw = self._draw_xla if xla else self._draw
        return tf.concat([draw(seed, start + i * size, size, temperature, labels[i]) for i in range(parts)], 0)

    @compiled
    def _draw(self, seed, start, size, temperature, labels):
        return self._decode(temperature * self.latents(Streams(seed, start, size)), labels)

    @compiled(xla=True)
    def _draw_xla(self, seed, start, size, temperature, labels):
        return self._decode(temperature * self.latents(Streams(seed, start, size)), labels)
