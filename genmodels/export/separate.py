"""The networks inside a model, each in a file of its own that plain Keras loads."""

import contextlib
import logging
import os
from pathlib import Path

import keras

from genmodels.core import GenerativeModel
from genmodels.export.plain import INSTEAD, plain

FORMATS = ("keras", "h5")


def networks(model, folder, format: str = "keras") -> dict[str, Path]:
    """Writes each network of a model (encoder, decoder, generator, critic, denoiser …) by itself, as `plain` makes it.

    `keras.models.load_model(path)` reads them without genmodels. They hold the averaged weights, where the model keeps
    an average, and take and give what they do within the model: pixels from -1 to 1, one-hot labels; a decoder gives
    the parameters of its likelihood.

    Args:
        model: a generative model.
        folder: a folder, made when missing; files of the same names are replaced.
        format: "keras", or "h5", which holds layers only, no operations of `keras.ops`: a denoiser needs "keras".

    Returns:
        The files by the attribute's name: `{"encoder": Path("…/encoder.keras"), …}`.

    Raises:
        ValueError: for a model whose networks are not separate (flows) or have layers that Keras does not have
            (autoregressive models), for another format, and for operations with "h5". Nothing is written then.

    Example:
        >>> import tempfile
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(networks(model, folder))
        ['decoder', 'encoder']
    """
    folder = Path(folder)
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}; got {format!r}.")
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"expected a generative model; got {model!r}.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`folder` must be a folder; {folder} is a file.")
    inner = {name: value for name, value in vars(model).items() if name[0] != "_" and _network(value)}
    if not inner:
        family = type(model).__name__
        raise ValueError(
            f"{family} has no networks that stand alone, as autoencoders, GANs and diffusion have. {INSTEAD}"
        )
    with model.averaged():
        copies = {name: plain(network) for name, network in inner.items()}
    if format == "h5":
        for name, network in copies.items():
            _refuse_operations(name, network)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, network in copies.items():
        temporary = folder / f".{name}.{os.getpid()}.{format}"
        with _without_advice():
            network.save(temporary)
        paths[name] = folder / f"{name}.{format}"
        os.replace(temporary, paths[name])
    return paths


def _network(value):
    """Whether it is a network; not a model within the model, such as the prior of a VQ-VAE's codes."""
    return isinstance(value, keras.Model) and not isinstance(value, GenerativeModel)


def _refuse_operations(name, network):
    """Refuses what HDF5 files of Keras cannot hold, in the models within too."""
    parts = list(network.operations)
    for part in parts:
        parts += getattr(part, "operations", [])
        if not isinstance(part, keras.Layer):
            raise ValueError(
                f'the HDF5 format holds layers only, and `{name}` has the operation {part.name!r}: use format="keras".'
            )


@contextlib.contextmanager
def _without_advice():
    """Without Keras' advice, at every file, that HDF5 is an old format: it was asked for."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
