"""Constructor arguments: checked, recorded, and turned into what a file can hold and back."""

import ast
import inspect
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def recorded(cls, self, args, kwargs) -> dict[str, Any]:
    """The arguments of a constructor call by name, defaults included."""
    signature = inspect.signature(cls.__init__)
    bound = signature.bind(self, *args, **kwargs)
    bound.apply_defaults()  # a file keeps its meaning when a default changes
    arguments = {}
    for parameter in list(signature.parameters.values())[1:]:  # all but self
        value = bound.arguments[parameter.name]
        arguments.update(value if parameter.kind is parameter.VAR_KEYWORD else {parameter.name: value})
    return arguments


def constructor_arguments(cls) -> dict[str, Any]:
    """The arguments of a class's constructor and their defaults, those that it hands on to its bases included."""
    arguments = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # all but self
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        arguments.update({p.name: p.default for p in named if p.name not in arguments})
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return arguments


def fixed_arguments(cls) -> set[str]:
    """Arguments of its bases that a class sets itself, and so does not hand on: as the code of its constructor says."""
    fixed = set()
    for base in cls.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        tree = ast.parse(textwrap.dedent(inspect.getsource(base.__init__)))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "super().__init__":
                fixed |= {keyword.arg for keyword in call.keywords if keyword.arg is not None} - set(parameters)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            break
    return fixed


def serialized(value: Any):
    """A constructor argument as JSON can hold it."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [serialized(v) for v in value]
    return keras.saving.serialize_keras_object(value)


def deserialized(value: Any):
    """The constructor argument that `serialized` was given; sequences come back as tuples."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, list):
        return tuple(deserialized(v) for v in value)
    return value


def checked_shape(shape) -> tuple[int, ...]:
    """The shape of one example as a tuple, or a ValueError."""
    if not isinstance(shape, Sequence) or not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"`event_shape` must be positive integers such as (28, 28, 1) or (2,); got {shape!r}.")
    if len(shape) not in (1, 3):
        raise ValueError(
            f"`event_shape` must be (height, width, channels) for images or (dimensions,) for points; got {shape}."
        )
    return tuple(shape)


def checked_positive(name, value) -> float:
    """A finite number above 0 as a float, or a ValueError."""
    if not _number(value) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be a finite number above 0; got {value!r}.")
    return float(value)


def checked_nonnegative(name, value) -> float:
    """A finite number of at least 0 as a float, or a ValueError."""
    if not _number(value) or not 0 <= value < math.inf:
        raise ValueError(f"`{name}` must be a finite number of at least 0; got {value!r}.")
    return float(value)


def _number(value):
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def checked_count(name, value, least, none_means=None, *, most=math.inf) -> int | None:
    """An integer from `least` to `most`, or None where that means something, or a ValueError."""
    if value is None and none_means is not None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        wanted = f"≥ {least}" if most == math.inf else f"from {least} to {most}"
        alternative = "" if none_means is None else f" or {none_means}"
        raise ValueError(f"`{name}` must be an integer {wanted}{alternative}; got {value!r}.")
    return int(value)
