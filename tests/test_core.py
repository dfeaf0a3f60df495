"""The contracts of `core`: recorded arguments, optimizers, averages, labels, loading, and likelihoods over data."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from scipy import stats

import genmodels as gm
from genmodels.training.run_directory import comparable


@keras.saving.register_keras_serializable(package="tests")
class Gauss(gm.LikelihoodModel):
    """Independent normals of given means, whose log-density SciPy knows; the batches it was asked for are noted."""

    def __init__(self, event_shape=(3,), *, shift=0.5, num_classes=None, name=None, dtype=None):
        super().__init__(event_shape, levels=None, num_classes=num_classes, name=name, dtype=dtype)
        self.layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        self.layer.build((None, 1))
        self.shift, self.seen = shift, []

    def objectives(self):
        return (gm.Objective("model", lambda batch, *_: (-tf.reduce_mean(self.log_prob(*batch)), {}), self.layer),)

    def log_prob(self, x, labels=None, *, scale=1.0):
        self.seen.append(int(x.shape[0]))
        axes = list(range(1, len(x.shape)))
        mean = self.shift * self.layer.kernel[0, 0]
        if labels is not None:
            mean += tf.reshape(tf.cast(labels, tf.float32), [-1, *[1] * len(axes)])
        z = (x - mean) / scale
        return tf.reduce_sum(-0.5 * z**2 - np.log(scale) - 0.5 * np.log(2 * np.pi), axes)

    def generate(self, streams, labels, *, offset=0.0):
        """Each sample is its own index, or its label."""
        index = tf.cast(tf.range(streams.num), tf.float32) + tf.cast(streams.start, tf.float32)
        values = index if labels is None else tf.cast(labels, tf.float32)
        return values[:, None] + tf.zeros(self.event_shape) + offset


# ------------------------------------------------------------------------------------------- configuration


def test_config_records_every_argument_with_its_default():
    config = gm.VAE((4,), levels=None, latent_dim=3, beta=np.float32(0.5), name="mine").get_config()
    assert config == {
        "event_shape": [4], "levels": None, "latent_dim": 3, "likelihood": "auto", "architecture": "auto",
        "encoder": None, "decoder": None, "num_classes": None, "beta": 0.5, "free_bits": 0.0, "kl_warmup": 0,
        "dropout": 0.0, "name": "mine", "dtype": config["dtype"],
    }  # fmt: skip
    assert config["dtype"]["config"]["name"] == "float32"
    json.dumps(config)  # a NumPy number would fail here


def test_config_makes_the_same_model_again_with_the_users_networks():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "elu"), keras.layers.Dense(4)])
    decoder = gm.networks.mlp((2,), (8,), widths=(7,))
    model = gm.VAE((4,), levels=None, latent_dim=2, beta=2.0, encoder=encoder, decoder=decoder, dtype="mixed_bfloat16")
    again = gm.VAE.from_config(json.loads(json.dumps(model.get_config())))  # as through a file
    assert again.event_shape == (4,) and again.latent_shape == (2,) and again.beta == 2.0
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert again.encoder is not encoder and isinstance(again.encoder, keras.Sequential)
    assert again.encoder.layers[0].activation is keras.activations.elu
    assert comparable(again.get_config()) == comparable(model.get_config())
    again.set_weights(model.get_weights())
    x = toys.points(6).repeat(2, 1)
    np.testing.assert_array_equal(again.encode(x), model.encode(x))
    np.testing.assert_array_equal(again.sample(5), model.sample(5))


def test_subclasses_record_their_own_arguments():
    class Open(toys.Mean):
        def __init__(self, event_shape=(2,), **options):
            self.extra = options.pop("extra", None)
            super().__init__(event_shape, **options)

    config = Open((3,), extra=(1, 2)).get_config()
    assert config["event_shape"] == [3] and config["extra"] == [1, 2]
    assert Open.from_config(config).extra == (1, 2)


def test_what_a_subclass_must_define_is_named():
    base, x = gm.LatentModel((2,), levels=None), toys.points(2)
    for call, method in (
        (base.objectives, "objectives"), (lambda: base.sample(1), "generate"), (lambda: base.decode(x), "decode"),
        (lambda: gm.LikelihoodModel((2,), levels=None).log_prob(x), "log_prob"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=rf"Model must define `{method}\("):
            call()


def test_a_model_without_encoder_names_project():
    model = toys.ToyWGAN()
    for call in (model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=r"ToyWGAN has no encoder.*project"):
            call(toys.points(2))


@pytest.mark.parametrize("shape, options, message", [
    (4, {}, r"`event_shape` must be positive integers such as .*; got 4\."),
    ((), {}, r"`event_shape` must be positive integers.*got \(\)"),
    ((0,), {}, r"`event_shape` must be positive integers.*got \(0,\)"),
    ((2.0,), {}, r"`event_shape` must be positive integers.*got \(2.0,\)"),
    ((4, 4), {}, r"\(height, width, channels\) for images or \(dimensions,\) for points; got \(4, 4\)"),
    ((4,), {"levels": 1}, "`levels` must be an integer from 2 to 256 or None for real-valued data; got 1"),
    ((4,), {"levels": True}, "`levels` must be an integer from 2 to 256 .* got True"),
    ((4,), {"levels": 2.0}, "`levels` must be an integer from 2 to 256 .* got 2.0"),
    ((4,), {"levels": 257}, "`levels` must be an integer from 2 to 256 .* got 257"),
    ((4,), {"num_classes": 1}, "`num_classes` must be an integer ≥ 2 or None for an unconditional model; got 1"),
])  # fmt: skip
def test_data_shapes_and_counts_are_checked(shape, options, message):
    with pytest.raises(ValueError, match=message):
        gm.GenerativeModel(shape, **options)


# ------------------------------------------------------------------------------------------- optimizers, averages


def test_one_optimizer_is_copied_for_each_player():
    model = toys.ToyWGAN(updates=2)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.25, 10, 0.5)
    given = keras.optimizers.Adam(schedule, beta_1=0.5)
    given.build(toys.Mean().trainable_variables)  # used before, on something else
    model.compile(given)
    critic, generator = model.optimizers["critic"], model.optimizers["generator"]
    assert len({id(given), id(critic), id(generator)}) == 3
    for optimizer in (critic, generator):
        assert isinstance(optimizer, keras.optimizers.Adam) and optimizer.beta_1 == 0.5
        assert float(optimizer.learning_rate) == 0.25
    assert not {id(v) for v in critic.variables} & {id(v) for v in generator.variables}
    model.fit(toys.points(64), batch_size=8, steps=3, verbose=0)
    assert (int(critic.iterations), int(generator.iterations)) == (6, 3)
    assert float(critic.learning_rate) == pytest.approx(0.25 * 0.5**0.6)
    assert int(given.iterations) == 0
    assert model.optimizer is None  # a game has no single one


def test_optimizers_by_objective_and_by_name():
    model, sgd = toys.ToyWGAN(), keras.optimizers.SGD(0.125)
    model.compile({"generator": sgd, "critic": "rmsprop"})
    assert model.optimizers["generator"] is sgd
    assert isinstance(model.optimizers["critic"], keras.optimizers.RMSprop)
    # Each is built on its own player's weights: one momentum or velocity a weight.
    assert len(model.optimizers["critic"].variables) == 2 + len(model.critic.trainable_variables)
    for given, got in (({"critic": "adam"}, r"\['critic'\]"), ({"model": "adam"}, r"\['model'\]")):
        with pytest.raises(ValueError, match=rf"ToyWGAN: expected \['critic', 'generator'\], got {got}"):
            model.compile(given)
    model.compile()
    assert {type(o) for o in model.optimizers.values()} == {keras.optimizers.Adam}
    single = toys.Mean()
    single.compile(sgd_one := keras.optimizers.SGD(0.5))
    assert single.optimizers == {"model": sgd_one} and single.optimizer is sgd_one


def training(model, raw, average):
    """The model as in the middle of training with an average."""
    model.compile(ema=0.9)
    model.average.wake()
    model.average.updates.assign(5)
    model.layer.kernel.assign(raw)
    model.average.held[0].assign(average)
    return model


def test_inside_averaged_the_weights_are_the_average():
    model = training(toys.Mean(), [1.0, 2.0], [10.0, 20.0])
    with model.averaged():
        np.testing.assert_array_equal(model.value, [10.0, 20.0])
        with model.averaged():  # nothing to do
            np.testing.assert_array_equal(model.value, [10.0, 20.0])
        assert model.average.resting
    np.testing.assert_array_equal(model.value, [1.0, 2.0])
    with pytest.raises(KeyError), model.averaged():
        raise KeyError("inside")
    np.testing.assert_array_equal(model.value, [1.0, 2.0])
    model.average.rest()
    with model.averaged():
        np.testing.assert_array_equal(model.value, [10.0, 20.0])
    np.testing.assert_array_equal(model.value, [10.0, 20.0])  # at rest before, at rest after
    np.testing.assert_array_equal(model.average.held[0], [1.0, 2.0])


def test_saving_while_training_writes_the_average_and_leaves_the_raw_weights(tmp_path):
    model = training(toys.Mean(), [1.0, 2.0], [10.0, 20.0])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(model.value, [1.0, 2.0])
    np.testing.assert_array_equal(gm.load_model(tmp_path / "model.keras").value, [10.0, 20.0])
    other = toys.Mean()
    other.compile(ema=0.9)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other.value, [10.0, 20.0])


# ------------------------------------------------------------------------------------------- sampling


def test_samples_are_numbered_through_all_batches():
    model = Gauss((2,))
    for batch_size in (None, 1, 3, 7, 10):
        np.testing.assert_array_equal(model.sample(7, batch_size=batch_size)[:, 0], np.arange(7))
    np.testing.assert_array_equal(model.sample(np.int64(2), offset=0.5)[:, 0], [0.5, 1.5])


def test_labels_of_samples_are_the_given_ones_or_the_classes_in_turn():
    model = Gauss((2,), num_classes=3)
    for batch_size in (None, 1, 2, 4, 11):
        np.testing.assert_array_equal(model.sample(7, batch_size=batch_size)[:, 0], [0, 1, 2, 0, 1, 2, 0])
        given = [2, 2, 0, 1, 0, 1, 2]
        np.testing.assert_array_equal(model.sample(7, labels=given, batch_size=batch_size)[:, 0], given)
    np.testing.assert_array_equal(model.sample(4, labels=2)[:, 0], [2, 2, 2, 2])
    np.testing.assert_array_equal(model.sample(2, labels=tf.constant([1, 0]))[:, 0], [1, 0])


@pytest.mark.parametrize("levels, kind, top", [(2, np.uint8, 1), (256, np.uint8, 255)])
def test_integer_samples_are_rounded_and_clipped(levels, kind, top):
    class Ramp(gm.GenerativeModel):
        def generate(self, streams, labels):
            return tf.constant([[-3.0, 0.4, 0.6, 1e6]]) + tf.zeros([streams.num, 4])

    samples = Ramp((4,), levels=levels).sample(2).numpy()
    assert samples.dtype == kind
    np.testing.assert_array_equal(samples, [[0, 0, 1, top]] * 2)


def test_a_generate_that_takes_anything_is_handed_anything():
    class Own(Gauss):
        def generate(self, streams, labels, **options):
            return super().generate(streams, labels, **options)

    np.testing.assert_array_equal(Own((2,)).sample(2, offset=0.5), Gauss((2,)).sample(2, offset=0.5))


def test_a_constructor_without_a_name_or_a_type_is_saved(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Bare(gm.GenerativeModel):
        def __init__(self, event_shape, scale=1.0):
            super().__init__(event_shape, levels=None)
            self.scale = scale

        def generate(self, streams, labels):
            return self.scale * streams.normal(self.event_shape)

    Bare((2,), 3.0).save(tmp_path / "bare.keras")
    loaded = keras.models.load_model(tmp_path / "bare.keras")
    np.testing.assert_array_equal(loaded.sample(2), Bare((2,), 3.0).sample(2))


def test_wrong_arguments_of_sample_are_refused():
    plain, classes = Gauss(), Gauss(num_classes=3)
    for model, arguments, message in (
        (plain, {"num": 0}, "`num` must be an integer ≥ 1; got 0"),
        (plain, {"num": 2.0}, "`num` must be an integer ≥ 1; got 2.0"),
        (plain, {"num": True}, "`num` must be an integer ≥ 1; got True"),
        (plain, {"num": None}, "`num` must be an integer ≥ 1; got None"),
        (plain, {"num": 2, "batch_size": 0}, "`batch_size` must be an integer ≥ 1; got 0"),
        (plain, {"num": 2, "seed": -1}, "`seed` must be an integer"),
        (plain, {"num": 2, "labels": [0, 1]}, "`labels` were given, but the model was built without `num_classes`"),
        (classes, {"num": 2, "labels": [0]}, r"`labels` must be 2 integers, one an example; got shape \(1,\)"),
        (classes, {"num": 2, "labels": [[0, 1]]}, r"`labels` must be 2 integers.* got shape \(1, 2\)"),
        (classes, {"num": 2, "labels": [0.0, 1.0]}, r"`labels` must be 2 integers.* of float64"),
        (classes, {"num": 2, "labels": [0, 3]}, "`labels` must be from 0 to 2; got 3"),
        (classes, {"num": 2, "labels": [-1, 1]}, "`labels` must be from 0 to 2; got -1"),
        (classes, {"num": 2, "labels": 3}, "`labels` must be from 0 to 2; got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(**arguments)


# ------------------------------------------------------------------------------------------- files


def test_load_model_takes_a_file_or_a_run(tmp_path):
    model = toys.Mean()
    model.layer.kernel.assign([3.0, 4.0])
    model.save(tmp_path / "model.keras")
    for path in (tmp_path, tmp_path / "model.keras", str(tmp_path)):
        loaded = gm.load_model(path)
        assert isinstance(loaded, toys.Mean) and not loaded.compiled
        np.testing.assert_array_equal(loaded.value, [3.0, 4.0])


def test_load_model_says_what_is_missing(tmp_path):
    for path in (tmp_path / "nothing.keras", tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match=r"expected a run directory with model.keras, or a .keras file") as caught:
            gm.load_model(path)
        assert str(path) in str(caught.value) and "not finished" not in str(caught.value)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"found none at .* has not finished"):
        gm.load_model(tmp_path)
    gm.networks.mlp((2,), (1,), widths=()).save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"plain.keras holds a Functional, not a generative model"):
        gm.load_model(tmp_path / "plain.keras")


def test_a_file_that_carries_code_is_refused(tmp_path):
    x = keras.Input((4,))
    doubled = keras.layers.Lambda(lambda t: 2.0 * t, output_shape=(4,))(x)
    model = gm.VAE((4,), levels=None, latent_dim=2, encoder=keras.Model(x, doubled))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert "__lambda__" in file.read("config.json").decode()  # the code is in the file
    for load in (gm.load_model, keras.models.load_model):
        with pytest.raises(ValueError, match="Lambda"):
            load(tmp_path / "model.keras")


# ------------------------------------------------------------------------------------------- likelihoods


def test_bits_per_dim_is_nats_by_dimensions_and_log_2():
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 1)).astype(np.float32)
    bits = Gauss((2, 3, 1)).bits_per_dim(x)
    expected = -stats.norm.logpdf(x, 0.5).reshape(5, 6).mean(1) / np.log(2)
    np.testing.assert_allclose(bits, expected, rtol=1e-5)
    classes = Gauss((2, 3, 1), num_classes=3).bits_per_dim(x, np.full(5, 2))
    np.testing.assert_allclose(classes, -stats.norm.logpdf(x, 2.5).reshape(5, 6).mean(1) / np.log(2), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [500, 7, 1])
def test_log_likelihood_is_the_mean_its_standard_error_and_bits(batch_size):
    model, x = Gauss(), np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    figures = gm.evaluation.log_likelihood(model, x, batch_size=batch_size, scale=2.0)
    nats = stats.norm.logpdf(x.astype(np.float64), 0.5, 2.0).sum(1)
    assert set(figures) == {"nats", "standard_error", "bits_per_dim", "examples"}
    assert figures["examples"] == 20 and sum(model.seen) == 20 and max(model.seen) == min(batch_size, 20)
    np.testing.assert_allclose(figures["nats"], nats.mean(), rtol=1e-6)
    np.testing.assert_allclose(figures["standard_error"], stats.sem(nats), rtol=1e-5)
    np.testing.assert_allclose(figures["bits_per_dim"], -nats.mean() / (3 * np.log(2)), rtol=1e-6)


def test_log_likelihood_uses_labels_and_averaged_weights():
    x, y = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 1])
    model = training(Gauss(num_classes=3), [[1.0]], [[4.0]])  # in the average, means of 2 instead of ½
    figures = gm.evaluation.log_likelihood(model, x, y)
    np.testing.assert_allclose(figures["nats"], stats.norm.logpdf(x, (2.0 + y)[:, None]).sum(1).mean(), rtol=1e-6)
    np.testing.assert_array_equal(model.layer.kernel, [[1.0]])
    with pytest.raises(ValueError, match="num_classes=3 but the data carry no labels"):
        gm.evaluation.log_likelihood(model, x)


def test_log_likelihood_gives_every_example_its_own_noise():
    class Noisy(Gauss):
        def log_prob(self, x, labels=None, *, seed=0, first=0):
            return super().log_prob(x, labels) * 0.0 + seed + np.arange(first, first + len(x), dtype=np.float32)

    for batch_size in (4, 5, 12):
        figures = gm.evaluation.log_likelihood(Noisy(), np.zeros((12, 3), np.float32), batch_size=batch_size, seed=10)
        assert figures["nats"] == pytest.approx(10 + 5.5)


def test_log_likelihood_of_what_has_none():
    with pytest.raises(ValueError, match="ToyWGAN has no likelihood"):
        gm.evaluation.log_likelihood(toys.ToyWGAN(), toys.points(4))


def test_compiling_again_leaves_no_average_behind():
    model = toys.Mean()
    counts = []
    for ema in (0.9, 0.8, None, 0.9):
        model.compile("sgd", ema=ema)
        counts.append(len(model.weights))
        model.fit(toys.points(16), batch_size=8, steps=1, verbose=0)
    assert counts == [3, 3, 1, 3]  # the weight; with an average also its count and what it holds
