"""The harness against closed forms: updates, accumulation, clipping, averages, precision, callbacks, errors."""

import csv
import os
import platform
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm
from genmodels.data import as_dataset, batches


def mean_model(optimizer=None, **options):
    model = toys.Mean()
    model.compile(optimizer or keras.optimizers.SGD(0.05), **options)
    return model


def descend(x, batch_size, steps, rate=0.05, seed=0, change=lambda g: g):
    """Gradient descent on the mean squared distance, in NumPy, on the batches that the harness reads."""
    stream = iter(batches(as_dataset(x, event_shape=(2,), levels=None), batch_size, seed=seed))
    values, value = [], np.zeros(2)
    for _ in range(steps):
        gradient = 2.0 * (value - next(stream).numpy().astype(np.float64).mean(0))
        value = value - rate * change(gradient)
        values.append(value)
    return values


def test_training_is_gradient_descent_on_the_batches_in_order():
    model = mean_model()
    model.fit(toys.points(50), batch_size=8, steps=23, verbose=0, seed=4)
    np.testing.assert_allclose(model.value, descend(toys.points(50), 8, 23, seed=4)[-1], rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_adam_is_the_formula(jit_compile):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)
    model = mean_model(keras.optimizers.Adam(schedule, 0.8, 0.9, epsilon=0.01), jit_compile=jit_compile)
    x = toys.points(64)
    model.fit(x, batch_size=64, steps=5, verbose=0)
    value, m, v = np.zeros(2), 0.0, 0.0
    for t in range(1, 6):
        gradient = 2.0 * (value - x.astype(np.float64).mean(0))
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        rate = 0.1 / (1 + 0.5 * (t - 1)) * np.sqrt(1 - 0.9**t) / (1 - 0.8**t)
        value -= rate * m / (np.sqrt(v) + 0.01)
    np.testing.assert_allclose(model.value, value, rtol=1e-5)


def test_accumulation_equals_the_whole_batch():
    model = mean_model(accumulate=4)
    model.fit(toys.points(), batch_size=32, steps=5, verbose=0)
    np.testing.assert_allclose(model.value, descend(toys.points(), 32, 5)[-1], rtol=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    model = mean_model(clipnorm=0.5)
    model.fit(toys.points(), batch_size=16, steps=9, verbose=0)
    clipped = descend(toys.points(), 16, 9, change=lambda g: g * min(1.0, 0.5 / np.linalg.norm(g)))
    np.testing.assert_allclose(model.value, clipped[-1], rtol=1e-5)


def test_keras_own_accumulation_of_updates_is_that_of_keras_adam():
    class Plain(keras.optimizers.Adam):
        """Whose updates stay Keras' own."""

    values = []
    for kind in (keras.optimizers.Adam, Plain):
        model = mean_model(kind(0.1, gradient_accumulation_steps=2))
        model.fit(toys.points(), batch_size=16, steps=7, verbose=0)
        values.append(model.value)
    np.testing.assert_allclose(*values, rtol=1e-5)
    assert np.abs(values[0]).min() > 0.2  # three updates of 0.1


def test_gradients_of_a_scaled_loss_are_clipped_in_true_units():
    values = []
    for scale in (None, 128.0):
        model = mean_model(keras.optimizers.SGD(0.05, loss_scale_factor=scale), clipnorm=0.5)
        model.fit(toys.points(), batch_size=16, steps=9, verbose=0)
        values.append(model.value)
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_average_is_the_recursion_with_warm_up_and_is_what_the_model_is_at_rest():
    model = mean_model(ema=0.8)
    model.fit(toys.points(), batch_size=16, steps=60, verbose=0)
    average = np.zeros(2)
    raw = descend(toys.points(), 16, 60)
    for t, value in enumerate(raw):
        decay = min(0.8, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * value
    np.testing.assert_allclose(model.value, average, rtol=1e-5)
    np.testing.assert_allclose(model.average.held[0].numpy(), raw[-1], rtol=1e-5)
    model.fit(toys.points(), batch_size=16, steps=1, verbose=0)  # goes on from the raw weights
    assert not np.allclose(model.average.held[0].numpy(), average)


def test_average_holds_batch_norm_statistics_and_weights_loaded_before_training_count():
    model = toys.noisy_vae()
    model.compile(ema=0.9)
    norm = next(layer for layer in model.encoder.layers if isinstance(layer, keras.layers.BatchNormalization))
    norm.moving_mean.assign(np.full(32, 7.0))  # as if pretrained weights were loaded after compile
    model.fit(toys.images(), batch_size=16, steps=1, verbose=0)
    raw = next(h for h, v in zip(model.average.held, model.average._averaged) if v is norm.moving_mean).numpy()
    # First update: decay (1 + 0) / (10 + 0).
    np.testing.assert_allclose(norm.moving_mean.numpy(), 0.1 * 7.0 + 0.9 * raw, rtol=1e-5)


def test_every_update_of_every_player_gets_a_fresh_batch():
    """The sums that the players see are those of consecutive batches of the data's order."""
    x = np.arange(100, dtype=np.float32)[:, None]

    class Counter(gm.GenerativeModel):
        def __init__(self):
            super().__init__((1,), levels=None)
            self.first, self.second = keras.layers.Dense(1), keras.layers.Dense(1)
            for layer in (self.first, self.second):
                layer.build((None, 1))

        def objectives(self):
            def objective(name, layer, updates):
                def loss(batch, seed, training):
                    return tf.reduce_mean(layer(batch.x)), {f"{name}_saw": tf.reduce_sum(batch.x)}

                return gm.Objective(name, loss, layer, updates=updates)

            return (objective("a", self.first, 3), objective("b", self.second, 1))

    model = Counter()
    history = model.fit(x, batch_size=5, steps=5, verbose=0).history  # 5 steps × 4 updates × 5 = 100: one epoch
    stream = iter(batches(as_dataset(x, event_shape=(1,), levels=None), 5, seed=0))
    sums = np.array([next(stream).numpy().sum() for _ in range(20)]).reshape(5, 4)
    assert len(history["a_saw"]) == 1
    np.testing.assert_allclose(history["a_saw"], sums[:, :3].mean(), rtol=1e-6)
    np.testing.assert_allclose(history["b_saw"], sums[:, 3].mean(), rtol=1e-6)
    assert int(model.optimizers["a"].iterations) == 15 and int(model.optimizers["b"].iterations) == 5


def test_seeds_are_new_at_every_update_and_the_same_in_every_run():
    class Noise(toys.Mean):
        def _loss(self, batch, seed, training):
            noise = tf.random.stateless_uniform([], seed, alg="philox")
            return super()._loss(batch, seed, training)[0], {"noise": noise}

    history = [Noise().fit(toys.points(8), batch_size=8, epochs=20, verbose=0, seed=s).history for s in (1, 1, 2)]
    assert history[0] == history[1]
    assert len({*history[0]["noise"], *history[2]["noise"]}) == 40


def test_epochs_are_as_many_as_asked_for_however_small_the_data():
    for num in (5, 16, 50):
        history = mean_model().fit(toys.points(num), batch_size=16, epochs=3, verbose=0)
        assert history.epoch == [0, 1, 2]


def test_one_trace_a_fit():
    traces = []

    class Traced(toys.Mean):
        def _loss(self, batch, seed, training):
            traces.append(training)
            return super()._loss(batch, seed, training)

    Traced().fit(toys.points(), batch_size=8, epochs=3, validation_data=toys.points(24), verbose=0)
    assert traces.count(True) == 1
    assert traces.count(False) == 1


def test_many_models_in_one_process_are_trained_without_a_warning_of_retracing(monkeypatch):
    said = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda text, *rest: said.append(text))
    for _ in range(7):  # TensorFlow warns from the fifth on
        model = toys.Mean()
        model.compile("sgd", ema=0.9)
        model.fit(toys.points(8), batch_size=8, steps=1, verbose=0)
    assert not said


def test_functions_run_eagerly_where_that_is_asked_for():
    seen = []

    class Mean(toys.Mean):
        def _loss(self, batch, seed, training):
            seen.append(tf.executing_eagerly())
            return super()._loss(batch, seed, training)

    tf.config.run_functions_eagerly(True)
    try:
        model = Mean()
        model.compile(keras.optimizers.SGD(0.05))
        model.fit(toys.points(8), batch_size=8, steps=2, verbose=0)
    finally:
        tf.config.run_functions_eagerly(False)
    assert seen == [True, True]


def test_toy_wgan_learns_where_the_points_are():
    keras.utils.set_random_seed(0)
    model = toys.ToyWGAN()
    optimizers = {"critic": keras.optimizers.RMSprop(0.005), "generator": keras.optimizers.RMSprop(0.005)}
    model.compile(optimizers, ema=0.98)
    history = model.fit(toys.points(2000), batch_size=64, steps=400, verbose=0).history
    assert {"critic_loss", "generator_loss", "distance"} <= set(history)
    np.testing.assert_allclose(model.sample(2000).numpy().mean(0), [2.0, -1.0], atol=0.35)


def test_bfloat16_trains_in_bfloat16_and_measures_in_float32():
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp", dtype="mixed_bfloat16")
    assert {layer.compute_dtype for layer in model.encoder.layers if layer.weights} == {"bfloat16", "float32"}
    history = model.fit(toys.images(), batch_size=16, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(v.dtype == "float32" for v in model.trainable_variables)


def test_float16_scales_the_loss_and_clips_in_true_units():
    keras.utils.set_random_seed(0)
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp", dtype="mixed_float16")
    model.compile(keras.optimizers.SGD(1.0), clipnorm=1e-3)
    optimizer = model.optimizers["model"]
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    steps = 30  # the first scales overflow and are skipped
    places = []

    def keep():
        places.append(np.concatenate([v.numpy().ravel() for v in model.trainable_variables]))

    keep()
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: keep())
    model.fit(toys.images(), batch_size=16, steps=steps, verbose=0, callbacks=[callback])
    moves = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert len(moves) == steps and 0 < np.count_nonzero(moves) == int(optimizer.inner_optimizer.iterations)
    np.testing.assert_allclose(moves[moves > 0], 1e-3, rtol=0.01)  # the gradient is longer at every step


def test_jit_compile_takes_the_same_steps():
    values = []
    for jit_compile in (False, True):
        model = mean_model(jit_compile=jit_compile, accumulate=2, clipnorm=1.0, ema=0.9)
        model.fit(toys.points(), batch_size=16, steps=10, verbose=0)
        values.append(model.value)
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_weight_regularizers_join_the_loss():
    layer = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.5))
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer])
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=network)
    expected = 0.5 * float((layer.kernel.numpy() ** 2).sum())
    history = model.fit(toys.images(), batch_size=16, steps=1, verbose=0).history
    np.testing.assert_allclose(history["regularization"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(history["loss"][0], expected - history["elbo"][0], rtol=1e-5)


# ------------------------------------------------------------------------------------------- data and evaluation


def test_evaluate_is_the_mean_over_examples_whatever_the_batch_size():
    model = mean_model()
    x = toys.points(37)
    expected = (x.astype(np.float64) ** 2).sum(1).mean()
    for batch_size in (5, 37, 100):
        np.testing.assert_allclose(model.evaluate(x, batch_size=batch_size)["loss"], expected, rtol=1e-5)


def test_a_dataset_of_tensorflow_is_taken_single_or_batched():
    x = toys.points(40)
    results = []
    for dataset in (tf.data.Dataset.from_tensor_slices(x), tf.data.Dataset.from_tensor_slices(x).batch(7)):
        model = mean_model()
        model.fit(dataset, batch_size=8, steps=10, verbose=0)
        results.append(model.value)
        np.testing.assert_allclose(model.evaluate(dataset)["loss"], model.evaluate(x)["loss"], rtol=1e-5)
    np.testing.assert_array_equal(*results)
    with pytest.raises(ValueError, match="give `steps`"):
        mean_model().fit(dataset, batch_size=8, epochs=1, verbose=0)


# ------------------------------------------------------------------------------------------- the Keras face


def test_keras_callbacks_work(tmp_path):
    log = tmp_path / "keras.csv"
    seen = []
    callbacks = [
        keras.callbacks.CSVLogger(log),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=50),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"]))),
        keras.callbacks.TerminateOnNaN(),
    ]
    model = mean_model(ema=0.5)
    x = toys.points(64)
    history = model.fit(x, batch_size=16, epochs=3, validation_data=x[:20], callbacks=callbacks, verbose=0)
    assert history.epoch == [0, 1, 2]
    assert [batch for batch, _ in seen] == [0, 1, 2, 3] * 3
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05 / 8)
    with open(log, newline="") as file:
        assert [float(row["val_loss"]) for row in csv.DictReader(file)] == history.history["val_loss"]
    # ModelCheckpoint saw the averaged weights that validation measured.
    best = keras.models.load_model(tmp_path / "best.keras")
    assert best.evaluate(x[:20], batch_size=16)["loss"] == pytest.approx(min(history.history["val_loss"]), rel=1e-6)


def test_early_stopping_restores_the_best_weights():
    x = toys.points(64)
    model = mean_model(keras.optimizers.SGD(1.2))  # diverges: the first epoch is the best
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    history = model.fit(x, batch_size=64, epochs=50, validation_data=x, callbacks=[stop], verbose=0)
    assert len(history.epoch) == 3
    assert model.evaluate(x, batch_size=64)["loss"] == pytest.approx(history.history["val_loss"][0], rel=1e-6)


def test_run_directory_holds_everything(tmp_path, capsys):
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
    model.fit(toys.images(), batch_size=16, epochs=2, validation_data=toys.images(8), run_dir=tmp_path / "run")
    assert {"run.json", "log.csv", "samples", "checkpoints", "model.keras", "metrics.json"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    rows = gm.plots.read_log(tmp_path / "run" / "log.csv")
    assert [row["step"] for row in rows] == [4, 8] and "val_elbo" in rows[0]
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["step-00000008.png"]
    out = capsys.readouterr().out
    assert "step 8/8" in out and "loss" in out and "left" in out


def test_points_are_drawn_as_a_scatter_plot(tmp_path):
    model = mean_model()
    model.fit(toys.points(), batch_size=16, steps=2, run_dir=tmp_path / "run", verbose=0)
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["step-00000002.png"]


def drawn(run, steps, save_every):
    """The weights of each picture of a run of one epoch, and those it ends with."""
    pictures = []

    class Watched(toys.Mean):
        def generate(self, streams, labels):
            pictures.append(self.value)
            return super().generate(streams, labels)

    model = Watched()
    model.compile(keras.optimizers.SGD(0.05), ema=0.5)
    alone = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)  # one step a call
    options = {"batch_size": 4, "steps": steps, "callbacks": alone, "save_every": save_every, "verbose": 0}
    model.fit(toys.points(64), run_dir=run, **options)
    return pictures, model.value


def test_pictures_within_an_epoch_are_of_the_averaged_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("genmodels.training.trainer.PICTURES", 1e9)
    pictures, value = drawn(tmp_path / "all", 5, save_every=1e-6)
    assert len(pictures) == 5
    for step, picture in enumerate(pictures, start=1):
        last, _ = drawn(tmp_path / str(step), step, save_every=1e6)
        np.testing.assert_array_equal(picture, last[0])
    assert [p.name for p in sorted((tmp_path / "all" / "samples").iterdir())] == [
        f"step-{step:08d}.png" for step in range(1, 6)
    ]
    np.testing.assert_array_equal(value, drawn(tmp_path / "plain", 5, save_every=1e6)[1])


def test_pictures_take_little_of_the_time(tmp_path, monkeypatch):
    """The first comes when it is due; where it took long, the next is far away."""
    monkeypatch.setattr("genmodels.training.trainer.PICTURES", 1e-9)
    assert len(drawn(tmp_path / "run", 16, save_every=1e-6)[0]) == 2  # and that of the end


def test_tensorboard_has_the_figures_of_every_epoch_where_it_is_installed(tmp_path, monkeypatch):
    """Only `tf.summary.scalar` needs it; `write`, which that calls, does not."""
    from genmodels.training import trainer

    monkeypatch.setattr(trainer, "tensorboard_installed", lambda: True)
    monkeypatch.setattr(tf.summary, "scalar", tf.summary.write)
    x, run = toys.points(32), tmp_path / "run"
    history = mean_model().fit(x, batch_size=16, epochs=2, validation_data=x, run_dir=run, verbose=0).history
    (file,) = (run / "tensorboard").iterdir()
    written = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        written.update({(v.tag, event.step): float(tf.make_ndarray(v.tensor)) for v in event.summary.value})
    assert {"loss", "val_loss"} <= {*history}
    assert written == pytest.approx({(name, i): values[i] for name, values in history.items() for i in (0, 1)})


# ------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_a_loss_that_is_not_finite_names_step_and_objective(tmp_path, player):
    class Breaks(toys.ToyWGAN):
        def objectives(self):
            def broken(objective):
                def loss(batch, seed, training):
                    value, metrics = objective.loss(batch, seed, training)
                    step = self.optimizers["generator"].iterations
                    return tf.where(step >= 6, np.nan, value), metrics

                return gm.Objective(objective.name, loss, objective.network, objective.updates)

            return tuple(broken(o) if o.name == player else o for o in super().objectives())

    model = Breaks()
    with pytest.raises(FloatingPointError, match=f"{player!r} is not finite at step 6.*checkpoints"):
        model.fit(toys.points(), batch_size=16, steps=50, run_dir=tmp_path / "run", verbose=0, save_every=1e-6)
    from genmodels.training import checkpoints

    arrays, record = checkpoints.load_latest(tmp_path / "run" / "checkpoints")
    assert record["step"] <= 6
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert not (tmp_path / "run" / "model.keras").exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss of the step that breaks them is that of the weights before it, and finite."""
    model = mean_model(keras.optimizers.SGD(3e38))
    with pytest.raises(FloatingPointError, match="kernel is not finite at step 1; no checkpoint was written"):
        model.fit(toys.points(), batch_size=16, steps=50, run_dir=tmp_path / "run", verbose=0, save_every=1e-6)
    assert not np.isfinite(model.value).all()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000000000.npz"]
    assert not (tmp_path / "run" / "model.keras").exists()


def test_wrong_settings_are_refused_before_any_work(tmp_path):
    model, x = mean_model(), toys.points()
    fits = [
        ({}, "either `epochs` or `steps`"),
        ({"epochs": 1, "steps": 1}, "either `epochs` or `steps`"),
        ({"epochs": 0}, "`epochs` must be an integer ≥ 1; got 0"),
        ({"steps": 1, "batch_size": 0}, "`batch_size` must be an integer ≥ 1; got 0"),
        ({"steps": 1, "save_every": 0}, "`save_every`"),
        ({"steps": 1, "callbacks": [print]}, "keras.callbacks.Callback"),
        ({"steps": 1, "verbose": 3}, "`verbose`"),
        ({"steps": 1, "seed": -1}, "`seed`"),
        ({"steps": 1, "seed": 2**63}, "`seed`"),
        ({"steps": True}, "`steps` must be an integer ≥ 1; got True"),
        ({"steps": 1, "validation_data": tf.data.Dataset.from_tensor_slices(x).repeat()}, "needs an end"),
    ]
    for options, message in fits:
        with pytest.raises(ValueError, match=message):
            model.fit(x, run_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    compiles = [
        ({"ema": 1.0}, "`ema` must be between 0 and 1"),
        ({"clipnorm": 0}, "`clipnorm` must be above 0"),
        ({"accumulate": 0}, "`accumulate`"),
        ({"optimizer": {"player": "adam"}}, r"expected \['model'\], got \['player'\]"),
        ({"optimizer": mean_model().optimizer}, "built for another network"),
    ]
    for options, message in compiles:
        with pytest.raises(ValueError, match=message):
            model.compile(**options)
    with pytest.raises(ValueError, match="multiple of accumulate=3"):
        mean_model(accumulate=3).fit(x, batch_size=16, steps=1)
    with pytest.raises(ValueError, match=r"data have shape \(3,\)"):
        model.fit(np.zeros((4, 3), np.float32), steps=1)


def test_a_refused_compile_leaves_the_model_as_it_was():
    model = mean_model(ema=0.9)
    with pytest.raises(ValueError, match="adamm"):
        model.compile("adamm")
    model.fit(toys.points(), batch_size=16, steps=np.int64(2), callbacks=None, verbose=0)
    assert model.average.decay == 0.9 and int(model.average.updates.numpy()) == 2


@pytest.mark.parametrize("name", ["LearningRateScheduler", "ReduceLROnPlateau"])
def test_callbacks_that_set_one_rate_are_refused_where_there_are_several(name):
    callback = getattr(keras.callbacks, name)(*[lambda epoch: 0.1] * (name == "LearningRateScheduler"))
    with pytest.raises(ValueError, match=f"{name} sets the rate of one optimizer; ToyWGAN has one .*schedules"):
        toys.ToyWGAN().fit(toys.points(), steps=1, callbacks=callback, verbose=0)


def test_activity_regularizers_are_refused():
    dense = keras.layers.Dense(8, activity_regularizer="l2", name="penalized")
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp", encoder=network)
    with pytest.raises(ValueError, match=r"'penalized' .* activity regularizer"):
        model.fit(toys.images(), steps=1)


def test_optimizers_that_average_weights_are_refused_where_training_starts(tmp_path):
    model = mean_model(keras.optimizers.Adam(use_ema=True))
    model.save(tmp_path / "model.keras")
    for one in (model, gm.load_model(tmp_path / "model.keras")):  # which an earlier commit may have saved
        with pytest.raises(ValueError, match=r"use_ema.*compile\(ema=…\)"):
            one.fit(toys.points(), steps=1)


def test_an_optimizer_goes_on_where_a_part_is_frozen():
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=4, architecture="mlp")
    model.fit(toys.images(), batch_size=16, steps=1, verbose=0)
    model.encoder.trainable = False
    model.compile(model.optimizer)
    before = [v.numpy() for v in (model.encoder.weights[0], model.decoder.weights[0])]
    model.fit(toys.images(), batch_size=16, steps=1, verbose=0)
    moved = [np.any(v.numpy() != old) for v, old in zip((model.encoder.weights[0], model.decoder.weights[0]), before)]
    assert moved == [False, True]


def test_a_run_ends_where_its_samples_cannot_be_drawn(tmp_path):
    class Infinite(toys.Mean):
        def generate(self, streams, labels):
            return super().generate(streams, labels) / 0.0

    model = Infinite()
    with pytest.warns(UserWarning, match="samples of step 2 are not finite"):
        model.fit(toys.points(), batch_size=16, steps=2, run_dir=tmp_path / "run", verbose=0)
    assert (tmp_path / "run" / "model.keras").is_file() and not (tmp_path / "run" / "samples").exists()


def test_a_weight_that_the_loss_does_not_reach_is_named():
    class Forgotten(toys.Mean):
        def __init__(self):
            super().__init__()
            self.spare = keras.layers.Dense(1, name="spare")
            self.spare.build((None, 2))

        def objectives(self):
            return (gm.Objective("model", self._loss, self),)

    with pytest.raises(ValueError, match="spare/kernel"):
        Forgotten().fit(toys.points(), batch_size=16, steps=1, verbose=0)


def test_importing_loads_nothing_heavy_that_tensorflow_does_not():
    heavy = "{m for m in ('tensorflow_probability', 'matplotlib', 'sklearn', 'PIL', 'typer') if m in sys.modules}"
    code = f"import sys, tensorflow; before = {heavy}; import genmodels; print({heavy} - before)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize("told", ["0", None])
def test_onednn_is_asked_for_unless_told(monkeypatch, told):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "environ", {} if told is None else {"TF_ENABLE_ONEDNN_OPTS": told})
    runpy.run_path(gm.__file__)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == (told or "1")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")  # where it was not measured
    monkeypatch.setattr(os, "environ", {})
    runpy.run_path(gm.__file__)
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


def test_progress_bar_on_a_terminal_keeps_step_and_time_on_80_columns(monkeypatch, capsys):
    from genmodels.training.callbacks import Progress

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    progress = Progress(total=1000, done=0, verbose=1)
    progress.update(10, {"loss": 1.25, **{f"a_long_metric_{i}": 0.5 for i in range(9)}})
    progress.update(500, {"loss": 1.0, **{f"a_long_metric_{i}": 0.5 for i in range(9)}})
    progress.close()
    out = capsys.readouterr().out
    assert "500/1000" in out and "loss 1 " in out
    assert "a_long_metric_8" not in out  # cut, rather than the step or the time left
