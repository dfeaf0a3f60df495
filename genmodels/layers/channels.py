"""The channels of a pixel, one after the other."""

import keras
import tensorflow as tf

from genmodels.layers.causal import CausalLayer, Sees

__all__ = ["ChannelHead"]


@keras.saving.register_keras_serializable(package="genmodels")
class ChannelHead(CausalLayer):
    """A pixel's features to the parameters of each channel, which also see the channels before it.

    For channel k: hidden_k = ReLU(W_k f + U_k (x_0 … x_{k-1}) + b_k), parameters_k = V_k hidden_k + c_k. It is the
    channel masking of van den Oord et al. 2016a, kept to the last two layers: what a channel can know beyond the
    features of its pixel are at most the pixel's own earlier channels.

    Args:
        filters: hidden units of one channel.
        parameters: outputs of one channel.
        kinds_apart: the first outputs of all channels come first, then the second ones, as likelihoods of means and
            scales have them; otherwise those of a channel lie side by side.
        **options: for `keras.Layer`.

    Raises:
        ValueError: when a model reads the network, for features that see the pixel itself.

    Example:
        >>> ChannelHead(16, 256)(tf.zeros([1, 4, 4, 8]), tf.zeros([1, 4, 4, 3])).shape
        TensorShape([1, 4, 4, 768])
    """

    def __init__(self, filters, parameters, *, kinds_apart=False, **options):
        super().__init__(**options)
        self.filters, self.parameters, self.kinds_apart = filters, parameters, kinds_apart

    def build(self, features_shape, image_shape):
        """Makes the weights for features `[B, H, W, F]` and images `[B, H, W, C]`."""
        channels, hidden = image_shape[-1], (image_shape[-1], self.filters)
        self.of_features = self.add_weight(
            name="of_features", shape=(features_shape[-1], *hidden), initializer="he_uniform"
        )
        self.of_channels = self.add_weight(name="of_channels", shape=(channels, *hidden), initializer="glorot_uniform")
        self.hidden_bias = self.add_weight(name="hidden_bias", shape=hidden, initializer="zeros")
        self.kernel = self.add_weight(
            name="kernel", shape=(channels, self.filters, self.parameters), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(channels, 1, self.parameters), initializer="zeros")

    def sees(self, features, image):
        """The pixel's earlier channels, beside what the features see."""
        if features > Sees.PIXELS:
            raise ValueError(f"the features given to {self.name!r} see the pixel itself.")
        return Sees.CHANNELS

    def window(self, features, image):
        """On each pixel alone."""
        channels = image.shape[-1]
        before = 1 - tf.linalg.band_part(tf.ones([channels, channels], features.dtype), -1, 0)  # [seen, by]: seen < by
        grid = [-1, *features.shape[1:3]]
        flat = tf.reshape(features, [-1, features.shape[-1]])
        pixels = tf.reshape(tf.cast(image, features.dtype), [-1, channels])
        kernels = [tf.convert_to_tensor(w) for w in (self.of_features, self.of_channels * before[..., None])]
        wide = [tf.reshape(k, [k.shape[0], -1]) for k in kernels]  # [·, C · filters]
        hidden = flat @ wide[0] + pixels @ wide[1] + tf.reshape(self.hidden_bias, [-1])
        hidden = tf.transpose(tf.reshape(tf.nn.relu(hidden), [-1, channels, self.filters]), [1, 0, 2])
        out = hidden @ tf.convert_to_tensor(self.kernel) + self.bias  # [C, B·H·W, parameters]
        out = tf.transpose(out, [1, 2, 0] if self.kinds_apart else [1, 0, 2])
        return tf.reshape(out, [*grid, channels * self.parameters])

    def call(self, features, image):
        """On whole images."""
        return self.window(features, image)

    def compute_output_shape(self, features_shape, image_shape):
        """The parameters of all channels."""
        return (*features_shape[:-1], image_shape[-1] * self.parameters)

    def get_config(self):
        """Constructor arguments."""
        own = {"filters": self.filters, "parameters": self.parameters, "kinds_apart": self.kinds_apart}
        return {**super().get_config(), **own}
