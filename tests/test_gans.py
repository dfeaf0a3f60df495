"""The adversarial models: the game's rules, what is known of its solutions, sampling, files, and what is refused."""

import keras
import numpy as np
import pytest
import scipy
import tensorflow as tf
import toys
from scipy import stats

import genmodels as gm
from genmodels import data as datasets
from genmodels.core import Batch
from genmodels.models.gans.spectral import SpectralNormalized
from genmodels.sampling import Streams, make_seed

layers = keras.layers
SHAPE, LEVELS = (8, 8, 1), 17
IMAGES = {"levels": LEVELS, "width": 8, "latent_dim": 6}
POINTS = {"levels": None, "width": 8, "latent_dim": 4}
SEED = make_seed(5)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def fast_adam(rate=2e-3, steps=None):
    schedule = rate if steps is None else keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.Adam(schedule, beta_1=0.0, beta_2=0.9)


def constant_generator(value, latent_dim=4, labels=None):
    """A generator of one point, which training may not move: give it a rate of zero."""
    z = keras.Input((latent_dim,))
    bias = keras.initializers.Constant(value)
    label = None if labels is None else keras.Input((labels,))
    x = z if labels is None else layers.Concatenate()([z, Recorder(argmax=True, name="labels")(label)])
    x = layers.Dense(2, kernel_initializer="zeros", bias_initializer=bias)(x)
    return keras.Model(z if labels is None else [z, label], x)


def losses(model, x, labels=None, training=True):
    """The loss and metrics of both players on one batch."""
    batch = Batch(tf.constant(x), None if labels is None else tf.constant(labels, tf.int32))
    return [objective.loss(batch, SEED, training) for objective in model.objectives()]


# ------------------------------------------------------------------------------------------- the game


@pytest.mark.parametrize("loss", ["minimax", "hinge", "wasserstein"])
def test_both_losses_are_of_the_values_on_real_and_generated_examples(loss):
    keras.utils.set_random_seed(1)
    regularizers = (gm.gans.R1(weight=2.0), gm.gans.GradientPenalty())
    model = gm.GAN((2,), loss=loss, regularizers=regularizers, **POINTS)
    x = toys.points(32)
    fake = model.generator(model.latents(Streams(SEED, 0, 32)))
    on_real, on_fake = model.critic(x)[:, 0], model.critic(fake)[:, 0]
    (critic, metrics), (generator, more) = losses(model, x)
    assert float(metrics["real"]) == pytest.approx(float(tf.reduce_mean(on_real)), rel=1e-5)
    assert float(metrics["fake"]) == pytest.approx(float(tf.reduce_mean(on_fake)), rel=1e-5)
    penalties = float(metrics["r1_penalty"] + metrics["gradient_penalty"])
    assert penalties > 0
    expected = float(model.adversarial_loss.critic(on_real, on_fake)) + penalties
    assert float(critic) == pytest.approx(expected, rel=1e-5)
    assert float(generator) == pytest.approx(float(model.adversarial_loss.generator(on_fake)), rel=1e-5)
    assert more == {}
    if loss == "wasserstein":
        assert float(metrics["wasserstein"]) == pytest.approx(float(metrics["real"] - metrics["fake"]), rel=1e-6)


NAMES = {
    "gan": (lambda: gm.GAN((2,), **POINTS), "discriminator", set()),
    "wgan": (lambda: gm.WGAN((2,), **POINTS), "critic", {"wasserstein"}),
    "wgan-gp": (lambda: gm.WGANGP((2,), **POINTS), "critic", {"wasserstein", "gradient_penalty"}),
    "sngan": (lambda: gm.SNGAN((2,), regularizers=gm.gans.DRAGAN(), **POINTS), "discriminator", {"dragan_penalty"}),
    "lsgan": (lambda: gm.LSGAN((2,), regularizers=[gm.gans.R1()], **POINTS), "discriminator", {"r1_penalty"}),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_what_is_logged(name):
    build, player, more = NAMES[name]
    model = build()
    assert set(model.evaluate(toys.points(8))) == {f"{player}_loss", "generator_loss", "real", "fake"} | more
    assert [objective.name for objective in model.objectives()] == [player, "generator"]


@keras.saving.register_keras_serializable(package="tests")
class Recorder(layers.Layer):
    """Keeps the first number, or the class, of every example that it sees in training, call by call."""

    def __init__(self, argmax=False, name=None):
        super().__init__(name=name)
        self.argmax = argmax

    def build(self, shape):
        self.log = self.add_weight((40, 2), "zeros", "int32", trainable=False)
        self.count = self.add_weight((), "zeros", "int32", trainable=False)

    def call(self, x, training=False):
        if training:
            row = tf.argmax(x, 1, tf.int32) if self.argmax else tf.cast(x[:, 0], tf.int32)
            self.log.assign(tf.tensor_scatter_nd_update(self.log.value, [[self.count.value]], [row]))
            self.count.assign_add(1)
        return x

    def seen(self):
        return self.log.numpy()[: int(self.count.numpy())].tolist()


def test_every_update_has_a_fresh_batch_and_the_critic_sees_real_and_generated_apart():
    """Examples that name themselves: 2 steps of 5 + 1 updates on 2 examples are one pass over 24."""
    x = np.arange(24, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    example, label = keras.Input((2,)), keras.Input((24,))
    value = layers.Dense(1)(layers.Concatenate()([Recorder(name="examples")(example), label]))
    model = gm.WGANGP(
        (2,), num_classes=24, generator=constant_generator(-1.0, labels=24),
        critic=keras.Model([example, label], value), **POINTS,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(x, np.arange(24), batch_size=2, steps=2, seed=3, verbose=0)
    batches = model.generator.get_layer("labels").seen()  # the generator is called once an update, by either player
    data = datasets.as_dataset(x, np.arange(24), event_shape=(2,), levels=None, num_classes=24)
    order = [y.numpy().tolist() for (_, y), _ in zip(datasets.batches(data, 2, seed=3, start=0), range(12))]
    assert batches == order and sorted(np.ravel(batches)) == list(range(24))
    fake = [-1, -1]
    critic_sees = []
    for step in (batches[:6], batches[6:]):
        for real in step[:5]:
            # Real, generated, and the points between, of which every critic update has a fresh batch.
            critic_sees += [real, fake, None]
        critic_sees += [fake]
    seen = model.critic.get_layer("examples").seen()
    assert len(seen) == len(critic_sees)
    assert [row for row, expected in zip(seen, critic_sees) if expected] == [row for row in critic_sees if row]


def test_batch_statistics_of_real_and_generated_never_mix():
    """With batch norm the value of a real example depends on the real batch alone, although both play at once."""
    keras.utils.set_random_seed(2)
    model = gm.GAN((2,), normalization="batch", generator=constant_generator(50.0), **POINTS)
    assert any(isinstance(layer, layers.BatchNormalization) for layer in model.critic.layers)
    x = toys.points(16)
    alone = float(tf.reduce_mean(tf.nn.softplus(-model.critic(x, training=True)[:, 0])))
    together = float(tf.reduce_mean(model.critic(np.concatenate([x, np.full_like(x, 50.0)]), training=True)[:16]))
    generated = float(tf.reduce_mean(model.critic(np.full_like(x, 50.0), training=True)))
    (loss, metrics), (generator, _) = losses(model, x)
    real = float(tf.reduce_mean(model.critic(x, training=True)))
    assert float(metrics["real"]) == pytest.approx(real, abs=1e-5)
    assert float(metrics["fake"]) == pytest.approx(generated, abs=1e-5)
    assert abs(together - real) > 1e-3  # one batch of both would have shown
    assert float(loss) == pytest.approx(alone + float(tf.nn.softplus(generated)), rel=1e-4)
    assert float(generator) == pytest.approx(float(tf.nn.softplus(-generated)), rel=1e-4)
    # Evaluation takes the moving averages instead.
    (_, evaluated), _ = losses(model, x, training=False)
    assert float(evaluated["real"]) == pytest.approx(float(tf.reduce_mean(model.critic(x, training=False))), abs=1e-5)
    assert abs(float(evaluated["real"]) - real) > 1e-3


# ------------------------------------------------------------------------------------------- known solutions


def test_the_critic_of_two_point_masses_finds_their_distance():
    """Between masses at 0 and at distance d the best slope is 1 + d / (2 λ): d a - λ (a - 1)² is largest there."""
    keras.utils.set_random_seed(0)
    weight, d = 25.0, np.sqrt(2)
    model = gm.WGANGP((2,), penalty=weight, generator=constant_generator(1.0), **{**POINTS, "width": 16})
    model.compile({"critic": fast_adam(3e-3, 150 * 5), "generator": keras.optimizers.SGD(0.0)})
    x = np.zeros((64, 2), np.float32)
    model.fit(x, batch_size=32, steps=150, verbose=0)
    figures = model.evaluate(x)
    assert figures["wasserstein"] == pytest.approx(d * (1 + d / (2 * weight)), rel=1e-3)
    assert figures["critic_loss"] == pytest.approx(-d - d**2 / (4 * weight), rel=1e-3)
    np.testing.assert_array_equal(model.sample(3), np.ones((3, 2)))  # the critic's updates move the critic alone


@pytest.fixture(scope="module")
def classes():
    """Three classes far apart, and an SNGAN of them."""
    keras.utils.set_random_seed(0)
    centers = 3 * np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    labels = np.arange(600) % 3
    x = (centers[labels] + 0.3 * np.random.default_rng(0).normal(size=(600, 2))).astype(np.float32)
    model = gm.SNGAN((2,), num_classes=3, **{**POINTS, "width": 32})
    model.compile({"discriminator": fast_adam(), "generator": fast_adam()})
    model.fit(x, labels, batch_size=32, steps=200, verbose=0)
    return model, x, labels, centers


def test_samples_follow_their_labels(classes):
    model, _, _, centers = classes
    for label, center in enumerate(centers):
        samples = model.sample(200, labels=label).numpy()
        assert np.linalg.norm(samples.mean(0) - center) < 1.0  # centers are 5.2 apart
        assert np.linalg.norm(samples - center, axis=1).max() < 2.6  # none belongs to another class
    in_turn = model.sample(6, seed=2).numpy()
    np.testing.assert_allclose(in_turn, model.sample(6, seed=2, labels=[0, 1, 2, 0, 1, 2]).numpy(), atol=1e-6)
    z = model.prior(6, seed=2)
    np.testing.assert_allclose(model.decode(z), in_turn, atol=1e-5)
    np.testing.assert_allclose(model.decode(z, labels=[1] * 6), model.sample(6, seed=2, labels=1), atol=1e-5)


def test_trained_kernels_have_a_norm_of_one_and_files_keep_the_estimates(classes, tmp_path):
    model, x, labels, _ = classes
    normalized = [layer for layer in model.critic.layers if isinstance(layer, SpectralNormalized)]
    assert len(normalized) == 5  # three hidden, the value, the label's projection
    for layer in normalized:
        kernel = layer.layer.kernel.numpy()
        vector = np.float64(layer.vector.numpy())
        sigma = np.linalg.norm(kernel, 2)
        right = vector @ kernel.T
        estimate = np.linalg.norm(right @ kernel) / np.linalg.norm(right)
        assert 0.94 * sigma < estimate < 1.0001 * sigma  # from below; of a vector never iterated at most 0.94
    before = [layer.vector.numpy() for layer in normalized]
    figures = model.evaluate(x, labels)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, labels) == pytest.approx(figures, rel=1e-6)
    again = [layer for layer in loaded.critic.layers if isinstance(layer, SpectralNormalized)]
    for vector, one, other in zip(before, normalized, again):
        np.testing.assert_array_equal(one.vector.numpy(), vector)  # evaluation moved none
        np.testing.assert_array_equal(other.vector.numpy(), vector)


# ------------------------------------------------------------------------------------------- weight clipping


def bounds(model):
    return [float(np.abs(v.numpy()).max()) for v in model.critic.trainable_variables]


def test_clipped_weights_stay_clipped(tmp_path):
    """In training, in a file, in a resumed run; batch norm's scale too, its statistics not."""
    keras.utils.set_random_seed(1)

    def build():
        return gm.WGAN((2,), clip=0.02, normalization="batch", **POINTS)

    model, x = build(), toys.points()
    model.compile({"critic": keras.optimizers.RMSprop(0.1), "generator": keras.optimizers.RMSprop(0.1)})
    assert max(bounds(model)) > 0.02  # they start outside
    model.fit(x, batch_size=16, steps=2, verbose=0, run_dir=tmp_path / "run")
    assert len(bounds(model)) == len(model.critic.trainable_variables) == 10
    np.testing.assert_allclose(bounds(model)[:-1], 0.02, rtol=1e-6)  # a rate of 0.1 throws all to the bound
    assert max(float(np.abs(v.numpy()).max()) for v in model.generator.trainable_variables) > 0.02
    assert any(np.abs(v.numpy()).max() > 0.02 for v in model.critic.non_trainable_variables)

    loaded = gm.load_model(tmp_path / "run")
    np.testing.assert_array_equal(bounds(loaded), bounds(model))
    loaded.critic.layers[1].kernel.assign_add(tf.ones_like(loaded.critic.layers[1].kernel))
    loaded.fit(x, batch_size=16, steps=1, verbose=0)
    assert max(bounds(loaded)) <= 0.02 + 1e-9

    resumed = build()
    resumed.compile({"critic": keras.optimizers.RMSprop(0.1), "generator": keras.optimizers.RMSprop(0.1)})
    history = resumed.fit(x, batch_size=16, steps=4, verbose=0, run_dir=tmp_path / "run")
    assert max(bounds(resumed)) <= 0.02 + 1e-9
    assert np.isfinite(history.history["wasserstein"]).all()


def test_clipping_joins_a_constraint_of_ones_own():
    critic = keras.Sequential([keras.Input((2,)), layers.Dense(4, kernel_constraint="non_neg"), layers.Dense(1)])
    model = gm.WGAN((2,), clip=0.3, critic=critic, **POINTS)
    model.compile(keras.optimizers.SGD(1.0))
    model.fit(toys.points(), batch_size=16, steps=1, verbose=0)
    kernel = critic.layers[0].kernel.numpy()
    assert kernel.min() >= 0 and 0 < kernel.max() <= 0.3 + 1e-7 and max(bounds(model)) <= 0.3 + 1e-7


# ------------------------------------------------------------------------------------------- images, precision


MIXED = {
    "dcgan": (lambda **options: gm.DCGAN(SHAPE, **IMAGES, **options), None),
    "wgan-gp": (lambda **options: gm.WGANGP(SHAPE, num_classes=3, **IMAGES, **options), np.arange(32) % 3),
}


@pytest.fixture(scope="module", params=MIXED)
def mixed(request):
    keras.utils.set_random_seed(1)
    build, labels = MIXED[request.param]
    model = build(dtype="mixed_bfloat16")
    return model, model.fit(toys.images(32), labels, batch_size=4, steps=2, verbose=0).history


def test_mixed_precision_trains(mixed):
    model, history = mixed
    assert all(np.isfinite(values).all() for values in history.values())
    for network in (model.generator, model.critic):
        assert network.output.dtype == "float32"
        assert "bfloat16" in {layer.compute_dtype for layer in network.layers}
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


def test_images_are_in_the_datas_units(mixed):
    model, _ = mixed
    z = model.prior(9, seed=4)
    x = model.decode(z)
    assert x.dtype == tf.float32 and float(tf.reduce_min(x)) >= 0 and float(tf.reduce_max(x)) <= LEVELS - 1
    labels = [] if model.num_classes is None else [tf.one_hot(tf.range(9) % 3, 3)]
    plain = model.generator([z, *labels] if labels else z)
    np.testing.assert_allclose(x, (plain + 1) * (LEVELS - 1) / 2, atol=0.1)  # bfloat16: sizes of batches differ
    assert np.abs(plain).max() <= 1


def mean_pixel():
    """A critic whose value is the mean pixel."""
    mean = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    mean.layers[-1].kernel.assign(np.full((64, 1), 1 / 64))
    return mean


@pytest.mark.parametrize("levels", [LEVELS, None])
def test_the_critic_sees_images_from_minus_one_to_one_or_the_numbers_as_they_are(levels):
    model = gm.GAN(SHAPE, critic=mean_pixel(), **{**IMAGES, "levels": levels})
    x = toys.images(16)
    x = x if levels else x.astype(np.float32)
    (_, metrics), _ = losses(model, x)
    expected = 2 * x.mean() / (LEVELS - 1) - 1 if levels else x.mean()
    assert float(metrics["real"]) == pytest.approx(expected, rel=1e-4)


@keras.saving.register_keras_serializable(package="tests")
class Turned:
    """An augmentation to 3 - 2x, which keeps a number that it draws for every example."""

    def __init__(self):
        self.drawn = []

    def __call__(self, x, streams):
        self.drawn.append(streams.uniform((1,)).numpy().ravel().tolist())
        return 3.0 - 2.0 * x

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def test_the_critic_sees_real_and_generated_images_augmented_in_the_losses_of_both():
    augment = Turned()
    options = {**IMAGES, "architecture": "mlp", "loss": "wasserstein"}
    model = gm.GAN(SHAPE, critic=mean_pixel(), augment=augment, **options)
    x = toys.images(16)
    on_real = 3 - 2 * (2 * x.mean() / (LEVELS - 1) - 1)
    on_fake = 3 - 2 * float(tf.reduce_mean(model.generator(model.latents(Streams(SEED, 0, 16)), training=True)))
    (critic, metrics), (generator, _) = losses(model, x)
    assert float(metrics["real"]) == pytest.approx(on_real, rel=1e-4)
    assert float(metrics["fake"]) == pytest.approx(on_fake, rel=1e-4)
    assert float(critic) == pytest.approx(on_fake - on_real, rel=1e-4)
    assert float(generator) == pytest.approx(-on_fake, rel=1e-4)
    real, fake, _ = augment.drawn
    assert len({*real, *fake}) == 32


def test_real_valued_images_have_no_bounds():
    model = gm.DCGAN(SHAPE, **{**IMAGES, "levels": None})
    model.generator.layers[-1].bias.assign([7.0])
    samples = model.sample(3)
    assert samples.dtype == tf.float32 and samples.shape == (3, *SHAPE) and float(tf.reduce_max(samples)) > 5
    np.testing.assert_allclose(samples, model.decode(model.prior(3)), rtol=1e-4)


# ------------------------------------------------------------------------------------------- samples


@pytest.fixture(scope="module")
def untrained():
    keras.utils.set_random_seed(4)
    return gm.GAN(SHAPE, architecture="mlp", **{**IMAGES, "width": 32})


def test_samples_are_decoded_draws_of_the_prior(untrained):
    z = untrained.prior(11, seed=7)
    assert z.shape == (11, 6)
    decoded = untrained.decode(z).numpy()
    samples = untrained.sample(11, seed=7)
    assert samples.dtype == tf.uint8
    assert np.abs(samples.numpy() - decoded).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(untrained.sample(11, seed=7, truncation=None), samples)
    np.testing.assert_array_equal(untrained.sample(11, seed=7, batch_size=4), samples)


def test_decoding_is_differentiable(untrained):
    z = untrained.prior(3)
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = tf.reduce_sum(untrained.decode(z))
    gradient = tape.gradient(total, z).numpy()
    step = 1e-2 * gradient / np.linalg.norm(gradient)
    risen = float(tf.reduce_sum(untrained.decode(z + step)) - tf.reduce_sum(untrained.decode(z - step)))
    assert risen == pytest.approx(2e-2 * np.linalg.norm(gradient), rel=0.02)


@pytest.mark.parametrize("bound", [0.3, 1.0, 2.5, 9.0])
def test_truncated_latents_are_truncated_normal(untrained, bound):
    z = untrained.latents(Streams(make_seed(1), 0, 20_000), tf.constant(bound)).numpy().ravel()
    reference = stats.truncnorm(-bound, bound)
    assert np.abs(z).max() <= bound
    assert stats.kstest(z[:20_000], reference.cdf).pvalue > 0.01
    # The variance of a variance: (m₄ - m₂²) / N.
    error = np.sqrt((reference.moment(4) - reference.var() ** 2) / len(z))
    assert abs(z.var() - reference.var()) < 4 * error


def test_samples_of_truncated_latents(untrained):
    z = untrained.latents(Streams(make_seed(3), 0, 5), tf.constant(0.5))
    samples = untrained.sample(5, seed=3, truncation=0.5).numpy()
    assert np.abs(samples - untrained.decode(z).numpy()).max() <= 0.5 + 1e-4
    assert not np.array_equal(samples, untrained.sample(5, seed=3).numpy())
    for wrong in (0, -1.0, float("nan"), float("inf"), "1", True):
        with pytest.raises(ValueError, match="`truncation` must be a finite number above 0; got"):
            untrained.sample(2, truncation=wrong)
    with pytest.raises(ValueError, match=r"latents must have shape \[batch, 6\]; got \(3, 5\)"):
        untrained.decode(np.zeros((3, 5), np.float32))


class Weights(keras.callbacks.Callback):
    """The generator's raw weights after every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([v.numpy() for v in self.model.generator.weights])


def test_the_generator_that_samples_is_the_average():
    """The average of update t moves by 1 - min(ema, (1 + t) / (10 + t)). A generator's update leaves the critic."""
    keras.utils.set_random_seed(2)
    model, raw = gm.GAN((2,), **POINTS), Weights()
    expected = [v.numpy().astype(np.float64) for v in model.generator.weights]
    critic = [v.numpy() for v in model.critic.weights]
    model.compile({"discriminator": keras.optimizers.SGD(0.0), "generator": keras.optimizers.SGD(0.5)}, ema=0.15)
    model.fit(toys.points(), batch_size=16, steps=3, verbose=0, callbacks=[raw])
    for t, weights in enumerate(raw.steps):
        rate = 1 - min(0.15, (1 + t) / (10 + t))
        expected = [one + rate * (now - one) for one, now in zip(expected, weights)]
    for one, now, last in zip(expected, model.generator.weights, raw.steps[-1]):
        np.testing.assert_allclose(now.numpy(), one, rtol=1e-5, atol=1e-7)
        assert np.abs(now.numpy() - last).max() > 1e-4
    np.testing.assert_allclose(model.sample(4, seed=1), model.generator(model.prior(4, seed=1)), atol=1e-6)
    for one, now in zip(critic, model.critic.weights):
        np.testing.assert_array_equal(one, now.numpy())


def test_an_augmentation_of_ones_own_is_saved(tmp_path):
    model = gm.GAN(SHAPE, architecture="mlp", augment=Turned(), **IMAGES)
    model.save(tmp_path / "model.keras")
    assert isinstance(gm.load_model(tmp_path / "model.keras").augment, Turned)


# ------------------------------------------------------------------------------------------- settings

# model: (optimizer, rate, β₁, β₂ of the paper, updates of the critic, loss, batch norm in the critic of images)
PAPERS = {
    gm.DCGAN: ("Adam", 2e-4, 0.5, 0.999, 1, "NonSaturating", True),
    gm.LSGAN: ("Adam", 2e-4, 0.5, 0.999, 1, "LeastSquares", True),
    gm.WGAN: ("RMSprop", 5e-5, None, None, 5, "Wasserstein", True),
    gm.WGANGP: ("Adam", 1e-4, 0.0, 0.9, 5, "Wasserstein", False),
    gm.SNGAN: ("Adam", 2e-4, 0.0, 0.9, 5, "Hinge", False),
}


@pytest.mark.parametrize("kind", PAPERS, ids=lambda kind: kind.__name__)
def test_defaults_are_the_papers(kind):
    name, rate, beta_1, beta_2, updates, loss, batch_norm = PAPERS[kind]
    model = kind(SHAPE, **IMAGES)
    optimizers = model.default_optimizers()
    critic, generator = model.objectives()
    assert list(optimizers) == [critic.name, generator.name] and len(set(map(id, optimizers.values()))) == 2
    for optimizer in optimizers.values():
        assert type(optimizer).__name__ == name and float(optimizer.learning_rate) == pytest.approx(rate)
        if beta_1 is not None:
            assert (optimizer.beta_1, optimizer.beta_2) == (beta_1, beta_2)
    assert (critic.updates, generator.updates) == (updates, 1)
    assert type(model.adversarial_loss).__name__ == loss
    has = any(isinstance(layer, layers.BatchNormalization) for layer in model.critic._flatten_layers())
    assert has == batch_norm
    assert model.latent_shape == (6,) and kind(SHAPE, levels=LEVELS, width=8).latent_shape == (100,)


def test_regularizers_of_the_papers():
    (clipping,) = gm.WGAN((2,), **POINTS).regularizers
    assert clipping == gm.gans.WeightClipping(0.01)
    first, second = gm.WGANGP((2,), penalty=3.0, one_sided=True, regularizers=gm.gans.R1(), **POINTS).regularizers
    assert first == gm.gans.GradientPenalty(3.0, one_sided=True) and second == gm.gans.R1()
    for kind in (gm.SNGAN, gm.SAGAN):
        (spectral,) = kind((2,), **POINTS).regularizers
        assert spectral == gm.gans.SpectralNormalization()
    assert gm.GAN((2,), **POINTS).regularizers == ()


def test_sagans_players_have_the_papers_rates_and_norms():
    """Two rates; every kernel of both networks divided by its norm; attention at a fourth of the height, in both."""
    model = gm.SAGAN((32, 32, 1), levels=LEVELS, width=8, latent_dim=6)
    optimizers = model.default_optimizers()
    rates = {name: float(optimizer.learning_rate) for name, optimizer in optimizers.items()}
    assert rates == {"discriminator": pytest.approx(4e-4), "generator": pytest.approx(1e-4)}
    assert {(optimizer.beta_1, optimizer.beta_2) for optimizer in optimizers.values()} == {(0.0, 0.9)}
    assert [player.updates for player in model.objectives()] == [1, 1] and model.adversarial_loss == gm.gans.Hinge()
    for network in (model.generator, model.critic):
        kinds = [type(layer) for layer in network.layers]
        assert gm.gans.SpectralNormalized in kinds
        assert not any(issubclass(kind, layers.Dense | layers.Conv2D) for kind in kinds)
        (attention,) = (layer for layer in network.layers if isinstance(layer, layers.Attention))
        assert [tuple(x.shape[1:]) for x in attention.input] == [(64, 2), (16, 8), (16, 2)]  # 8×8, 16 channels


def test_sagan_takes_networks_of_ones_own(tmp_path):
    """Of sizes that the default ones do not have, with operations inside; normalized, saved as they were given."""
    z, image = keras.Input((5,)), keras.Input((4, 4, 1))
    generator = keras.Model(z, keras.ops.tanh(layers.Reshape((4, 4, 1))(layers.Dense(16)(z))))
    critic = keras.Model(image, layers.Dense(1)(keras.ops.relu(layers.Dense(3)(layers.Flatten()(image)))))
    model = gm.SAGAN((4, 4, 1), levels=LEVELS, latent_dim=5, generator=generator, critic=critic)
    model.compile()
    model.fit(np.random.default_rng(0).integers(0, LEVELS, (64, 4, 4, 1)).astype(np.uint8), steps=2, verbose=0)
    (dense,) = (layer for layer in model.generator.layers if isinstance(layer, gm.gans.SpectralNormalized))
    assert dense.layer.kernel.value is generator.layers[1].kernel.value  # shared, and trained
    model.save(tmp_path / "model.keras")
    again = gm.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.sample(5, seed=1), model.sample(5, seed=1))
    assert len([layer for layer in again.generator.layers if isinstance(layer, gm.gans.SpectralNormalized)]) == 1


def test_attention_is_at_heights_of_residual_networks():
    def attending(**options):
        model = gm.GAN((28, 28, 1), width=2, **options)
        return [
            [layer.output.shape[1] for layer in network.layers if isinstance(layer, layers.Attention)]
            for network in (model.generator, model.critic)
        ]

    residual = {"architecture": "residual"}
    assert attending(**residual) == [[], []]
    assert attending(**residual, attention=(7,)) == [[49], [49]]
    assert attending(**residual, attention=[7, 14]) == [[49, 196], [196, 49]]
    with pytest.raises(ValueError, match=r"`attention` must name heights among \[14, 7\]; got \(28,\)"):
        attending(**residual, attention=(28,))
    for wrong in (("7",), 7, True, (7.0,), "7"):
        with pytest.raises(ValueError, match="`attention` must be heights, such as"):
            attending(**residual, attention=wrong)
    with pytest.raises(ValueError, match=r"`attention` is of residual networks; got \(7,\) with 'dcgan'"):
        attending(attention=(7,))
    assert not any(isinstance(layer, layers.Attention) for layer in gm.SAGAN((2,), **POINTS).generator.layers)


def dense(sizes, outputs):
    """A network of one dense layer from one input or several."""
    inputs = [keras.Input((size,)) for size in sizes]
    joined = inputs[0] if len(inputs) == 1 else layers.Concatenate()(inputs)
    return keras.Model(inputs if len(inputs) > 1 else joined, layers.Dense(outputs)(joined))


# ------------------------------------------------------------------------------------------- what critics tell besides


def test_acgans_terms_are_cross_entropies():
    model = gm.ACGAN((2,), num_classes=3, weight=2.0, **POINTS)
    real, fake = (toys.values(5, 3, seed=seed) for seed in (1, 2))
    labels = np.array([0, 2, 1, 1, 0])
    on_real, on_fake = (-scipy.special.log_softmax(x.astype(float), 1)[range(5), labels].mean() for x in (real, fake))
    loss, metrics = model.critic_terms(real, fake, None, labels)
    assert float(loss) == pytest.approx(2 * (on_real + on_fake), rel=1e-5)
    assert float(metrics["class_loss"]) == pytest.approx(on_real + on_fake, rel=1e-5)
    assert float(metrics["class_accuracy"]) == pytest.approx((real.argmax(1) == labels).mean(), rel=1e-5)
    assert float(model.generator_terms(fake, None, labels)) == pytest.approx(2 * on_fake, rel=1e-5)


def test_infogans_information_is_the_bound():
    """E log q(c | x) + H(c), with the entropies log K and log 2 of uniform codes; both players ascend it."""
    options = {"categorical": (3, 4), "continuous": 2, "noise_dim": 5, "weight": 2.0, "continuous_weight": 0.5}
    model = gm.InfoGAN((2,), **options, **{k: v for k, v in POINTS.items() if k != "latent_dim"})
    z, outputs = model.prior(6, seed=1), toys.values(6, 3 + 4 + 4)
    _, values, codes = model.split(z)
    logits, mean, log_variance = np.split(outputs.astype(float), [7, 9], axis=1)
    parts = [scipy.special.log_softmax(part, 1) for part in (logits[:, :3], logits[:, 3:])]
    found = sum(part[range(6), values[:, i]].mean() for i, part in enumerate(parts)) + np.log(12)
    log_q = scipy.stats.norm.logpdf(codes, mean, np.exp(log_variance / 2)).sum(1).mean() + 2 * np.log(2)
    loss, metrics = model.critic_terms(None, outputs, z, None)
    assert float(metrics["information_categorical"]) == pytest.approx(found, rel=1e-5)
    assert float(metrics["information_continuous"]) == pytest.approx(log_q, rel=1e-5)
    assert float(loss) == pytest.approx(-2 * found - 0.5 * log_q, rel=1e-5)
    assert float(model.generator_terms(outputs, z, None)) == pytest.approx(float(loss), rel=1e-6)
    # A critic that is sure and right knows all of the categorical codes.
    sure = np.concatenate([100 * z.numpy()[:, 5:12], outputs[:, 7:]], 1)
    assert float(model.critic_terms(None, sure, z, None)[1]["information_categorical"]) == pytest.approx(np.log(12))


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"categorical": (), "continuous": 2}, None),
        ({"categorical": (3, 4), "continuous": 0}, None),
        ({"num_classes": 3}, np.arange(32) % 3),
    ],
    ids=["continuous", "categorical", "conditional"],
)
def test_infogans_codes_of_either_kind(options, labels, tmp_path):
    points = {k: v for k, v in POINTS.items() if k != "latent_dim"}
    model, x = gm.InfoGAN((2,), noise_dim=4, **options, **points), toys.points(32)
    history = model.fit(x, labels, batch_size=16, steps=2, verbose=0)
    assert all(np.isfinite(figures).all() for figures in history.history.values())
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(gm.load_model(tmp_path / "model.keras").sample(5), model.sample(5))
    z = model.prior(3, seed=2)
    np.testing.assert_allclose(model.join(*model.split(z)), z, atol=1e-6)
    probabilities, mean = model.codes(x, labels)
    assert [p.shape for p in probabilities] == [(32, count) for count in model.categorical]
    assert mean.shape == (32, model.continuous)
    if model.categorical:
        with pytest.raises(ValueError, match=r"must be below .* from 0; got"):
            model.join(z[:, :4], np.full([3, len(model.categorical)], 10), np.zeros([3, model.continuous]))


REFUSED = {
    "latent": ({"latent_dim": 0}, "`latent_dim` must be an integer ≥ 1; got 0"),
    "width": ({"width": 0.5}, "`width` must be an integer ≥ 1 or None for the network's own; got 0.5"),
    "updates": ({"critic_updates": 0}, "`critic_updates` must be an integer ≥ 1; got 0"),
    "norm": ({"normalization": "group"}, '`normalization` must be "auto", "batch", "layer" or None; got \'group\''),
    "loss": ({"loss": "lsgan"}, "`loss` must be minimax, .*; got 'lsgan'"),
    "architecture": ({"architecture": "unet"}, "`architecture` must be auto, mlp, dcgan, residual; got 'unet'"),
    "no images": ({"architecture": "dcgan"}, r"convolutional networks need images \(height, .*; got \(2,\)"),
    "regularizers": ({"regularizers": "gp"}, "`regularizers` must be genmodels.gans.Regularizer objects.*; got 'gp'"),
    "augment": ({"augment": "color"}, r"`augment` is for images; the data have shape \(2,\)"),
    "labels": ({"num_classes": 1}, "`num_classes` must be an integer ≥ 2 .*; got 1"),
    "generator": (
        {"generator": dense([3], 2)},
        r"`generator` must take inputs of shapes \[\(4,\)\] .*; it takes \[\(3,\)\]",
    ),
    "generates": ({"generator": dense([4], 3)}, r"`generator` must give outputs of shape \(2,\); it gives \(3,\)"),
    "critic": ({"critic": dense([3], 1)}, r"`critic` must take inputs of shapes \[\(2,\)\] .*; it takes \[\(3,\)\]"),
    "values": ({"critic": dense([2], 2)}, r"`critic` must give outputs of shape \(1,\); it gives \(2,\)"),
    "generator's label": (
        {"num_classes": 3, "generator": dense([4], 2)},
        r"`generator` must take inputs of shapes \[\(4,\), \(3,\)\] .*; it takes \[\(4,\)\]",
    ),
    "critic's label": (
        {"num_classes": 3, "critic": dense([2], 1)},
        r"`critic` must take inputs of shapes \[\(2,\), \(3,\)\] .*; it takes \[\(2,\)\]",
    ),
    "batch norm": (
        {"normalization": "batch", "regularizers": gm.gans.R1()},
        "R1 penalizes the gradient of each example's value, and with batch norm .*Expected a critic with layer norm",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_are_refused_with_what_was_expected_and_what_came(name):
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        gm.GAN((2,), **{**POINTS, **options})


def test_what_the_papers_models_refuse():
    for build, message in (
        (lambda: gm.WGAN((2,), clip=0.0, **POINTS), "`bound` must be a finite number above 0; got 0.0"),
        (lambda: gm.WGANGP((2,), penalty=-1, **POINTS), "`weight` must be a finite number above 0; got -1"),
        (lambda: gm.WGANGP((2,), normalization="batch", **POINTS), "GradientPenalty penalizes .* whole batch"),
        (lambda: gm.DCGAN(SHAPE, regularizers=gm.gans.DRAGAN(), **IMAGES), "DRAGAN penalizes .* whole batch"),
        (
            lambda: gm.WGANGP((2,), regularizers=gm.gans.GradientPenalty(), **POINTS),
            "`regularizers` must be of different kinds",
        ),
        (lambda: gm.DCGAN((2,), **POINTS), r"convolutional networks need images \(height, width, channels\)"),
        (lambda: gm.DCGAN((6, 8, 1)), r"images of 8 to 128 pixels a side; got \(6, 8, 1\)"),
        (lambda: gm.SNGAN((8, 160, 1)), r"images of 8 to 128 pixels a side; got \(8, 160, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    one = dense([2], 2)
    with pytest.raises(ValueError, match=r"`critic` must give outputs of shape \(1,\)"):
        gm.GAN((2,), levels=None, latent_dim=2, generator=one, critic=one)
    one = dense([1], 1)
    for kind in (gm.GAN, gm.SAGAN):
        with pytest.raises(ValueError, match="`generator` and `critic` must be two networks; got one for both"):
            kind((1,), levels=None, latent_dim=1, generator=one, critic=one)
    with pytest.raises(ValueError, match="SAGAN normalizes no transposed convolutions: `architecture` must be"):
        gm.SAGAN(SHAPE, architecture="dcgan", **IMAGES)
    with pytest.raises(ValueError, match=r"must name each objective of WGANGP: expected \['critic', 'generator'\]"):
        gm.WGANGP((2,), **POINTS).compile({"discriminator": "adam", "generator": "adam"})
    with pytest.raises(ValueError, match="GAN has no encoder"):
        gm.GAN((2,), **POINTS).encode(toys.points(3))
    with pytest.raises(ValueError, match="`labels` were given, but the model was built without"):
        gm.GAN((2,), **POINTS).sample(2, labels=[0, 1])
    with pytest.raises(ValueError, match=r"`labels` must be from 0 to 2; got 3"):
        gm.GAN((2,), num_classes=3, **POINTS).sample(2, labels=3)
