"""Diffusion: noise is added, a network learns to remove it, a solver walks back."""

import functools
import inspect
import math
import numbers

import keras
import tensorflow as tf

from genmodels import networks as shared
from genmodels.compiling import compiled
from genmodels.core import LatentModel, Objective
from genmodels.models.diffusion import bound, networks, schedules
from genmodels.models.diffusion import guidance as guidance_
from genmodels.models.diffusion.predictions import Prediction, Weighting
from genmodels.sampling import Streams, make_seed, solvers
from genmodels.settings import checked_count

HYBRID = 1e-3  # of the variational bound beside the simple loss, where variances are learned (Nichol & Dhariwal 2021)


@keras.saving.register_keras_serializable(package="genmodels")
class Diffusion(LatentModel):
    """x_t = α(t) x₀ + σ(t) ε, and a network that tells x₀ from x_t: any schedule, prediction, weighting and solver.

    `DDPM`, `ImprovedDDPM`, `NCSN`, `EDM` and `FlowMatching` are this class with the settings of their papers. Inside,
    images go from -1 to 1; points are taken as they are. The latent is the noise at t = 1, over its deviation.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        levels: pixels are 0 … levels-1; None for real-valued data.
        num_classes: number of classes of a conditional model.
        schedule: "linear", "cosine", "sigmoid", "exploding", "karras", "straight", or an object of `genmodels.diffusion`.
        prediction: "epsilon", "x0", "v", "score", "velocity", "edm", or a `Prediction`.
        weighting: of the noise levels: "simple", "min_snr", "edm", "elbo", or a `Weighting`.
        timesteps: T, to train at the times i / T only; None for continuous time.
        learned_variance: the network also learns the variance of the ancestral sampler; its output has twice the
            channels, and 0.001 of the variational bound is added to the loss. Needs `timesteps`.
        label_dropout: share of the labels hidden in training, so that guidance has an unconditional estimate.
        denoiser: a Keras model of x `[B, *event_shape]`, t `[B]` from 0 to 1 (and one-hot labels `[B, num_classes]`, zeros
            for none) to the prediction, shaped as x. None for `unet`, or `mlp_denoiser` for points.
        width: channels of the default network; None for its own.
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

    def __init__(
        self, event_shape, *, levels=256, num_classes=None, schedule="cosine", prediction="v", weighting="simple",
        timesteps=None, learned_variance=False, label_dropout=0.1, denoiser=None, width=None, solver="dpmpp_2m",
        steps=20, dtype=None, name=None,
    ):  # fmt: skip
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        self.latent_shape = self.event_shape
        self.schedule = schedules.get(schedule)
        self.prediction = prediction if isinstance(prediction, Prediction) else Prediction(prediction)
        self.weighting = weighting if isinstance(weighting, Weighting) else Weighting(weighting)
        self.timesteps = checked_count("timesteps", timesteps, 2, "None for continuous time")
        self.learned_variance = bool(learned_variance)
        if self.learned_variance and self.timesteps is None:
            raise ValueError("`learned_variance` is of discrete steps: give `timesteps`, such as 1000.")
        if self.schedule.values([1.0])[0][0] == 0.0 and self.prediction.name in ("epsilon", "score"):
            raise ValueError(
                f"prediction {self.prediction.name!r} says nothing of the data where the noise is pure, as at the end of "
                f'{type(self.schedule).__name__}: take "v", "x0", "velocity" or "edm".'
            )
        if not 0 <= label_dropout < 1:
            raise ValueError(f"`label_dropout` must be at least 0 and below 1; got {label_dropout!r}.")
        self.label_dropout = label_dropout
        self.solver, self.steps = checked_solver(solver), checked_count("steps", steps, 1)
        self.denoiser = denoiser or self._default_denoiser(width)
        label = [] if self.num_classes is None else [(self.num_classes,)]
        shared.check("denoiser", self.denoiser, [self.event_shape, (), *label], self._output_shape())

    def _output_shape(self):
        return (*self.event_shape[:-1], self.event_shape[-1] * (2 if self.learned_variance else 1))

    def _default_denoiser(self, width):
        build = networks.unet if len(self.event_shape) == 3 else networks.mlp_denoiser
        options = {} if width is None else {"width": checked_count("width", width, 4)}
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
        x0 = self._to_network(batch.x)
        streams = Streams(seed, 0, tf.shape(x0)[0])
        t = self._training_times(streams.fold(1))
        alpha, sigma = (self._beside(level, x0) for level in self.schedule.levels(t))
        noise = streams.fold(2).normal(self.event_shape)
        x = alpha * x0 + sigma * noise
        output, place = self._output(x, t, alpha, sigma, self._training_labels(batch.labels, streams.fold(3)), training)
        error = self._mean(tf.square(output - self.prediction.target(x0, noise, alpha, sigma)))  # [B]
        metrics = {"mse": tf.reduce_mean(error)}
        _, out = self.prediction.coefficients(alpha, sigma)
        loss = tf.reduce_mean(error * tf.reshape(self.weighting.factor(out, alpha, sigma), [-1]))
        if self.weighting.name == "elbo" or self.learned_variance:
            estimate = self.prediction.denoised(x, output, alpha, sigma)
            if self.weighting.name != "elbo":
                estimate = tf.stop_gradient(estimate)  # the bound trains the variances alone
            terms = bound.terms(self.schedule, self.timesteps or 1000, t, x0, x, estimate, place, self.levels)
            bits = tf.reduce_mean(terms) * (self.timesteps or 1000) / (math.prod(self.event_shape) * math.log(2.0))
            metrics["bound_terms"] = bits  # bits a dimension, without the prior's term
            loss = bits if self.weighting.name == "elbo" else loss + HYBRID * bits
        return loss, metrics

    def _training_times(self, streams):
        """One time an example, spread evenly over the batch (Kingma et al. 2021, appendix I.1)."""
        count = tf.shape(streams.uniform())[0]
        u = (tf.range(count, dtype=tf.float32) + streams.uniform()[0]) / tf.cast(count, tf.float32)
        if self.timesteps is None and self.weighting.name != "elbo":
            return self.schedule.training_times(tf.clip_by_value(u, 1e-6, 1.0 - 1e-6))
        steps = float(self.timesteps or 1000)
        return tf.clip_by_value(tf.math.ceil(u * steps), 1.0, steps) / steps

    def _training_labels(self, labels, streams):
        """One-hot labels, some of them hidden."""
        if self.num_classes is None:
            return None
        shown = tf.cast(streams.uniform() >= self.label_dropout, tf.float32)
        return tf.one_hot(labels, self.num_classes) * shown[:, None]

    # ------------------------------------------------------------------ the network

    def _output(self, x, t, alpha, sigma, labels, training=False):
        """The network's prediction, and the place of the log-variance between its bounds or None; float32."""
        scaled = self.prediction.input_scale(alpha, sigma) * x
        inputs = [scaled, t] if labels is None else [scaled, t, labels]
        output = tf.cast(self.denoiser(inputs, training=training), tf.float32)
        if not self.learned_variance:
            return output, None
        output, place = tf.split(output, 2, axis=-1)
        return output, tf.sigmoid(place)

    def denoise(self, x, alpha, sigma, labels=None):
        """The network's estimate of x₀ from x = α x₀ + σ ε, at one level for all.

        Args:
            x: noisy examples `[B, *event_shape]` in the network's units: images from -1 to 1.
            alpha: α, a scalar.
            sigma: σ, a scalar.
            labels: `[B, num_classes]` one-hot labels, zeros for none; None for an unconditional model.

        Returns:
            `[B, *event_shape]` float32 in the network's units.
        """
        return self.denoise_with_variance(x, alpha, sigma, labels)[0]

    def denoise_with_variance(self, x, alpha, sigma, labels=None):
        """`denoise`, and the place of the learned variance, `[B, *event_shape]` from 0 to 1, or None."""
        alpha, sigma = tf.cast(alpha, tf.float32), tf.cast(sigma, tf.float32)
        t = tf.fill([tf.shape(x)[0]], self.schedule.time(alpha, sigma))
        output, place = self._output(x, t, alpha, sigma, labels)
        return self.prediction.denoised(x, output, alpha, sigma), place

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
        solver = checked_solver(self.solver if solver is None else solver)
        steps = checked_count("steps", self.steps if steps is None else steps, 1)
        self.schedule.grid(steps, spacing)
        given = {name: value for name, value in (("eta", eta), ("churn", churn)) if value is not None}
        run = functools.partial(solvers.SOLVERS.get(solver, solver), **given) if given else solver
        self._check_options(solver, given)
        if classifier is not None:
            self._check_classifier(classifier, labels)
        elif self.num_classes is None and guidance != 1.0:
            raise ValueError("`guidance` needs a model built with `num_classes`, or a `classifier`.")
        number = isinstance(guidance, numbers.Real) and not isinstance(guidance, bool)
        if not number or not math.isfinite(guidance):
            raise ValueError(f"`guidance` must be a finite number; got {guidance!r}.")
        scale = None if guidance == 1.0 and classifier is None else tf.constant(guidance, tf.float32)
        return self._generate(streams.seed, streams.start, labels, scale, streams.num, steps, run, spacing, classifier)

    def _check_options(self, solver, given):
        known = inspect.signature(solvers.SOLVERS.get(solver, solver)).parameters
        for name in given:
            if name not in known:
                raise ValueError(f"`{name}` is no option of the solver {solver!r}.")

    def _check_classifier(self, classifier, labels):
        if labels is None:
            raise ValueError("a `classifier` needs labels: build the model with `num_classes`, to guide it.")
        shared.check("classifier", classifier, [self.event_shape, ()], (self.num_classes,))

    @compiled
    def _generate(self, seed, start, labels, scale, num, steps, solver, spacing, classifier):
        streams = Streams(seed, start, num)
        _, alphas, sigmas = self.schedule.grid(steps, spacing)
        denoiser = self._denoiser(labels, scale, classifier, clip=self.levels is not None)
        run = solvers.SOLVERS.get(solver, solver)
        if self.learned_variance and run is solvers.ancestral:
            run = functools.partial(run, variance="learned")
        else:
            denoiser = _first(denoiser)
        x = float(sigmas[0]) * self.latents(streams)
        return self._from_network(run(denoiser, x, alphas, sigmas, streams.fold(1)))

    def _denoiser(self, labels=None, scale=None, classifier=None, clip=False):
        """`(x, alpha, sigma)` to the estimate of x₀ and the place of the variance, for class labels `[B]`."""
        onehot = None if labels is None else tf.one_hot(labels, self.num_classes)

        def plain(x, alpha, sigma):
            return self.denoise_with_variance(x, alpha, sigma, onehot)

        if scale is None:
            chosen = plain
        elif classifier is None:
            chosen = guidance_.classifier_free(self.denoise_with_variance, onehot, scale)
        else:
            chosen = guidance_.by_classifier(plain, classifier, self.schedule.time, labels, scale)
        if not clip:
            return chosen

        def clipped(x, alpha, sigma):
            estimate, place = chosen(x, alpha, sigma)
            return tf.clip_by_value(estimate, -1.0, 1.0), place  # the data lie there

        return clipped

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
        _, alphas, sigmas = self.schedule.grid(steps)
        denoiser = _first(self._denoiser(labels))
        return self._from_network(solvers.ddim(denoiser, float(sigmas[0]) * z, alphas, sigmas, None))

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
        _, alphas, sigmas = self.schedule.grid(steps)
        denoiser = _first(self._denoiser(labels))
        return solvers.inverted_ddim(denoiser, self._to_network(x), alphas, sigmas) / float(sigmas[0])

    # ------------------------------------------------------------------ likelihood

    def elbo(self, x, labels=None, *, num_times=None, steps=None, seed=0, first=0):
        """The variational lower bound of log p(x), `[B]` nats.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            num_times: how many of the T terms to evaluate, drawn evenly and scaled: an unbiased estimate. None for all.
            steps: T; None for the model's timesteps, or 1000.
            seed: the same seed gives the same estimate for example i, whatever the batch size.
            first: number of the first example in the stream of noise, where `x` is a part of more.
        """
        x, labels = self._examples(x, labels)
        steps = checked_count("steps", steps or self.timesteps or 1000, 2)
        num_times = checked_count("num_times", steps if num_times is None else num_times, 1)
        if num_times > steps:
            raise ValueError(f"`num_times` must be at most {steps}, the steps of the bound; got {num_times}.")
        return self._elbo(x, labels, make_seed(seed), tf.constant(first, tf.int64), num_times, steps)

    @compiled
    def _elbo(self, x, labels, seed, start, num_times, steps):
        x0 = self._to_network(x)
        streams = Streams(seed, start, tf.shape(x0)[0])
        onehot = None if labels is None else tf.one_hot(labels, self.num_classes)
        offset = streams.fold(0).uniform()
        total = -bound.prior_term(self.schedule, x0)
        for k in tf.range(num_times):
            mine = streams.fold(k + 1)
            # One time from each of num_times equal parts of the steps 1 … T, at the same place in each.
            u = (tf.cast(k, tf.float32) + offset) / num_times
            t = tf.clip_by_value(tf.math.ceil(u * steps), 1.0, float(steps)) / steps
            alpha, sigma = (self._beside(level, x0) for level in self.schedule.levels(t))
            noisy = alpha * x0 + sigma * mine.normal(self.event_shape)
            output, place = self._output(noisy, t, alpha, sigma, onehot)
            estimate = self.prediction.denoised(noisy, output, alpha, sigma)
            total -= bound.terms(self.schedule, steps, t, x0, noisy, estimate, place, self.levels) * (steps / num_times)
        return total

    def _to_network(self, x):
        """Data as the network sees them: integers from -1 to 1."""
        x = tf.cast(x, tf.float32)
        return x if self.levels is None else x * (2.0 / (self.levels - 1)) - 1.0

    def _from_network(self, x):
        return x if self.levels is None else (x + 1.0) * ((self.levels - 1) / 2.0)

    def _beside(self, values, x):
        """`[B]` shaped to go with examples."""
        return tf.reshape(values, [-1] + [1] * (x.shape.rank - 1))

    def _mean(self, values):
        return tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))


def checked_solver(solver):
    """A solver's name or function, or a ValueError."""
    if not callable(solver) and solver not in solvers.SOLVERS:
        raise ValueError(f"`solver` must be {', '.join(solvers.SOLVERS)}, or a function like those; got {solver!r}.")
    return solver


def _first(denoiser):
    """The estimate alone."""
    return lambda x, alpha, sigma: denoiser(x, alpha, sigma)[0]
