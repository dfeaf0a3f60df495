"""Networks of a model's own layers, from examples in the data's units to the features inside."""

import math
from typing import NamedTuple

import keras


class Call(NamedTuple):
    """A layer's call in a functional network: the first tensor it reads that the example reaches, and what it gives."""

    layer: keras.layers.Layer | keras.Operation
    reads: keras.KerasTensor
    gives: keras.KerasTensor


def inputs(model, label=None, *, shown=True, scale=1.0, time=None):
    """Symbolic inputs of a model's network: the example as the network sees it, then time and label where it has them.

    Args:
        model: its `event_shape`, `levels` and `num_classes` count.
        label: the class that is shown, or None for a vector of zeros.
        shown: whether the network takes labels where the model has classes.
        scale: factor of the example, after integers are scaled to -1 … 1.
        time: a number for all examples, or None for a network without.

    Returns:
        x in the data's units, a `keras.Input`, and what the network is called with.

    Raises:
        ValueError: for a label that is not one of the network's classes.
    """
    num_classes = model.num_classes if shown else None
    integer = isinstance(label, int) and not isinstance(label, bool)
    if label is not None and (num_classes is None or not integer or not 0 <= label < num_classes):
        which = "None (the network takes no labels)" if num_classes is None else f"from 0 to {num_classes - 1}, or None"
        raise ValueError(f"`label` must be {which}; got {label!r}.")
    x = keras.Input(model.event_shape, name="x")
    factor, offset = (1.0, 0.0) if model.levels is None else (2.0 / (model.levels - 1), -1.0)
    parts = [keras.layers.Rescaling(scale * factor, scale * offset, dtype="float32")(x)]
    row = keras.ops.sum(x, axis=tuple(range(1, len(x.shape))))  # [B], for the size of the batch alone
    if time is not None:
        parts.append(keras.ops.full_like(row, time))
    if num_classes is not None:
        classes = keras.ops.full_like(row, -1 if label is None else label, dtype="int32")
        parts.append(keras.ops.one_hot(classes, num_classes))  # of -1 zeros
    return x, parts if len(parts) > 1 else parts[0]


def vector(y):
    """Features `[B, …, F]` as one float32 vector an example, `[B, F]`: the mean over what lies between."""
    y = y if y.dtype == "float32" else keras.ops.cast(y, "float32")
    return y if len(y.shape) == 2 else keras.ops.mean(y, axis=tuple(range(1, len(y.shape) - 1)))


def last_hidden(role, network, layer=None):
    """The part of a functional network that ends with what its last layer with weights is given.

    Args:
        role: what the model calls the network, for messages.
        network: a functional or sequential Keras model, the example its first input.
        layer: name of another layer to end with, or None.

    Raises:
        ValueError: for a network without graph or hidden layers, and a layer that is not one or sees no example.
    """
    calls = _calls(role, network)
    if layer is None:
        return keras.Model(network.inputs, calls[_last(role, network, calls)].reads)
    return _named(role, network, calls, layer)


def innermost(role, network, layer=None):
    """The part of a functional network that ends with its smallest feature maps, the last of these.

    Maps of the same rank as the example count, up to the input of the last layer with weights. Of a U-Net, the last at
    its smallest size; of a network that keeps the size, or of points, the last hidden features. Arguments and errors as
    of `last_hidden`.
    """
    calls = _calls(role, network)
    if layer is not None:
        return _named(role, network, calls, layer)
    shapes = [call.gives.shape for call in calls[: _last(role, network, calls)]]
    sizes = [math.prod(s[1:-1]) if len(s) == len(network.inputs[0].shape) else math.inf for s in shapes]
    place = max(i for i, size in enumerate(sizes) if size == min(sizes))
    return keras.Model(network.inputs, calls[place].gives)


def _calls(role, network):
    """The calls that the example reaches, from the input to the output."""
    if not getattr(network, "inputs", None):
        raise ValueError(f"the features of `{role}` need a functional or sequential keras.Model; got {network!r}.")
    graph, reached, calls = keras.Model(network.inputs, network.outputs), {id(network.inputs[0])}, []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            reads = [x for x in node.input_tensors if id(x) in reached]
            if reads:
                reached.update(id(x) for x in node.outputs)
                calls.append(Call(node.operation, reads[0], node.outputs[0]))
    return calls


def _last(role, network, calls):
    """Place of the last call of a layer with weights."""
    place = max((i for i, call in enumerate(calls) if getattr(call.layer, "weights", None)), default=0)
    if calls[place].reads is network.inputs[0]:
        raise ValueError(f"`{role}` has no hidden layer: its only layer with weights reads the example.")
    return place


def _named(role, network, calls, layer):
    found = [call.gives for call in calls if call.layer.name == layer]
    if len(found) != 1:
        raise ValueError(f"`layer` must name a layer of `{role}` that the example reaches; got {layer!r}.")
    return keras.Model(network.inputs, found[0])
