"""The exponential moving average of a model's weights."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="genmodels")
class WeightAverage(keras.layers.Layer):
    """An average of weights that trades places with them.

    While the model trains, its own variables hold the raw weights and this layer holds the average ("awake").
    At rest the two are swapped: the model *is* its average, so that sampling, evaluation and saving, also of an
    inner network alone, need not know of averages. The swap copies, so nothing is lost or rounded.

    The decay of update t is `min(decay, (1 + t) / (10 + t))`, so that early averages forget the initial weights.
    All float variables are averaged, batch-norm statistics included.

    Args:
        weights: the Keras variables to average.
        decay: the largest decay, such as 0.999.
    """

    def __init__(self, weights, decay):
        super().__init__(name="average", dtype="float32", trainable=False)
        object.__setattr__(self, "_averaged", list(weights))  # past Keras' tracking: they are the model's own
        self.decay = decay
        self.resting = True
        self.updates = self.add_weight((), initializer="zeros", dtype="int64", trainable=False, name="updates")
        self.held = [
            self.add_weight(v.shape, initializer="zeros", dtype=v.dtype, trainable=False, name="held")
            for v in self._averaged
        ]
        for held, variable in zip(self.held, self._averaged):
            held.assign(variable.value)
        self.built = True
        self._traced = None

    def wake(self):
        """Puts the raw weights into the model: training follows."""
        if self.resting and int(self.updates.numpy()) == 0:
            for held, variable in zip(self.held, self._averaged):
                held.assign(variable.value)  # weights may have been loaded since the average was made
        elif self.resting:
            self._swap()
        self.resting = False

    def rest(self):
        """Puts the average into the model."""
        if not self.resting:
            self._swap()
        self.resting = True

    def update(self):
        """Moves the average towards the model's weights; called after every training step, awake."""
        t = tf.cast(self.updates, tf.float32)
        rate = 1.0 - tf.minimum(self.decay, (1.0 + t) / (10.0 + t))
        for held, variable in zip(self.held, self._averaged):
            value = variable.value
            held.assign_add(tf.cast(rate, value.dtype) * (value - held.value))
        self.updates.assign_add(1)

    def _swap(self):
        if self._traced is None:
            # By hand: of many models in a process TensorFlow would warn that one function is traced too often.
            self._traced = tf.function(self._swap_all, autograph=False).get_concrete_function()
        self._traced()

    def _swap_all(self):
        for held, variable in zip(self.held, self._averaged):
            raw = tf.identity(held.value)
            held.assign(variable.value)
            variable.assign(raw)
