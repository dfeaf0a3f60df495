"""Learning rates that change with the step, beside Keras' own."""

import math

import keras
import tensorflow as tf

from genmodels.settings import checked_count, checked_positive, deserialized, serialized


@keras.saving.register_keras_serializable(package="genmodels")
class CosineFall(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that falls to 0 along half a cosine (Loshchilov & Hutter 2016): rate · ½ (1 + cos π t / steps).

    Unlike Keras' `CosineDecay` it takes another schedule, such as a warm-up, in place of the rate.

    Args:
        rate: a number above 0, or a schedule.
        steps: updates until it is 0, and stays so.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> rate = CosineFall(0.1, 10)
        >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 11)]
        [0.1, 0.05, 0.0, 0.0]
    """

    def __init__(self, rate, steps):
        super().__init__()
        self.rate = rate if callable(rate) else checked_positive("rate", rate)
        self.steps = checked_count("steps", steps, 1)

    def __call__(self, step):
        """The rate of an update, the first is number 0."""
        rate = self.rate(step) if callable(self.rate) else self.rate
        part = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return 0.5 * rate * (1.0 + tf.cos(math.pi * part))

    def get_config(self):
        """Constructor arguments."""
        return {"rate": serialized(self.rate), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        """The schedule of these arguments."""
        return cls(deserialized(config["rate"]), config["steps"])
