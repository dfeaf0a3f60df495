"""Files of networks: checked before they are read, and read without running code from them."""

import contextvars
import io
import math
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import h5py
import keras

__all__ = ["check_archive", "load", "load_network"]

MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}  # and assets/…, the vocabularies of lookup layers

# Keras stores numbers as they are; DEFLATE makes them at most a thousand times smaller. A file that another program
# has compressed, its zeros too, stays below 100 to 1 or below 64 MiB; a bomb of a megabyte wants a gigabyte.
# Keras' own limits begin at 4 GiB of one array, which not every machine has.
MOST_EXPANSION = 100
SMALL = 64 * 2**20
STEP = 2**20  # bytes read at a time

# The file that is being loaded: its configuration might hold a path where a network is expected.
_LOADING = contextvars.ContextVar("loading", default=None)


def check_archive(path) -> None:
    """Refuses a `.keras` or `.h5` file whose structure is not one that Keras writes, without loading it.

    A `.keras` file is a zip of config.json, metadata.json, model.weights.h5, and assets/… where a layer has a
    vocabulary: no other members, each once, not encrypted, with the right checksums. Its HDF5 part, like a `.h5` file,
    has hard links only (no soft or external ones), and no data that are stored in other files (external or virtual data
    sets). What is declared may take 100 times the space that is stored, or 64 MiB, not more.

    Args:
        path: the file.

    Raises:
        ValueError: for a file that is missing, damaged, of another kind, or not so; in one line that says why.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(f"{folder}/net.keras")
        ...     check_archive(f"{folder}/net.keras")
    """
    path = Path(path)
    if path.suffix not in (".keras", ".h5"):
        raise ValueError(f"expected a .keras or .h5 file; got {path}.")
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    if path.suffix == ".h5":
        _check_hdf5(path, path, path.stat().st_size)
        return
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .keras file: it is not an archive, or it is damaged.")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            contents = {member.filename: _contents(archive, member) for member in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged archive: {_line(error)}") from None
    weights = contents["model.weights.h5"]
    _check_hdf5(path, io.BytesIO(weights), len(weights))


def _contents(archive, member):
    """A member, its checksum checked; never much more of it in memory than it declares."""
    parts = []
    with archive.open(member) as file:  # in steps: one read of all would inflate first and cut to size afterwards
        while part := file.read(STEP):
            parts.append(part)
    return b"".join(parts)


def load_network(path) -> keras.Model:
    """A Keras model from a `.keras` or `.h5` file, not compiled. No code from the file runs.

    The file is checked (see `check_archive`), and Keras' `safe_mode` is on: Lambda layers that hold Python code are
    refused, and so are layers that would read other files. A class of your own must be registered with
    `keras.saving.register_keras_serializable`, and its module imported.

    Args:
        path: the file.

    Returns:
        The model, with its weights.

    Raises:
        ValueError: for a file that is missing, damaged, unsafe, or holds a class that is not known, or something other
            than a network, such as a whole generative model; in one line that says which.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(f"{folder}/net.keras")
        ...     load_network(f"{folder}/net.keras").output_shape
        (None, 2)
    """
    network = load(path, compile=False)
    if not isinstance(network, keras.Model) or hasattr(network, "objectives"):
        hint = "; genmodels.load_model loads a whole generative model, with its networks as attributes"
        hint = hint if hasattr(network, "objectives") else ""
        raise ValueError(f"{path} holds a {type(network).__name__}, not a network (a plain keras.Model){hint}.")
    return network


def load(path, *, compile=True):
    """What a `.keras` or `.h5` file holds, as `keras.models.load_model` reads it, after the checks of `load_network`.

    Args:
        path: the file.
        compile: whether to compile a model as it was when saved.

    Raises:
        ValueError: for a file that is missing, damaged or unsafe, or holds a class that is not known.
    """
    if outer := _LOADING.get():
        raise ValueError(f"{path} is not read: it is {outer} that names it, and a file must not lead to others.")
    check_archive(path)
    token = _LOADING.set(path)
    try:
        # The global switch that turns safe mode off is the user's; an explicit scope of Keras is not public.
        return keras.models.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # a file may make Keras raise anything, with the whole configuration as text
        raise ValueError(_reason(path, error)) from None
    finally:
        _LOADING.reset(token)


def _check_members(path, members):
    """Refuses names that Keras does not write, names twice, encryption, and sizes out of proportion."""
    names = [member.filename for member in members]
    for member in members:
        parts = PurePosixPath(member.filename).parts
        asset = len(parts) > 1 and parts[0] == "assets" and ".." not in parts and "\\" not in member.filename
        if member.filename not in MEMBERS and not asset:
            expected = ", ".join(sorted(MEMBERS))
            raise ValueError(f"{path} holds {member.filename!r}; a .keras file holds {expected}, and assets/….")
        if member.flag_bits & 1:
            raise ValueError(f"{path} is no .keras file: its {member.filename} is encrypted.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{path} is no .keras file: its {member.filename} is neither stored nor deflated.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or MEMBERS.difference(names):
        raise ValueError(f"{path} must hold each of {', '.join(sorted(MEMBERS))} once; it holds {', '.join(names)}.")
    _check_size(path, sum(m.file_size for m in members), sum(m.compress_size for m in members))


def _check_hdf5(path, file, size):
    """Refuses links and data sets that lead out of the file; follows no link to find them."""
    declared = 0

    def visit(name, link):  # h5py loses what is raised here; what is returned ends the visit
        nonlocal declared
        if not isinstance(link, h5py.HardLink):
            return f"a {type(link).__name__} at {name!r}: links are not followed."
        item = stored[name]
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                return f"a data set at {name!r} that is stored in other files."
            declared += max(item.size or 0, math.prod(item.chunks or ())) * item.dtype.itemsize  # chunks are read whole

    try:
        with h5py.File(file, "r") as stored:
            found = stored.visititems_links(visit)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no readable HDF5 data, or they are damaged: {_line(error)}") from None
    if found is not None:
        raise ValueError(f"{path} holds {found}")
    _check_size(path, declared, size)


def _check_size(path, declared, stored):
    if declared > max(SMALL, MOST_EXPANSION * stored):
        raise ValueError(f"{path} declares {declared} bytes and stores {stored}: refused as a decompression bomb.")


def _reason(path, error):
    """Keras' reason in a line, without the configuration that it quotes and the advice to turn its checks off."""
    if "safe_mode" in str(error):
        return (
            f"{path} is not loaded: it holds Python code or reads other files (such as a Lambda layer with a Python "
            "function), which safe_mode forbids. Write the layer as a registered class instead."
        )
    if unknown := re.search(r"(?:Could not locate|Unknown) (\w+):? '([^']*)'", str(error)):
        return (
            f"{path} needs the {unknown[1]} {unknown[2]!r}, which is not known here: register it with "
            "keras.saving.register_keras_serializable, and import its module before loading."
        )
    return f"{path} cannot be loaded: {type(error).__name__}: {_line(error)}"


def _line(error, longest=300):
    """An error's message in one line: the innermost, up to the configuration it quotes."""
    text = str(error).split("Exception encountered: ")[-1].split("Full object config")[0].split("config={")[0]
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]}…"
