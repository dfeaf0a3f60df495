"""The contracts: what a model tells the harness, and what every model offers its users.

Every model is a game; most have one player. A model names its objectives, the harness descends them in order
and never asks what family it is training.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from genmodels import arguments
from genmodels.compiling import few_sizes
from genmodels.sampling import Streams, make_seed
from genmodels.settings import (
    checked_count,
    checked_shape,
    constructor_arguments,
    deserialized,
    recorded,
    serialized,
)

__all__ = ["Batch", "GenerativeModel", "LatentModel", "LikelihoodModel", "Objective"]

SET_WHILE_TRAINING = ("history", "stop_training")  # by Keras' callbacks; no function depends on them


class Batch(NamedTuple):
    """What a loss receives: examples as the data set stores them, and class labels or condition vectors, if any.

    Example:
        >>> Batch(tf.zeros([4, 8, 8, 1], tf.uint8)).labels is None
        True
    """

    x: tf.Tensor  # [B, *event_shape], uint8 or float32
    labels: tf.Tensor | None = None  # [B] int32 classes, or [B, condition_dim] float32


@dataclasses.dataclass(frozen=True)
class Objective:
    """One player of the game: a loss, and the network whose trainable variables descend it.

    Attributes:
        name: "model" where there is one player; "critic", "generator" and the like where there are several.
        loss: `loss(batch, seed, training) -> (scalar, {metric: scalar})`; `batch` is a `Batch`, `seed` a `[2]`
            int32 tensor that is new at every update, the scalar a mean over the batch.
        network: the `keras.Layer` whose trainable variables descend the loss.
        updates: updates in one training step, each on a fresh batch.

    Example:
        >>> import genmodels as gm
        >>> [(player.name, player.updates) for player in gm.WGANGP((8, 8, 1), width=8).objectives()]
        [('critic', 5), ('generator', 1)]
    """

    name: str
    loss: Callable[[Batch, tf.Tensor, bool], tuple[tf.Tensor, dict[str, tf.Tensor]]]
    network: keras.Layer
    updates: int = 1


class GenerativeModel(keras.Model):
    """A model of data that can be trained and sampled. To write one, see docs in CONTRIBUTING.md.

    A subclass builds its networks in its constructor, and gives `objectives` and `generate`. Constructor
    arguments are recorded, so that `model.save` needs no `get_config`; they must be numbers, strings, tuples,
    None or Keras objects.

    Args:
        event_shape: shape of one example: `(28, 28, 1)`, or `(2,)` for points.
        levels: pixels are the integers 0 … levels-1, 2 … 256 of them; None for real numbers, taken as they are.
        num_classes: number of classes of a class-conditional model, or None.
        dtype: Keras dtype policy (`"mixed_bfloat16"` …); None for the global one.
        name: name of the model.

    Attributes:
        condition_dim: size of the real-valued vectors that condition the model in place of classes, or None; a
            family that takes them sets it in its constructor, after `super().__init__`.
        title: name of the model in tables, and on the command line in lower case with dashes; None for none.
        paper: its authors, and where it was published.
        year: of the paper's first version.
        scores: methods that give log-likelihoods, with what kind each is: `{"log_prob": "exact"}`.

    Raises:
        ValueError: for shapes and numbers out of range.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> model.event_shape, model.levels, model.num_classes
        ((8, 8, 1), 17, None)
    """

    condition_dim: int | None = None
    title: str | None = None
    paper: str | None = None
    year: int | None = None
    scores: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args, **kwargs):
        """Records the arguments: Keras' own record drops those of a Model subclass."""
        self = keras.Layer.__new__(cls, *args, **kwargs)
        # Past Keras' tracking, which would wrap the values.
        object.__setattr__(self, "_arguments", recorded(cls, self, args, kwargs))
        return self

    def __init__(self, event_shape, *, levels=256, num_classes=None, dtype=None, name=None):
        super().__init__(dtype=dtype, name=name)
        self.event_shape = checked_shape(event_shape)
        self.levels = checked_count("levels", levels, 2, "None for real-valued data", most=256)
        self.num_classes = checked_count("num_classes", num_classes, 2, "None for an unconditional model")
        self.average = None
        self.optimizers = {}
        self._settings = {}
        self.built = True  # subclasses build their networks in the constructor

    def __setattr__(self, name, value):
        """Sets an attribute, and where it is public forgets the functions that were traced, perhaps with another value.

        Private ones Keras itself sets at any time, as when it saves.
        """
        super().__setattr__(name, value)
        if not name.startswith("_") and name not in SET_WHILE_TRAINING:
            self.__dict__.pop("_functions", None)

    # ------------------------------------------------------------------ what a family gives

    def objectives(self) -> tuple[Objective, ...]:
        """The players, in the order in which a training step updates them."""
        raise TypeError(f"{type(self).__name__} must define `objectives()`.")

    def generate(self, streams: Streams, labels, **options) -> tf.Tensor:
        """Samples in the data's units, `[streams.num, *event_shape]`, from one random stream a sample."""
        raise TypeError(f"{type(self).__name__} must define `generate(streams, labels)`.")

    def default_optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizer of each objective: the paper's where a class says so, else Adam with its own defaults."""
        return {objective.name: keras.optimizers.Adam() for objective in self.objectives()}

    def fixed_parts(self) -> tuple[keras.Layer, ...]:
        """Networks that were trained before and stay as they are, such as the autoencoder of latent diffusion.

        They are neither averaged nor in checkpoints, and a run is continued only with the same weights.
        """
        return ()

    def feature_network(self, *, label: int | None = None, **options) -> keras.Model:
        """The network whose features stand for an example, of the model's own layers.

        `genmodels.evaluation.encoder_for` gives a copy, with the averaged weights.

        Args:
            label: class that a conditional network is shown; None for no class, a vector of zeros.
            **options: what the family offers.

        Returns:
            A `keras.Model` from examples in the data's units, `[B, *event_shape]`, to features `[B, F]`, float32.

        Raises:
            ValueError: for a family that has no such network.
        """
        raise ValueError(
            f"{type(self).__name__} has no network with features of a whole example; autoencoders, GANs and diffusion "
            "models have one."
        )

    @property
    def parameters(self) -> int:
        """How many trainable numbers the players have; averages and statistics do not count."""
        trained = {id(v): v for objective in self.objectives() for v in objective.network.trainable_variables}
        return sum(int(np.prod(v.shape)) for v in trained.values())

    # ------------------------------------------------------------------ training

    def compile(self, optimizer=None, *, ema=None, clipnorm=None, accumulate=1, jit_compile=False):
        """Sets how the model is trained.

        Training, evaluation and sampling are traced once and kept until the next `compile`, or until an attribute of
        the model is set (`model.beta = 4`). Compile anew after changing something inside a layer, such as its rate.

        Args:
            optimizer: a Keras optimizer or its name, or a dict of them by objective name; None for the model's own
                (`default_optimizers`). One optimizer given to a game of several players is copied for each.
            ema: decay of the average of all float variables, such as 0.999, warmed up as
                `min(ema, (1 + t) / (10 + t))`; None for no average.
            clipnorm: largest global norm of an objective's gradients, or None.
            accumulate: parts into which a batch is split, to fit memory; gradients are averaged over them.
            jit_compile: compile the training step with XLA.

        Raises:
            ValueError: for values out of range and for optimizers that name no objective.
        """
        from genmodels.training import optimizers
        from genmodels.training.averaging import WeightAverage

        if ema is not None and not 0 < ema < 1:
            raise ValueError(f"`ema` must be between 0 and 1, or None for no average; got {ema}.")
        if clipnorm is not None and not clipnorm > 0:
            raise ValueError(f"`clipnorm` must be above 0, or None for no clipping; got {clipnorm}.")
        accumulate = checked_count("accumulate", accumulate, 1)
        self.optimizers = optimizers.built(self, optimizer)  # first, since it may refuse
        if self.average is not None:
            self.average.rest()
            self._tracker.untrack(self.average)  # Keras keeps a layer whose attribute is overwritten
            self.average = None
        # Keras callbacks that schedule the learning rate look for `optimizer`; a game has no single one.
        self.optimizer = next(iter(self.optimizers.values())) if len(self.optimizers) == 1 else None
        self.average = None if ema is None else WeightAverage(self._float_weights(), ema)
        self._settings = {
            "ema": ema, "clipnorm": clipnorm, "accumulate": accumulate, "jit_compile": bool(jit_compile)
        }  # fmt: skip
        self.compiled = True

    def fit(
        self,
        x,
        y=None,
        *,
        batch_size: int = 64,
        epochs: int | None = None,
        steps: int | None = None,
        validation_data=None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        run_dir: str | Path | None = None,
        resume: bool = True,
        seed: int = 0,
        verbose: str | int = "auto",
        save_every: float = 60.0,
    ) -> keras.callbacks.History:
        """Trains the model.

        Args:
            x: a `genmodels` data set, an array `[N, *event_shape]`, or a `tf.data.Dataset` of examples.
            y: labels of an array `x`: classes `[N]`, or condition vectors `[N, condition_dim]`.
            batch_size: examples an update.
            epochs: passes over the data, each rounded up to whole steps; the batches of all updates count, six a step
                of WGAN-GP. Give this or `steps`; of a `tf.data.Dataset`, whose length is unknown, `steps`.
            steps: training steps; a step is one update of every objective, or as many as it asks for.
            validation_data: data as `x`, or a tuple `(x, y)`: evaluated after every epoch as `val_…`.
            callbacks: any `keras.callbacks.Callback`. They see the averaged weights at the end of an epoch.
                One that works on single batches makes the harness run one step a call.
            run_dir: folder for checkpoints, log, sample grids and the model; None keeps nothing.
            resume: continue the run that `run_dir` holds; with False such a folder is refused.
            seed: seed of the order of the data and of all random numbers of training.
            verbose: "auto" or 1 for a progress bar (lines where there is no terminal), 0 for silence.
            save_every: seconds between checkpoints, and between sample grids (more, where drawing one takes long).

        Returns:
            The Keras `History`, complete also when the run was resumed.

        Raises:
            ValueError: for data that do not fit the model, and for a `run_dir` that holds another run.
            FloatingPointError: when a loss is not finite; names step and objective.
        """
        from genmodels.training.trainer import Trainer

        if not self.compiled:
            self.compile()
        trainer = Trainer(
            self, batch_size=batch_size, callbacks=callbacks, run_dir=run_dir, resume=resume, seed=seed,
            verbose=verbose, save_every=save_every,
        )  # fmt: skip
        return trainer.fit(x, y, epochs=epochs, steps=steps, validation_data=validation_data)

    def evaluate(self, x, y=None, *, batch_size: int = 256, seed: int = 0) -> dict[str, float]:
        """Every objective's loss and metrics on data, as means over the examples.

        Args:
            x: data as in `fit`.
            y: labels of an array `x`, as in `fit`.
            batch_size: examples at a time.
            seed: seed of what is random in the loss, such as a VAE's noise.

        Returns:
            Metrics by name.

        Example:
            >>> import genmodels as gm
            >>> train, test = gm.load_data("digits")
            >>> model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=2)
            >>> sorted(model.evaluate(test))
            ['active_units', 'elbo', 'kl', 'loss', 'reconstruction']
        """
        from genmodels.training.evaluation import evaluate

        return evaluate(self, x, y, batch_size=batch_size, seed=seed)

    # ------------------------------------------------------------------ sampling

    def sample(self, num: int, *, labels=None, seed: int = 0, batch_size: int | None = None, **options):
        """Draws samples.

        Args:
            num: how many.
            labels: `[num]` class labels, or one for all; without labels a conditional model takes its classes
                in turn. Condition vectors `[num, condition_dim]`, or one for all, must be given.
            seed: the same seed gives the same samples, whatever the batch size.
            batch_size: samples at a time; None for the next power of two, at most 256 images, or 16 384 points (each
                size is compiled once).
            **options: what the family offers, named in its docstring.

        Returns:
            `[num, *event_shape]`, in the data's own type: integers where `levels` is set, else float32.

        Raises:
            ValueError: for a number or labels that do not fit the model.
        """
        parts = list(self.sample_batches(num, labels=labels, seed=seed, batch_size=batch_size, **options))
        return parts[0] if len(parts) == 1 else tf.concat(parts, 0)

    def sample_batches(self, num: int, *, labels=None, seed: int = 0, batch_size: int | None = None, **options):
        """The batches of `sample`, one at a time in memory.

        Args:
            num: how many in all.
            labels: as of `sample`.
            seed: as of `sample`.
            batch_size: samples at a time, as of `sample`.
            **options: as of `sample`.

        Yields:
            `[batch_size, *event_shape]`, the last perhaps fewer.
        """
        num = checked_count("num", num, 1, None)
        arguments.check_options(self.generate, options)
        few = few_sizes(num, points=len(self.event_shape) == 1)
        batch_size = few if batch_size is None else checked_count("batch_size", batch_size, 1)
        labels = self._labels(labels, num)
        seed = make_seed(seed)
        for start in range(0, num, batch_size):
            # The last batch is drawn whole and cut: one shape, one trace.
            streams = Streams(seed, tf.constant(start, tf.int64), batch_size)
            rows = None if labels is None else tf.gather(labels, tf.range(start, start + batch_size) % num)
            x = self.generate(streams, rows, **options)
            yield self._to_data(x if start + batch_size <= num else x[: num - start])

    def _to_data(self, x):
        """Float samples in the data's units as the data's own type."""
        if self.levels is None:
            return tf.cast(x, tf.float32)
        return tf.cast(tf.clip_by_value(tf.round(x), 0.0, self.levels - 1.0), tf.uint8)

    def _labels(self, labels, num):
        """Labels as a tensor, `[num]` int32 or `[num, condition_dim]` float32; None for an unconditional model."""
        return arguments.labels(labels, num, self.num_classes, self.condition_dim)

    def _examples(self, x, labels):
        """Examples and labels as tensors, checked."""
        x = arguments.examples(x, self.event_shape, self.levels)
        if self.num_classes is not None and labels is None:
            raise ValueError(f"the model has num_classes={self.num_classes}: give `labels` with the examples.")
        return x, self._labels(labels, x.shape[0])

    # ------------------------------------------------------------------ saving

    @contextlib.contextmanager
    def averaged(self):
        """Inside this context the weights are the averaged ones, as they always are outside training."""
        if self.average is None or self.average.resting:
            yield
            return
        self.average.rest()
        try:
            yield
        finally:
            self.average.wake()

    def save(self, filepath, overwrite=True, **options):
        """Saves the whole model as a `.keras` file: networks, averages, optimizers and their state."""
        with self.averaged():
            super().save(filepath, overwrite=overwrite, **options)

    def save_weights(self, filepath, overwrite=True, **options):
        """Saves the weights as Keras does; the averaged ones where the model keeps an average."""
        with self.averaged():
            super().save_weights(filepath, overwrite=overwrite, **options)

    def get_config(self):
        """The constructor's arguments, Keras objects among them in serialized form."""
        named = {"name": self.name, "dtype": self.dtype_policy}
        known = constructor_arguments(type(self))  # a class of one's own may take neither
        values = {**self._arguments, **{name: value for name, value in named.items() if name in known}}
        return {name: serialized(value) for name, value in values.items()}

    @classmethod
    def from_config(cls, config):
        """The model that `get_config` describes, with new weights."""
        return cls(**{name: deserialized(value) for name, value in config.items()})

    def get_compile_config(self):
        """How the model was compiled, for `keras.models.load_model`."""
        if not self.compiled:
            return None
        serialize = keras.saving.serialize_keras_object
        return {"optimizer": {n: serialize(o) for n, o in self.optimizers.items()}, **self._settings}

    def compile_from_config(self, config):
        """Compiles the model as it was when saved; the optimizers' state is loaded afterwards."""
        settings = dict(config)
        optimizers = {n: keras.saving.deserialize_keras_object(o) for n, o in settings.pop("optimizer").items()}
        self.compile(optimizers, **settings)

    def _float_weights(self):
        others = self.fixed_parts() if self.average is None else (self.average, *self.fixed_parts())
        held = {id(v) for part in others for v in part.weights}
        return [v for v in self.weights if id(v) not in held and v.dtype.startswith(("float", "bfloat"))]


class LikelihoodModel(GenerativeModel):
    """A model with a tractable density: autoregressive models and flows. It gives `log_prob`.

    Example:
        >>> import genmodels as gm
        >>> gm.RealNVP((2,), levels=None, layers=1, width=8).bits_per_dim(tf.zeros([3, 2])).shape
        TensorShape([3])
    """

    scores: ClassVar = {"log_prob": "exact"}

    def log_prob(self, x, labels=None) -> tf.Tensor:
        """Log-likelihood of the data as given, `[B]` nats."""
        raise TypeError(f"{type(self).__name__} must define `log_prob(x, labels)`.")

    def bits_per_dim(self, x, labels=None) -> tf.Tensor:
        """Negative log-likelihood in bits a dimension, `[B]`: nats / (D ln 2)."""
        return -self.log_prob(x, labels) / float(np.prod(self.event_shape) * np.log(2.0))


class LatentModel(GenerativeModel):
    """A model that decodes latents: autoencoders, GANs, flows, diffusion. A subclass gives `latent_shape` and `decode`.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> model.decode(model.prior(3, seed=1)).shape
        TensorShape([3, 8, 8, 1])
    """

    latent_shape: tuple[int, ...]

    def latents(self, streams: Streams) -> tf.Tensor:
        """Draws from the prior, `[streams.num, *latent_shape]`: standard normal unless a family differs."""
        return streams.normal(self.latent_shape)

    def prior(self, num: int, seed: int = 0, labels=None) -> tf.Tensor:
        """Draws `num` latents of the prior, `[num, *latent_shape]` float32; `labels` count where it depends on them."""
        if labels is not None:
            self._labels(labels, num)
        return self.latents(Streams(make_seed(seed), 0, num))

    def decode(self, z, labels=None) -> tf.Tensor:
        """Decodes latents, `[B, *event_shape]` float32 in the data's units, unrounded and differentiable."""
        raise TypeError(f"{type(self).__name__} must define `decode(z, labels)`.")

    def encode(self, x, labels=None) -> tf.Tensor:
        """Encodes examples, `[B, *latent_shape]`."""
        raise ValueError(
            f"{type(self).__name__} has no encoder; genmodels.latent.project(model, x) searches for latents."
        )

    def reconstruct(self, x, labels=None) -> tf.Tensor:
        """`decode(encode(x))`, `[B, *event_shape]` float32 in the data's units."""
        return self.decode(self.encode(x, labels), labels)
