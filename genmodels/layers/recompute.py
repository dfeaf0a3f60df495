"""Memory for time: activations that are not kept for the gradient, but computed again."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="genmodels")
class Recompute(keras.layers.Layer):
    """A network of which only the inputs are kept in training; the gradient computes the rest again.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". A step takes one forward pass more.

    Args:
        network: a `keras.Model` that draws nothing, since dropout would draw other numbers the second time, and changes
            no state, such as batch norm's averages, which would change twice.
        **options: of `keras.layers.Layer`.

    Raises:
        ValueError: for a network with dropout or other layers that draw, with batch or spectral norm.

    Example:
        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
        >>> Recompute(network)(tf.ones([2, 4])).shape
        TensorShape([2, 4])
    """

    def __init__(self, network, **options):
        super().__init__(**options)
        for layer in network._flatten_layers():
            if hasattr(layer, "seed_generator"):
                raise ValueError(f"{layer.name!r} draws random numbers, which recomputing would draw anew.")
            stateful = isinstance(layer, (keras.layers.BatchNormalization, keras.layers.SpectralNormalization))
            if stateful or getattr(layer, "changes_in_training", False):
                raise ValueError(f"{layer.name!r} changes its state, which recomputing would change again.")
        self.network = network
        self.built = True

    def call(self, inputs, training=None):
        """The network's outputs; where it trains, without keeping what lies between."""
        if not training:
            return self.network(inputs, training=training)
        flat = tf.nest.flatten(inputs)
        return tf.recompute_grad(lambda *x: self.network(tf.nest.pack_sequence_as(inputs, x), training=True))(*flat)

    def compute_output_shape(self, input_shape):
        """That of the network."""
        return self.network.compute_output_shape(input_shape)

    def get_config(self):
        """The network, serialized."""
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config):
        """From what `get_config` gives."""
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("network")), **config)
