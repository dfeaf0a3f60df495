"""Bijections that move elements: squeeze, flatten, permute, and factor a part out."""

import math

import keras
import numpy as np
import tensorflow as tf

from genmodels.models.flows.bijections import PACKAGE, Bijection, constant_log_det
from genmodels.models.flows.coupling import Coupling


@keras.saving.register_keras_serializable(package=PACKAGE)
class Squeeze(Bijection):
    """Squares of 2×2 pixels become channels: `[B, H, W, C]` to `[B, H/2, W/2, 4 C]` (Dinh et al. 2016).

    Raises:
        ValueError: for odd heights and widths, when built.

    Example:
        >>> Squeeze().forward(tf.ones([2, 4, 6, 1])).shape
        TensorShape([2, 2, 3, 4])
    """

    def build(self, x_shape, condition_shape=None):
        """Checks the shape."""
        if len(x_shape) != 4 or x_shape[1] % 2 or x_shape[2] % 2:
            raise ValueError(f"a squeeze needs images of even height and width; got shape {tuple(x_shape)}.")
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and zeros."""
        return tf.nn.space_to_depth(x, 2), constant_log_det(0.0, x)

    def inverse_and_log_det(self, z, condition=None):
        """x and zeros."""
        return tf.nn.depth_to_space(z, 2), constant_log_det(0.0, z)

    def compute_output_shape(self, x_shape):
        """`(B, H/2, W/2, 4 C)`."""
        batch, height, width, channels = x_shape
        return (batch, height // 2, width // 2, 4 * channels)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Flatten(Bijection):
    """Any shape to a vector: `[B, …]` to `[B, D]`.

    Example:
        >>> Flatten()(tf.ones([2, 4, 6, 1]))[0].shape
        TensorShape([2, 24])
    """

    def build(self, x_shape, condition_shape=None):
        """Remembers the shape."""
        self.shape = tuple(x_shape[1:])
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and zeros."""
        return tf.reshape(x, [tf.shape(x)[0], math.prod(self.shape)]), constant_log_det(0.0, x)

    def inverse_and_log_det(self, z, condition=None):
        """x and zeros."""
        return tf.reshape(z, [tf.shape(z)[0], *self.shape]), constant_log_det(0.0, z)

    def compute_output_shape(self, x_shape):
        """`(B, D)`."""
        return (x_shape[0], math.prod(x_shape[1:]))


@keras.saving.register_keras_serializable(package=PACKAGE)
class Permutation(Bijection):
    """A fixed permutation of the last axis.

    Args:
        order: "reverse", "random" (drawn once, when built, and saved), or the order itself: z[i] = x[order[i]].
        dtype: Keras dtype policy.
        name: name of the layer.

    Raises:
        ValueError: for another order, and when built for one that is no permutation of the last axis.

    Example:
        >>> Permutation([2, 0, 1])(tf.constant([[1.0, 2.0, 3.0]]))[0].numpy().tolist()
        [[3.0, 1.0, 2.0]]
    """

    def __init__(self, order="reverse", *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        if isinstance(order, str) and order not in ("reverse", "random"):
            raise ValueError(f'`order` must be "reverse", "random" or a permutation; got {order!r}.')
        self.order = self._arguments["order"] = order if isinstance(order, str) else tuple(int(i) for i in order)

    def build(self, x_shape, condition_shape=None):
        """Draws the order; a weight, so that it is saved."""
        count = x_shape[-1]
        if isinstance(self.order, str):
            uniform = np.asarray(keras.random.uniform([count]))  # of Keras' global seed
            order = np.arange(count)[::-1] if self.order == "reverse" else np.argsort(uniform)
        else:
            order = np.asarray(self.order)
        if sorted(order.tolist()) != list(range(count)):
            raise ValueError(f"`order` must be a permutation of 0 … {count - 1}; got {self.order!r}.")
        self.indices = self.add_weight(
            (count,), initializer=lambda shape, dtype: order.astype(dtype), dtype="int32", trainable=False, name="order"
        )
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and zeros."""
        return tf.gather(x, self.indices, axis=-1), constant_log_det(0.0, x)

    def inverse_and_log_det(self, z, condition=None):
        """x and zeros."""
        return tf.gather(z, tf.argsort(self.indices), axis=-1), constant_log_det(0.0, z)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Split(Bijection):
    """Factors half of the channels out as latents; what is left goes on through the rest of the flow.

    The learned prior of what is factored out, N(μ(x_a), σ²(x_a)) (Kingma & Dhariwal 2018), is a bijection too: the
    factored-out part becomes (x_b − μ) / σ. So all latents are standard normal, one flat vector holds them, and a
    temperature reaches every level.

    Args:
        rest: the bijection that x_a goes on through, to a vector.
        dtype: Keras dtype policy of the prior's network.
        name: name of the layer.

    Raises:
        ValueError: for what is no bijection, and when built for one that does not end in a vector.

    Example:
        >>> Split(Flatten())(tf.ones([2, 4, 4, 6]))[0].shape
        TensorShape([2, 96])
    """

    def __init__(self, rest, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        if not isinstance(rest, Bijection):
            raise ValueError(f"`rest` must be a genmodels.flows.Bijection; got {rest!r}.")
        self.rest = rest
        self.prior = Coupling("affine", depth=0, dtype=self.dtype_policy)

    def build(self, x_shape, condition_shape=None):
        """Builds the prior and the rest."""
        self.prior.build(x_shape, condition_shape)
        self.kept = (*x_shape[1:-1], self.prior.kept)
        self.out = (*x_shape[1:-1], x_shape[-1] - self.prior.kept)
        if not self.rest.built:
            self.rest.build((None, *self.kept), condition_shape)
        if len(self.rest.compute_output_shape((None, *self.kept))) != 2:
            raise ValueError("`rest` must end in a vector: let it end with a Flatten.")
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z `[B, D]`, the latents of the rest first, and log |det ∂z/∂x|."""
        return self.call(x, condition)

    def call(self, x, condition=None, training=None):
        """`forward_and_log_det`, part by part."""
        x, log_det = self.prior(x, condition, training=training)
        kept, out = tf.split(x, [self.kept[-1], self.out[-1]], axis=-1)
        z, more = self.rest(kept, condition, training=training)
        return tf.concat([z, tf.reshape(out, [tf.shape(x)[0], math.prod(self.out)])], -1), log_det + more

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|."""
        sizes = [math.prod(self.kept), math.prod(self.out)]
        z, out = tf.split(z, sizes, axis=-1)
        kept, log_det = self.rest.inverse_and_log_det(z, condition)
        x = tf.concat([kept, tf.reshape(out, [tf.shape(out)[0], *self.out])], -1)
        x, more = self.prior.inverse_and_log_det(x, condition)
        return x, log_det + more

    def compute_output_shape(self, x_shape):
        """`(B, D)`."""
        return (x_shape[0], math.prod(x_shape[1:]))
