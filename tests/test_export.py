"""What is taken away from a model computes what the model does, in a process that never imports genmodels."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels import export
from genmodels.export import converted
from genmodels.models.gans import networks as gan_networks

SIZE = 3  # rows at a time, of 5: two batches, the second filled up
NUM = 5
QUANTIZED = {"num_codes": 4, "latent_dim": 2, "filters": 4, "prior_filters": 4, "prior_blocks": 1}
MODELS = {
    "vae": lambda: gm.VAE((4, 4, 1), levels=5, latent_dim=2, architecture="mlp", num_classes=3),
    "vq-vae": lambda: gm.VQVAE((4, 4, 1), levels=5, halvings=1, num_classes=3, **QUANTIZED),
    "autoregressive": lambda: gm.PixelCNN((3, 3, 1), levels=2, filters=4, blocks=1),
    "flow": lambda: gm.NeuralSplineFlow((2,), levels=None, layers=1, bins=3, condition_dim=2, width=8, depth=1),
    "gan": lambda: gm.DCGAN((8, 8, 1), levels=17, width=4, latent_dim=4),
    "diffusion": lambda: gm.EDM((2,), levels=None, denoiser=gm.diffusion.mlp_denoiser((2,), width=8, depth=1)),
}
OPTIONS = {"vae": {"temperature": 0.5}, "gan": {"truncation": 0.5}, "diffusion": {"steps": 2, "solver": "heun"}}
ENDPOINTS = {
    "vae": {"sample", "decode", "encode", "log_prob"},
    "vq-vae": {"sample", "decode", "encode", "log_prob"},
    "autoregressive": {"sample", "log_prob"},
    "flow": {"sample", "decode", "encode", "log_prob"},
    "gan": {"sample", "decode"},
    "diffusion": {"sample", "decode", "encode", "log_prob"},
}
ROWWISE = [(name, endpoint) for name in MODELS for endpoint in sorted(ENDPOINTS[name] - {"sample"})]
NETWORKS = {
    "vae": {"encoder", "decoder"}, "vq-vae": {"encoder", "decoder"}, "gan": {"generator", "critic"},
    "diffusion": {"denoiser"},
}  # fmt: skip
STRANGER = """
import pathlib, sys
import keras, numpy, tensorflow
folder = pathlib.Path(sys.argv[1])
given, out = numpy.load(folder / "given.npz"), {}
for path in folder.glob("*/model"):
    name, model = path.parent.name, tensorflow.saved_model.load(path)
    labels = [given[f"{name} labels"]] if f"{name} labels" in given else []
    out[f"{name} sample"] = model.sample(5, 2**40 + 7, *labels)
    for endpoint in ("decode", "encode", "log_prob"):
        if hasattr(model, endpoint):
            rows = given[f"{name} z" if endpoint == "decode" else f"{name} x"]
            out[f"{name} {endpoint}"] = getattr(model, endpoint)(rows, *labels)
    out[f"{name} signatures"] = sorted(model.signatures)
for path in [*folder.glob("*/*.keras"), *folder.glob("*/*.h5")]:
    network = keras.models.load_model(path, compile=False)
    inputs = [given[f"{path.parent.name} {path.stem} {i}"] for i in range(len(network.inputs))]
    out[f"{path.parent.name} {path.name}"] = network(inputs if len(inputs) > 1 else inputs[0])
assert not any(name.split(".")[0] == "genmodels" for name in sys.modules)
numpy.savez(folder / "out.npz", **{name: numpy.asarray(value) for name, value in out.items()})
"""


def jiggled(layer, scale=0.2):
    """The layer with every weight off its start, where whole layers are zero; variances stay positive."""
    random = np.random.default_rng(0)
    for weight in layer.weights:
        if weight.dtype == "float32":
            off = scale * random.normal(size=weight.shape)
            weight.assign(weight + (np.abs(off) if "variance" in weight.path else off))
    return layer


def inputs_of(network, rows=3):
    random = np.random.default_rng(1)
    return [random.uniform(size=(rows, *x.shape[1:])).astype(np.float32) for x in network.inputs]


def outputs_of(network, inputs):
    return np.asarray(network(inputs if len(inputs) > 1 else inputs[0]), np.float32)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {name: jiggled(build()) for name, build in MODELS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


def labels_of(model, num=NUM):
    if model.condition_dim is not None:
        return [toys.values(num, model.condition_dim)]
    return [] if model.num_classes is None else [np.arange(num, dtype=np.int32) % model.num_classes]


@pytest.fixture(scope="module")
def given(models):
    """Examples, latents, labels, and the inputs of every network."""
    arrays = {}
    for name, model in models.items():
        shape = (NUM, *model.event_shape)
        arrays[f"{name} x"] = toys.values(*shape) if model.levels is None else toys.images(NUM, shape[1:], model.levels)
        if "decode" in ENDPOINTS[name]:
            arrays[f"{name} z"] = toys.values(NUM, *model.latent_shape)
        for labels in labels_of(model):
            arrays[f"{name} labels"] = labels
        for network in NETWORKS.get(name, ()):
            for index, value in enumerate(inputs_of(getattr(model, network))):
                arrays[f"{name} {network} {index}"] = value
    return arrays


@pytest.fixture(scope="module")
def away(models, given, folder):
    """What a process without genmodels computes from the exported files."""
    for name, model in models.items():
        (folder / name).mkdir()
        path = export.saved_model(model, folder / name / "model", sample_options=OPTIONS.get(name), batch_size=SIZE)
        assert path == folder / name / "model" and [p.name for p in path.parent.iterdir()] == ["model"]
        if name in NETWORKS:
            paths = export.networks(model, folder / name)
            assert paths == {network: folder / name / f"{network}.keras" for network in NETWORKS[name]}
    export.networks(models["gan"], folder / "gan", format="h5")
    np.savez(folder / "given.npz", **given)
    subprocess.run([sys.executable, "-c", STRANGER, folder], check=True)
    return dict(np.load(folder / "out.npz"))


# ---------------------------------------------------------------------- SavedModels


@pytest.mark.parametrize("name", MODELS)
def test_sample_is_the_models_own(models, away, name):
    model = models[name]
    labels = (labels_of(model) or [None])[0]
    expected = model.sample(NUM, labels=labels, seed=2**40 + 7, batch_size=SIZE, **OPTIONS.get(name, {}))
    assert set(away[f"{name} signatures"]) == ENDPOINTS[name]
    assert away[f"{name} sample"].dtype == expected.dtype.as_numpy_dtype
    np.testing.assert_allclose(away[f"{name} sample"].astype(float), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "endpoint"), ROWWISE)
def test_other_endpoints_are_the_models_own(models, given, away, name, endpoint):
    """The noise of a `log_prob` too, although the endpoint takes a few rows at a time."""
    model, rows = models[name], given[f"{name} {'z' if endpoint == 'decode' else 'x'}"]
    expected = getattr(model, endpoint)(rows, *labels_of(model))
    np.testing.assert_allclose(away[f"{name} {endpoint}"], expected, atol=1e-5, rtol=1e-5)


def test_values_out_of_range_are_refused_in_the_saved_model(away, folder):
    loaded = tf.saved_model.load(folder / "vae" / "model")
    x, labels = toys.images(2, (4, 4, 1), 5), np.array([0, 2], np.int32)
    assert loaded.encode(x, labels).shape == (2, 2)
    wrong = [
        (lambda: loaded.sample(2, 1, [0, 3]), "labels must be from 0 to 2"),
        (lambda: loaded.sample(2, 1, [0]), "one label"),
        (lambda: loaded.sample(0, 1, np.zeros(0, np.int32)), "at least 1"),
        (lambda: loaded.encode(x + 4, labels), "pixels must be from 0 to 4"),
    ]
    for call, message in wrong:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call()


def test_saved_model_holds_the_average(tmp_path):
    """And leaves the weights of a model in training as they were."""
    model = toys.Mean()
    model.compile(keras.optimizers.SGD(0.1), ema=0.5)
    model.fit(toys.points(), steps=3, verbose=0)
    model.average.wake()
    raw = model.value
    export.saved_model(model, tmp_path / "mean", endpoints=["sample"])
    np.testing.assert_array_equal(model.value, raw)
    with model.averaged():
        expected = model.sample(4, seed=1, batch_size=16)
        assert abs(model.value - raw).max() > 1e-3
    loaded = tf.saved_model.load(tmp_path / "mean")
    np.testing.assert_allclose(loaded.sample(4, 1), expected, rtol=1e-6)


def test_saved_model_refuses(models, tmp_path):
    (tmp_path / "there").mkdir()
    wrong = [
        (models["gan"], {"folder": tmp_path / "there"}, "exists"),
        (models["gan"], {"sample_options": {"steps": 3}}, "truncation"),
        (models["gan"], {"endpoints": ["encode"]}, "autoencoders, flows and diffusion have"),
        (models["gan"], {"endpoints": ["logprob"]}, "are among sample"),
        (models["gan"], {"endpoints": []}, "at least one"),
        (models["gan"], {"batch_size": 0}, "batch_size"),
        (models["gan"].generator, {}, "expected a generative model"),
    ]
    for model, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            export.saved_model(model, **{"folder": tmp_path / "new", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


# ---------------------------------------------------------------------- networks alone


@pytest.mark.parametrize(
    ("name", "file"),
    [(name, f"{network}.keras") for name in NETWORKS for network in sorted(NETWORKS[name])]
    + [("gan", "generator.h5"), ("gan", "critic.h5")],
)
def test_networks_compute_the_same_without_the_package(models, given, away, name, file):
    network = getattr(models[name], file.split(".")[0])
    inputs = [given[f"{name} {file.split('.')[0]} {i}"] for i in range(len(network.inputs))]
    np.testing.assert_allclose(away[f"{name} {file}"], outputs_of(network, inputs), atol=1e-5, rtol=1e-5)


def test_networks_refuse_and_write_nothing(models, tmp_path):
    wrong = [
        ("flow", {}, "no networks that stand alone"),
        ("autoregressive", {}, "CausalConv2D"),
        ("diffusion", {"format": "h5"}, 'format="keras"'),
        ("gan", {"format": "onnx"}, "one of keras, h5"),
    ]
    for name, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            export.networks(models[name], tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        export.networks(models["gan"], tmp_path / "file")


# ---------------------------------------------------------------------- plain networks


@keras.saving.register_keras_serializable(package="tests")
class Halving(keras.regularizers.Regularizer):
    def __call__(self, weights):
        return 0.5 * keras.ops.sum(weights)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable(package="tests")
class Shifted(keras.layers.Layer):
    def call(self, x):
        return x + 1.0

    def compute_output_shape(self, shape):
        return shape


def own():
    """Sequential, with a model inside, a layer called twice, and a regularizer of its owner's."""
    shared = keras.layers.Dense(6, "tanh", kernel_regularizer=Halving())
    twice = keras.Input((6,))
    inner = keras.Model(twice, keras.layers.Add()([shared(twice), shared(shared(twice))]))
    layers = [gm.layers.FastConv2D(6, 3), gm.layers.FusedGroupNormalization(2), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, inner, gm.layers.FusedBatchNormalization()])


PLAIN = {
    "unet": lambda: gm.diffusion.unet((6, 5, 1), width=8, multipliers=(1, 2), blocks=1, num_classes=3),
    "mlp-denoiser": lambda: gm.diffusion.mlp_denoiser((2,), width=8, depth=1),
    "dcgan-generator": lambda: gan_networks.generator("dcgan", 4, (8, 8, 1), width=4, num_classes=3),
    "residual-critic": lambda: gm.SNGAN((8, 8, 1), levels=17, width=4).critic,
    "attending-critic": lambda: gm.SAGAN((8, 8, 1), levels=17, width=4).critic,
    "attending-generator": lambda: gm.SAGAN((8, 8, 1), levels=17, width=4, num_classes=3).generator,
    "own": own,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks_agree_and_need_keras_only(name):
    network = jiggled(PLAIN[name]())
    inputs = inputs_of(network)
    before = outputs_of(network, inputs)
    copy = export.plain(network)
    np.testing.assert_allclose(outputs_of(copy, inputs), before, atol=1e-5 * max(1.0, abs(before).max()))
    assert abs(outputs_of(network, [0.5 * x for x in inputs]) - before).max() > 1e-3  # they say something
    assert all(type(layer).__module__.split(".")[0] == "keras" for layer in copy._flatten_layers())
    assert not {id(weight) for weight in copy.weights} & {id(weight) for weight in network.weights}
    np.testing.assert_array_equal(outputs_of(network, inputs), before)
    assert copy.name == network.name and [x.name for x in copy.inputs] == [x.name for x in network.inputs]


def test_plain_spectral_normalization_divides_by_the_largest_singular_value():
    """With the vector of the power iteration at its limit, σ is what the singular value decomposition says."""
    network = gm.models.gans.spectral.spectral_normalized(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]))
    layer = jiggled(network, 1.0).layers[-1]
    kernel = layer.layer.kernel.numpy()
    left = np.linalg.svd(kernel)[2][:1]
    layer.vector.assign(left)
    baked = export.plain(network).layers[-1].kernel.numpy()
    np.testing.assert_allclose(baked, kernel / np.linalg.svd(kernel)[1][0], rtol=1e-5)


def precise(dtype, by_name=False):
    time, image = keras.Input(()), keras.Input((4, 4, 8))
    modulation = keras.layers.Dense(16, dtype=dtype)(gm.layers.SinusoidalEmbedding(8, dtype=dtype)(time))
    x = gm.layers.FastConv2D(8, 3, dtype=dtype)(image)
    norm = gm.layers.FusedGroupNormalization(2, dtype=dtype)
    x = norm(x, modulation=modulation) if by_name else norm(x, modulation)
    return keras.Model([time, image], keras.layers.Dense(2, dtype="float32")(x))


def test_plain_keeps_what_is_given_by_name():
    network = jiggled(precise("float32", by_name=True))
    inputs = inputs_of(network)
    np.testing.assert_allclose(outputs_of(export.plain(network), inputs), outputs_of(network, inputs), atol=1e-5)


def test_plain_takes_another_precision():
    network, twin = jiggled(precise("mixed_bfloat16")), precise("float32")
    twin.set_weights(network.get_weights())
    copy, inputs = export.plain(network, dtype="float32"), inputs_of(network)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    np.testing.assert_allclose(outputs_of(copy, inputs), outputs_of(twin, inputs), atol=1e-5)
    assert abs(outputs_of(network, inputs) - outputs_of(twin, inputs)).max() > 1e-4


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (lambda: Shifted(name="mine"), "'mine' is or holds a tests>Shifted"),
        (lambda: keras.layers.TimeDistributed(Shifted(), name="steps"), "'steps' is or holds a tests>Shifted"),
        (lambda: keras.layers.Lambda(lambda x: x, output_shape=(4, 2), name="code"), "'code' is or holds a __lambda"),
        (lambda: gm.layers.Gate(name="gate"), "'gate' is or holds a genmodels>Gate"),
    ],
)
def test_plain_names_the_layer_that_keras_does_not_have(layer, named):
    shape = (4, 4, 2) if "gate" in named else (4, 2)
    with pytest.raises(ValueError, match=named) as caught:
        export.plain(keras.Sequential([keras.Input(shape), layer()]))
    assert "saved_model" in str(caught.value)


def test_plain_needs_a_graph():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    for given in (Subclassed(), keras.layers.Dense(2), keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="functional or sequential"):
            export.plain(given)


# ---------------------------------------------------------------------- ONNX and LiteRT


def run_onnx(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, dict(zip([x.name for x in session.get_inputs()], inputs)))[0]


def run_litert(path, network, inputs):
    run = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return run(**{x.name: value for x, value in zip(network.inputs, inputs)})["output_0"]


@pytest.mark.filterwarnings("ignore:.*np.object:FutureWarning")
def test_onnx_files_compute_the_same_for_any_number_of_rows(models, tmp_path):
    for name, network in (("gan", "generator"), ("diffusion", "denoiser"), ("vae", "decoder")):
        network = getattr(models[name], network)
        path = export.onnx(network, tmp_path / f"{name}.onnx")
        inputs = inputs_of(network, rows=7)
        np.testing.assert_allclose(run_onnx(path, inputs), outputs_of(network, inputs), atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
def test_litert_files_compute_the_same(models, tmp_path):
    for name, network in (("gan", "generator"), ("diffusion", "denoiser")):
        network = getattr(models[name], network)
        path = export.litert(network, tmp_path / f"{name}.tflite")
        inputs = inputs_of(network, rows=7)
        np.testing.assert_allclose(run_litert(path, network, inputs), outputs_of(network, inputs), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
def test_what_litert_lacks_is_refused_and_a_fixed_number_of_rows_helps(tmp_path):
    doublings = [keras.layers.UpSampling2D() for _ in range(3)]
    network = keras.Sequential([keras.Input((2, 2, 3)), *doublings, keras.layers.Conv2D(1, 3)])
    with pytest.raises(ValueError, match="try batch_size=1"):
        export.litert(network, tmp_path / "any.tflite")
    path = export.litert(network, tmp_path / "two.tflite", batch_size=2)
    inputs = inputs_of(network, rows=2)
    np.testing.assert_allclose(run_litert(path, network, inputs), outputs_of(network, inputs), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["two.tflite"]


def test_other_numbers_than_those_of_keras_are_refused(monkeypatch, tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    monkeypatch.setattr(converted, "_run_litert", lambda path, copy, inputs: 1.01 * outputs_of(copy, inputs))
    with pytest.raises(ValueError, match="off Keras"):
        export.litert(network, tmp_path / "wrong.tflite")
    assert not list(tmp_path.iterdir())


def test_conversions_say_what_is_missing(monkeypatch, tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    for convert, suffix in ((export.onnx, ".onnx"), (export.litert, ".tflite")):
        with pytest.raises(ValueError, match=f"must end with {suffix}"):
            convert(network, tmp_path / "network.bin")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnx onnxruntime tf2onnx"):
        export.onnx(network, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())
