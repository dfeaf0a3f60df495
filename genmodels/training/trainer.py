"""The harness: many steps a call in one `tf.function`; logging, evaluation, pictures and saving outside it."""

import math
import time
import warnings

import keras
import tensorflow as tf

from genmodels import data as datasets
from genmodels.memory import peak_memory
from genmodels.sampling import fold, make_seed
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
from genmodels.training.evaluation import as_batch, evaluate, metric_names
from genmodels.training.replicas import Replicas
from genmodels.training.run_directory import RunDirectory, comparable

CALL_SECONDS = 0.25  # a call grows to about this long: short enough to interrupt, long enough to amortise Python
LONGEST_CALL = 1000  # steps
FIGURES = 64  # room for an objective's count, loss and metrics
STREAM_EPOCH = 1000  # steps of an "epoch" of data whose length is unknown
RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)  # which ask for `model.optimizer`


class Trainer:
    """Trains any model that names its objectives. `GenerativeModel.fit` documents the arguments.

    The training state is the model's and optimizers' variables and the step. Random numbers and the order of the
    data are functions of (seed, step), so a run that continues from a checkpoint repeats the run that was never
    interrupted, bit for bit.
    """

    def __init__(self, model, *, batch_size, callbacks, run_dir, resume, seed, verbose, save_every):
        settings = model._settings
        replicas = Replicas(model.distribute_strategy, batch_size, settings["accumulate"])
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
        self.model, self.objectives = model, model.objectives()
        self.optimizers = [model.optimizers[objective.name] for objective in self.objectives]
        self.replicas = replicas
        self.batch_size, self.seed_number, self.seed = int(batch_size), seed, make_seed(seed)
        self.callbacks, self.run_dir, self.resume = callbacks, run_dir, resume
        self.verbose, self.save_every = verbose, save_every
        if settings["jit_compile"]:
            replicas.check_compilable(self.objectives, () if model.average is None else model.average.variables)
        self.batches_per_step = sum(objective.updates for objective in self.objectives)
        # A player's update, XLA-compiled where asked for; the loop around it stays a plain graph.
        self._updates = [
            replicas.update_function(*player, settings["clipnorm"], settings["jit_compile"])
            for player in zip(self.objectives, self.optimizers)
        ]

        self.step = tf.Variable(0, dtype=tf.int64)
        self.names = [None] * len(self.objectives)  # of the loss and metrics, known once traced
        # Of this epoch: count, sum of the loss, sums of metrics. Made before tracing, which variables would repeat.
        self.totals = [tf.Variable(tf.zeros(FIGURES)) for _ in self.objectives]
        self.rows = []  # one dictionary of figures an epoch
        self.seconds = 0.0  # of training before this process

    # ------------------------------------------------------------------ inside the graph

    @tf.function
    def _run(self, iterator, stop):
        """Trains until `step` is `stop` or a loss is not finite."""
        while (self.step < stop) & self._losses_are_finite():  # `and` would be a conditional of its own
            self._train_step(iterator)  # a local variable in a converted loop would have its body traced twice

    def _losses_are_finite(self):
        """Whether those of the epoch so far are, as each player's sum of them tells."""
        return tf.reduce_all(tf.math.is_finite(tf.stack([totals[1] for totals in self.totals])))

    def _train_step(self, iterator):
        """One training step: every player in turn, then the average."""
        position = self.step * self.batches_per_step  # of the first batch in the data's order
        for index, objective in enumerate(self.objectives):
            if objective.updates == 1:
                self._play(index, next(iterator), position)
            else:
                for update in tf.range(objective.updates, dtype=tf.int64):
                    self._play(index, next(iterator), position + update)
            position += objective.updates
        if self.model.average is not None:
            self.model.average.update()
        self.step.assign_add(1)

    def _play(self, index, element, position):
        """One update of one player on a fresh batch, its figures added to the epoch's."""
        loss, metrics = self.replicas.run(self._updates[index], as_batch(element), fold(self.seed, position))
        self._record(index, metric_names(self.objectives, self.objectives[index], metrics), [loss, *metrics.values()])

    def _record(self, index, names, values):
        if len(names) >= FIGURES:
            raise ValueError(f"an objective may report at most {FIGURES - 1} figures; got {len(names)}.")
        self.names[index] = names
        values = tf.stack([1.0, *[tf.cast(value, tf.float32) for value in values]])
        self.totals[index].assign_add(tf.pad(values, [[0, FIGURES - len(names) - 1]]))

    # ------------------------------------------------------------------ around it

    def fit(self, x, y=None, *, epochs=None, steps=None, validation_data=None):
        """Trains; see `GenerativeModel.fit`."""
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
        self.started = self.saved = self.pictured = time.monotonic()
        checkpoint = None if self.run is None else self.run.load_checkpoint()
        if checkpoint is not None and self._is_finished(checkpoint[1]):
            self.history.on_train_begin()  # but not the user's callbacks: a CSVLogger empties its file
            self._restore(*checkpoint)
            if self.verbose != 0:
                more = "" if int(self.step) == self.total else f", {self.total} were asked for"
                print(f"{self.run.path} holds a finished run of {int(self.step)} steps{more}: nothing left to train.")
            return self.history
        self.list.on_train_begin()
        self.baselines = [simple_state(callback) for callback in self.callbacks]
        if checkpoint is not None:
            self._restore(*checkpoint)
        if int(self.step) < self.total and not model.stop_training:
            self._train(data, restored=checkpoint is not None)
        if int(self.step) and (not self.rows or self.rows[-1]["step"] != int(self.step)):
            self._end_epoch((int(self.step) - 1) // self.per_epoch, self._logs())  # interrupted where this one ends
        self._end()
        return self.history

    def _train(self, data, restored):
        model = self.model
        self.saved_step = int(self.step)
        self.progress = Progress(self.total, int(self.step), self.verbose)
        self.progress.note("compiling the first step")
        if restored:
            self.progress.note(f"resumed {self.run.path} at step {int(self.step)}")
        if model.average is not None:
            model.average.wake()
        if self.run is not None and not restored:
            self._checkpoint()
        try:
            with Interruption() as self.interruption:
                self._loop(data)
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
            self.run.write_metrics({**last, "step": int(self.step), "peak_memory_mib": peak_memory()})

    def _loop(self, data):
        iterator = iter(
            datasets.batches(
                data, self.batch_size, seed=self.seed_number, start=int(self.step) * self.batches_per_step
            )
        )
        one_by_one = any(works_on_batches(callback) for callback in self.callbacks)
        train = self._run
        if not tf.config.functions_run_eagerly():
            # Traced by hand: a process that trains many models would be warned that one function is traced too often.
            train = train.get_concrete_function(iterator, tf.constant(0, tf.int64))
        chunk, step = 1, int(self.step)
        while step < self.total and not self.model.stop_training:
            epoch, within = divmod(step, self.per_epoch)
            if within == 0:
                self._begin_epoch(epoch)
            stop = min(step + chunk, (epoch + 1) * self.per_epoch, self.total)
            self.list.on_train_batch_begin(within)
            began = time.monotonic()
            train(iterator, tf.constant(stop, tf.int64))
            took = time.monotonic() - began
            self._check_finite()
            # Towards calls of CALL_SECONDS.
            if not one_by_one and took < CALL_SECONDS and stop - step == chunk:
                chunk = min(2 * chunk, LONGEST_CALL)
            step = stop
            logs = self._logs()
            self.list.on_train_batch_end(step - epoch * self.per_epoch - 1, logs)
            self.progress.update(step, logs)
            if self._ends_epoch(step):
                self._end_epoch(epoch, logs)
            if self.interruption.asked:
                raise KeyboardInterrupt
            if self.run is not None and time.monotonic() - self.saved >= self.save_every:
                self._checkpoint()

    def _ends_epoch(self, step):
        """Whether an epoch, whole or not, ends with this step, and so has a row."""
        return step % self.per_epoch == 0 or step == self.total or self.model.stop_training

    def _begin_epoch(self, epoch):
        for totals in self.totals:
            totals.assign(tf.zeros(FIGURES))
        self.list.on_epoch_begin(epoch)

    def _end_epoch(self, epoch, logs):
        """Validation, callbacks, log and pictures, all with the averaged weights."""
        with self.model.averaged():
            if self.validation is not None:
                results = evaluate(self.model, self.validation, seed=self.seed_number)
                logs = {**logs, **{f"val_{name}": value for name, value in results.items()}}
            self.list.on_epoch_end(epoch, logs)
            self.rows.append({"epoch": epoch, "step": int(self.step), "seconds": self._seconds(), **logs})
            if self.run is not None:
                self.run.write_log(self.rows)
                now = time.monotonic()
                if now - self.pictured >= self.save_every:
                    self._picture()
                    self.pictured = time.monotonic()

    def _seconds(self):
        """Of training, in this process and before."""
        return round(self.seconds + time.monotonic() - self.started, 3)

    def _logs(self):
        """The means over the epoch so far."""
        logs = {}
        for names, totals in zip(self.names, self.totals):
            count, *sums = totals.numpy().tolist()
            logs.update({name: value / count for name, value in zip(names, sums)})
        return logs

    def _check_finite(self):
        broken = [o.name for o, totals in zip(self.objectives, self.totals) if not math.isfinite(totals.numpy()[1])]
        if not broken:
            return
        kept = "" if self.run is None else f" The last good checkpoint is in {self.run.path / 'checkpoints'}."
        raise FloatingPointError(
            f"the loss of objective {broken[0]!r} is not finite at step {int(self.step) - 1}.{kept} "
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
            "names": self.names,
            "totals": [totals.numpy().tolist() for totals in self.totals],
            "callbacks": states,
            "resting": average is None or average.resting,
            "stopped": bool(self.model.stop_training),
            "seconds": self.seconds + time.monotonic() - self.started,
        }
        self.run.save_checkpoint(int(self.step), arrays, record)
        self.saved, self.saved_step = time.monotonic(), int(self.step)

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
        self.step.assign(record["step"])
        self.rows, self.seconds, self.names = record["rows"], record["seconds"], record["names"]
        for totals, values in zip(self.totals, record["totals"]):
            totals.assign(values)
        self.model.stop_training = record["stopped"]
        if self.rows and int(self.step) < self.total and not self._ends_epoch(self.rows[-1]["step"]):
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
        named = {f"model/{i}": v for i, v in enumerate(self.model.variables)}
        for objective, optimizer in zip(self.objectives, self.optimizers):
            named.update({f"optimizer/{objective.name}/{i}": v for i, v in enumerate(optimizer.variables)})
        return named

    def _check_weights(self, arrays):
        """A checkpoint is good: its weights are finite."""
        variables = self._variables()
        broken = [variable.path for name, variable in variables.items() if not _finite(arrays[name])]
        if broken:
            raise FloatingPointError(
                f"{broken[0]} is not finite at step {int(self.step)}; no checkpoint was written, and the last good one "
                f"is in {self.run.path / 'checkpoints'}. A lower learning rate or a clipnorm may help."
            )

    def _interrupted(self):
        if self.run is None:
            return
        step, done = int(self.step), self.rows[-1]["step"] if self.rows else 0
        # Where the end of an epoch was interrupted, half of it is undone: the last checkpoint stands.
        if done == step or not self._ends_epoch(step):
            self._checkpoint()
            self.run.withdraw_metrics()  # of a shorter run that this one continued
            self.run.save_model(self.model)  # as it is: to look at, and to stay with
        self.progress.note(f"interrupted; run the same again to continue {self.run.path} at step {self.saved_step}")

    def _picture(self):
        self.run.save_samples(self.model, int(self.step), self.seed_number, self.conditions)

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
        per_epoch = math.ceil(len(data) / (self.batch_size * self.batches_per_step))
        return per_epoch, epochs * per_epoch if steps is None else steps

    def _settings(self, data):
        """What must be the same for a run to be continued; its length may grow."""
        model = self.model.get_config()
        model.pop("name", None)
        model["dtype"] = serialized(self.model.dtype_policy)  # also where the constructor takes none
        training = {"batch_size": self.batch_size, "seed": self.seed_number, **self.model.get_compile_config()}
        training["accumulate"] = self.replicas.parts  # whoever takes them
        return {
            "model": {"class": type(self.model).__name__, **comparable(model)},
            "data": {"name": data.name, "fingerprint": data.fingerprint()},
            "training": comparable(training),
        }


def _finite(array):
    return array.dtype.kind not in "fV" or bool(tf.reduce_all(tf.math.is_finite(array)))
