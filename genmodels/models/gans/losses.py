"""Adversarial losses: what the critic and the generator minimise, given the critic's values on real and generated data.

A critic gives one unbounded value an example. Where a loss needs a probability of being real, D = sigmoid(value).
"""

import abc
import dataclasses
import numbers
from typing import ClassVar

import keras
import tensorflow as tf


class AdversarialLoss(abc.ABC):
    """A pair of losses. A new one defines `critic` and `generator`; both take and give float32, in values `[B]`.

    Attributes:
        player: what the field calls the network that judges: "critic" of Wasserstein's distance, else "discriminator".
            It names the objective.
        measures_distance: whether the mean value on real less that on generated data estimates a distance.

    Example:
        >>> import genmodels as gm
        >>> float(gm.gans.Wasserstein().critic(tf.constant([3.0, 5.0]), tf.constant([1.0, 1.0])))
        -3.0
    """

    player: ClassVar[str] = "discriminator"
    measures_distance: ClassVar[bool] = False

    @abc.abstractmethod
    def critic(self, real, fake):
        """What the critic minimises, a scalar; `real` and `fake` are its values, `[B]`."""

    @abc.abstractmethod
    def generator(self, fake):
        """What the generator minimises, a scalar; `fake` are the critic's values, `[B]`."""

    def get_config(self):
        """The fields, so that a model built with a loss can be saved."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The loss of these fields."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class _Smoothed(AdversarialLoss):
    """Real examples have the target 1 − smoothing (Salimans et al. 2016, one-sided label smoothing)."""

    smoothing: float = 0.0

    def __post_init__(self):
        value = self.smoothing
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < 0.5:
            raise ValueError(f"`smoothing` must be a number from 0 to below 0.5; got {value!r}.")


class _CrossEntropy(_Smoothed):
    def critic(self, real, fake):
        """−E[(1 − s) log D(x) + s log(1 − D(x))] − E log(1 − D(G(z)))."""
        # −log D = softplus(−a) and −log(1 − D) = softplus(a) of the logit a, and the two differ by a.
        return tf.reduce_mean(tf.nn.softplus(-real) + self.smoothing * real) + tf.reduce_mean(tf.nn.softplus(fake))


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Minimax(_CrossEntropy):
    """The game of Goodfellow et al. 2014: the generator minimises log(1 − D(G(z))), which is flat where it is bad.

    Args:
        smoothing: real examples have the target 1 − smoothing (Salimans et al. 2016, one-sided label smoothing).

    Example:
        >>> bool(Minimax().generator(tf.zeros([1])) == -tf.math.log(2.0))
        True
    """

    def generator(self, fake):
        """E log(1 − D(G(z)))."""
        return -tf.reduce_mean(tf.nn.softplus(fake))


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class NonSaturating(_CrossEntropy):
    """The generator maximises log D(G(z)) instead (Goodfellow et al. 2014, section 3): steep where it is bad.

    Args:
        smoothing: real examples have the target 1 − smoothing (Salimans et al. 2016, one-sided label smoothing).

    Example:
        >>> bool(NonSaturating().generator(tf.zeros([1])) == tf.math.log(2.0))
        True
    """

    def generator(self, fake):
        """−E log D(G(z))."""
        return tf.reduce_mean(tf.nn.softplus(-fake))


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class LeastSquares(_Smoothed):
    """Targets 1 for real and 0 for generated data (Mao et al. 2016, "Least Squares GAN").

    Args:
        smoothing: real examples have the target 1 − smoothing (Salimans et al. 2016, one-sided label smoothing).

    Example:
        >>> LeastSquares().critic(tf.constant([1.0, 3.0]), tf.constant([1.0])).numpy().item()
        1.5
    """

    def critic(self, real, fake):
        """½ E (D(x) − 1 + s)² + ½ E D(G(z))²."""
        return 0.5 * (tf.reduce_mean((real - 1.0 + self.smoothing) ** 2) + tf.reduce_mean(fake**2))

    def generator(self, fake):
        """½ E (D(G(z)) − 1)²."""
        return 0.5 * tf.reduce_mean((fake - 1.0) ** 2)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Wasserstein(AdversarialLoss):
    """Wasserstein's distance in its dual form (Arjovsky et al. 2017), of a critic that something keeps 1-Lipschitz.

    Example:
        >>> Wasserstein().critic(tf.constant([2.0]), tf.constant([0.5])).numpy().item()
        -1.5
    """

    player = "critic"
    measures_distance = True

    def critic(self, real, fake):
        """E D(G(z)) − E D(x)."""
        return tf.reduce_mean(fake) - tf.reduce_mean(real)

    def generator(self, fake):
        """−E D(G(z))."""
        return -tf.reduce_mean(fake)


@keras.saving.register_keras_serializable(package="genmodels")
@dataclasses.dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """Values beyond ±1 are right enough (Lim & Ye 2017; Miyato et al. 2018).

    Example:
        >>> Hinge().critic(tf.constant([2.0, 0.0]), tf.constant([-2.0])).numpy().item()
        0.5
    """

    def critic(self, real, fake):
        """E max(0, 1 − D(x)) + E max(0, 1 + D(G(z)))."""
        return tf.reduce_mean(tf.nn.relu(1.0 - real)) + tf.reduce_mean(tf.nn.relu(1.0 + fake))

    def generator(self, fake):
        """−E D(G(z))."""
        return -tf.reduce_mean(fake)


NAMES = {
    "minimax": Minimax,
    "non_saturating": NonSaturating,
    "least_squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
}


def get(loss):
    """The loss that a name stands for, or the loss itself.

    Raises:
        ValueError: for an unknown name, or what is no `AdversarialLoss`.
    """
    if isinstance(loss, AdversarialLoss):
        return loss
    if not isinstance(loss, str) or loss not in NAMES:
        raise ValueError(f"`loss` must be {', '.join(NAMES)}, or a genmodels.gans.AdversarialLoss; got {loss!r}.")
    return NAMES[loss]()
