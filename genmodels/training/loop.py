"""Training steps in one `tf.function`: every player's updates, the average, and the sums of their figures."""

import contextlib
import functools
import math

import tensorflow as tf

from genmodels.sampling import fold
from genmodels.training.evaluation import as_batch, metric_names

FIGURES = 64  # room for an objective's count, loss and metrics


class Loop:
    """Any number of training steps a call, of the objectives and optimizers that a compiled model has.

    Tracing it takes seconds, so the model keeps it for its next `fit` (`of`), beside its other compiled functions.

    Args:
        model: a compiled model.
        replicas: the `Replicas` that share its batches.
    """

    def __init__(self, model, replicas):
        self.model, self.replicas = model, replicas
        self._functions = model.__dict__.setdefault("_functions", {})
        self._make()
        self.step = tf.Variable(0, dtype=tf.int64)
        self.names = [None] * len(self.objectives)  # of the loss and metrics, known once traced
        # Of this epoch: count, sum of the loss, sums of metrics. Made before tracing, which variables would repeat.
        self.totals = [tf.Variable(tf.zeros(FIGURES)) for _ in self.objectives]

    @classmethod
    @contextlib.contextmanager
    def of(cls, model, replicas):
        """The model's loop, at step 0: the one that it keeps, if batches and trained variables are that one's.

        It is the caller's alone until the context ends: a `fit` inside a callback has another. A model that forgot its
        functions meanwhile, since a setting changed, does not get it back.
        """
        loop = model.__dict__.get("_functions", {}).pop(cls.__name__, None)
        if loop is None or loop._made_for != _made_for(model, replicas):
            loop = cls(model, replicas)
        loop.step.assign(0)
        loop.clear()
        try:
            yield loop
        finally:
            if not loop._is_forgotten():
                loop._functions[cls.__name__] = loop

    def _make(self):
        """The function of the steps, not traced yet."""
        model, settings = self.model, self.model._settings
        self._made_for, self.objectives = _made_for(model, self.replicas), model.objectives()
        self.optimizers = [model.optimizers[objective.name] for objective in self.objectives]
        if settings["jit_compile"]:
            self.replicas.check_compilable(self.objectives, () if model.average is None else model.average.variables)
        self.batches_per_step = sum(objective.updates for objective in self.objectives)
        # A player's update, XLA-compiled where asked for; the loop around it stays a plain graph.
        self._updates = [
            self.replicas.update_function(*player, settings["clipnorm"], settings["jit_compile"])
            for player in zip(self.objectives, self.optimizers)
        ]
        self.run = tf.function(self._run, autograph=False)

    def _is_forgotten(self):
        """Whether the model forgot its functions since this was made."""
        return self.model.__dict__.get("_functions") is not self._functions

    # ------------------------------------------------------------------ inside the graph

    def traced(self, iterator, seed):
        """`run(iterator, stop, seed)`, for what holds when training begins: callbacks may have changed something."""
        if self._is_forgotten() or self._made_for != _made_for(self.model, self.replicas):
            self._make()
        if tf.config.functions_run_eagerly():
            return self.run
        # By hand: a process that trains many models would be warned that one function is traced too often.
        return self.run.get_concrete_function(iterator, tf.constant(0, tf.int64), seed)

    def _run(self, iterator, stop, seed):
        """Trains until `step` is `stop` or a loss is not finite."""

        def train(step):
            self._train_step(iterator, step, seed)
            return [step + 1]

        tf.while_loop(lambda step: (step < stop) & self._losses_are_finite(), train, [self.step.read_value()])

    def _losses_are_finite(self):
        """Whether those of the epoch so far are, as each player's sum of them tells."""
        return tf.reduce_all(tf.math.is_finite(tf.stack([totals[1] for totals in self.totals])))

    def _train_step(self, iterator, step, seed):
        """One training step: every player in turn, then the average."""
        position = step * self.batches_per_step  # of the first batch in the data's order
        for index, objective in enumerate(self.objectives):
            after = position + objective.updates
            play = functools.partial(self._play, index, iterator, seed)
            if objective.updates == 1:
                play(position)
            else:
                tf.while_loop(lambda position, after=after: position < after, play, [position])
            position = after
        if self.model.average is not None:
            self.model.average.update()
        self.step.assign(step + 1)

    def _play(self, index, iterator, seed, position):
        """One update of one player on the next batch, its figures added to the epoch's; where that after it lies."""
        loss, metrics = self.replicas.run(self._updates[index], as_batch(next(iterator)), fold(seed, position))
        self._record(index, metric_names(self.objectives, self.objectives[index], metrics), [loss, *metrics.values()])
        return [position + 1]

    def _record(self, index, names, values):
        if len(names) >= FIGURES:
            raise ValueError(f"an objective may report at most {FIGURES - 1} figures; got {len(names)}.")
        self.names[index] = names
        values = tf.stack([1.0, *[tf.cast(value, tf.float32) for value in values]])
        self.totals[index].assign_add(tf.pad(values, [[0, FIGURES - len(names) - 1]]))

    # ------------------------------------------------------------------ around it

    def clear(self):
        """Begins the sums of an epoch."""
        for totals in self.totals:
            totals.assign(tf.zeros(FIGURES))

    def means(self):
        """The figures' means over the epoch so far, by name."""
        logs = {}
        for names, totals in zip(self.names, self.totals):
            count, *sums = totals.numpy().tolist()
            logs.update({name: value / count for name, value in zip(names, sums)})
        return logs

    def broken(self):
        """The name of the first objective whose losses of the epoch are not all finite, or None."""
        found = (o.name for o, totals in zip(self.objectives, self.totals) if not math.isfinite(totals.numpy()[1]))
        return next(found, None)

    def state(self):
        """The figures of the epoch so far, for a checkpoint's record."""
        return {"names": self.names, "totals": [totals.numpy().tolist() for totals in self.totals]}

    def restore(self, step, names, totals):
        """Goes on from a checkpoint's step and `state`."""
        self.step.assign(step)
        if None in self.names:  # a checkpoint of step 0 knows none
            self.names = names
        for variable, values in zip(self.totals, totals):
            variable.assign(values)


def _made_for(model, replicas):
    """What a trace depends on that may change between two calls of `fit` without another `compile`."""
    trained = [id(v) for objective in model.objectives() for v in objective.network.trainable_variables]
    optimizers = [id(optimizer) for optimizer in model.optimizers.values()]
    return replicas.size, replicas.parts, id(replicas.strategy), trained, optimizers
