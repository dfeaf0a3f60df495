"""Networks as ONNX and LiteRT files, each run and compared with Keras before it is kept."""

import importlib
import os
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from genmodels.export.plain import plain
from genmodels.settings import checked_count

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
TOLERANCE = 1e-4  # of the largest output: two runtimes sum in different orders


def onnx(network, path) -> Path:
    """Writes a network as an ONNX file, and checks that onnxruntime computes what Keras does.

    It computes in float32, whatever the network was trained in.

    Args:
        network: a functional or sequential Keras model, such as `model.decoder`, `model.generator`, `model.denoiser`.
        path: the file, `….onnx`; replaced when there.

    Returns:
        The path. Inputs and outputs keep their order; the number of rows is free.

    Raises:
        ValueError: for layers that Keras does not have, a network that the converter refuses, and one whose ONNX file
            gives other numbers; no file is written then.
        ImportError: where the packages are missing: `pip install onnx onnxruntime tf2onnx`.

    Example:
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> gm.export.onnx(model.decoder, "decoder.onnx")  # doctest: +SKIP
    """
    for package in ("tf2onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(f"ONNX needs the package {package}: pip install onnx onnxruntime tf2onnx.") from error
    return _converted(network, path, "onnx", _run_onnx, None)


def litert(network, path, *, batch_size: int | None = None) -> Path:
    """Writes a network as a LiteRT (TensorFlow Lite) file, and checks that its interpreter computes what Keras does.

    It computes in float32, whatever the network was trained in.

    Args:
        network: a functional or sequential Keras model, such as `model.decoder`, `model.generator`, `model.denoiser`.
        path: the file, `….tflite`; replaced when there.
        batch_size: number of rows, where the file is to take that number only; None for any number. Generators that
            double the image again and again by repeating pixels are converted only with a number.

    Returns:
        The path. The signature "serving_default" takes the inputs by the names that the network has for them.

    Raises:
        ValueError: for layers that Keras does not have, a network that the converter refuses, and one whose LiteRT file
            gives other numbers or needs more than LiteRT's own operations; no file is written then.

    Example:
        >>> import tempfile
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     litert(model.decoder, f"{folder}/decoder.tflite").name
        'decoder.tflite'
    """
    batch_size = checked_count("batch_size", batch_size, 1, "None for any")
    return _converted(network, path, "litert", _run_litert, batch_size)


def _converted(network, path, format, run, rows):
    """Converts, runs and compares; the file takes its place at the end. In float32, which every runtime has."""
    path = Path(path)
    if path.suffix != SUFFIXES[format]:
        raise ValueError(f"`path` must end with {SUFFIXES[format]}; got {path}.")
    copy = plain(network, dtype="float32")
    inputs = _examples(copy, rows or 3)
    specs = [keras.InputSpec(shape=(rows, *x.shape[1:]), dtype=x.dtype, name=x.name) for x in copy.inputs]
    signature = [specs if len(specs) > 1 else specs[0]]
    if len(copy.outputs) > 1 or not all("float" in x.dtype for x in copy.inputs):
        raise ValueError(f"{network.name!r} must have one output and floating-point inputs, to be checked in {format}.")
    expected = np.asarray(copy(inputs if len(inputs) > 1 else inputs[0]), np.float32)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of the converter's own NumPy
                copy.export(temporary, format=format, verbose=False, input_signature=signature)
            given = np.asarray(run(str(temporary), copy, inputs), np.float32)
        except Exception as error:  # converters and runtimes raise what they like
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            hint = " (try batch_size=1)" if format == "litert" and rows is None else ""
            raise ValueError(f"{network.name!r} cannot be converted to {format}{hint}: {reason}") from error
        apart = float(np.max(np.abs(given - expected)) / max(np.max(np.abs(expected)), 1e-30))
        if not apart <= TOLERANCE:
            raise ValueError(f"the {format} file of {network.name!r} is {apart:.1e} off Keras, above {TOLERANCE:.0e}.")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _run_onnx(path, network, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs)))[0]


def _run_litert(path, network, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 2.21 has the interpreter, and says that it is to move
        run = tf.lite.Interpreter(path).get_signature_runner("serving_default")
    return next(iter(run(**{x.name: value for x, value in zip(network.inputs, inputs)}).values()))


def _examples(network, rows):
    """Inputs to compare with: normal numbers, and uniform ones where there is one a row, as of time."""
    draw = np.random.default_rng(0)
    return [
        (draw.normal(size=(rows, *x.shape[1:])) if len(x.shape) > 1 else draw.uniform(size=rows)).astype(np.float32)
        for x in network.inputs
    ]
