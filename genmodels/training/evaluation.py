"""Losses and metrics of a model on data, without training."""

from genmodels import data as datasets
from genmodels.compiling import compiled
from genmodels.core import Batch
from genmodels.sampling import fold, make_seed


def evaluate(model, x, y=None, *, batch_size=256, seed=0) -> dict[str, float]:
    """Means over the examples of every objective's loss and metrics; see `GenerativeModel.evaluate`."""
    data = datasets.as_dataset(
        x, y, event_shape=model.event_shape, levels=model.levels, num_classes=model.num_classes,
        condition_dim=model.condition_dim,
    )  # fmt: skip
    seed = make_seed(seed)
    totals, count = {}, 0
    with model.averaged():
        for index, element in enumerate(datasets.once(data, batch_size)):
            batch = as_batch(element)
            size = int(batch.x.shape[0])
            for name, value in _measure(model, batch.x, batch.labels, fold(seed, index)).items():
                totals[name] = totals.get(name, 0.0) + size * float(value)
            count += size
    if not count:
        raise ValueError("there is nothing to evaluate on: the data hold no examples.")
    return {name: total / count for name, total in totals.items()}


def as_batch(element) -> Batch:
    """A pipeline's element, x or (x, labels), as a `Batch`."""
    return Batch(*element) if isinstance(element, tuple) else Batch(element)


def metric_names(objectives, objective, metrics) -> list[str]:
    """Names of an objective's loss and metrics in logs: "loss" for one player, "critic_loss" for several."""
    prefix = "" if len(objectives) == 1 else f"{objective.name}_"
    return [f"{prefix}loss", *(prefix + name if name == "regularization" else name for name in metrics)]


@compiled
def _measure(model, x, labels, seed):
    objectives = model.objectives()
    results = {}
    for index, objective in enumerate(objectives):
        loss, metrics = objective.loss(Batch(x, labels), fold(seed, index), False)
        results.update(zip(metric_names(objectives, objective, metrics), [loss, *metrics.values()]))
    return results
