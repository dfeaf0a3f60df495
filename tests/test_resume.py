"""Runs that end early and continue: the final weights are those of the run that was never stopped."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import toys

import genmodels as gm
from genmodels.training import checkpoints
from genmodels.training.run_directory import RunDirectory

SCRIPT = Path(__file__).with_name("killed_run.py")


def run(folder, when="never"):
    return subprocess.run([sys.executable, SCRIPT, folder, when], stderr=subprocess.PIPE).returncode


def arrays(path):
    with np.load(path) as archive:
        return [archive[name] for name in archive.files]


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_killed_runs_end_as_the_undisturbed_one(tmp_path):
    """Dropout, batch norm, an average, a schedule; killed mid-epoch and in the middle of writing."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole) == 0
    for when in ("step 14", "write 3"):
        assert run(killed, when) == -signal.SIGKILL
    assert not (killed / "final.npz").exists()
    assert run(killed) == 0
    for one, other in zip(arrays(whole / "final.npz"), arrays(killed / "final.npz"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows(whole) == rows(killed)
    assert len(rows(whole)) == 5
    assert len(list((killed / "checkpoints").iterdir())) <= 3  # and nothing half-written is left


def trained(folder, steps, callbacks=(), seed=0, **options):
    keras.utils.set_random_seed(1)
    model = toys.Mean()
    model.compile("sgd")
    history = model.fit(
        toys.points(64), batch_size=8, run_dir=folder, verbose=0, callbacks=callbacks, steps=steps, seed=seed, **options
    )
    return model, history


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            raise KeyboardInterrupt


def test_interrupted_run_saves_its_place(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", 20, [Interrupt()])
    _, record = checkpoints.load_latest(tmp_path / "a" / "checkpoints")
    assert record["step"] == 5
    kept = gm.load_model(tmp_path / "a")  # as it was when it was interrupted
    np.testing.assert_array_equal(kept.value, trained(tmp_path / "five", 5)[0].value)
    model, _ = trained(tmp_path / "a", 20)
    np.testing.assert_array_equal(model.value, trained(tmp_path / "b", 20)[0].value)


def test_a_run_that_is_asked_to_end_where_it_was_interrupted_has_its_row(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", 20, [Interrupt()])
    _, history = trained(tmp_path / "a", 5)
    assert rows(tmp_path / "a") == rows(trained(tmp_path / "five", 5) and tmp_path / "five")
    assert len(history.history["loss"]) == 1
    ended, whole = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("a", "five"))
    assert set(ended) == set(whole) and ended["loss"] == whole["loss"] and ended["step"] == 5


def test_history_is_complete_and_a_finished_run_stays(tmp_path):
    trained(tmp_path / "a", 12)  # ends in the middle of an epoch, which then goes on
    _, history = trained(tmp_path / "a", 24)
    assert history.history == trained(tmp_path / "whole", 24)[1].history
    assert history.epoch == [0, 1, 2]
    before = (tmp_path / "a" / "model.keras").read_bytes()
    model, again = trained(tmp_path / "a", 24)
    assert again.history == history.history
    assert (tmp_path / "a" / "model.keras").read_bytes() == before
    np.testing.assert_array_equal(model.value, gm.load_model(tmp_path / "a").value)


@pytest.mark.parametrize("writer", ["save_samples", "save_model", "write_metrics"])
def test_a_run_stopped_while_it_finished_is_finished(tmp_path, monkeypatch, writer):
    """Ctrl-C after the last step, before the last file: the same command writes what is missing."""
    trained(tmp_path / "run", 8)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunDirectory, writer, interrupt)
        trained(tmp_path / "run", 12)
    if writer == "save_samples":
        assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 8
    else:  # the model may be another already
        assert not (tmp_path / "run" / "metrics.json").exists()
    whole, _ = trained(tmp_path / "whole", 12)
    trained(tmp_path / "run", 12)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 12
    loaded = gm.load_model(tmp_path / "run")
    for one, other in zip(loaded.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


class InterruptTheEnd(keras.callbacks.Callback):
    """Interrupts the end of an epoch, at once or, by a signal, after it."""

    def __init__(self, epoch, at_once):
        super().__init__()
        self.at, self.at_once = epoch, at_once

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at and self.at_once:
            raise KeyboardInterrupt
        if epoch == self.at:
            signal.raise_signal(signal.SIGINT)


def test_a_continued_run_that_is_interrupted_keeps_its_place(tmp_path):
    """Also where it ended in the middle of an epoch before; its former figures are not those of the new weights."""
    trained(tmp_path / "a", 12)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", 40, [InterruptInEpoch(2)])
    _, record = checkpoints.load_latest(tmp_path / "a" / "checkpoints")
    assert record["step"] == 20 and len(record["rows"]) == 2
    np.testing.assert_array_equal(
        gm.load_model(tmp_path / "a").value, trained(tmp_path / "twenty", 20)[0].value
    )
    assert not (tmp_path / "a" / "metrics.json").exists()
    with pytest.warns(UserWarning, match="InterruptInEpoch as callback 0"):
        model, history = trained(tmp_path / "a", 40)
    whole, expected = trained(tmp_path / "whole", 40)
    np.testing.assert_array_equal(model.value, whole.value)
    assert history.history == expected.history


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("steps", [5, 8, 12])
def test_interrupting_the_end_of_the_last_epoch_loses_nothing(tmp_path, steps, at_once):
    callbacks = [InterruptTheEnd((steps - 1) // 8, at_once)]
    whole, expected = averaged(tmp_path / "whole", steps)
    with pytest.raises(KeyboardInterrupt):
        averaged(tmp_path / "run", steps, callbacks)
    model, history = averaged(tmp_path / "run", steps)
    assert history.history == expected.history
    for one in (model, gm.load_model(tmp_path / "run")):  # both are the average
        np.testing.assert_array_equal(one.value, whole.value)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == steps


def averaged(folder, steps, callbacks=()):
    model = toys.Mean()
    model.compile("sgd", ema=0.9)
    history = model.fit(toys.points(64), batch_size=8, run_dir=folder, verbose=0, callbacks=callbacks, steps=steps)
    return model, history


def test_a_callback_that_stops_within_an_epoch_ends_it(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = self.model.stop_training or batch == 4

    _, history = trained(tmp_path / "run", 40, [Stop()])
    assert len(history.history["loss"]) == 1
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 5
    _, again = trained(tmp_path / "run", 40, [Stop()])
    assert again.history == history.history


def test_a_callback_may_stop_before_the_first_step(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.stop_training = True

    for folder in (None, tmp_path / "run"):
        _, history = trained(folder, 8, [Stop()])
        assert history.history == {}


def test_a_finished_run_leaves_the_files_of_callbacks_alone(tmp_path):
    for _ in range(2):
        trained(tmp_path / "run", 8, [keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))])
        assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_early_stopping_counts_on_after_a_restart(tmp_path):
    """Its patience and best value are part of the state, its settings are not."""

    def stopping():
        return keras.callbacks.EarlyStopping("loss", patience=3, min_delta=10.0, restore_best_weights=True)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model, history = trained(whole, 400, [stopping()])
    assert len(history.epoch) == 4  # nothing improves by 10: one epoch, then patience
    with pytest.raises(KeyboardInterrupt):
        trained(parts, 400, [stopping(), InterruptInEpoch(2)])
    with pytest.warns(UserWarning, match="InterruptInEpoch as callback 1"):
        resumed, history2 = trained(parts, 400, [stopping(), keras.callbacks.Callback()])
    assert history2.history == history.history
    np.testing.assert_array_equal(model.value, resumed.value)


class InterruptInEpoch(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.params["steps"] and batch == 3 and self.seen == self.at:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = epoch


def test_damaged_checkpoint_falls_back_with_a_warning(tmp_path):
    trained(tmp_path / "a", 10, save_every=1e-6)
    files = sorted((tmp_path / "a" / "checkpoints").glob("*.npz"))
    assert len(files) == 3
    content = bytearray(files[-1].read_bytes())
    content[len(content) // 2] ^= 0xFF
    files[-1].write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        model, _ = trained(tmp_path / "a", 20)
    np.testing.assert_array_equal(model.value, trained(tmp_path / "b", 20)[0].value)


def test_all_checkpoints_damaged_is_an_error(tmp_path):
    trained(tmp_path / "a", 10)
    for file in (tmp_path / "a" / "checkpoints").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="none of the"):
        trained(tmp_path / "a", 20)


def test_another_run_is_refused_by_the_setting_that_differs(tmp_path):
    trained(tmp_path, 4)
    with pytest.raises(ValueError, match=r"training\.seed=0"):
        trained(tmp_path, 4, seed=1)
    with pytest.raises(ValueError, match="resume=True"):
        trained(tmp_path, 4, resume=False)
    model = toys.Mean()
    model.compile(keras.optimizers.SGD(0.5))
    with pytest.raises(ValueError, match=r"learning_rate=0\.0099.*learning_rate=0\.5"):
        model.fit(toys.points(64), batch_size=8, steps=4, run_dir=tmp_path, verbose=0)
    model.compile("sgd")
    with pytest.raises(ValueError, match="fingerprint differs"):
        model.fit(toys.points(64, seed=9), batch_size=8, steps=4, run_dir=tmp_path, verbose=0)
    with pytest.raises(ValueError, match="batch_size=8"):
        model.fit(toys.points(64), batch_size=4, steps=4, run_dir=tmp_path, verbose=0)
    vae = gm.VAE((2,), levels=None, latent_dim=2)
    with pytest.raises(ValueError, match=r"model\.class='Mean'"):
        vae.fit(toys.points(64), batch_size=8, steps=4, run_dir=tmp_path, verbose=0)


def test_a_run_from_before_an_argument_came_is_continued_without_it(tmp_path):
    for steps in (2, 4):
        model = gm.VAE((2,), levels=None, latent_dim=2)
        model.fit(toys.points(64), batch_size=8, steps=steps, run_dir=tmp_path, verbose=0)
        record = json.loads((tmp_path / "run.json").read_text())
        record["settings"]["model"].pop("encoder", None)
        (tmp_path / "run.json").write_text(json.dumps(record))
    assert json.loads((tmp_path / "metrics.json").read_text())["step"] == 4


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"no run\.json"):
        trained(tmp_path, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_users_networks_are_compared_whatever_their_automatic_names(tmp_path):
    toys.noisy_vae().fit(toys.images(), batch_size=8, steps=2, run_dir=tmp_path, verbose=0)
    toys.noisy_vae().fit(toys.images(), batch_size=8, steps=4, run_dir=tmp_path, verbose=0)
    assert json.loads((tmp_path / "metrics.json").read_text())["step"] == 4


def test_bfloat16_arrays_survive(tmp_path):
    import tensorflow as tf

    array = tf.constant([1.5, -2.25], tf.bfloat16).numpy()
    checkpoints.save(tmp_path, 3, {"a": array}, {})
    loaded, record = checkpoints.load_latest(tmp_path)
    assert loaded["a"].dtype == array.dtype and record["step"] == 3
    np.testing.assert_array_equal(loaded["a"].astype(float), [1.5, -2.25])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_call_and_keeps_the_place(tmp_path, number):
    """It arrives during the last call of an epoch, where the epoch's end is still to come."""

    class Signal(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 7:
                signal.raise_signal(number)

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", 20, [Signal()])
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    _, record = checkpoints.load_latest(tmp_path / "a" / "checkpoints")
    assert record["step"] == 8 and len(record["rows"]) == 1
    model, _ = trained(tmp_path / "a", 20)
    np.testing.assert_array_equal(model.value, trained(tmp_path / "b", 20)[0].value)


def test_run_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        trained(tmp_path / "file", 4)
