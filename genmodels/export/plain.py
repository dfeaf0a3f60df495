"""Networks of Keras' own layers only, which plain Keras loads without this package."""

import inspect
import math

import keras
import numpy as np
import tensorflow as tf

from genmodels.layers import (
    FastConv2D,
    FastConv2DTranspose,
    FusedBatchNormalization,
    FusedGroupNormalization,
    Recompute,
    SinusoidalEmbedding,
)
from genmodels.models.gans.networks import Gain
from genmodels.models.gans.spectral import SpectralNormalized

# Our layers that are Keras' with other insides: the same configuration and weights.
TWINS = {
    FastConv2D: keras.layers.Conv2D,
    FastConv2DTranspose: keras.layers.Conv2DTranspose,
    FusedBatchNormalization: keras.layers.BatchNormalization,
}
OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
INSTEAD = (
    "Save the whole model instead: model.save(path) for programs that import genmodels, "
    "genmodels.export.saved_model(model, folder) or `genmodels export RUN --format saved-model` for those that do not."
)


def plain(network: keras.Model, dtype=None) -> keras.Model:
    """The same network of Keras' own layers, its weights copied: files of it load without genmodels.

    Group normalization becomes `GroupNormalization` and operations, in a model within the model that has the layer's
    name; the embedding of time becomes operations; spectral normalization is baked into the kernels, so that σ is no
    longer estimated in training, and the gain of GANs' attention is a constant; what was computed again for the
    gradient is kept. Outputs agree to the rounding of the type that the network computes in.

    Args:
        network: a functional or sequential Keras model.
        dtype: Keras dtype policy of all layers, such as "float32" for a network that was trained in bfloat16; None for
            their own.

    Returns:
        A functional model of the same inputs and outputs, not compiled. Layers keep their names.

    Raises:
        ValueError: for a network that is not functional, and for layers that Keras does not have (causal layers, parts
            of flows, your own); it names the layer.

    Example:
        >>> import genmodels as gm
        >>> generator = gm.DCGAN((8, 8, 1), levels=17, width=8).generator
        >>> {type(layer).__module__.split(".")[0] for layer in plain(generator).layers}
        {'keras'}
    """
    if not _can_be_taken_apart(network):
        wanted = "a functional or sequential keras.Model, whose layers can be taken apart"
        raise ValueError(f"expected {wanted}; got {network!r}. {INSTEAD}")
    copier = _Copier({} if dtype is None else {"dtype": dtype})
    copy = copier.copied(network)
    for layer, twin in copier.pairs:
        twin.set_weights(_weights(layer))
    return copy


class _Copier:
    """Copies of layers and operations, with other settings where given: one each, however often it is called."""

    def __init__(self, settings):
        self.settings = settings
        self.made = {}
        self.pairs = []  # of layers and their copies, whose weights are set when the network is complete

    def copied(self, network):
        """A functional model of the same name, inputs and outputs."""
        if isinstance(network, keras.Sequential):
            given = network.inputs[0]
            x = inputs = keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
            for layer in network.layers:
                x = self.call(self.copy(layer), x)
            new = keras.Model(inputs, x, name=network.name)
        else:
            new = keras.models.clone_model(network, clone_function=self.copy, call_function=self.call)
        new.compiled = False  # the loss of a network that was trained by itself may be its owner's
        return new

    def copy(self, operation):
        """The counterpart of a layer or operation; one that becomes several stays, for `call` to replace."""
        if id(operation) not in self.made:
            self.made[id(operation)] = self._copy(operation)
        return self.made[id(operation)]

    def _copy(self, operation):
        if type(operation) in EXPANSIONS:
            return operation
        if _can_be_taken_apart(operation):
            return self.copied(operation)
        if type(operation) is Recompute:
            return self.copied(operation.network)
        if type(operation) is Gain:
            settings = {"dtype": operation.dtype_policy, **self.settings, "name": operation.name}
            return keras.layers.Rescaling(float(operation.gain), **settings)
        source = operation.layer if type(operation) is SpectralNormalized else operation
        described = keras.saving.serialize_keras_object(source)
        config = {
            name: value
            for name, value in described["config"].items()
            if not (name.endswith(OF_TRAINING) and _foreign(value))
        }
        twin = TWINS.get(type(source))
        foreign = _foreign(config if twin else {**described, "config": config})
        if foreign:
            raise ValueError(
                f"the layer {operation.name!r} is or holds a {foreign}, which plain Keras does not have. {INSTEAD}"
            )
        if not isinstance(operation, keras.Layer):  # of keras.ops: it has no type of its own, and no weights
            return type(operation).from_config(config)
        new = (twin or type(source)).from_config({**config, **self.settings, "name": operation.name})
        self.pairs.append((operation, new))
        return new

    def call(self, operation, *arguments, **options):
        """Calls a counterpart, or a model in place of a layer that becomes several."""
        expansion = EXPANSIONS.get(type(operation))
        if expansion is None:
            return operation(*arguments, **options)
        bound = inspect.signature(operation.call).bind(*arguments, **options).arguments
        arguments = [x for x in bound.values() if isinstance(x, keras.KerasTensor)]  # in order, however they were given
        key = (id(operation), "expanded")
        if key not in self.made:
            inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in arguments]
            dtype = keras.dtype_policies.get(self.settings.get("dtype", operation.dtype_policy)).compute_dtype
            outputs = keras.ops.cast(expansion(operation, *inputs), dtype)
            # A model of its own, so that the names of its parts are no other's.
            self.made[key] = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=operation.name)
            norms = [part for part in self.made[key].layers if part.weights]
            self.pairs.extend((operation, norm) for norm in norms)
        return self.made[key](list(arguments) if len(arguments) > 1 else arguments[0])


def _group_normalization(layer, x, modulation=None):
    """act((1 + s) · (γ x̂ + β) + b), in float32."""
    options = {"groups": layer.parts, "epsilon": layer.epsilon, "dtype": "float32"}
    y = keras.layers.GroupNormalization(**options)(x)
    if modulation is not None:
        places = (1,) * (len(x.shape) - 2)
        modulation = keras.layers.Reshape((*places, modulation.shape[-1]), dtype="float32")(modulation)
        scale, shift = keras.ops.split(modulation, 2, axis=-1)
        y = (1.0 + scale) * y + shift
    if layer.activation is not None:
        y = keras.layers.Activation(layer.activation, dtype="float32")(y)
    return y


def _sinusoidal_embedding(layer, t):
    """cos and sin of scale · t · frequencies, in float32."""
    half = layer.dim // 2
    # As the layer computes them: with t at a thousand, the last digit of a frequency is 1e-4 of an angle.
    frequencies = tf.exp(-math.log(10_000.0) * tf.range(half, dtype=tf.float32) / (half - 1)).numpy()
    angles = keras.ops.expand_dims(layer.scale * t, -1) * frequencies
    return keras.ops.concatenate([keras.ops.cos(angles), keras.ops.sin(angles)], axis=-1)


# Our layers that become several of Keras'.
EXPANSIONS = {FusedGroupNormalization: _group_normalization, SinusoidalEmbedding: _sinusoidal_embedding}


def _weights(layer):
    """A layer's weights, as its counterpart in Keras has them."""
    if type(layer) is not SpectralNormalized:
        return layer.get_weights()
    kernel, *rest = layer.layer.get_weights()
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    right = layer.vector.numpy() @ matrix.T
    right /= np.linalg.norm(right)
    sigma = np.linalg.norm(right @ matrix)  # right · W · leftᵀ, with left along right · W
    return [kernel / max(sigma, 1e-12), *rest]


def _can_be_taken_apart(network):
    functional = isinstance(network, keras.Sequential) or hasattr(network, "operations")
    return isinstance(network, keras.Model) and functional and hasattr(network, "inputs")  # of known shapes


def _foreign(config):
    """The name of a class or function in a serialized configuration that is not Keras'; None where all are."""
    if isinstance(config, dict):
        own = str(config.get("module")).split(".")[0] not in ("keras", "builtins")
        if "class_name" in config and (own or config["class_name"] == "__lambda__"):
            return config.get("registered_name") or config["class_name"]
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    return next(filter(None, map(_foreign, parts)), None)
