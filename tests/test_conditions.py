"""Models of condition vectors through data, harness and sampling, against the closed form of linear regression."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import genmodels as gm
from genmodels.training import run_directory

SLOPE = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
NUM = 48


def regression(num=NUM, seed=0):
    """x = c A + 1 + noise, for c `[num, 3]`."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(num, 3)).astype(np.float32)
    return (c @ SLOPE + 1.0 + rng.normal(size=(num, 2))).astype(np.float32), c


X, C = regression()


def least_squares():
    """W `[3, 2]` and b `[2]`, where the likelihood of unit-variance normals is largest."""
    design = np.hstack([C.astype(np.float64), np.ones((NUM, 1))])
    solution = np.linalg.lstsq(design, X.astype(np.float64), rcond=None)[0]
    return solution[:3], solution[3]


@keras.saving.register_keras_serializable(package="tests")
class Regression(gm.LikelihoodModel, gm.LatentModel):
    """x ~ N(c W + b, 1), one layer."""

    def __init__(self, event_shape=(2,), *, condition_dim=3, name=None, dtype=None):
        super().__init__(event_shape, levels=None, name=name, dtype=dtype)
        self.condition_dim = condition_dim
        self.latent_shape = self.event_shape
        self.layer = keras.layers.Dense(event_shape[0], kernel_initializer="zeros")
        self.layer.build((None, condition_dim))

    def objectives(self):
        return (gm.Objective("model", self._loss, self.layer),)

    def _loss(self, batch, seed, training):
        return -tf.reduce_mean(self._log_prob(*batch)), {"first": batch.labels[0, 0]}

    def _log_prob(self, x, c):
        return tf.reduce_sum(-0.5 * (x - self.layer(c)) ** 2 - 0.5 * np.log(2 * np.pi), -1)

    def log_prob(self, x, labels=None):
        return self._log_prob(*self._examples(x, labels))

    def decode(self, z, labels=None):
        return self.layer(self._labels(labels, z.shape[0])) + z

    def generate(self, streams, labels):
        return self.decode(self.latents(streams), labels)


def compiled(**options):
    model = Regression()
    model.compile(keras.optimizers.SGD(0.5), **options)
    return model


def random_model():
    """With weights that are known: W `[3, 2]`, b `[2]`."""
    model, rng = Regression(), np.random.default_rng(5)
    w, b = rng.normal(size=(3, 2)), rng.normal(size=2)
    model.layer.set_weights([w, b])
    return model, w, b


def stream(batch=None, x=X, c=C):
    dataset = tf.data.Dataset.from_tensor_slices((x, c.astype(np.float64)))
    return dataset.batch(batch) if batch else dataset


# ------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("given", [
    (X, C), (gm.Dataset(X, C, None), None), ((X.astype(np.float64), C.tolist()), None), (stream(), None),
    (stream(7), None),
], ids=["arrays", "dataset", "tuple", "stream", "batched stream"])  # fmt: skip
def test_training_on_whole_batches_finds_the_least_squares(given):
    """Each example keeps its own vector: gradient descent on all examples ends at the closed form."""
    model = compiled(accumulate=2)
    model.fit(*given, batch_size=NUM, steps=80, verbose=0)
    w, b = least_squares()
    np.testing.assert_allclose(model.layer.kernel, w, atol=1e-4)
    np.testing.assert_allclose(model.layer.bias, b, atol=1e-4)


def test_every_figure_of_the_likelihood_is_that_of_the_normal():
    model, w, b = random_model()
    nats = stats.norm.logpdf(X, C @ w + b).sum(1)
    np.testing.assert_allclose(model.log_prob(X, C), nats, rtol=1e-5)
    np.testing.assert_allclose(model.bits_per_dim(X, C), -nats / (2 * np.log(2)), rtol=1e-5)
    for given in ((X, C), (gm.Dataset(X, C, None),), (stream(),)):
        figures = gm.evaluation.log_likelihood(model, *given, batch_size=20)
        assert figures["nats"] == pytest.approx(nats.mean(), rel=1e-5)
        assert model.evaluate(*given, batch_size=20)["loss"] == pytest.approx(-nats.mean(), rel=1e-5)
    one = stats.norm.logpdf(X, C[4] @ w + b).sum(1)
    np.testing.assert_allclose(model.log_prob(X, C[4]), one, rtol=1e-5)


def test_gradients_flow_to_the_conditions():
    """∂/∂c log N(x; c W + b, 1) = (x - c W - b) Wᵀ."""
    model, w, b = random_model()
    c = tf.constant(C)
    with tf.GradientTape() as tape:
        tape.watch(c)
        total = tf.reduce_sum(model.log_prob(X, c))
    np.testing.assert_allclose(tape.gradient(total, c), (X - C @ w - b) @ w.T, rtol=1e-4, atol=1e-5)


def test_validation_takes_condition_vectors():
    history = compiled().fit(X, C, batch_size=NUM, steps=2, validation_data=(X[:9], C[:9]), verbose=0).history
    assert history["val_first"] == [C[0, 0]] * 2


# ------------------------------------------------------------------------------------------- sampling


def test_samples_are_of_their_own_conditions_whatever_the_batch_size():
    model, w, b = random_model()
    z = model.prior(7, seed=3).numpy()
    for batch_size in (None, 1, 3, 7):
        samples = model.sample(7, labels=C[:7], seed=3, batch_size=batch_size)
        np.testing.assert_allclose(samples, C[:7] @ w + b + z, atol=1e-5)
    whole = model.sample(7, labels=[1, 0, -1], seed=3)
    np.testing.assert_allclose(whole, np.array([1, 0, -1]) @ w + b + z, atol=1e-5)
    np.testing.assert_allclose(model.decode(z, tf.constant(C[:7])), C[:7] @ w + b + z, atol=1e-5)


def test_wrong_conditions_are_refused():
    model = Regression()
    wanted = r"2 vectors of 3 finite numbers \(condition_dim=3\), or one vector for all"
    for labels, message in (
        (None, rf"conditional and has no default: give `labels`, {wanted}"),
        ([0, 1], rf"`labels` must be {wanted}; got shape \(2,\) of int64"),
        (0.5, r"got shape \(\) of float64"),
        (np.zeros((2, 4)), r"got shape \(2, 4\) of float64"),
        (np.zeros((3, 3)), r"got shape \(3, 3\) of float64"),
        (np.zeros((2, 3, 1)), r"got shape \(2, 3, 1\)"),
        ([["a", "b", "c"]] * 2, "of string"),
        ([True, False, True], "of bool"),
        ([[0.0, 1.0, np.nan]] * 2, "found NaN or infinity"),
        ([0.0, 1.0, 1e60], "found NaN or infinity"),
    ):
        for call in (
            lambda labels: model.sample(2, labels=labels), lambda labels: model.decode(tf.zeros((2, 2)), labels),
            lambda labels: model.log_prob(X[:2], labels),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                call(labels)
    with pytest.raises(ValueError, match="built without `num_classes` or `condition_dim`"):
        gm.GenerativeModel((2,), levels=None).sample(2, labels=C[:2])


@pytest.mark.parametrize(("x", "y", "message"), [
    (X, None, "condition_dim=3 but the data carry no labels"),
    (X, np.arange(NUM), r"real vectors of shape \(48, 3\).* got int64 of shape \(48,\)"),
    (X, C[:, :2], r"real vectors of shape \(48, 3\).* got float32 of shape \(48, 2\)"),
    (X, C[:-1], r"real vectors of shape \(48, 3\).* got float32 of shape \(47, 3\)"),
    (X, np.vstack([C[:5], C[5:] * np.inf]), "must be finite; that of example 5 is not"),
    (gm.Dataset(X, np.arange(NUM), None), None, "condition_dim=3 but the data carry class labels"),
    (gm.Dataset(X, C[:, :2], None), None, "condition_dim=3 but the data carry vectors of 2 numbers"),
    (stream(x=X, c=C[:, :2]), None, r"condition_dim=3: labels must be real vectors \(3,\)"),
])  # fmt: skip
def test_data_without_the_right_conditions_are_refused(x, y, message):
    model = compiled()
    for call in (
        lambda: model.fit(x, y, batch_size=8, steps=1, verbose=0), lambda: model.evaluate(x, y),
        lambda: gm.evaluation.log_likelihood(model, x, y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()


# ------------------------------------------------------------------------------------------- files and runs


def test_a_file_keeps_the_condition(tmp_path):
    model, *_ = random_model()
    model.save(tmp_path / "model.keras")
    loaded = gm.load_model(tmp_path)
    assert loaded.condition_dim == 3 and loaded.get_config()["condition_dim"] == 3
    np.testing.assert_array_equal(loaded.sample(4, labels=C[:4]), model.sample(4, labels=C[:4]))


def test_a_run_is_resumed_exactly(tmp_path):
    finals = []
    for name, stops in (("whole", (7,)), ("parts", (3, 7))):
        for steps in stops:
            model = compiled(ema=0.9)
            model.fit(X, C, batch_size=10, steps=steps, run_dir=tmp_path / name, verbose=0)
        finals.append(model.get_weights())
    for one, other in zip(*finals, strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads((tmp_path / "parts" / "metrics.json").read_text())["step"] == 7
    with pytest.raises(ValueError, match=r"other data.*fingerprint differs"):
        compiled(ema=0.9).fit(X, C[::-1], batch_size=10, steps=9, run_dir=tmp_path / "parts", verbose=0)


@pytest.mark.parametrize(("data", "rows"), [((X, C), C), ((stream(),), C[:8])], ids=["arrays", "stream"])
def test_pictures_of_a_run_are_samples_of_its_first_conditions(tmp_path, monkeypatch, data, rows):
    drawn = []
    monkeypatch.setattr(run_directory.plots, "save_samples", lambda path, samples, levels: drawn.append(samples))
    model = compiled()
    model.fit(*data, batch_size=8, steps=2, run_dir=tmp_path / "run", seed=4, verbose=0)
    conditions = np.tile(rows, (1000 // len(rows) + 1, 1))[:1000]
    np.testing.assert_allclose(drawn[-1], model.decode(model.prior(1000, seed=4), conditions), atol=1e-5)
