"""The harness: what happens around the training steps, which are `Loop`'s: logs, evaluation, pictures, saving."""

import hashlib
import math
import time
import warnings

import keras
import tensorflow as tf

from genmodels import data as datasets
from genmodels.memory import peak_memory
from genmodels.sampling import make_seed
from genmodels.settings import checked_count, serialized
from genmodels.training import optimizers
from genmodels.training.callbacks import (
    Interruption,
    Progress,
    TensorBoardScalars,
    changed_state,
    simple_state,
    tensorboard_installed,
    works_on_batches,
)
from genmodels.training.evaluation import evaluate
from genmodels.training.loop import Loop
from genmodels.training.replicas import Replicas
from genmodels.training.run_directory import RunDirectory, comparable

CALL_SECONDS = 0.25  # a call grows to about this long: short enough to interrupt, long enough to amortise Python
LONGEST_CALL = 1000  # steps
PICTURES = 0.05  # of the time of training may be spent on pictures
STREAM_EPOCH = 1000  # steps of an "epoch" of data whose length is unknown
RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)  # which ask for `model.optimizer`


class Trainer:
    """Trains any model that names its objectives. `GenerativeModel.fit` documents the arguments.

    The training state is the model's and optimizers' variables and the step. Random numbers and the order of the
    data are functions of (seed, step), so a run that continues from a checkpoint repeats the run that was never
    interrupted, bit for bit.
    """

    def __init__(self, model, *, batch_size, callbacks, run_dir, resume, seed, verbose, save_every):
        replicas = Replicas(model.distribute_strategy, batch_size, model._settings["accumulate"])
        if save_every <= 0:
            raise ValueError(f"`save_every` must be a positive number of seconds; got {save_every}.")
        if verbose not in ("auto", 0, 1):
            raise ValueError(f'`verbose` must be "auto", 0 or 1; got {verbose!r}.')
        seed = checked_count("seed", seed, 0, most=2**63 - 1)
        callbacks = keras.tree.flatten(callbacks) if callbacks else []  # one alone and none, as Keras takes them
        for callback in callbacks:
            if not isinstance(callback, keras.callbacks.Callback):
                raise ValueError(f"`callbacks` must be keras.callbacks.Callback objects; got {callback!r}.")
            if type(callback) in RATES and len(model.optimizers) > 1:
                raise ValueError(
                    f"{type(callback).__name__} sets the rate of one optimizer; {type(model).__name__} has one for "
                    f"each of {', '.join(model.optimizers)}: give `compile` optimizers with schedules."
                )
        optimizers.check(model)
        self.model, self.replicas, self.batch_size = model, replicas, int(batch_size)
        self.seed_number, self.seed = seed, make_seed(seed)
        self.callbacks, self.run_dir, self.resume = callbacks, run_dir, resume
        self.verbose, self.save_every = verbose, save_every
        self.rows = []  # one dictionary of figures an epoch
        self.seconds = 0.0  # of training before this process

    @property
    def step(self):
        """The number of training steps made so far."""
        return int(self.loop.step)

    def fit(self, x, y=None, *, epochs=None, steps=None, validation_data=None):
        """Trains; see `GenerativeModel.fit`."""
        with Loop.of(self.model, self.replicas) as self.loop:
            return self._fit(x, y, epochs, steps, validation_data)

    def _fit(self, x, y, epochs, steps, validation_data):
        model = self.model
        expected = {
            "event_shape": model.event_shape, "levels": model.levels, "num_classes": model.num_classes,
            "condition_dim": model.condition_dim,
        }  # fmt: skip
        data = datasets.as_dataset(x, y, **expected)
        self.validation = None
        if validation_data is not None:
            self.validation = datasets.as_dataset(validation_data, name="validation data", **expected)
            datasets.check_end(self.validation)
        self.per_epoch, self.total = self._lengths(data, epochs, steps)
        self.progress = None
        self.run = None
        if self.run_dir is not None:
            self.run = RunDirectory(self.run_dir, self._settings(data), self.resume, self.replicas.chief)
            self.conditions = self._conditions(data)
            if tensorboard_installed() and self.replicas.chief:
                self.callbacks.append(TensorBoardScalars(self.run.path / "tensorboard"))
        self.history = keras.callbacks.History()
        self.list = keras.callbacks.CallbackList(
            [self.history, *self.callbacks], model=model, epochs=math.ceil(self.total / self.per_epoch),
            steps=self.per_epoch, verbose=0,
        )  # fmt: skip
        model.stop_training = False
        self.started = self.saved = time.monotonic()
        self.picture_due = self.started + self.save_every
        checkpoint = None if self.run is None else self.run.load_checkpoint()
        if checkpoint is not None and self._is_finished(checkpoint[1]):
            self.history.on_train_begin()  # but not the user's callbacks: a CSVLogger empties its file
            self._restore(*checkpoint)
            if self.verbose != 0:
                more = "" if self.step == self.total else f", {self.total} were asked for"
                print(f"{self.run.path} holds a finished run of {self.step} steps{more}: nothing left to train.")
            return self.history
        self.list.on_train_begin()
        self.baselines = [simple_state(callback) for callback in self.callbacks]
        if checkpoint is not None:
            self._restore(*checkpoint)
        if self.step < self.total and not model.stop_training:
            self._train(data, restored=checkpoint is not None)
        if self.step and (not self.rows or self.rows[-1]["step"] != self.step):
            self._end_epoch((self.step - 1) // self.per_epoch, self.loop.means())  # interrupted where this one ends
        self._end()
        return self.history

    def _train(self, data, restored):
        model = self.model
        self.saved_step = self.step
        self.progress = Progress(self.total, self.step, self.verbose)
        self.progress.note("compiling the first step")
        if restored:
            self.progress.note(f"resumed {self.run.path} at step {self.step}")
        if model.average is not None:
            model.average.wake()
        if self.run is not None and not restored:
            self._checkpoint()
        try:
            with Interruption() as self.interruption:
                self._train_all(data)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        finally:
            self.progress.close()
            if model.average is not None:
                model.average.rest()

    def _end(self):
        """What follows the last step; done again where it was interrupted."""
        if self.model.average is not None:
            self.model.average.rest()  # a checkpoint of the last step may be awake
        self.list.on_train_end(self.rows[-1] if self.rows else None)
        if self.run is not None:
            self._checkpoint()
            self._picture()
            self.run.withdraw_metrics()  # of a shorter run that this one continued
            self.run.save_model(self.model)
            last = self.rows[-1] if self.rows else {"seconds": self._seconds()}
            self.run.write_metrics({**last, "step": self.step, "peak_memory_mib": peak_memory()})

    def _train_all(self, data):
        iterator = iter(
            datasets.batches(
                data, self.batch_size, seed=self.seed_number, start=self.step * self.loop.batches_per_step
            )
        )
        one_by_one = any(works_on_batches(callback) for callback in self.callbacks)
        train = self.loop.traced(iterator, self.seed)
        chunk, step = 1, self.step
        while step < self.total and not self.model.stop_training:
            epoch, within = divmod(step, self.per_epoch)
            if within == 0:
                self._begin_epoch(epoch)
            stop = min(step + chunk, (epoch + 1) * self.per_epoch, self.total)
            self.list.on_train_batch_begin(within)
            began = time.monotonic()
            train(iterator, tf.constant(stop, tf.int64), self.seed)
            took = time.monotonic() - began
            self._check_finite()
            # Towards calls of CALL_SECONDS.
            if not one_by_one and took < CALL_SECONDS and stop - step == chunk:
                chunk = min(2 * chunk, LONGEST_CALL)
            step = stop
            logs = self.loop.means()
            self.list.on_train_batch_end(step - epoch * self.per_epoch - 1, logs)
            self.progress.update(step, logs)
            if self._ends_epoch(step):
                self._end_epoch(epoch, logs)
            if self.run is not None:
                self._picture_when_due()
            if self.interruption.asked:
                raise KeyboardInterrupt
            if self.run is not None and time.monotonic() - self.saved >= self.save_every:
                self._checkpoint()

    def _ends_epoch(self, step):
        """Whether an epoch, whole or not, ends with this step, and so has a row."""
        return step % self.per_epoch == 0 or step == self.total or self.model.stop_training

    def _begin_epoch(self, epoch):
        self.loop.clear()
        self.list.on_epoch_begin(epoch)

    def _end_epoch(self, epoch, logs):
        """Validation, callbacks and log, with the averaged weights."""
        with self.model.averaged():
            if self.validation is not None:
                results = evaluate(self.model, self.validation, seed=self.seed_number)
                logs = {**logs, **{f"val_{name}": value for name, value in results.items()}}
            self.list.on_epoch_end(epoch, logs)
            self.rows.append({"epoch": epoch, "step": self.step, "seconds": self._seconds(), **logs})
            if self.run is not None:
                self.run.write_log(self.rows)

    def _seconds(self):
        """Of training, in this process and before."""
        return round(self.seconds + time.monotonic() - self.started, 3)

    def _check_finite(self):
        broken = self.loop.broken()
        if broken is None:
            return
        kept = "" if self.run is None else f" The last good checkpoint is in {self.run.path / 'checkpoints'}."
        raise FloatingPointError(
            f"the loss of objective {broken!r} is not finite at step {self.step - 1}.{kept} "
            "A lower learning rate or a clipnorm may help."
        )

    # ------------------------------------------------------------------ state

    def _checkpoint(self):
        self._check_finite()
        arrays = {name: variable.numpy() for name, variable in self._variables().items()}
        self._check_weights(arrays)
        states = []
        for number, (callback, baseline) in enumerate(zip(self.callbacks, self.baselines)):
            plain, lists = changed_state(callback, baseline)
            states.append([type(callback).__name__, plain, {name: len(values) for name, values in lists.items()}])
            for name, values in lists.items():
                arrays.update({f"callback/{number}/{name}/{i}": value for i, value in enumerate(values)})
        average = self.model.average
        record = {
            "rows": self.rows,
            **self.loop.state(),
            "callbacks": states,
            "resting": average is None or average.resting,
            "stopped": bool(self.model.stop_training),
            "seconds": self.seconds + time.monotonic() - self.started,
        }
        self.run.save_checkpoint(self.step, arrays, record)
        self.saved, self.saved_step = time.monotonic(), self.step

    def _is_finished(self, record):
        """Whether a checkpoint's record is of a run with nothing left to train or to write."""
        return (record["step"] >= self.total or record["stopped"]) and self.run.finished(record["step"])

    def _restore(self, arrays, record):
        """Continues from a checkpoint."""
        for name, variable in self._variables().items():
            array = arrays.get(name)
            if array is None or array.shape != tuple(variable.shape):
                found = "nothing" if array is None else array.shape
                raise ValueError(
                    f"the checkpoint in {self.run.path} has {found} for {variable.path}; expected {variable.shape}."
                )
            variable.assign(array)
        if self.model.average is not None:
            self.model.average.resting = record["resting"]
        self.loop.restore(record["step"], record["names"], record["totals"])
        self.rows, self.seconds = record["rows"], record["seconds"]
        self.model.stop_training = record["stopped"]
        if self.rows and self.step < self.total and not self._ends_epoch(self.rows[-1]["step"]):
            self.rows.pop()  # of an epoch that was the last and now goes on
        for row in self.rows:
            logs = {name: value for name, value in row.items() if name not in ("epoch", "step", "seconds")}
            self.history.on_epoch_end(row["epoch"], logs)
        self.run.write_log(self.rows)
        self._restore_callbacks(arrays, record["callbacks"])

    def _restore_callbacks(self, arrays, states):
        for number, (kind, plain, lengths) in enumerate(states):
            if number >= len(self.callbacks) or type(self.callbacks[number]).__name__ != kind:
                if plain or lengths:
                    warnings.warn(f"the run had a {kind} as callback {number}; its state is dropped.", stacklevel=2)
                continue
            vars(self.callbacks[number]).update(plain)
            for name, length in lengths.items():
                values = [arrays[f"callback/{number}/{name}/{i}"] for i in range(length)]
                setattr(self.callbacks[number], name, values)

    def _variables(self):
        """Everything that training changes: weights, statistics, averages, dropout seeds, optimizers' state.

        By number: Keras' automatic names count what was built before in the process. `run.json` has made sure
        that the model is the same.
        """
        fixed = {id(v) for part in self.model.fixed_parts() for v in part.variables}
        named = {f"model/{i}": v for i, v in enumerate(v for v in self.model.variables if id(v) not in fixed)}
        for objective, optimizer in zip(self.loop.objectives, self.loop.optimizers):
            named.update({f"optimizer/{objective.name}/{i}": v for i, v in enumerate(optimizer.variables)})
        return named

    def _check_weights(self, arrays):
        """A checkpoint is good: its weights are finite."""
        variables = self._variables()
        broken = [variable.path for name, variable in variables.items() if not _finite(arrays[name])]
        if broken:
            raise FloatingPointError(
                f"{broken[0]} is not finite at step {self.step}; no checkpoint was written, and the last good one "
                f"is in {self.run.path / 'checkpoints'}. A lower learning rate or a clipnorm may help."
            )

    def _interrupted(self):
        if self.run is None:
            return
        step, done = self.step, self.rows[-1]["step"] if self.rows else 0
        # Where the end of an epoch was interrupted, half of it is undone: the last checkpoint stands.
        if done == step or not self._ends_epoch(step):
            self._checkpoint()
            self.run.withdraw_metrics()  # of a shorter run that this one continued
            self.run.save_model(self.model)  # as it is: to look at, and to stay with
        self.progress.note(f"interrupted; run the same again to continue {self.run.path} at step {self.saved_step}")

    def _picture_when_due(self):
        """Samples of the averaged weights, every `save_every` seconds where drawing them takes little of these."""
        began = time.monotonic()
        last = self.step == self.total or self.model.stop_training  # whose picture is `_end`'s
        if began < self.picture_due or last or self.interruption.asked:
            return
        with self.model.averaged():
            self._picture()
        now = time.monotonic()
        self.picture_due = now + max(self.save_every, (now - began) / PICTURES)

    def _picture(self):
        self.run.save_samples(self.model, self.step, self.seed_number, self.conditions)

    def _conditions(self, data):
        """Condition vectors for the pictures of samples: those of the data, or of a stream's first batch."""
        if self.model.condition_dim is None:
            return None  # a model of classes takes them in turn
        if isinstance(data, datasets.Stream):
            return next(iter(data.read(self.batch_size, endless=True)))[1].numpy()
        return data.labels

    def _lengths(self, data, epochs, steps):
        """Steps of an epoch and of the whole run."""
        if (epochs is None) == (steps is None):
            raise ValueError(f"give either `epochs` or `steps`; got epochs={epochs}, steps={steps}.")
        if epochs is None:
            steps = checked_count("steps", steps, 1)
        else:
            epochs = checked_count("epochs", epochs, 1)
        if isinstance(data, datasets.Stream):
            if steps is None:
                raise ValueError("the length of a tf.data.Dataset is unknown: give `steps` instead of `epochs`.")
            return min(steps, STREAM_EPOCH), steps
        # Whole steps, as in Keras; the next epoch goes on in the data's order where this one's last batch ended.
        per_epoch = math.ceil(len(data) / (self.batch_size * self.loop.batches_per_step))
        return per_epoch, epochs * per_epoch if steps is None else steps

    def _settings(self, data):
        """What must be the same for a run to be continued; its length may grow."""
        model = self.model.get_config()
        model.pop("name", None)
        model["dtype"] = serialized(self.model.dtype_policy)  # also where the constructor takes none
        if self.model.fixed_parts():
            model["weights of fixed parts"] = _weights_hash(self.model.fixed_parts())
        training = {"batch_size": self.batch_size, "seed": self.seed_number, **self.model.get_compile_config()}
        training["accumulate"] = self.replicas.parts  # whoever takes them
        return {
            "model": {"class": type(self.model).__name__, **comparable(model)},
            "data": {"name": data.name, "fingerprint": data.fingerprint()},
            "training": comparable(training),
        }


def _weights_hash(parts):
    digest = hashlib.sha256()
    for weight in (weight for part in parts for weight in part.weights):
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()[:16]


def _finite(array):
    return array.dtype.kind not in "fV" or bool(tf.reduce_all(tf.math.is_finite(array)))
