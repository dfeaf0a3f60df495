"""Diffusion: noise is added, a network learns to remove it, a solver walks back."""

import inspect
import math
import numbers
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels import arguments
from genmodels import networks as shared
from genmodels.compiling import compiled
from genmodels.core import LatentModel, Objective
from genmodels.models import features
from genmodels.models.diffusion import bound, guide, likelihood, networks, schedules
from genmodels.models.diffusion.examples import beside, means
from genmodels.models.diffusion.predictions import Prediction, Weighting
from genmodels.sampling import Streams, make_seed, solvers
from genmodels.settings import checked_count, checked_positive

PART = 64 * 28 * 28  # elements of the examples whose likelihood is computed at a time
TERMS = 100  # of the variational bound that are evaluated where nothing is said
HYBRID = 1e-3  # of the variational bound beside the simple loss, where variances are learned (Nichol & Dhariwal 2021)


@keras.saving.register_keras_serializable(package="genmodels")
class Diffusion(LatentModel):
    """x_t = α(t) x₀ + σ(t) ε, and a network that tells x₀ from x_t: any schedule, prediction, weighting and solver.

    `DDPM`, `ImprovedDDPM`, `NCSN`, `EDM` and `FlowMatching` are this class with the settings of their papers. Inside,
    images go from -1 to 1; points are taken as they are. The latent is the noise at t = 1, over its deviation. Logged:
    `mse` of the network's output, and where terms of the variational bound are in the loss, `bound_terms`, in bits a
    dimension without the prior's term.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        num_classes: number of classes of a conditional model.
        schedule: "linear", "cosine", "sigmoid", "exploding", "karras", "straight", or a `Schedule`.
        prediction: "epsilon", "x0", "v", "score", "velocity", "edm", or a `Prediction`.
        weighting: of the noise levels: "simple", "min_snr", "edm", "elbo", or a `Weighting`.
        timesteps: T, to train at the times i / T only; None for continuous time.
        learned_variance: the network also learns the variance of the ancestral sampler; its output has twice the
            channels, and 0.001 of the variational bound is added to the loss. Needs `timesteps`.
        label_dropout: share of the labels hidden in training, so that guidance has an unconditional estimate.
        denoiser: a Keras model, or the path of its file, of x `[B, *event_shape]`, t `[B]` from 0 to 1 (and one-hot
            labels `[B, num_classes]`, zeros for none) to the prediction, shaped as x. None for `unet`, or
            `mlp_denoiser` for points.
        width: channels of the default network; None for its own, as of the next three.
        multipliers: channels of each size of the U-Net, in units of the width.
        dropout: rate inside the U-Net's residual blocks.
        recompute: whether the U-Net's blocks are computed again for the gradient, which takes less memory.
        solver: of `sample` where none is given: "dpmpp_2m" and others of `genmodels.sampling.solvers`.
        steps: of `sample` where none is given.
        dtype: Keras dtype policy.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, those that do not go together, and networks of other shapes.

    Example:
        >>> import genmodels as gm
        >>> model = gm.Diffusion((8, 8, 1), levels=17, schedule="cosine", prediction="v", width=8)
        >>> model.sample(3, solver="ddim", steps=4).shape
        TensorShape([3, 8, 8, 1])
    """

    title, paper, year = "Diffusion", "Sohl-Dickstein et al., arXiv:1503.03585", 2015
    scores: ClassVar = {"elbo": "variational bound", "log_prob": "probability-flow ODE"}

    def __init__(
        self, event_shape, *, levels=256, num_classes=None, schedule="cosine", prediction="v", weighting="simple",
        timesteps=None, learned_variance=False, label_dropout=0.1, denoiser=None, width=None, multipliers=None,
        dropout=None, recompute=None, solver="dpmpp_2m", steps=20, dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        self.latent_shape = self.event_shape
        if self.levels is not None:
            self.scores = {**self.scores, "log_prob": "probability-flow ODE, dequantization bound"}
        self.schedule = schedules.get(schedule)
        self.prediction = prediction if isinstance(prediction, Prediction) else Prediction(prediction)
        self.weighting = weighting if isinstance(weighting, Weighting) else Weighting(weighting)
        self.timesteps = checked_count("timesteps", timesteps, 2, "None for continuous time")
        self.learned_variance = bool(learned_variance)
        if self.learned_variance and self.timesteps is None:
            raise ValueError("`learned_variance` is of discrete steps: give `timesteps`, such as 1000.")
        if self.schedule.values([1.0])[0][0] == 0.0 and self.prediction.name in ("epsilon", "score"):
            raise ValueError(
                f"prediction {self.prediction.name!r} says nothing of the data where the noise is pure, as at t = 1 of "
                f'{type(self.schedule).__name__}: take "v", "x0", "velocity" or "edm".'
            )
        if not 0 <= label_dropout < 1:
            raise ValueError(f"`label_dropout` must be at least 0 and below 1; got {label_dropout!r}.")
        self.label_dropout = label_dropout
        if not isinstance(solver, str):
            raise ValueError(f"`solver` of a model must be a name, which a file can hold; got {solver!r}.")
        self.solver, self.steps = solvers.checked(solver), checked_count("steps", steps, 1)
        denoiser = shared.given(self, "denoiser", denoiser)
        options = networks.asked(width, multipliers, dropout, recompute)
        if denoiser is not None and options:
            raise ValueError(f"{', '.join(options)}: of the default network; a `denoiser` was given.")
        self.denoiser = denoiser or self._default_denoiser(options)
        label = [] if self.num_classes is None else [(self.num_classes,)]
        shared.check("denoiser", self.denoiser, [self.event_shape, (), *label], self._output_shape())

    def _output_shape(self):
        return (*self.event_shape[:-1], self.event_shape[-1] * (2 if self.learned_variance else 1))

    def _default_denoiser(self, options):
        build = networks.unet if len(self.event_shape) == 3 else networks.mlp_denoiser
        others = [name for name in options if name not in inspect.signature(build).parameters]
        if others:
            raise ValueError(f"{', '.join(others)}: of the U-Net, which is for images; the data are points.")
        return build(
            self.event_shape, outputs=self._output_shape()[-1], num_classes=self.num_classes, dtype=self.dtype_policy,
            **options,
        )  # fmt: skip

    # ------------------------------------------------------------------ training

    def objectives(self):
        """One: the weighted error of the network's prediction."""
        return (Objective("model", self._loss, self.denoiser),)

    def default_optimizers(self):
        """Adam at DDPM's rate, 2e-4."""
        return {"model": keras.optimizers.Adam(2e-4)}

    def _loss(self, batch, seed, training):
        x0 = self.to_network(batch.x)
        streams = Streams(seed, 0, tf.shape(x0)[0])
        t, weight = self._training_times(streams.fold(1))
        alpha, sigma = (beside(level, x0) for level in self.schedule.levels(t))
        noise = streams.fold(2).normal(self.event_shape)
        x = alpha * x0 + sigma * noise
        labels = self._seen_labels(batch.labels, streams.fold(3), training)
        output, place = self.predicted(x, t, alpha, sigma, labels, training)
        error = means(tf.square(output - self.prediction.target(x0, noise, alpha, sigma)))  # [B]
        metrics = {"mse": tf.reduce_mean(error)}
        _, out = self.prediction.coefficients(alpha, sigma)
        loss = tf.reduce_mean(error * tf.reshape(self.weighting.factor(out, alpha, sigma), [-1]))
        if weight is not None:
            estimate = self.prediction.denoised(x, output, alpha, sigma)
            if self.weighting.name != "elbo":
                estimate = tf.stop_gradient(estimate)  # the bound trains the variances alone
            terms = bound.terms(self.schedule, self._bound_steps, t, x0, estimate, place, self.levels)
            bits = tf.reduce_mean(weight * terms) / (math.prod(self.event_shape) * math.log(2.0))
            metrics["bound_terms"] = bits  # bits a dimension, without the prior's term
            loss = bits if self.weighting.name == "elbo" else loss + HYBRID * bits
        return loss, metrics

    @property
    def _bound_steps(self):
        return self.timesteps or 1000

    def _training_times(self, streams):
        """One time an example, spread evenly over the batch (Kingma et al. 2021, appendix I.1), the first anywhere.

        And what the terms of the variational bound there count, where the loss has any; else None.
        """
        place = Streams(streams.seed, 0, 1).uniform()[0]
        u = tf.math.floormod(tf.range(streams.num, dtype=tf.float32) / tf.cast(streams.num, tf.float32) + place, 1.0)
        u = tf.clip_by_value(u, 1e-6, 1.0 - 1e-6)
        if self.weighting.name == "elbo":
            return bound.drawn(self.schedule, self._bound_steps, u)
        if self.timesteps is None:
            return self.schedule.training_times(u), None
        weight = tf.fill([streams.num], float(self.timesteps)) if self.learned_variance else None
        return tf.math.ceil(u * self.timesteps) / self.timesteps, weight

    def _seen_labels(self, labels, streams, training):
        """One-hot labels, some of them hidden in training."""
        if self.num_classes is None:
            return None
        shown = tf.cast(streams.uniform() >= (self.label_dropout if training else 0.0), tf.float32)
        return tf.one_hot(labels, self.num_classes) * shown[:, None]

    # ------------------------------------------------------------------ the network

    def predicted(self, x, t, alpha, sigma, labels, training=False):
        """The network's prediction, and the place of the log-variance between its bounds or None; float32."""
        scaled = self.prediction.input_scale(alpha, sigma) * x
        inputs = [scaled, t] if labels is None else [scaled, t, labels]
        output = tf.cast(self.denoiser(inputs, training=training), tf.float32)
        if not self.learned_variance:
            return output, None
        output, place = tf.split(output, 2, axis=-1)
        return output, tf.sigmoid(place)

    def denoise(self, x, alpha, sigma, labels=None):
        """The network's estimate of x₀ from x = α x₀ + σ ε, at one level for all examples.

        Args:
            x: noisy examples `[B, *event_shape]` in the network's units: images from -1 to 1.
            alpha: α, a scalar.
            sigma: σ, a scalar.
            labels: `[B, num_classes]` one-hot labels, zeros for none; None for an unconditional model.

        Returns:
            The estimate, `[B, *event_shape]` float32, and the place of the learned variance, as large and from 0 to 1,
            or None.
        """
        alpha, sigma = tf.cast(alpha, tf.float32), tf.cast(sigma, tf.float32)
        t = tf.fill([tf.shape(x)[0]], self.schedule.time(alpha, sigma))
        output, place = self.predicted(x, t, alpha, sigma, labels)
        return self.prediction.denoised(x, output, alpha, sigma), place

    def denoiser_for(self, labels=None, scale=None, classifier=None, clip=False):
        """A function of (x, alpha, sigma) as `denoise`, for classes `[B]`, with guidance where a scale is given.

        With `clip`, estimates of integer data are kept within -1 and 1, where the data lie.
        """
        onehot = None if labels is None else tf.one_hot(labels, self.num_classes)

        def plain(x, alpha, sigma):
            return self.denoise(x, alpha, sigma, onehot)

        if scale is None:
            chosen = plain
        elif classifier is None:
            chosen = guide.classifier_free(self.denoise, onehot, scale)
        else:
            chosen = guide.by_classifier(plain, classifier, self.schedule, labels, scale)

        def clipped(x, alpha, sigma):
            estimate, place = chosen(x, alpha, sigma)
            return tf.clip_by_value(estimate, -1.0, 1.0), place

        return clipped if clip and self.levels is not None else chosen

    def feature_network(self, *, label=None, layer=None, noise=0.05):
        """The denoiser's innermost features where there is little noise (Xiang et al. 2023, "DDAE"), or a layer's.

        No noise is drawn: the denoiser is given α x₀, the mean of what it sees at the time.

        Args:
            label: class that the denoiser is shown; None for no class, as in training with `label_dropout`.
            layer: name of one of the denoiser's layers; None for the last at its smallest size.
            noise: σ / α, with images from -1 to 1; the denoiser is told the time at which it is that of the schedule.
        """
        with tf.init_scope():
            ratio = tf.constant(checked_positive("noise", noise), tf.float64)
            time = float(self.schedule.time(tf.ones_like(ratio), ratio))
            alpha, sigma = self.schedule.levels(tf.constant(time, tf.float64))
            scale = float(alpha * self.prediction.input_scale(alpha, sigma))
        x, inputs = features.inputs(self, label, scale=scale, time=time)
        hidden = features.innermost("denoiser", self.denoiser, layer)
        return keras.Model(x, features.vector(hidden(inputs)), name="features")

    def to_network(self, x):
        """Data as the network sees them: integers from -1 to 1, float32."""
        x = tf.cast(x, tf.float32)
        return x if self.levels is None else x * (2.0 / (self.levels - 1)) - 1.0

    def from_network(self, x):
        """The inverse of `to_network`: float32 in the data's units."""
        return x if self.levels is None else (x + 1.0) * ((self.levels - 1) / 2.0)

    # ------------------------------------------------------------------ sampling

    def generate(
        self, streams: Streams, labels, *, steps=None, solver=None, spacing="uniform", guidance=1.0, classifier=None,
        eta=None, churn=None,
    ):  # fmt: skip
        """Samples. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            steps: of the solver; None for the model's own number.
            solver: a name, or a function as those of `genmodels.sampling.solvers`; None for the model's own.
            spacing: of the steps: "uniform" in t, "quadratic" or "karras".
            guidance: w of D = D(no label) + w (D(label) - D(no label)) (Ho & Salimans 2022); 1 is plainly conditional,
                0 unconditional. With a classifier, the factor of its gradient (Dhariwal & Nichol 2021).
            classifier: a Keras model of noisy x `[B, *event_shape]`, in the network's units, and t `[B]` to logits.
            eta: of "ddim".
            churn: of "euler" and "heun".

        Returns:
            `[num, *event_shape]` float32.
        """
        solver = solvers.checked(self.solver if solver is None else solver)
        steps = checked_count("steps", self.steps if steps is None else steps, 1)
        self.grid(steps, spacing)  # refuses what the schedule does not have
        for name, value in (("eta", eta), ("churn", churn)):
            if value is not None:
                solver = solvers.with_option(solver, name, value)
        scale = self.checked_guidance(guidance, classifier)
        return self._generate(
            streams.seed, streams.start, labels, scale, streams.num, steps, solver, spacing, classifier
        )

    def checked_guidance(self, guidance, classifier=None):
        """The scale of guidance as a tensor, None where there is none, or a ValueError."""
        number = isinstance(guidance, numbers.Real) and not isinstance(guidance, bool)
        if not number or not math.isfinite(guidance):
            raise ValueError(f"`guidance` must be a finite number; got {guidance!r}.")
        if self.num_classes is None and (guidance != 1.0 or classifier is not None):
            raise ValueError("guidance needs labels to lean towards: a model built with `num_classes`.")
        if guidance != 1.0 and classifier is None and not self.label_dropout:
            raise ValueError("guidance without a classifier needs a model that was trained with `label_dropout`.")
        if classifier is not None:
            shared.check("classifier", classifier, [self.event_shape, ()], (self.num_classes,))
        return None if guidance == 1.0 and classifier is None else tf.constant(guidance, tf.float32)

    @compiled
    def _generate(self, seed, start, labels, scale, num, steps, solver, spacing, classifier):
        streams = Streams(seed, start, num)
        alphas, sigmas = self.grid(steps, spacing)
        x = float(sigmas[0]) * self.latents(streams)
        denoiser = self.denoiser_for(labels, scale, classifier, clip=True)
        return self.from_network(self.solved(solver, x, alphas, sigmas, streams.fold(1), denoiser))

    def grid(self, steps, spacing="uniform", start=1.0):
        """α and σ of a solver's levels, `[steps + 1]` arrays; the last time asked is the first that training knows."""
        return self.schedule.grid(steps, spacing, start=start, first=self.first_time)[1:]

    @property
    def first_time(self):
        """The earliest time, above 0, that training knows."""
        return self.schedule.first if self.timesteps is None else 1.0 / self.timesteps

    def solved(self, solver, x, alphas, sigmas, streams, denoiser):
        """Where a solver takes x, in the network's units; an ancestral one uses the variances that were learned."""
        run = solvers.SOLVERS[solver] if isinstance(solver, str) else solver
        chosen = getattr(run, "keywords", {}).get("variance", "learned")  # of a partial, which may say another
        if self.learned_variance and getattr(run, "func", run) is solvers.ancestral and chosen == "learned":
            return run(denoiser, x, alphas, sigmas, streams, variance="learned")
        return run(guide.estimate_of(denoiser), x, alphas, sigmas, streams)

    # ------------------------------------------------------------------ latents

    def decode(self, z, labels=None, *, steps=50):
        """Follows the probability-flow ODE from noise to data by DDIM: `[B, *event_shape]` float32, differentiable.

        Args:
            z: latents `[B, *latent_shape]`, standard normal.
            labels: `[B]` class labels of a conditional model; None takes the classes in turn.
            steps: of DDIM.
        """
        z = tf.cast(z, tf.float32)
        if z.shape[1:] != self.latent_shape:
            raise ValueError(f"latents must have shape {('batch', *self.latent_shape)}; got {tuple(z.shape)}.")
        return self._decode(z, self._labels(labels, z.shape[0]), checked_count("steps", steps, 1))

    @compiled
    def _decode(self, z, labels, steps):
        alphas, sigmas = self.grid(steps)
        denoiser = self.denoiser_for(labels)
        return self.from_network(self.solved("ddim", float(sigmas[0]) * z, alphas, sigmas, None, denoiser))

    def encode(self, x, labels=None, *, steps=50):
        """DDIM run backwards (Song et al. 2020): the latents from which `decode` with as many steps gives x.

        Each step's inverse is found by iteration, so that decoding returns x up to what the first level of noise hides.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            steps: of DDIM; each takes four evaluations.
        """
        x, labels = self._examples(x, labels)
        return self._encode(x, labels, checked_count("steps", steps, 1))

    @compiled
    def _encode(self, x, labels, steps):
        alphas, sigmas = self.grid(steps)
        denoiser = guide.estimate_of(self.denoiser_for(labels))
        return solvers.inverted_ddim(denoiser, self.to_network(x), alphas, sigmas) / float(sigmas[0])

    # ------------------------------------------------------------------ likelihood

    def elbo(self, x, labels=None, *, num_times=None, steps=None, seed=0, first=0):
        """The variational lower bound of log p(x), `[B]` nats.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            num_times: how many of the T terms to evaluate, drawn evenly and scaled: an unbiased estimate. T takes each
                once; None is 100, or T where that is less.
            steps: T; None for the model's timesteps, or 1000.
            seed: the same seed gives the same estimate for example i, whatever the batch size.
            first: number of the first example in the stream of noise, where `x` is a part of more.
        """
        x, labels = self._examples(x, labels)
        steps = checked_count("steps", self._bound_steps if steps is None else steps, 2)
        num_times = checked_count("num_times", min(steps, TERMS) if num_times is None else num_times, 1)
        if num_times > steps:
            raise ValueError(f"`num_times` must be at most {steps}, the steps of the bound; got {num_times}.")
        return self._by_parts(self._elbo, x, labels, seed, first, num_times, steps)

    @compiled
    def _elbo(self, x, labels, seed, start, num_times, steps):
        onehot = None if labels is None else tf.one_hot(labels, self.num_classes)
        streams = Streams(seed, start, tf.shape(x)[0])
        return bound.drawn_elbo(self, self.to_network(x), onehot, streams, num_times, steps)

    def log_prob(self, x, labels=None, *, steps=32, probes=None, seed=0, first=0):
        """The likelihood of the probability-flow ODE, `[B]` nats of the data as given (Song et al. 2021).

        The density is that of the data blurred by the first level of noise, exact but for the steps of the integration.
        Integers are dequantized uniformly: theirs is a lower bound of the log-probability, with one draw of the noise.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            steps: of the classical Runge–Kutta method, four evaluations and gradients each.
            probes: random vectors by which the divergence is estimated, without bias; None for the exact divergence up
                to 16 dimensions, and one probe beyond.
            seed: the same seed gives the same figure for example i, whatever the batch size.
            first: number of the first example in the stream of noise, where `x` is a part of more.
        """
        x, labels = self._examples(x, labels)
        if probes is None and math.prod(self.event_shape) > likelihood.EXACT:
            probes = 1
        probes = checked_count("probes", probes, 1, "None for the exact divergence")
        return self._by_parts(self._log_prob, x, labels, seed, first, checked_count("steps", steps, 1), probes)

    @compiled
    def _log_prob(self, x, labels, seed, start, steps, probes):
        denoiser = guide.estimate_of(self.denoiser_for(labels))
        return likelihood.log_prob(self, denoiser, x, Streams(seed, start, tf.shape(x)[0]), steps, probes)

    def _by_parts(self, function, x, labels, seed, first, *settings):
        """A function of examples, labels, seed and number of the first example, a few examples at a time."""
        size = max(1, PART // math.prod(self.event_shape))
        figures = [
            function(*part, make_seed(seed), tf.cast(first + start, tf.int64), *settings)
            for start, *part in arguments.parts(x, labels, size)
        ]
        return tf.concat(figures, 0)
