"""Masked autoregressive transforms: each element is transformed as a network of the elements before it says.

MADE (Germain et al. 2015, arXiv:1502.03509) is the network, MAF (Papamakarios et al. 2017, arXiv:1705.07057) the
bijection, and its `Inverse` is IAF (Kingma et al. 2016, arXiv:1606.04934).
"""

import keras
import numpy as np
import tensorflow as tf

from genmodels import networks
from genmodels.models.flows import transforms
from genmodels.models.flows.bijections import PACKAGE, Bijection, sum_over_event
from genmodels.settings import checked_count


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaskedDense(keras.layers.Layer):
    """A dense layer whose units have degrees: a unit of degree m may depend on the first m elements of x, and no other.

    A unit reads those inputs whose degree is at most its own: kernel[i, j] counts where inputs[i] ≤ outputs[j].

    Args:
        inputs: degrees of the inputs, integers; the element x_i itself (i = 0, 1, …) has degree i + 1.
        outputs: degrees of the units.
        activation: Keras activation, or None.
        kernel_initializer: Keras initializer; its scale is corrected for the number of inputs that each unit reads.
        **options: for `keras.Layer`.

    Raises:
        ValueError: when built for inputs of another length.

    Example:
        >>> layer = MaskedDense([1, 2], [0, 1, 2], kernel_initializer="ones")
        >>> (layer(tf.constant([[1.0, 10.0]])) != 0).numpy().tolist()
        [[False, True, True]]
    """

    def __init__(self, inputs, outputs, *, activation=None, kernel_initializer="he_normal", **options):
        super().__init__(**options)
        self.inputs, self.outputs = [int(m) for m in inputs], [int(m) for m in outputs]
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, shape):
        """Makes kernel and bias for inputs `[B, len(inputs)]`."""
        if shape[-1] != len(self.inputs):
            raise ValueError(f"`inputs` has {len(self.inputs)} degrees, but the input has shape {tuple(shape)}.")
        self.mask = np.array(self.inputs)[:, None] <= np.array(self.outputs)  # [inputs, outputs]
        scale = np.sqrt(len(self.inputs) / np.maximum(self.mask.sum(0), 1))

        def initializer(shape, dtype):
            return self.kernel_initializer(shape, dtype) * tf.constant(scale, dtype)

        self.kernel = self.add_weight(self.mask.shape, initializer=initializer, name="kernel")
        self.bias = self.add_weight((len(self.outputs),), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        """`[B, len(inputs)]` to `[B, len(outputs)]`."""
        kernel = tf.convert_to_tensor(self.kernel)
        # On the kernel in the forward pass: a mask put on the variable would not survive an update.
        y = tf.matmul(x, kernel * tf.constant(self.mask, kernel.dtype))
        return self.activation(tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)))

    def compute_output_shape(self, shape):
        """`(B, len(outputs))`."""
        return (shape[0], len(self.outputs))

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def made(dims, parameters, condition_dim=None, *, width, depth, dtype=None) -> keras.Model:
    """A masked network (MADE): numbers for each element of x, as a function of the elements before it.

    The degrees of the hidden units are spread evenly. With fewer units than elements, some outputs miss the last of
    the elements that they could see.

    Args:
        dims: elements D of x.
        parameters: numbers P for each element.
        condition_dim: length C of the condition, which all units see; None for no condition.
        width: units of each hidden layer.
        depth: hidden layers.
        dtype: Keras dtype policy; the last layer is float32.

    Returns:
        A `keras.Model` from `[B, D]` (and `[B, C]`) to `[B, D * P]`, the P numbers of an element side by side; all are
        zero at first.

    Example:
        >>> made(3, 2, width=16, depth=1).output_shape
        (None, 6)
    """
    x = inputs = keras.Input((dims,))
    degrees = range(1, dims + 1)
    if condition_dim is not None:
        condition = keras.Input((condition_dim,))
        inputs = [x, condition]
        x = keras.layers.Concatenate(dtype=dtype)([x, condition])
        degrees = [*degrees, *[0] * condition_dim]
    # Units of degree 0 see the condition only: without one they would be constants.
    least = 1 if condition_dim is None and dims > 1 else 0
    # least … D - 1, evenly; in integers, for a number that is rounded the wrong way would leave a degree out.
    hidden = least + np.maximum(np.arange(width) * (dims - least) - 1, 0) // max(width - 1, 1)
    for _ in range(depth):
        x = MaskedDense(degrees, hidden, activation="relu", dtype=dtype)(x)
        degrees = hidden
    outputs = np.repeat(np.arange(dims), parameters)
    x = MaskedDense(degrees, outputs, kernel_initializer="zeros", dtype="float32")(x)
    return keras.Model(inputs, x, name="made")


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaskedAutoregressive(Bijection):
    """z_i = T(x_i; network(x_0 … x_{i-1}, condition)): one pass of the network forward, D passes back.

    Fast to score and slow to sample (MAF); turned around by `Inverse`, fast to sample and slow to score (IAF).
    x is `[B, D]`. A `Permutation` between two of them changes the order of the elements.

    Args:
        transform: T: "additive", "affine", "spline", or an object of `genmodels.flows`.
        width: units of the default network's hidden layers; at least D, so that every element sees all before it.
        depth: its hidden layers.
        network: a Keras model of one's own, or the path of its file, from `[B, D]` (and the condition `[B, C]`, as
            second input) to `[B, D * transform.parameters]`, the parameters of an element side by side. It must be
            autoregressive, which is checked by its gradients when built.
        dtype: Keras dtype policy of the network; the bijection itself computes in float32.
        name: name of the layer.

    Raises:
        ValueError: when built, for images, and for a network of other shapes or that is not autoregressive.

    Example:
        >>> import genmodels as gm
        >>> layer = gm.flows.MaskedAutoregressive("affine", width=16)
        >>> z, log_det = layer(tf.ones([5, 3]))
        >>> z.shape, log_det.shape
        (TensorShape([5, 3]), TensorShape([5]))
    """

    def __init__(self, transform="affine", *, width=128, depth=2, network=None, dtype="float32", name=None):
        super().__init__(dtype=dtype, name=name)
        self.transform = transforms.get(transform)
        self.width, self.depth = checked_count("width", width, 1), checked_count("depth", depth, 0)
        self.network = networks.given(self, "network", network)

    def build(self, x_shape, condition_shape=None):
        """Creates the network, or checks the given one."""
        if len(x_shape) != 2:
            raise ValueError(f"x must be vectors [B, D]; got shape {tuple(x_shape)}: put a Flatten before.")
        self.dims = x_shape[1]
        condition = () if condition_shape is None else (condition_shape[1],)
        parameters = self.transform.parameters
        if self.network is None:
            self.network = made(
                self.dims, parameters, *condition, width=self.width, depth=self.depth, dtype=self.dtype_policy
            )
        else:
            shapes = [(n,) for n in (self.dims, *condition)]
            networks.check("network", self.network, shapes, (self.dims * parameters,))
            check_autoregressive(self.network, shapes)
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and log |det ∂z/∂x|, in one pass."""
        # As [B, D, 1]: a transform lays out the parameters of several elements as it likes, of one there is one way.
        z, slopes = self.transform.forward(x[..., None], self._parameters(x, condition))
        return z[..., 0], sum_over_event(slopes)

    def inverse_and_log_det(self, z, condition=None):
        """x and log |det ∂x/∂z|, in D passes: the pass i finds x_i. Has first derivatives only."""
        elements, last = tf.range(self.dims), self.dims - 1

        def find(i, x):
            value, _ = self.transform.inverse(z[:, i, None], self._parameters(x, condition, training=False)[:, i])
            # Elements that are not yet known stay zero: of a wild guess, even 0 · ∞ would reach the others.
            return i + 1, tf.where(elements == i, value, x)

        # No parameters depend on the last element: the last pass, which alone is differentiated, has them all.
        _, x = tf.while_loop(lambda i, _: i < last, find, (0, tf.zeros_like(z)), maximum_iterations=last)
        x = tf.stop_gradient(x)
        return self._through_all_passes(*self._pass(x, z, condition), x, z, condition)

    def _pass(self, x, z, condition):
        """x = T⁻¹(z; network(x)) and its log-determinant, given an x that is right."""
        x, slopes = self.transform.inverse(z[..., None], self._parameters(x, condition, training=False))
        return x[..., 0], sum_over_event(slopes)

    def _through_all_passes(self, x, log_det, found, z, condition):
        """The results of the last pass, with the gradients of all.

        With x, l = g(found, z) and found = x, the gradient v that reaches g's x is v = ∂x + (∂g/∂found)ᵀ (v, ∂l), a
        strictly triangular system: solved from the last element to the first, it needs the memory of one pass.
        """
        elements, last = tf.range(self.dims), self.dims - 1

        def gradient(d_x, d_log_det):
            def solve(i, v):
                with tf.GradientTape() as tape:
                    tape.watch(found)
                    results = self._pass(found, z, condition)
                later = tape.gradient(results, found, [v, d_log_det])
                return i - 1, tf.where(elements == i, d_x + later, v)

            start = tf.where(elements == last, d_x, 0.0)
            _, v = tf.while_loop(lambda i, _: i >= 0, solve, (last - 1, start), maximum_iterations=last)
            return tf.raw_ops.PreventGradient(input=v, message="the inverse has first derivatives only"), d_log_det

        return tf.custom_gradient(lambda x, log_det: ((tf.identity(x), tf.identity(log_det)), gradient))(x, log_det)

    def _parameters(self, x, condition, **options):
        """`[B, D, parameters]`; with `training=False` where all passes must see one function, without dropout."""
        raw = self.network(x if condition is None else [x, condition], **options)
        return tf.reshape(tf.cast(raw, x.dtype), [-1, self.dims, self.transform.parameters])


def check_autoregressive(network, shapes):
    """Refuses a network whose outputs for an element depend on that element or a later one.

    Args:
        network: a Keras model from `[B, D]` (and what else) to `[B, D * P]`.
        shapes: of its inputs, without the batch axis.

    Raises:
        ValueError: names the first such element.
    """
    rng = np.random.default_rng(0)
    dims = shapes[0][0]

    @tf.function(autograph=False)  # with tf.gradients: no tape records inside init_scope
    def gradient(x, *rest):
        noisy = [(v, v.value + tf.constant(n, v.dtype)) for v, n in zip(network.trainable_variables, noise)]
        with keras.StatelessScope(state_mapping=noisy):
            raw = network([x, *rest] if rest else x, training=False)
        raw = tf.reshape(tf.cast(raw, tf.float32), [dims, dims, -1])
        # Example i asks what the outputs for element i depend on.
        asked = tf.linalg.diag_part(tf.reduce_sum(raw * rng.normal(size=raw.shape[2:]).astype("float32"), -1))
        return tf.gradients(asked, x, unconnected_gradients="zero")[0]

    # Noise on the weights: a last layer of zeros would hide what is behind it.
    noise = [0.1 * rng.normal(size=v.shape) for v in network.trainable_variables]
    with tf.init_scope():  # layers are also built while a graph is traced
        inputs = [tf.constant(rng.normal(size=(dims, *shape)), tf.float32) for shape in shapes]
        found = gradient.get_concrete_function(*inputs)(*inputs).numpy()
    wrong = np.argwhere(np.triu(found) != 0)  # NaN is wrong too
    if len(wrong):
        raise ValueError(
            "`network` must be autoregressive, its outputs [i * P : (i + 1) * P] a function of x[:i]; "
            f"those of i = {wrong[0][0]} depend on x[{wrong[0][1]}]."
        )
