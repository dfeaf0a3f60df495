"""Files of networks: what Keras writes is loaded; what was crafted is refused in one line, and runs and reads none."""

import io
import json
import pickle
import shutil
import struct
import tracemalloc
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
import toys

import genmodels as gm
from genmodels import files

LOADERS = [files.load_network, gm.load_model]


@keras.saving.register_keras_serializable(package="tests")
class Double(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


def network(*layers):
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])


def refusal(load, path):
    """The message of a ValueError: one line, of a length to be read, with nothing chained to it."""
    with pytest.raises(ValueError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600 and path.name in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.keras"
    network().save(path)
    return path


def rewritten(path, target, change, compression=zipfile.ZIP_STORED):
    """A copy of a `.keras` file whose members `change` has changed, a dictionary of bytes by name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def with_weights(good, target, change):
    """A copy whose HDF5 part `change` has changed, given the open file."""

    def replace(members):
        weights = io.BytesIO(members["model.weights.h5"])
        with h5py.File(weights, "a") as file:
            change(file)
        members["model.weights.h5"] = weights.getvalue()

    return rewritten(good, target, replace)


def dense_kernel(file):
    return file["layers/dense/vars"], "0"


# ---------------------------------------------------------------------- what is loaded


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_networks_come_back_exactly(tmp_path, suffix):
    one = network(Double(), keras.layers.BatchNormalization())
    one.compile("adam", "mse")
    x = toys.values(4, 3)
    one.fit(x, x[:, :2], verbose=0)
    one.save(tmp_path / f"one.{suffix}")
    again = files.load_network(tmp_path / f"one.{suffix}")
    assert not again.compiled
    np.testing.assert_array_equal(again(x), one(x))


def test_vocabularies_are_assets(tmp_path):
    lookup = keras.layers.StringLookup()
    lookup.adapt(["a", "a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string"), lookup]).save(tmp_path / "words.keras")
    with zipfile.ZipFile(tmp_path / "words.keras") as archive:
        assert any(name.startswith("assets/") for name in archive.namelist())
    assert files.load_network(tmp_path / "words.keras").layers[0].get_vocabulary() == ["[UNK]", "a", "b"]


def test_a_recompressed_file_of_zeros_is_loaded(good, tmp_path):
    """DEFLATE shrinks zeros far below a hundredth; the limit starts at 64 MiB."""
    path = tmp_path / "zeros.keras"
    keras.Sequential([keras.Input((1000,)), keras.layers.Dense(500, kernel_initializer="zeros")]).save(path)
    small = rewritten(path, tmp_path / "small.keras", lambda members: None, zipfile.ZIP_DEFLATED)
    assert small.stat().st_size < path.stat().st_size / 50
    assert files.load_network(small).count_params() == 500_500


# ---------------------------------------------------------------------- what is no such file


@pytest.mark.parametrize("name", ["absent.keras", "absent.h5"])
def test_a_missing_file(tmp_path, name):
    assert "there is no file" in refusal(files.load_network, tmp_path / name)


def test_another_kind_of_file(tmp_path, good):
    shutil.copy(good, tmp_path / "network.zip")
    assert "expected a .keras or .h5 file" in refusal(files.load_network, tmp_path / "network.zip")
    (tmp_path / "text.keras").write_text("no archive")
    assert "not an archive" in refusal(files.load_network, tmp_path / "text.keras")
    (tmp_path / "text.h5").write_text("no HDF5")
    assert "no readable HDF5" in refusal(files.load_network, tmp_path / "text.h5")
    network().save_weights(tmp_path / "only.weights.h5")
    assert "No model config" in refusal(files.load_network, tmp_path / "only.weights.h5")


@pytest.mark.parametrize("load", LOADERS)
def test_a_generative_model_is_no_network_and_a_network_no_model(tmp_path, good, load):
    gm.VAE((2,), levels=None, latent_dim=2).save(tmp_path / "vae.keras")
    wrong, expected = {files.load_network: (tmp_path / "vae.keras", "holds a VAE, not a network")}.get(
        load, (good, "holds a Sequential, not a generative model")
    )
    assert expected in refusal(load, wrong)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_truncated_file(tmp_path, suffix, kept):
    path = tmp_path / f"cut.{suffix}"
    network().save(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "damaged" in refusal(files.load_network, path)


def test_a_changed_byte_breaks_the_checksum(tmp_path, good):
    content = bytearray(good.read_bytes())
    place = content.find(b"model.weights.h5") + 2000
    content[place] ^= 1
    (tmp_path / "flipped.keras").write_bytes(content)
    assert "damaged" in refusal(files.load_network, tmp_path / "flipped.keras")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"class_name": "Dense"}', '{"class_name": 3}'])
def test_configurations_that_mean_nothing(tmp_path, good, text):
    path = rewritten(good, tmp_path / "odd.keras", lambda members: members.update({"config.json": text.encode()}))
    assert "odd.keras" in refusal(files.load_network, path)


# ---------------------------------------------------------------------- what is not known


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_class_that_is_not_registered(tmp_path, load, suffix):
    def rename(members):
        members["config.json"] = members["config.json"].replace(b"Double", b"Treble")

    path = tmp_path / f"one.{suffix}"
    network(Double()).save(path)
    if suffix == "keras":
        rewritten(path, path, rename)
    else:
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace("Double", "Treble")
    message = refusal(load, path)
    assert "Treble" in message and "register_keras_serializable" in message and "safe_mode" not in message


# ---------------------------------------------------------------------- what would run code


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_python_code_in_a_lambda_is_refused_and_does_not_run(tmp_path, load, suffix):
    trap = tmp_path / "ran"
    place = str(trap)  # the lambda's closure is written as JSON
    layer = keras.layers.Lambda(lambda x: (open(place, "w").close(), x)[1], output_shape=(3,))
    network(layer).save(tmp_path / f"lambda.{suffix}")
    keras.models.load_model(tmp_path / f"lambda.{suffix}", safe_mode=False)(np.ones((1, 3)))
    trap.unlink()  # so the trap is one
    message = refusal(load, tmp_path / f"lambda.{suffix}")
    assert "Lambda" in message and "forbids" in message and "safe_mode=False" not in message
    assert not trap.exists()


class Bomb:
    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return (open, (str(self.trap), "w"))


def test_pickled_bytes_do_not_run(tmp_path, good):
    """As the whole file, as weights, and as the pickled arrays of an .npz, which Keras would look for."""
    trap = tmp_path / "ran"
    pickled = pickle.dumps(Bomb(trap))
    pickle.loads(pickled).close()
    assert trap.exists()  # the bomb is one
    trap.unlink()
    arrays = io.BytesIO()
    np.savez(arrays, a=np.array([Bomb(trap)], dtype=object))
    (tmp_path / "whole.keras").write_bytes(pickled)
    (tmp_path / "whole.h5").write_bytes(pickled)

    def as_npz(members):
        members["model.weights.npz"] = arrays.getvalue()
        del members["model.weights.h5"]

    paths = [
        tmp_path / "whole.keras",
        tmp_path / "whole.h5",
        rewritten(good, tmp_path / "weights.keras", lambda members: members.update({"model.weights.h5": pickled})),
        rewritten(good, tmp_path / "npz.keras", as_npz),
    ]
    for path in paths:
        refusal(files.load_network, path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("keras.utils", "get_file"), ("subprocess", "Popen")]
)
def test_functions_that_are_no_part_of_networks_are_not_found(tmp_path, good, module, name):
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}

    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["activation"] = function
        members["config.json"] = json.dumps(config).encode()

    assert name in refusal(files.load_network, rewritten(good, tmp_path / "function.keras", change))


# ---------------------------------------------------------------------- what would read or write other files


def test_a_vocabulary_in_another_file_is_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("a\nb")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string"), lookup]).save(tmp_path / "words.keras")

    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["vocabulary"] = str(tmp_path / "secret.txt")
        members["config.json"] = json.dumps(config).encode()

    assert "other files" in refusal(
        files.load_network, rewritten(tmp_path / "words.keras", tmp_path / "reads.keras", change)
    )


def test_a_network_in_another_file_is_not_read(tmp_path):
    """A path where the configuration of a model holds a network: from a user it is loaded, from a file it is not."""
    gm.VAE((2,), levels=None, latent_dim=1).save(tmp_path / "vae.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "secret.keras")

    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["encoder"] = str(tmp_path / "secret.keras")
        members["config.json"] = json.dumps(config).encode()

    message = refusal(gm.load_model, rewritten(tmp_path / "vae.keras", tmp_path / "leads.keras", change))
    assert "must not lead to others" in message
    assert gm.VAE((2,), levels=None, latent_dim=1, encoder=tmp_path / "secret.keras").encoder.count_params() == 6


@pytest.mark.parametrize("name", ["../ran", "/ran", "assets/../../ran", "assets\\..\\ran", "notes.txt", "assets"])
def test_members_that_keras_does_not_write(tmp_path, good, name):
    path = rewritten(good, tmp_path / "inner.keras", lambda members: members.update({name: b"x"}))
    assert "holds" in refusal(files.load_network, path)
    assert not (tmp_path / "ran").exists() and not (tmp_path.parent / "ran").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_twice_or_missing_or_encrypted(tmp_path, good):
    twice = tmp_path / "twice.keras"
    shutil.copy(good, twice)
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("config.json", "{}")
    assert "once" in refusal(files.load_network, twice)
    without = rewritten(good, tmp_path / "without.keras", lambda members: members.pop("metadata.json"))
    assert "once" in refusal(files.load_network, without)
    content = bytearray(good.read_bytes())
    place = content.rfind(b"PK\x01\x02")  # of the last member in the directory; its flags are 8 bytes on
    content[place + 8] |= 1
    (tmp_path / "secret.keras").write_bytes(content)
    assert "encrypted" in refusal(files.load_network, tmp_path / "secret.keras")


def test_bombs(tmp_path, good):
    """A hundred megabytes of zeros in a few kilobytes: as a member of the archive, and as a data set within it."""
    path = tmp_path / "zip.keras"
    rewritten(good, path, lambda members: members.update({"assets/zeros": bytes(100 * 2**20)}), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    assert "bomb" in refusal(files.load_network, path)

    def declare(file):
        file.create_dataset("zeros", (2**40,), "float32", chunks=(2**20,), compression="gzip")

    assert "bomb" in refusal(files.load_network, with_weights(good, tmp_path / "hdf5.keras", declare))

    def chunked(file):  # a chunk is read whole, however little of it the data set has
        file.create_dataset("few", (10,), "float32", maxshape=(None,), chunks=(2**28,), compression="gzip")

    assert "bomb" in refusal(files.load_network, with_weights(good, tmp_path / "chunks.keras", chunked))
    rewritten(good, tmp_path / "lzma.keras", lambda members: None, zipfile.ZIP_LZMA)
    assert "neither stored nor deflated" in refusal(files.load_network, tmp_path / "lzma.keras")


def test_a_member_that_declares_less_than_it_holds_is_not_inflated(tmp_path, good):
    """Its header says 100 bytes with the checksum of as many, and ten megabytes follow."""
    path = tmp_path / "forged.keras"
    held, said = bytes(10 * 2**20 + 54321), 100
    rewritten(good, path, lambda members: members.update({"assets/zeros": held}), zipfile.ZIP_DEFLATED)
    whole, short = (struct.pack("<I", zlib.crc32(held[:n])) for n in (len(held), said))
    data = path.read_bytes().replace(whole, short).replace(struct.pack("<I", len(held)), struct.pack("<I", said))
    path.write_bytes(data)
    tracemalloc.start()
    files.check_archive(path)  # what it declares is what is read of it
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * 2**20


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """Another file that a crafted one points to: the same numbers as HDF5 and raw."""
    folder = tmp_path_factory.mktemp("secret")
    numbers = np.full((3, 2), 42.0, np.float32)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["numbers"] = numbers
    numbers.tofile(folder / "secret.raw")
    return folder


def _external_link(group, name, secret):
    group[name] = h5py.ExternalLink(str(secret / "secret.h5"), "/numbers")


def _soft_link(group, name, secret):
    group[name] = h5py.SoftLink("/elsewhere")


def _external_storage(group, name, secret):
    group.create_dataset(name, (3, 2), "float32", external=[(str(secret / "secret.raw"), 0, 24)])


def _virtual(group, name, secret):
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "numbers", (3, 2))
    group.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("craft", [_external_link, _soft_link, _external_storage, _virtual])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_hdf5_that_leads_to_other_files(tmp_path, good, secret, suffix, craft):
    def replace_kernel(file):
        group, name = dense_kernel(file)
        del group[name]
        craft(group, name, secret)

    path = tmp_path / f"leads.{suffix}"
    if suffix == "keras":
        with_weights(good, path, replace_kernel)
    else:
        files.load_network(good).save(path)
        with h5py.File(path, "a") as file:
            craft(file, "kernel", secret)
    message = refusal(files.load_network, path)
    assert "links are not followed" in message or "other files" in message
