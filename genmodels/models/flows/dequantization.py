"""From integers to real numbers in [0, 1): noise within each level, and what it costs.

A density p of real numbers bounds the probability P of integers: with u ~ q(u | x) and y = (x + u) / levels,

    log P(x) ≥ E log p(y) − log q(u | x) − D log levels        (Theis et al. 2016; Ho et al. 2019)

A dequantization is a Keras layer of two methods, of x the integers divided by levels − 1, float32 `[B, *event_shape]`:

* `call(x, streams)`: noise u in (0, 1) of the shape of x, drawn from `streams`, and log q(u | x), `[B]` nats;
* `center(x)`: the u in (0, 1) that stands for the noise where none is drawn, in `encode`; of the shape of x.
"""

import keras
import tensorflow as tf

from genmodels.models.flows.bijections import PACKAGE, Chain, sum_over_event
from genmodels.models.flows.coupling import Coupling
from genmodels.models.flows.elementwise import Logit
from genmodels.models.flows.shapes import Squeeze
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package=PACKAGE)
class UniformDequantization(keras.layers.Layer):
    """q(u | x) is uniform.

    Example:
        >>> from genmodels.sampling import Streams, make_seed
        >>> u, log_q = UniformDequantization()(tf.zeros([2, 4]), streams=Streams(make_seed(0), 0, 2))
        >>> u.shape, log_q.numpy().tolist()
        (TensorShape([2, 4]), [0.0, 0.0])
    """

    def __init__(self, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name, autocast=False)

    def call(self, x, streams):
        """u in (0, 1), of the shape of x, and log q(u | x) `[B]`.

        Args:
            x: integers as float32 in [0, 1], `[B, …]`.
            streams: one random stream an example.
        """
        return streams.uniform(x.shape[1:]), tf.zeros_like(sum_over_event(x))

    def center(self, x):
        """The middle of every level."""
        return tf.fill(tf.shape(x), 0.5)

    def get_config(self):
        """The constructor's arguments."""
        return _config(self)


@keras.saving.register_keras_serializable(package=PACKAGE)
class VariationalDequantization(keras.layers.Layer):
    """q(u | x) is a flow itself, of affine couplings that see features of x (Ho et al. 2019, "Flow++").

    u = sigmoid(f(ε; x)) with logistic ε: each example's noise takes the shape that the model of the data finds easiest.
    The bound is tighter than with uniform noise, from which it starts, and is learned together with the flow.

    Args:
        couplings: number of coupling layers.
        width: filters, or units, of their networks and of the features.
        dtype: Keras dtype policy of the networks.
        name: name of the layer.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> import genmodels as gm
        >>> noise = VariationalDequantization(couplings=1, width=8)
        >>> gm.Glow((4, 4, 1), steps=1, width=8, dequantization=noise).log_prob(np.zeros([2, 4, 4, 1], "uint8")).shape
        TensorShape([2])
    """

    def __init__(self, couplings=4, width=64, *, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.couplings, self.width = checked_count("couplings", couplings, 1), checked_count("width", width, 1)

    def build(self, x_shape):
        """Creates the features' network and the couplings."""
        image = len(x_shape) == 4
        self.squeezed = image and x_shape[1] % 2 == 0 and x_shape[2] % 2 == 0
        squeeze = [Squeeze()] if self.squeezed else []
        options = {"width": self.width, "dtype": self.dtype_policy}
        shape = Chain(squeeze).compute_output_shape(x_shape)
        features = (*shape[1:-1], self.width)
        self.features = _network(shape[1:], features, self.dtype_policy)
        mask = "checkerboard" if image and not self.squeezed else "halves"
        couplings = [Coupling("affine", mask=mask, swap=bool(i % 2), **options) for i in range(self.couplings)]
        self.flow = Chain([Logit(), *squeeze, *couplings])
        self.flow.build(x_shape, (None, *features))
        self.built = True

    def call(self, x, streams):
        """u in (0, 1), of the shape of x, and log q(u | x) `[B]`.

        Args:
            x: integers as float32 in [0, 1], `[B, …]`.
            streams: one random stream an example.
        """
        # Logistic, not normal: training starts from uniform noise, and q has the tails that the edges of a level need.
        uniform = streams.uniform(self._noise_shape(x))
        noise = tf.math.log(uniform) - tf.math.log1p(-uniform)
        u, log_det = self.flow.inverse_and_log_det(noise, self._features(x))
        log_logistic = -sum_over_event(tf.nn.softplus(noise) + tf.nn.softplus(-noise))
        return u, log_logistic - log_det

    def center(self, x):
        """The u of ε = 0, kept off the edges of the level, where an error of float32 would change the integer."""
        noise = tf.zeros([tf.shape(x)[0], *self._noise_shape(x)])
        return tf.clip_by_value(self.flow.inverse(noise, self._features(x)), 0.05, 0.95)

    def _noise_shape(self, x):
        return self.flow.compute_output_shape(x.shape)[1:]

    def _features(self, x):
        pixels = tf.nn.space_to_depth(x, 2) if self.squeezed else x
        return tf.cast(self.features(2.0 * pixels - 1.0), x.dtype)

    def get_config(self):
        """The constructor's arguments."""
        return {**_config(self), "couplings": self.couplings, "width": self.width}


def _config(layer):
    # Without what Keras adds of its own, such as `trainable`, which these constructors do not take.
    return {"dtype": keras.dtype_policies.serialize(layer.dtype_policy), "name": layer.name}


def _network(input_shape, output_shape, dtype):
    layers = keras.layers
    x = inputs = keras.Input(input_shape)
    for _ in range(2):
        if len(input_shape) == 3:
            x = layers.Conv2D(output_shape[-1], 3, padding="same", activation="relu", dtype=dtype)(x)
        else:
            x = layers.Dense(output_shape[-1], activation="relu", dtype=dtype)(x)
    return keras.Model(inputs, x, name="features")


NAMES = {"uniform": UniformDequantization, "variational": VariationalDequantization}


def get(dequantization, dtype):
    """The dequantization that a name stands for, or the layer itself."""
    if isinstance(dequantization, keras.layers.Layer):
        if not callable(getattr(dequantization, "center", None)):
            raise ValueError(f"a dequantization needs `call(x, streams)` and `center(x)`; got {dequantization!r}.")
        return dequantization
    if not isinstance(dequantization, str) or dequantization not in NAMES:
        raise ValueError(f"`dequantization` must be one of {', '.join(NAMES)}, or a layer; got {dequantization!r}.")
    return NAMES[dequantization](dtype=dtype)
