"""Bijections: invertible maps whose log-determinant is cheap, and the contract they share."""

import keras
import numpy as np
import tensorflow as tf

from genmodels.settings import deserialized, recorded, serialized

PACKAGE = "genmodels"


class Bijection(keras.layers.Layer):
    """An invertible map between data x and latents z, as a Keras layer.

    A subclass gives two methods, and weights in `build` by `add_weight`:

    * `forward_and_log_det(x, condition)` → z and log |det ∂z/∂x|, the direction of densities;
    * `inverse_and_log_det(z, condition)` → x and log |det ∂x/∂z|, the direction of samples.

    x and z are `[B, …]` of the layer's dtype, log-determinants `[B]` nats; `condition` is `[B, C]`, or None. The rest
    is derived: `forward`, `inverse`, and the layer's call, which is `forward_and_log_det`. A bijection that changes
    the shape also gives `compute_output_shape(x_shape)`, the shape of z.

    Within a `Chain` the parts are called as layers, so `training` reaches the networks inside them.

    Raises:
        TypeError: when a method is called that the subclass lacks.

    Example:
        >>> import genmodels as gm
        >>> class Cube(gm.flows.Bijection):
        ...     def forward_and_log_det(self, x, condition=None):
        ...         return x**3, tf.reduce_sum(tf.math.log(3 * x**2), axis=-1)
        ...     def inverse_and_log_det(self, z, condition=None):
        ...         x = tf.sign(z) * tf.abs(z) ** (1 / 3)
        ...         return x, -self.forward_and_log_det(x)[1]
        >>> gm.flows.Chain([Cube(), Cube()]).forward(tf.constant([[2.0]])).numpy().tolist()
        [[512.0]]
    """

    def __new__(cls, *args, **kwargs):
        """Records the arguments: Keras' own record takes numbers and strings only."""
        self = super().__new__(cls, *args, **kwargs)
        object.__setattr__(self, "_arguments", recorded(cls, self, args, kwargs))
        return self

    def __init__(self, *, dtype="float32", name=None):
        # No autocast: densities need float32; under mixed precision only the networks inside compute in half of it.
        super().__init__(dtype=dtype, name=name, autocast=False)

    def build(self, x_shape, condition_shape=None):
        """Creates the weights.

        Args:
            x_shape: shape of x with the batch axis, such as `(None, 28, 28, 1)`.
            condition_shape: shape of the condition with the batch axis, or None.
        """
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and log |det ∂z/∂x|."""
        raise TypeError(f"{type(self).__name__} must define `forward_and_log_det(x, condition)`.")

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|."""
        raise TypeError(f"{type(self).__name__} must define `inverse_and_log_det(z, condition)`.")

    def forward(self, x, condition=None):
        """z of x."""
        return self.forward_and_log_det(x, condition)[0]

    def inverse(self, z, condition=None):
        """x of z."""
        return self.inverse_and_log_det(z, condition)[0]

    def call(self, x, condition=None):
        """`forward_and_log_det`."""
        return self.forward_and_log_det(x, condition)

    def compute_output_shape(self, x_shape):
        """The shape of z."""
        return x_shape

    def get_config(self):
        """The constructor's arguments, Keras objects among them in serialized form, and whether it is trained."""
        config = {name: serialized(value) for name, value in self._arguments.items()}
        named = {"name": self.name, "dtype": serialized(self.dtype_policy)}
        config.update({name: value for name, value in named.items() if name in config})
        return {**config, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config):
        """The bijection that `get_config` describes, with new weights."""
        config = dict(config)
        trainable = config.pop("trainable", True)  # a `get_config` of one's own may leave it out
        bijection = cls(**{name: deserialized(value) for name, value in config.items()})
        bijection.trainable = trainable
        return bijection


@keras.saving.register_keras_serializable(package=PACKAGE)
class Chain(Bijection):
    """Bijections one after the other, from the data to the latents.

    Args:
        parts: the bijections, the one that the data meet first first.
        dtype: Keras dtype policy.
        name: name of the layer.

    Raises:
        ValueError: for parts that are no bijections.

    Example:
        >>> import genmodels as gm
        >>> chain = gm.flows.Chain([gm.flows.Squeeze(), gm.flows.ActNorm()])
        >>> z, log_det = chain(tf.ones([2, 4, 4, 3]))
        >>> z.shape, log_det.shape
        (TensorShape([2, 2, 2, 12]), TensorShape([2]))
    """

    def __init__(self, parts, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        self.parts = self._arguments["parts"] = list(parts)  # which may be a generator
        for part in self.parts:
            if not isinstance(part, Bijection):
                raise ValueError(f"`parts` must be bijections (genmodels.flows.Bijection); got {part!r}.")

    def build(self, x_shape, condition_shape=None):
        """Builds the parts in turn."""
        for part in self.parts:
            if not part.built:
                part.build(x_shape, condition_shape)
            x_shape = part.compute_output_shape(x_shape)
        self.built = True

    def call(self, x, condition=None, training=None):
        """`forward_and_log_det`, part by part."""
        total = constant_log_det(0.0, x)
        for part in self.parts:
            # Told to each: one that calls its network with training=False would else turn the rest to inference too.
            x, log_det = part(x, condition, training=training)
            total += log_det
        return x, total

    def forward_and_log_det(self, x, condition=None):
        """z and log |det ∂z/∂x|."""
        return self.call(x, condition)

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|."""
        total = constant_log_det(0.0, z)
        for part in reversed(self.parts):
            z, log_det = part.inverse_and_log_det(z, condition)
            total += log_det
        return z, total

    def compute_output_shape(self, x_shape):
        """The shape of z."""
        for part in self.parts:
            x_shape = part.compute_output_shape(x_shape)
        return x_shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class Recomputed(Bijection):
    """A bijection of whose training only the input is kept: the gradient computes the rest again.

    Args:
        bijection: the one to recompute.
        dtype: Keras dtype policy.
        name: name of the layer.

    Raises:
        ValueError: for what is no bijection.

    Example:
        >>> import genmodels as gm
        >>> z, log_det = Recomputed(gm.flows.ActNorm())(tf.ones([2, 4, 4, 3]))
        >>> z.shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(self, bijection, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        if not isinstance(bijection, Bijection):
            raise ValueError(f"`bijection` must be a genmodels.flows.Bijection; got {bijection!r}.")
        self.bijection = bijection

    def build(self, x_shape, condition_shape=None):
        """Builds the bijection."""
        if not self.bijection.built:
            self.bijection.build(x_shape, condition_shape)
        self.built = True

    def call(self, x, condition=None, training=None):
        """`forward_and_log_det`, in training without keeping what lies between."""
        if not training:
            return self.bijection(x, condition, training=training)
        given = (x,) if condition is None else (x, condition)
        return tf.recompute_grad(lambda *given: self.bijection(*given, training=True))(*given)

    def forward_and_log_det(self, x, condition=None):
        """z and log |det ∂z/∂x|."""
        return self.bijection.forward_and_log_det(x, condition)

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|."""
        return self.bijection.inverse_and_log_det(z, condition)

    def compute_output_shape(self, x_shape):
        """The shape of z."""
        return self.bijection.compute_output_shape(x_shape)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Inverse(Bijection):
    """A bijection turned around: its data are the latents of the one inside.

    A flow that is fast to sample and slow to score, or the other way round, changes places by it. The shape of z must
    be that of x.

    Args:
        bijection: the one to turn around.
        dtype: Keras dtype policy.
        name: name of the layer.

    Raises:
        ValueError: for what is no bijection, and when built for one that changes the shape.

    Example:
        >>> import genmodels as gm
        >>> gm.flows.Inverse(gm.flows.Logit()).forward(tf.zeros([1, 1])).numpy().tolist()
        [[0.5]]
    """

    def __init__(self, bijection, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        if not isinstance(bijection, Bijection):
            raise ValueError(f"`bijection` must be a genmodels.flows.Bijection; got {bijection!r}.")
        self.bijection = bijection

    def build(self, x_shape, condition_shape=None):
        """Builds the bijection inside."""
        if not self.bijection.built:
            self.bijection.build(x_shape, condition_shape)
        if tuple(self.bijection.compute_output_shape(x_shape)) != tuple(x_shape):
            raise ValueError(f"{self.bijection.name} changes the shape {tuple(x_shape)}; it cannot be turned around.")
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """x of the bijection inside, taken as z."""
        return self.bijection.inverse_and_log_det(x, condition)

    def inverse_and_log_det(self, z, condition=None):
        """z of the bijection inside, taken as x."""
        return self.bijection(z, condition)


def sum_over_event(x):
    """Sums over all axes but the first: `[B]`."""
    return tf.reduce_sum(x, axis=list(range(1, x.shape.rank)))


def constant_log_det(log_det, x):
    """A log-determinant that is the same for all examples, as `[B]`."""
    return tf.fill([tf.shape(x)[0]], tf.cast(log_det, x.dtype))


def positions(shape):
    """Elements that share a channel: H·W of `[B, H, W, C]`, 1 of `[B, D]`."""
    return int(np.prod(shape[1:-1]))
