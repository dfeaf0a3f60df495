"""A model taken away in a format by name."""

from pathlib import Path

from genmodels.export.converted import SUFFIXES, litert, onnx
from genmodels.export.plain import INSTEAD
from genmodels.export.saved import saved_model
from genmodels.export.separate import networks

FORMATS = ("keras", "h5", "saved-model", "onnx", "litert")
DRAWING = ("decoder", "generator", "denoiser")  # what makes examples


def write(model, folder, format: str = "keras") -> list[Path]:
    """Writes a model's networks, or the whole of it, into a folder.

    Args:
        model: a generative model.
        folder: the folder; new for "saved-model".
        format: "keras" or "h5" for its networks (`networks`), "saved-model" for the whole (`saved_model`), "onnx" or
            "litert" for the network that makes examples: decoder, generator or denoiser.

    Returns:
        What was written.

    Raises:
        ValueError: for another format, and for what the model does not have.
        ImportError: for "onnx" without its packages.

    Example:
        >>> import tempfile
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write(model, folder)]
        ['encoder.keras', 'decoder.keras']
    """
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}; got {format!r}.")
    if format in ("keras", "h5"):
        return list(networks(model, folder, format).values())
    if format == "saved-model":
        return [saved_model(model, folder)]
    name = next((name for name in DRAWING if hasattr(model, name)), None)
    if name is None:
        raise ValueError(f"{type(model).__name__} has none of the networks {', '.join(DRAWING)}. {INSTEAD}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    convert = {"onnx": onnx, "litert": litert}[format]
    return [convert(getattr(model, name), Path(folder, name + SUFFIXES[format]))]
