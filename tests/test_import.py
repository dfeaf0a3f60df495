"""Networks of Keras in the slots of every family: given, by path, on a backbone; and docs/keras.md, which shows it."""

import json
import pathlib
import re

import keras
import numpy as np
import PIL.Image
import pytest
import toys
from keras.applications import imagenet_utils

import genmodels as gm

layers = keras.layers
IMAGES = toys.images()
DOCS = pathlib.Path(__file__).parents[1] / "docs" / "keras.md"


def dense(inputs, outputs, dtype=None):
    """From any shape to any other."""
    last = layers.Dense(int(np.prod(outputs)), dtype=dtype)
    return keras.Sequential([keras.Input(inputs), layers.Flatten(dtype=dtype), last, layers.Reshape(outputs)])


def causal():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, gm.layers.CausalConv2D(17, above=1, left=1, right=1, mask="A")(image))


def flow(part):
    return gm.NormalizingFlow((2,), gm.flows.Chain([part, gm.flows.ActNorm()]), levels=None)


def masked():
    network = flow(gm.flows.MaskedAutoregressive(width=8)).bijection.parts[0].network
    network.layers[-1].set_weights([toys.values(*v.shape) for v in network.layers[-1].weights])  # zeros, by default
    return network


# name: (the network, the model of a network or path, where the network is found)
SLOTS = {
    "vae-encoder": (
        lambda: dense((8, 8, 1), (8,)),
        lambda n: gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=n),
        lambda m: m.encoder,
    ),
    "vae-decoder": (
        lambda: dense((4,), (8, 8, 17)),
        lambda n: gm.VAE((8, 8, 1), levels=17, latent_dim=4, likelihood="categorical", architecture="mlp", decoder=n),
        lambda m: m.decoder,
    ),
    "gan-generator": (
        lambda: dense((5,), (8, 8, 1)),
        lambda n: gm.DCGAN((8, 8, 1), latent_dim=5, width=8, architecture="mlp", generator=n),
        lambda m: m.generator,
    ),
    "gan-critic": (
        lambda: dense((8, 8, 1), (1,)),
        lambda n: gm.DCGAN((8, 8, 1), latent_dim=5, width=8, architecture="mlp", critic=n),
        lambda m: m.critic,
    ),
    "denoiser": (
        lambda: toys.denoiser((8, 8, 1)),
        lambda n: gm.DDPM((8, 8, 1), denoiser=n),
        lambda m: m.denoiser,
    ),
    "autoregressive": (
        causal, lambda n: gm.AutoregressiveModel((8, 8, 1), n, levels=17), lambda m: m.network
    ),
    "coupling": (
        lambda: dense((1,), (2,)), lambda n: flow(gm.flows.Coupling(network=n)), lambda m: m.bijection.parts[0].network
    ),
    "masked": (
        masked,
        lambda n: flow(gm.flows.MaskedAutoregressive(network=n)),
        lambda m: m.bijection.parts[0].network,
    ),
}  # fmt: skip


@pytest.mark.parametrize("slot", SLOTS)
def test_a_path_stands_for_its_network_in_every_slot(slot, tmp_path):
    make, build, place = SLOTS[slot]
    network, file = make(), tmp_path / "network.keras"
    network.save(file)
    model = build(str(file) if slot in ("vae-encoder", "coupling") else file)
    same(place(model), network)
    file.unlink()
    assert str(tmp_path) not in json.dumps(model.get_config())
    model.save(tmp_path / "model.keras")
    same(place(gm.load_model(tmp_path / "model.keras")), network)


def same(network, other):
    assert network is not other
    inputs = [toys.values(3, *x.shape[1:]) for x in other.inputs]
    inputs = inputs if len(inputs) > 1 else inputs[0]
    outputs = other(inputs)
    assert np.abs(outputs).max() > 1e-3
    np.testing.assert_array_equal(network(inputs), outputs)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_run_by_path_goes_on_and_loads_without_the_file(tmp_path):
    file = tmp_path / "encoder.h5"
    dense((8, 8, 1), (8,)).save(file)
    options = {"levels": 17, "latent_dim": 4, "architecture": "mlp"}
    models = [gm.VAE((8, 8, 1), encoder=file, **options) for _ in range(2)]
    for steps, model in zip((2, 3), models):  # the second goes on where the first ended
        history = model.fit(IMAGES, batch_size=32, steps=steps, run_dir=tmp_path / "run", verbose=0)
    assert len(history.epoch) == 2
    file.unlink()
    assert "encoder.h5" not in (tmp_path / "run" / "run.json").read_text()
    loaded = gm.load_model(tmp_path / "run")
    np.testing.assert_array_equal(loaded.encode(IMAGES), models[1].encode(IMAGES))


def test_what_a_path_does_not_hold_is_refused_with_the_name_of_the_argument(tmp_path):
    def refused(network, message):
        with pytest.raises(ValueError, match=message) as caught:
            gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=network)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.keras", r"^`encoder`: there is no file .*none\.keras")
    refused("mlp", r"^`encoder`: expected a \.keras or \.h5 file; got mlp")
    dense((8, 8), (8,)).save(tmp_path / "other.keras")
    refused(tmp_path / "other.keras", r"inputs of shapes \[\(8, 8, 1\)\].*it takes \[\(8, 8\)\]")
    gm.VAE((2,), levels=None, latent_dim=1).save(tmp_path / "model.keras")
    refused(tmp_path / "model.keras", r"^`encoder`: .*holds a VAE, not a network.*load_model")


# ------------------------------------------------------------------------------------------- kinds of networks


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(8)

    def call(self, x):
        return self.dense(keras.ops.reshape(x, (-1, 64)))


def test_a_network_of_unknown_shapes_is_refused_with_both_that_are_needed():
    for network in (keras.Sequential([layers.Flatten(), layers.Dense(8)]), Subclassed()):
        with pytest.raises(ValueError, match=r"keras.Model with known shapes .*; got <.*built=False>") as error:
            gm.VAE((8, 8, 1), levels=17, latent_dim=4, encoder=network)
        assert "inputs of shapes [(8, 8, 1)] and give outputs of shape (8,)" in str(error.value)
    network(np.zeros([1, 8, 8, 1]))  # now they are known
    gm.VAE((8, 8, 1), levels=17, latent_dim=4, encoder=network)


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16", "float16"])
def test_a_network_of_another_precision_computes_what_it_does_in_float32(dtype):
    exact, network = dense((8, 8, 1), (8,)), dense((8, 8, 1), (8,), dtype)
    network.set_weights(exact.get_weights())
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=network)
    z = model.encode(IMAGES)
    assert z.dtype == "float32"
    np.testing.assert_allclose(z, exact(IMAGES / 8.0 - 1.0)[:, :4], atol=1e-6 if dtype == "float64" else 0.05)


def test_a_network_that_would_round_its_input_to_integers_is_refused():
    network = keras.Sequential([keras.Input((8, 8, 1), dtype="uint8"), layers.Flatten(), layers.Dense(8)])
    with pytest.raises(ValueError, match=r"`encoder` must take real numbers \(float32 inputs\); it takes uint8"):
        gm.VAE((8, 8, 1), levels=17, latent_dim=4, encoder=network)


# ------------------------------------------------------------------------------------------- backbones


def seen_by_backbone(x, shape, preprocessing="none", **options):
    """What a backbone of this input shape is given: one that hands on its input, and a dense layer that does."""
    backbone = keras.Sequential([keras.Input(shape), layers.Flatten()])
    size = int(np.prod(shape))
    encoder = gm.networks.on_backbone(backbone, x.shape[1:], size, preprocessing=preprocessing, **options)
    encoder.layers[-1].set_weights([np.eye(size), np.zeros(size)])
    return np.asarray(encoder(x)).reshape(len(x), *shape)


@pytest.mark.parametrize("preprocessing", ["none", "tf", "torch", "caffe"])
def test_a_backbone_sees_what_keras_applications_preprocess(preprocessing):
    pixels = toys.images(5, (4, 4, 3), 256)
    given = pixels.astype(np.float32)
    wanted = given if preprocessing == "none" else imagenet_utils.preprocess_input(given.copy(), mode=preprocessing)
    seen = seen_by_backbone(given / 127.5 - 1.0, (4, 4, 3), preprocessing)
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
    seen = seen_by_backbone(given / 255.0, (4, 4, 3), preprocessing, value_range=(0.0, 1.0))
    np.testing.assert_allclose(seen, wanted, atol=1e-4)


@pytest.mark.parametrize("size", [(4, 6), (16, 24)])
def test_images_are_resized_as_pillow_does_and_gray_is_repeated(size):
    x = toys.values(2, 12, 10, 1)
    resized = [PIL.Image.fromarray(image[..., 0]).resize(size[::-1], PIL.Image.Resampling.BILINEAR) for image in x]
    seen = seen_by_backbone(x, (*size, 3), value_range=(0.0, 255.0))
    for channel in range(3):
        np.testing.assert_allclose(seen[..., channel], np.stack(resized), atol=1e-4)


def test_a_frozen_network_of_keras_applications_encodes_trains_and_loads(tmp_path):
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    encoder = gm.networks.on_backbone(backbone, (8, 8, 1), 8, preprocessing="tf")
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=encoder)
    assert len(model.encoder.trainable_variables) == 2  # of the dense layer
    before, head = backbone.get_weights(), encoder.layers[-1].get_weights()
    model.fit(IMAGES, batch_size=32, steps=1, verbose=0)
    for old, new in zip(before, backbone.get_weights()):
        np.testing.assert_array_equal(old, new)  # the averages of batch norm, too
    assert np.abs(encoder.layers[-1].kernel - head[0]).max() > 0
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path / "model.keras")
    assert len(loaded.encoder.trainable_variables) == 2
    np.testing.assert_array_equal(loaded.encode(IMAGES), model.encode(IMAGES))


def test_a_backbone_may_be_trained_and_joined_by_labels():
    backbone = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    encoder = gm.networks.on_backbone(backbone, (8, 8, 3), 6, trainable=True, num_classes=3)
    assert [x.shape[1:] for x in encoder.inputs] == [(8, 8, 3), (3,)] and encoder.output_shape == (None, 6)
    assert len(encoder.trainable_variables) == 4
    assert not any(isinstance(layer, layers.Resizing) for layer in encoder.layers)


def test_backbones_that_do_not_fit_are_refused():
    rgb, gray = (keras.Sequential([keras.Input((8, 8, n)), layers.Flatten()]) for n in (3, 1))
    for arguments, message in (
        ((rgb, (8, 8, 2), 4), r"`backbone` takes 3 channels .*the data have shape \(8, 8, 2\)"),
        ((gray, (8, 8, 3), 4), r"`backbone` takes 1 channels .*the data have shape \(8, 8, 3\)"),
        ((rgb, (2,), 4), r"the data have shape \(2,\)"),
        ((layers.Dense(3), (8, 8, 3), 4), r"`backbone` must be a Keras model of one image to features; got <Dense"),
        ((keras.Sequential([layers.Dense(3)]), (8, 8, 3), 4), r"one image to features; got <Sequential"),
    ):
        with pytest.raises(ValueError, match=message):
            gm.networks.on_backbone(*arguments)
    with pytest.raises(ValueError, match=r'takes 1 channels with preprocessing \'caffe\', which is of 3'):
        gm.networks.on_backbone(gray, (8, 8, 1), 4, preprocessing="caffe")
    with pytest.raises(ValueError, match="`preprocessing` must be one of none, tf, torch, caffe; got 'imagenet'"):
        gm.networks.on_backbone(rgb, (8, 8, 3), 4, preprocessing="imagenet")
    with pytest.raises(ValueError, match=r"`value_range` must be .*; got \(1, 1\)"):
        gm.networks.on_backbone(rgb, (8, 8, 3), 4, value_range=(1, 1))


# ------------------------------------------------------------------------------------------- docs


def test_the_page_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """Every block, in one process; training is cut short."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    known = {}
    for block in blocks:
        short = re.sub(r"\bsteps=\d+", "steps=2", re.sub(r"\bepochs=\d+", "epochs=1", block))
        exec(compile(short, str(DOCS), "exec"), known)
    printed = capsys.readouterr().out
    for said in re.findall(r"print\(error\)\s+# (.*)", "".join(blocks)):
        assert said in printed
