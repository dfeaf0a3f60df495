"""Latent diffusion: a diffusion model of what a trained autoencoder makes of examples."""

import os

import keras
import tensorflow as tf

from genmodels.compiling import compiled
from genmodels.core import Batch, LatentModel, Objective
from genmodels.models.autoencoders.autoencoder import Together
from genmodels.models.diffusion.diffusion import Diffusion
from genmodels.sampling import Streams


@keras.saving.register_keras_serializable(package="genmodels")
class LatentDiffusion(LatentModel):
    """Latent diffusion (Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models").

    A trained autoencoder encodes the examples; a diffusion model learns the distribution of the codes, on a smaller
    grid or a short vector, and its samples are decoded. The autoencoder stays as it is.

    The codes are what `encode` gives: of a VAE the means (the paper draws from the posterior), of a VQ-VAE the vectors
    of its codebook, and what is generated is decoded without being moved to the nearest of these (in the paper it is).
    They are brought to the units that diffusion models expect: the first batch of training, or the first part where it
    is split, sets the mean of each channel to 0, and one scale such that the standard deviation over all is 1.

    The model's own latents are the diffusion model's noise. There is no likelihood of the examples.

    Args:
        autoencoder: a trained model of this package that encodes and decodes, such as a `gm.VAE` or a `gm.VQVAE`.
        diffusion: a model of its latents, `gm.Diffusion(autoencoder.latent_shape, levels=None)` or one of its kin, with
            the autoencoder's `num_classes` where that has any; None for a `gm.Diffusion` with its defaults. Codes have
            a standard deviation of 1, which `gm.EDM` is to be told by `data_deviation=1.0`.
        name: name of the model.

    Raises:
        ValueError: for an autoencoder that cannot encode, and a diffusion model that does not fit its latents.

    Example:
        >>> import genmodels as gm
        >>> autoencoder = gm.VAE((8, 8, 1), levels=17, latent_dim=4)  # to be trained first
        >>> model = gm.LatentDiffusion(autoencoder, gm.EDM((4,), levels=None, data_deviation=1.0))
        >>> model.sample(3, steps=2).shape
        TensorShape([3, 8, 8, 1])
    """

    def __init__(self, autoencoder, diffusion=None, *, name=None):
        _check_autoencoder(autoencoder)
        if diffusion is None:
            diffusion = Diffusion(autoencoder.latent_shape, levels=None, num_classes=autoencoder.num_classes)
        _check_diffusion(diffusion, autoencoder)
        super().__init__(
            autoencoder.event_shape, levels=autoencoder.levels, num_classes=diffusion.num_classes,
            dtype=diffusion.dtype_policy, name=name,
        )  # fmt: skip
        self.latent_shape = diffusion.latent_shape
        self._arguments["diffusion"] = diffusion  # whatever its defaults will be
        self.autoencoder, self.diffusion = autoencoder, diffusion
        self.solver, self.steps = diffusion.solver, diffusion.steps  # of `sample`
        self.denoiser, self.units = diffusion.denoiser, Units(autoencoder.latent_shape[-1])
        self.player = Together("player", denoiser=self.denoiser, units=self.units)

    def default_optimizers(self):
        """The diffusion model's."""
        return self.diffusion.default_optimizers()

    def objectives(self):
        """One: the diffusion model's, on codes."""
        return (Objective("model", self._loss, self.player),)

    def fixed_parts(self):
        """The autoencoder."""
        return (self.autoencoder,)

    def _loss(self, batch, seed, training):
        codes = tf.stop_gradient(self._codes(batch.x, batch.labels))
        if training:
            self.units.set_once(codes)
        (objective,) = self.diffusion.objectives()
        return objective.loss(Batch(self.units(codes), batch.labels), seed, training)

    def _codes(self, x, labels):
        """What the autoencoder makes of examples, in its units, `[B, *latent_shape]`."""
        return self.autoencoder.encode(x, self._seen(labels))

    def _seen(self, labels):
        """The labels where the autoencoder takes any."""
        return None if self.autoencoder.num_classes is None else labels

    # ------------------------------------------------------------------ what users call

    def latents(self, streams: Streams):
        """The diffusion model's noise, `[streams.num, *latent_shape]`."""
        return self.diffusion.latents(streams)

    def encode(self, x, labels=None, *, steps=50):
        """The noise that `decode` takes to an example's code, `[B, *latent_shape]`; see `Diffusion.encode`.

        Args:
            x: examples `[B, *event_shape]` in the data's units.
            labels: `[B]` class labels of a conditional model.
            steps: of DDIM.
        """
        x, labels = self._examples(x, labels)
        return self.diffusion.encode(self.units(self._codes(x, labels)), labels, steps=steps)

    def decode(self, z, labels=None, *, steps=50):
        """Takes noise to a code along the probability-flow ODE, and decodes it: see `Diffusion.decode`.

        Args:
            z: noise `[B, *latent_shape]`.
            labels: `[B]` class labels of a conditional model; None takes the classes in turn.
            steps: of DDIM.

        Returns:
            `[B, *event_shape]` float32 in the data's units.
        """
        codes = self.diffusion.decode(z, labels, steps=steps)
        return self._decoded(codes, self._labels(labels, codes.shape[0]))

    def feature_network(self, *, label=None):
        """The autoencoder's."""
        return self.autoencoder.feature_network(label=label)

    def generate(
        self, streams: Streams, labels, *, steps=None, solver=None, spacing="uniform", guidance=1.0, eta=None,
        churn=None,
    ):  # fmt: skip
        """Samples of codes, decoded. Options of `sample`, as `Diffusion` has them:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            steps: of the solver; None for the diffusion model's own number.
            solver: a name or a function; None for the diffusion model's own.
            spacing: of the steps.
            guidance: towards the labels.
            eta: of "ddim".
            churn: of "euler" and "heun".

        Returns:
            `[num, *event_shape]` float32.
        """
        options = {"spacing": spacing, "guidance": guidance, "eta": eta, "churn": churn}
        codes = self.diffusion.generate(streams, labels, steps=steps, solver=solver, **options)
        return self._decoded(codes, labels)

    @compiled
    def _decoded(self, codes, labels):
        return self.autoencoder.decode(self.units.inverse(codes), self._seen(labels))


class Units(keras.layers.Layer):
    """From the autoencoder's units to those of diffusion: means of channels 0, one scale, set by the first batch."""

    def __init__(self, channels):
        super().__init__(name="units", dtype="float32", trainable=False)
        # Of several replicas, each with a part of the first batch, one sets them for all.
        options = {"trainable": False, "aggregation": "only_first_replica"}
        self.mean = self.add_weight((channels,), initializer="zeros", name="mean", **options)
        self.deviation = self.add_weight((), initializer="ones", name="deviation", **options)
        self.known = self.add_weight((), initializer="zeros", dtype="int32", name="known", **options)
        self.built = True

    def set_once(self, z):
        """Sets mean and scale by z `[B, …, channels]`, unless they are set or z does not vary.

        Always assigns, for neither a Python flag nor XLA has the choice.
        """
        mean = tf.reduce_mean(z, range(z.shape.rank - 1))
        deviation = tf.sqrt(tf.reduce_mean(tf.square(z - mean)))
        known = self.known.value > 0
        new = ~known & (deviation > 1e-6)
        self.mean.assign(tf.where(new, mean, self.mean.value))
        self.deviation.assign(tf.where(new, deviation, self.deviation.value))
        self.known.assign(tf.cast(new | known, tf.int32))

    def call(self, z):
        """(z - mean) / deviation."""
        return (z - self.mean.value) / self.deviation.value

    def inverse(self, z):
        """mean + deviation · z."""
        return self.mean.value + self.deviation.value * z


def _check_autoencoder(model):
    if isinstance(model, (str, os.PathLike)):
        path = str(model)
        raise ValueError(f"`autoencoder` must be a model; got the path {path!r}: give gm.load_model({path!r}).")
    if not isinstance(model, LatentModel) or type(model).encode is LatentModel.encode:
        raise ValueError(
            f"`autoencoder` must be a model of this package that encodes, such as a VAE; got {type(model).__name__}."
        )
    if model.condition_dim is not None:
        raise ValueError("`autoencoder` must have classes or no conditions; its are vectors (`condition_dim`).")


def _check_diffusion(model, autoencoder):
    if not isinstance(model, Diffusion):
        raise ValueError(f"`diffusion` must be a gm.Diffusion or one of its kin; got {type(model).__name__}.")
    shape, classes = autoencoder.latent_shape, autoencoder.num_classes
    if model.event_shape != shape or model.levels is not None:
        raise ValueError(
            f"`diffusion` must be of the autoencoder's latents, event_shape={shape} and levels=None; got "
            f"event_shape={model.event_shape} and levels={model.levels}."
        )
    if classes is not None and model.num_classes != classes:
        raise ValueError(f"`diffusion` must have the autoencoder's num_classes={classes}; got {model.num_classes}.")
