"""A model keeps its traced training steps for the next `fit`, and forgets them where others are wanted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.compiling import compiled

POINTS = toys.points(64)


class Weighted(toys.Mean):
    """The mean of points; its loss has a weight and a random slope, and it counts its traces."""

    weight = 1.0

    def __init__(self, event_shape=(2,)):
        super().__init__(event_shape)
        self.__dict__["traces"] = 0  # no attribute that is set

    def _loss(self, batch, seed, training):
        self.__dict__["traces"] += training
        loss, metrics = super()._loss(batch, seed, training)
        slope = tf.random.stateless_normal([2], seed, alg="philox")
        return self.weight * (loss + tf.tensordot(self.layer.kernel.value, slope, 1)), metrics

    def generate(self, streams, labels):
        return self._scaled(streams.normal((2,)))

    @compiled
    def _scaled(self, noise):
        return self.weight * noise


def weighted(value=(0.0, 0.0)):
    model = Weighted()
    model.layer.kernel.assign(value)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def fit(model, x=POINTS, batch_size=16, steps=3, **options):
    return model.fit(x, batch_size=batch_size, steps=steps, verbose=0, **options).history


def test_fits_after_the_first_trace_nothing_and_are_those_of_new_models():
    model, value = weighted(), np.zeros(2, np.float32)
    for x, seed, steps in ((POINTS, 0, 3), (POINTS, 5, 6), (toys.points(40, seed=1), 5, 2)):
        other = weighted(value)
        assert fit(model, x, seed=seed, steps=steps) == fit(other, x, seed=seed, steps=steps)
        np.testing.assert_array_equal(model.value, other.value)
        assert np.abs(model.value - value).max() > 0.01
        value = model.value
    assert model.traces == 1


def test_other_batches_and_settings_are_traced_anew():
    model = weighted()
    fit(model)
    fit(model, batch_size=32)
    assert model.traces == 2
    fit(model, batch_size=32)
    assert model.traces == 2
    model.compile(keras.optimizers.SGD(0.05), clipnorm=0.1)
    before = model.value
    fit(model, batch_size=32, steps=1)
    assert model.traces == 3
    assert np.linalg.norm(model.value - before) == pytest.approx(0.05 * 0.1, rel=1e-3)


def test_an_attribute_that_is_set_counts_from_then_on():
    model = weighted()
    fit(model)
    loss, samples = model.evaluate(POINTS)["loss"], model.sample(5)
    model.weight = 2.0
    assert model.evaluate(POINTS)["loss"] == pytest.approx(2 * loss)
    np.testing.assert_allclose(model.sample(5), 2 * samples, rtol=1e-6)
    other = weighted(model.value)
    other.weight = 2.0
    fit(model)
    fit(other)
    np.testing.assert_array_equal(model.value, other.value)


def test_an_attribute_that_a_callback_sets_counts_in_the_next_fit():
    class Heavier(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.weight = 3.0

    model = weighted()
    fit(model, callbacks=[Heavier()])
    other = weighted(model.value)
    other.weight = 3.0
    fit(model)
    fit(other)
    np.testing.assert_array_equal(model.value, other.value)


class Callback(keras.callbacks.Callback):
    """Calls a function of the model when training begins, and another when it ends."""

    def __init__(self, begin, end=lambda model: None):
        super().__init__()
        self.begin, self.end = begin, end

    def on_train_begin(self, logs=None):
        self.begin(self.model)

    def on_train_end(self, logs=None):
        self.end(self.model)


def test_an_attribute_that_a_callback_sets_when_training_begins_counts_in_that_fit():
    model = weighted()
    fit(model)
    other = weighted(model.value)
    other.weight = 3.0
    fit(model, callbacks=Callback(lambda model: setattr(model, "weight", 3.0)))
    fit(other)
    np.testing.assert_array_equal(model.value, other.value)


def test_a_part_that_is_frozen_for_one_fit_is_not_in_the_next():
    def freeze(model, frozen=True):
        model.encoder.trainable = not frozen

    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
    for frozen in (False, True, False):
        before = model.encoder.weights[0].numpy()
        callbacks = [Callback(freeze, lambda model: freeze(model, False))] if frozen else []
        fit(model, toys.images(), callbacks=callbacks)
        assert bool(np.any(model.encoder.weights[0].numpy() != before)) == (not frozen)


def test_another_optimizer_is_the_one_that_updates():
    model = weighted()
    fit(model)
    model.optimizers["model"] = keras.optimizers.SGD(0.0)
    model.optimizers["model"].build(model.layer.trainable_variables)
    before = model.value
    fit(model)
    np.testing.assert_array_equal(model.value, before)


def test_training_evaluation_and_samples_in_turn_forget_nothing():
    model = weighted()
    for _ in range(2):
        fit(model, validation_data=POINTS)
        model.evaluate(POINTS)
        model.sample(5)
        kept = dict(model._functions)
    assert dict(model._functions) == kept and len(kept) > 2
    assert model.traces == 1


def test_a_part_that_is_frozen_stays_and_one_that_is_no_more_moves():
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
    for frozen in (False, True, False):
        model.encoder.trainable = not frozen  # and no `compile`
        before = [network.weights[0].numpy() for network in (model.encoder, model.decoder)]
        fit(model, toys.images())
        after = [network.weights[0].numpy() for network in (model.encoder, model.decoder)]
        assert [bool(np.any(a != b)) for a, b in zip(before, after)] == [not frozen, True]


def test_a_fit_in_a_callback_leaves_the_one_around_it_alone():
    class Nested(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            fit(self.model, seed=9)

    alone, around = weighted(), weighted()
    expected = fit(alone, steps=8)["seen"]  # of the data alone, not of the weights
    assert len(expected) == 2 and expected[0] != expected[1]
    assert fit(around, steps=8, callbacks=[Nested()])["seen"] == expected


def test_a_model_that_was_trained_before_continues_a_run(tmp_path):
    whole, model = weighted(), weighted()
    fit(whole, steps=7, run_dir=tmp_path / "whole")
    fit(model, steps=3, run_dir=tmp_path / "parts")
    fit(model, seed=3)  # what comes between is undone
    assert fit(model, steps=7, run_dir=tmp_path / "parts") == whole.history.history
    np.testing.assert_array_equal(model.value, whole.value)
    assert model.traces == 1


def test_a_run_that_ended_before_its_first_step_is_continued_by_a_model_with_a_trace(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(weighted(), run_dir=tmp_path / "run", callbacks=[Stop()])
    model = weighted()
    fit(model)
    assert set(fit(model, run_dir=tmp_path / "run")) == {"loss", "seen"}
    assert model.traces == 1


class Powers(toys.Mean):
    """A loss with a Python loop over tensors."""

    scale = 1.0

    def _loss(self, batch, seed, training):
        total = tf.constant(0.0)
        for power in tf.range(1.0, 4.0):
            total += tf.reduce_mean(self.layer(batch.x)) * power
        return self.scale * total, {}


def test_a_loss_with_a_python_loop_over_tensors_wants_a_tf_function():
    with pytest.raises(TypeError, match=r"decorat\w+ .*@tf\.function"):
        Powers().fit(POINTS, steps=1, verbose=0)

    class Decorated(Powers):
        def objectives(self):
            return (gm.Objective("model", tf.function(self._loss), self.layer),)

    model = Decorated()
    model.compile(keras.optimizers.SGD(0.05))
    model.fit(POINTS, batch_size=64, steps=1, verbose=0)
    moved = -0.05 * (1 + 2 + 3) * POINTS.mean(0) / 2  # a mean over two coordinates
    np.testing.assert_allclose(model.value, moved, rtol=1e-5)
    model.scale = 10.0
    model.fit(POINTS, batch_size=64, steps=1, verbose=0)
    np.testing.assert_allclose(model.value, 11.0 * moved, rtol=1e-5)
