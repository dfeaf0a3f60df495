"""The network builders: shapes, their mirror, precision, labels, saving; and what is asked of users' own networks."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from genmodels import networks

SIZES = [(8, 8, 1), (9, 13, 3), (28, 28, 1), (32, 20, 3), (64, 64, 3), (1, 1, 1), (5, 2, 4)]


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one_hot(*labels, num_classes=3):
    return np.eye(num_classes, dtype=np.float32)[list(labels)]


def randomized(network, seed=0):
    """Weights that leave nothing at zero: fresh residual blocks are the identity, fresh biases are none."""
    random = np.random.default_rng(seed)
    for variable in network.weights:
        fan_in = max(np.prod(variable.shape[:-1]), 1)
        variable.assign(random.normal(size=variable.shape) / np.sqrt(fan_in))
    return network


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_encoder_and_decoder_fit_every_size_and_mirror_each_other(shape):
    encoder = networks.encoder(shape, 10)
    decoder = networks.decoder(5, (*shape[:2], 2 * shape[2]))
    assert encoder.input_shape == (None, *shape) and encoder.output_shape == (None, 10)
    assert decoder.input_shape == (None, 5) and decoder.output_shape == (None, *shape[:2], 2 * shape[2])
    # Halved images going down are what is doubled going up, sizes and channels.
    down = [x.output.shape[1:] for x in encoder.layers if isinstance(x, layers.Conv2D) and x.strides == (2, 2)]
    up = [x.input.shape[1:] for x in decoder.layers if isinstance(x, layers.Conv2DTranspose)]
    assert down == up[::-1]
    sizes = [shape[:2], *(x[:2] for x in down)]
    assert all(b == (-(-a[0] // 2), -(-a[1] // 2)) for a, b in itertools.pairwise(sizes))
    assert max(down[-1][:2]) <= 5  # the dense layers see few pixels


def test_odd_sizes_are_computed_as_declared():
    encoder, decoder = networks.encoder((9, 13, 3), 4), networks.decoder(2, (9, 13, 6))
    assert encoder(values(2, 9, 13, 3)).shape == (2, 4)
    assert decoder(values(2, 2)).shape == (2, 9, 13, 6)


def test_every_input_pixel_and_every_latent_is_used():
    """Weights at random: a change of one corner, or of one latent, reaches the outputs."""
    encoder, decoder = randomized(networks.encoder((9, 12, 1), 4)), randomized(networks.decoder(3, (9, 12, 1)))
    x, z = values(1, 9, 12, 1), values(1, 3)
    for row, column in ((0, 0), (0, 11), (8, 0), (8, 11)):
        changed = x.copy()
        changed[0, row, column] += 1.0
        assert np.abs(encoder(changed) - encoder(x)).max() > 1e-5, (row, column)
    for unit in range(3):
        changed = z.copy()
        changed[0, unit] += 1.0
        assert (np.abs(decoder(changed) - decoder(z)) > 0).all()


def test_weights_of_an_mlp_are_counted_by_hand():
    inputs, a, b, outputs, classes = 4 * 3 * 2, 7, 5, 6, 3
    network = networks.mlp((4, 3, 2), (3, 2), widths=(a, b), num_classes=classes)
    assert network.count_params() == (inputs + classes + 1) * a + (a + 1) * b + (b + 1) * outputs
    assert [tuple(x.shape) for x in network.inputs] == [(None, 4, 3, 2), (None, 3)]
    assert network.output_shape == (None, 3, 2)
    assert networks.mlp((5,), (2,), widths=()).count_params() == 5 * 2 + 2  # linear


def test_an_mlp_is_the_formula():
    network = randomized(networks.mlp((3, 2), (4,), widths=(5,), num_classes=3))
    x, y = values(6, 3, 2), one_hot(0, 1, 2, 0, 1, 2)
    w1, b1, w2, b2 = (v.numpy().astype(np.float64) for v in network.weights)
    activation = keras.activations.get(networks.MLP_ACTIVATION)
    hidden = np.asarray(activation(np.concatenate([x.reshape(6, 6), y], 1) @ w1 + b1))
    np.testing.assert_allclose(network([x, y]), hidden @ w2 + b2, rtol=1e-5, atol=1e-6)


def test_residual_blocks_start_as_the_identity_and_train():
    """With the same other weights, a fresh network of two blocks a stage computes what one of none does."""
    plain = networks.conv_encoder((8, 8, 1), 3, filters=(4, 6), blocks=0, hidden=8)
    deep = networks.conv_encoder((8, 8, 1), 3, filters=(4, 6), blocks=2, hidden=8)
    blocks = [x for x in deep.layers if isinstance(x, layers.Conv2D) and x.strides == (1, 1)]
    assert len(blocks) == 2 * 2 * 2
    stems = [x for x in deep.layers if x.weights and x not in blocks]
    for own, other in zip([x for x in plain.layers if x.weights], stems, strict=True):
        other.set_weights(own.get_weights())
    x = values(2, 8, 8, 1)
    np.testing.assert_allclose(deep(x), plain(x), rtol=1e-5, atol=1e-6)
    assert np.abs(randomized(deep)(x) - randomized(plain)(x)).max() > 1e-3


@pytest.mark.parametrize("build", [
    lambda **o: networks.encoder((8, 8, 1), 4, "mlp", **o), lambda **o: networks.encoder((8, 8, 1), 4, **o),
    lambda **o: networks.decoder(4, (8, 8, 1), "mlp", **o), lambda **o: networks.decoder(4, (8, 8, 1), **o),
    lambda **o: networks.conv_encoder((8, 8, 1), 4, blocks=0, **o),
    lambda **o: networks.conv_decoder(4, (8, 8, 1), blocks=0, **o),
], ids=["mlp-encoder", "encoder", "mlp-decoder", "decoder", "encoder-no-blocks", "decoder-no-blocks"])  # fmt: skip
def test_labels_change_outputs_and_dropout_only_training(build):
    network = randomized(build(num_classes=3, dropout=0.5))
    x = values(1, *network.inputs[0].shape[1:])
    outputs = [np.asarray(network([x, one_hot(label)])) for label in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(outputs[a] - outputs[b]).max() > 1e-3
    np.testing.assert_array_equal(outputs[0], network([x, one_hot(0)]))
    assert np.abs(network([x, one_hot(0)], training=True) - outputs[0]).max() > 1e-3


# ------------------------------------------------------------------------------------------- precision, saving


@pytest.mark.parametrize("build", [
    lambda dtype: networks.mlp((6,), (3, 1), widths=(8,), dtype=dtype),
    lambda dtype: networks.conv_encoder((9, 7, 1), 12, filters=(4,), hidden=8, dtype=dtype),
    lambda dtype: networks.conv_decoder(4, (9, 7, 1), filters=(4,), hidden=8, dtype=dtype),
], ids=["mlp", "encoder", "decoder"])  # fmt: skip
def test_only_the_head_is_float32_under_mixed_precision(build):
    mixed, full = randomized(build("mixed_bfloat16")), randomized(build("float32"))
    weighted = [x for x in mixed.layers if x.weights]
    assert [x.compute_dtype for x in weighted] == ["bfloat16"] * (len(weighted) - 1) + ["float32"]
    assert {v.dtype for v in mixed.weights} == {"float32"}
    x = values(2, *mixed.inputs[0].shape[1:])
    outputs, exact = np.asarray(mixed(x)), np.asarray(full(x))
    assert outputs.dtype == np.float32
    # Not rounded to bfloat16, whose numbers have 16 zero bits at the end; and near the float32 network's.
    assert (outputs.view(np.uint32) & 0xFFFF).any()
    assert 0 < np.abs(outputs - exact).max() < 0.1 * np.abs(exact).max()


def test_a_saved_network_computes_the_same_alone(tmp_path):
    for number, network in enumerate((
        networks.mlp((3, 2, 1), (4,), widths=(8,), num_classes=3),
        networks.conv_decoder(4, (9, 7, 1), filters=(4, 4), hidden=8, dtype="mixed_bfloat16"),
    )):  # fmt: skip
        randomized(network).save(tmp_path / f"{number}.keras")
        loaded = keras.models.load_model(tmp_path / f"{number}.keras")
        inputs = [values(5, *x.shape[1:], seed=i) for i, x in enumerate(network.inputs)]
        inputs = inputs if len(inputs) > 1 else inputs[0]
        np.testing.assert_array_equal(network(inputs), loaded(inputs))
        assert loaded.name == network.name


# ------------------------------------------------------------------------------------------- what is refused


def test_an_architecture_must_be_known_and_fit_the_data():
    assert len(networks.encoder((6,), 2).inputs) == 1  # points: an MLP
    for build in (lambda a, s: networks.encoder(s, 2, a), lambda a, s: networks.decoder(2, s, a)):
        with pytest.raises(ValueError, match='`architecture` must be "auto", "conv" or "mlp"; got \'vgg\''):
            build("vgg", (8, 8, 1))
        with pytest.raises(ValueError, match=r'"conv" needs images; the data have shape \(6,\)'):
            build("conv", (6,))


def functional(shape=(4,), outputs=lambda x: layers.Dense(6)(x)):
    x = keras.Input(shape)
    return keras.Model(x, outputs(x))


def refused(network, message, input_shapes=((4,),)):
    with pytest.raises(ValueError, match=message):
        networks.check("critic", network, input_shapes, (6,))


def test_check_accepts_what_fits():
    networks.check("critic", functional(), ((4,),), (6,))
    networks.check("critic", keras.Sequential([keras.Input((4,)), layers.Dense(6)]), ((4,),), (6,))
    networks.check("critic", networks.mlp((4,), (6,), num_classes=3), ((4,), (3,)), (6,))
    anywhere = functional((None, None, 1), lambda x: layers.Conv2D(2, 3, padding="same")(x))
    networks.check("critic", anywhere, ((5, 7, 1),), (5, 7, 2))
    networks.check("critic", Subclassed(4), ((4,),), (6,))


class Subclassed(keras.Model):
    def __init__(self, inputs):
        super().__init__()
        self.dense = layers.Dense(6)
        self.dense.build((None, inputs))
        self.built = True

    def call(self, x):
        return self.dense(x)


def test_check_says_what_was_expected_and_what_came():
    for nothing in (None, "mlp", layers.Dense(6), keras.Sequential([layers.Dense(6)])):
        refused(nothing, r"`critic` must be a keras.Model with known shapes \(functional, or built\); got ")
    refused(functional((5,)), r"`critic` must take inputs of shapes \[\(4,\)\].*it takes \[\(5,\)\]")
    refused(functional((4, 4)), r"shapes \[\(4,\)\].*it takes \[\(4, 4\)\]")
    refused(functional(), r"shapes \[\(4,\), \(3,\)\].*it takes \[\(4,\)\]", ((4,), (3,)))
    refused(networks.mlp((4,), (6,), num_classes=3), r"shapes \[\(4,\)\].*it takes \[\(4,\), \(3,\)\]")
    refused(networks.mlp((4,), (6,), num_classes=2), r"\[\(4,\), \(3,\)\].*\[\(4,\), \(2,\)\]", ((4,), (3,)))
    refused(functional(outputs=layers.Dense(7)), r"`critic` must give outputs of shape \(6,\); it gives \(7,\)")
    refused(functional(outputs=layers.Reshape((4, 1))), r"shape \(6,\); it gives \(4, 1\)")
    refused(functional(outputs=lambda x: [layers.Dense(6)(x), layers.Dense(1)(x)]), r"it gives \[\(6,\), \(1,\)\]")
    refused(functional(outputs=lambda x: {"score": layers.Dense(6)(x)}), r"it gives \{'score': \(6,\)\}")
    refused(Subclassed(5), r"`critic` must take inputs of shapes \[\(4,\)\]")
