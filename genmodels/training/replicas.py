"""The devices that share a training step, under any `tf.distribute` strategy; one, where there is none."""

import keras
import tensorflow as tf

from genmodels.core import Batch
from genmodels.settings import checked_count
from genmodels.training.gradients import accumulated, clipped, differentiated


def is_chief(strategy) -> bool:
    """Whether this process writes for all of a strategy's hosts."""
    cluster = strategy.cluster_resolver
    return cluster is None or cluster.task_type in (None, "chief") or (
        cluster.task_type == "worker" and cluster.task_id == 0 and "chief" not in cluster.cluster_spec().jobs
    )  # fmt: skip


class Replicas:
    """Who takes which part of a batch, and how what they find is brought together.

    A batch is cut into parts, and part i draws from stream i of the update's seed. Every replica takes as many parts,
    one after the other. A step is thus a function of the batch and the number of parts, up to rounding, whoever
    takes them: two replicas do what one does with `accumulate=2`.

    All replicas are handed the whole batch, of which each cuts out its own: the order of the data stays a function of
    the step, on one host or many.

    Args:
        strategy: the strategy in whose scope the model was made.
        batch_size: of all replicas together.
        accumulate: parts of a batch; 1 for as many as there are replicas.

    Raises:
        ValueError: for parts that the replicas cannot share evenly, and a batch that the parts cannot.
    """

    def __init__(self, strategy, batch_size, accumulate):
        self.strategy, self.count = strategy, strategy.num_replicas_in_sync
        self.parts = self.count if accumulate == 1 else accumulate
        if self.parts % self.count:
            raise ValueError(f"`accumulate` must be 1 or a multiple of the {self.count} replicas; got {accumulate}.")
        if checked_count("batch_size", batch_size, 1) % self.parts:
            whose = f"accumulate={self.parts}" if accumulate > 1 else f"the {self.count} replicas"
            raise ValueError(f"`batch_size` must be a positive multiple of {whose}; got {batch_size!r}.")
        self.size = batch_size // self.parts  # examples of a part
        self.chief = is_chief(strategy)

    def check_compilable(self, objectives, outside):
        """Refuses XLA on several replicas unless all variables are trained: how others are shared cannot be compiled.

        Args:
            objectives: whose networks.
            outside: variables that the update does not change.
        """
        outside = {id(v) for v in outside}
        states = [v for objective in objectives for v in objective.network.non_trainable_variables]
        states = [v.path for v in states if id(v) not in outside]
        if self.count > 1 and states:
            raise ValueError(
                f"jit_compile on {self.count} replicas takes networks all of whose variables are trained, without a "
                f"state as of batch norm, ActNorm and dropout, constants and frozen weights; {states[0]} is not. Leave "
                "jit_compile (--jit-compile) out."
            )

    def run(self, update, batch, seed):
        """Loss and metrics of an update that every replica makes; inside the graph."""
        found = self.strategy.run(update, args=(batch, seed))
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], found)

    def update_function(self, objective, optimizer, clipnorm, jit_compile):
        """A function of a whole batch and a seed, run by each replica, that makes an update and gives its figures."""

        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

        def measure(batch, seed, first):
            if self.parts == 1:
                return differentiated(objective, optimizer, batch, seed)
            return accumulated(objective, optimizer, self._mine(batch, first), seed, first)

        if jit_compile and self.count > 1:
            measure = tf.function(measure, jit_compile=True, autograph=False)  # not what goes between devices

        def update(batch, seed):
            first = 0
            if self.count > 1:
                first = tf.distribute.get_replica_context().replica_id_in_sync_group * (self.parts // self.count)
            loss, metrics, gradients = measure(batch, seed, first)
            if self.count > 1 and (clipnorm is not None or scales):  # all must find one norm, and the same overflow
                loss, metrics, gradients = self._mean([loss, metrics, gradients])
            elif self.count > 1:
                loss, metrics = self._mean([loss, metrics])
                with tf.control_dependencies([loss]):  # devices must meet in one order: these first, then gradients
                    gradients = [tf.identity(g) for g in gradients]
            if clipnorm is not None:
                gradients = clipped(gradients, clipnorm, optimizer)
            if self.count > 1:
                gradients = [g / self.count for g in gradients]  # Keras sums what the replicas apply
            optimizer.apply(gradients, objective.network.trainable_variables)
            return loss, metrics

        return tf.function(update, jit_compile=True, autograph=False) if jit_compile and self.count == 1 else update

    def _mine(self, batch, first):
        """This replica's parts, `[parts of one replica, size, …]`."""
        number = self.parts // self.count

        def cut(t):
            shape = [self.size, *t.shape[1:]]
            # Of a size that is known although `first` is not, to XLA.
            return tf.slice(tf.reshape(t, [self.parts, *shape]), [first, *[0] * len(shape)], [number, *shape])

        return Batch(*(None if t is None else cut(t) for t in batch))

    def _mean(self, found):
        """Means over all replicas."""
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, found)
