"""Regularizers of a critic: small objects that any GAN takes, one or several.

Two kinds of thing keep a critic smooth: a change of the network itself (`prepare`: clipped or normalized weights), and
a penalty of its gradient with respect to the data (`penalty`).
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from genmodels.models.gans.spectral import spectral_normalized
from genmodels.settings import checked_positive


class Regularizer:
    """A new one defines `prepare`, or `penalty`, or both.

    Attributes:
        name: of the penalty in the log.

    Example:
        >>> import genmodels as gm
        >>> isinstance(gm.gans.R1(1.0), gm.gans.Regularizer)
        True
    """

    name: ClassVar[str] = "penalty"

    def prepare(self, critic):
        """The critic to train in the place of `critic`; called once, when the model is made."""
        return critic

    def penalty(self, value, real, fake, streams):
        """What is added to the critic's loss, a scalar, or None for nothing.

        Args:
            value: the critic's value as a function of examples, `[B, *event_shape]` to `[B]`.
            real: examples of the data as the critic sees them.
            fake: generated ones.
            streams: one random stream an example.
        """
        return None

    def get_config(self):
        """The fields, so that a model built with a regularizer can be saved."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The regularizer of these fields."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class WeightClipping(Regularizer):
    """Every weight of the critic is clipped to [−bound, bound] after every update (WGAN, Arjovsky et al. 2017).

    Args:
        bound: the paper's c.

    Example:
        >>> WeightClipping(0.1).bound
        0.1
    """

    bound: float = 0.01

    def __post_init__(self):
        checked_positive("bound", self.bound)

    def prepare(self, critic):
        """The same critic, its variables under a constraint, which optimizers apply; after one of their own."""
        for variable in critic.trainable_variables:
            variable.constraint = _clipped(self.bound, variable.constraint)
        return critic


def _clipped(bound, before):
    def constraint(weights):
        return tf.clip_by_value(weights if before is None else before(weights), -bound, bound)

    return constraint


class _GradientPenalty(Regularizer):
    """What penalties of the gradient share."""

    def prepare(self, critic):
        """The same critic, unless it has batch norm.

        Raises:
            ValueError: for batch norm: an example's value then depends on the whole batch, and the gradient that is
                penalized is not that of a function of one example (Gulrajani et al. 2017, section 4).
        """
        for layer in critic._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                raise ValueError(
                    f"{type(self).__name__} penalizes the gradient of each example's value, and with batch norm "
                    f"({layer.name!r}) a value depends on the whole batch. Expected a critic with layer norm, group "
                    "norm, or none."
                )
        return critic


def squared_gradient_norm(value, x):
    """‖∂ value / ∂x‖² of each example, `[B]` float32, over all axes but the first."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        total = tf.reduce_sum(value(x))
    gradient = tf.cast(tape.gradient(total, x, unconnected_gradients="zero"), tf.float32)
    return tf.reduce_sum(gradient**2, axis=range(1, gradient.shape.rank))


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class GradientPenalty(_GradientPenalty):
    """weight · E (‖∇D(y)‖ − target)² at points y on lines between real and generated data (WGAN-GP, Gulrajani 2017).

    Args:
        weight: the paper's λ.
        target: the norm that is free of penalty.
        one_sided: penalize only norms above the target.

    Raises:
        ValueError: for a weight or a target that is not above 0.

    Example:
        >>> penalty = GradientPenalty(weight=10.0)
        >>> streams = gm.sampling.Streams(gm.sampling.make_seed(0), 0, 4)
        >>> slope_two = lambda x: 2.0 * x[:, 0]
        >>> penalty.penalty(slope_two, tf.zeros([4, 3]), tf.ones([4, 3]), streams).numpy().round(3).item()
        10.0
    """

    weight: float = 10.0
    target: float = 1.0
    one_sided: bool = False
    name = "gradient_penalty"

    def __post_init__(self):
        checked_positive("weight", self.weight)
        checked_positive("target", self.target)
        if not isinstance(self.one_sided, bool):
            raise ValueError(f"`one_sided` must be True or False; got {self.one_sided!r}.")

    def penalty(self, value, real, fake, streams):
        """The penalty at one uniform point of each line."""
        alpha = streams.uniform((1,) * (real.shape.rank - 1))  # [B, 1, …]: one an example
        between = real + alpha * (fake - real)
        return self.weight * tf.reduce_mean(self.excess(squared_gradient_norm(value, between)))

    def excess(self, squared):
        """(‖g‖ − target)², or of what is above it, from ‖g‖²."""
        # Inside the root: its slope at a gradient of zero is infinite.
        excess = tf.sqrt(squared + 1e-12) - self.target
        return (tf.nn.relu(excess) if self.one_sided else excess) ** 2


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class DRAGAN(GradientPenalty):
    """The gradient penalty around real data only (Kodali et al. 2017, "On Convergence and Stability of GANs").

    At y = x + α δ, δ uniform from 0 to `scale` standard deviations of the batch, α uniform an example.

    Args:
        weight: the paper's λ.
        target: the paper's k.
        one_sided: penalize only norms above the target.
        scale: of the noise, in standard deviations of the data.

    Example:
        >>> DRAGAN().scale
        0.5
    """

    scale: float = 0.5
    name = "dragan_penalty"

    def __post_init__(self):
        super().__post_init__()
        checked_positive("scale", self.scale)

    def penalty(self, value, real, fake, streams):
        """The penalty at one random neighbour of each example."""
        noise = self.scale * tf.math.reduce_std(real) * streams.fold(1).uniform(real.shape[1:])
        return super().penalty(value, real, real + noise, streams)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class R1(_GradientPenalty):
    """½ weight · E ‖∇D(x)‖² at real data (Mescheder et al. 2018, "Which Training Methods for GANs Converge?").

    Args:
        weight: the paper's γ.

    Example:
        >>> streams = gm.sampling.Streams(gm.sampling.make_seed(0), 0, 4)
        >>> R1(weight=1.0).penalty(lambda x: 2.0 * x[:, 0], tf.zeros([4, 3]), None, streams).numpy().item()
        2.0
    """

    weight: float = 10.0
    name = "r1_penalty"

    def __post_init__(self):
        checked_positive("weight", self.weight)

    def penalty(self, value, real, fake, streams):
        """The penalty at the real examples."""
        return 0.5 * self.weight * tf.reduce_mean(squared_gradient_norm(value, real))


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class SpectralNormalization(Regularizer):
    """Every dense and convolutional kernel is divided by its largest singular value (Miyato et al. 2018, SNGAN).

    Example:
        >>> critic = SpectralNormalization().prepare(gm.networks.mlp((2,), (1,), widths=(8,)))
        >>> [type(layer).__name__ for layer in critic.layers]
        ['InputLayer', 'SpectralNormalized', 'SpectralNormalized']
    """

    def prepare(self, critic):
        """The critic with wrapped layers, which share their weights with it."""
        return spectral_normalized(critic)


def several(regularizers) -> tuple:
    """One regularizer, a sequence of them, or None, as a tuple."""
    if regularizers is None:
        return ()
    return tuple(regularizers) if isinstance(regularizers, tuple | list) else (regularizers,)


def checked(regularizers) -> tuple[Regularizer, ...]:
    """What `several` gives, checked.

    Raises:
        ValueError: for what is no `Regularizer`, and for two of one kind.
    """
    given = several(regularizers)
    for regularizer in given:
        if not isinstance(regularizer, Regularizer):
            raise ValueError(
                f"`regularizers` must be genmodels.gans.Regularizer objects, such as GradientPenalty(); "
                f"got {regularizer!r}."
            )
    if len({type(regularizer) for regularizer in given}) < len(given):
        raise ValueError(f"`regularizers` must be of different kinds; got {given}.")
    return given
