"""One optimizer for each player of a model."""

import functools

import keras
import tensorflow as tf


def built(model, given) -> dict[str, keras.optimizers.Optimizer]:
    """Optimizers by the names of objectives, built for their variables, from what `compile` was given.

    Raises:
        ValueError: for names that are no objectives, negative rates, and one optimizer for two players or models.
    """
    objectives = {objective.name: objective for objective in model.objectives()}
    if given is None:
        given = model.default_optimizers()
    if not isinstance(given, dict):
        given = {name: given if len(objectives) == 1 else _copied(given) for name in objectives}
    if set(given) != set(objectives):
        raise ValueError(
            f"`optimizer` must name each objective of {type(model).__name__}: expected {sorted(objectives)}, "
            f"got {sorted(given)}."
        )
    optimizers = {}
    for name, objective in objectives.items():
        optimizer = keras.optimizers.get(given[name])
        if model.dtype_policy.compute_dtype == "float16" and not _scales(optimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        if rate < 0:
            raise ValueError(f"the learning rate of {name!r} must not be negative; got {rate:g}.")
        if any(optimizer is other for other in optimizers.values()):
            raise ValueError(f"each objective needs an optimizer of its own; {name!r} shares one.")
        inner = optimizer.inner_optimizer if _scales(optimizer) else optimizer
        variables = objective.network.trainable_variables
        if not optimizer.built:
            optimizer.build(variables)
        elif not {id(v) for v in variables} <= {id(v) for v in inner._trainable_variables}:
            raise ValueError(f"the optimizer of {name!r} was built for another network's variables: make a new one.")
        _fuse(inner, model.distribute_strategy)
        optimizers[name] = optimizer
    return optimizers


def check(model) -> None:
    """Refuses what Keras' own training does and this one does not; when training starts, so that old files load.

    Raises:
        ValueError: for optimizers that average weights, and networks with activity regularizers.
    """
    for objective in model.objectives():
        optimizer = model.optimizers[objective.name]
        if (optimizer.inner_optimizer if _scales(optimizer) else optimizer).use_ema:
            raise ValueError(
                f"the optimizer of {objective.name!r} averages weights (use_ema): use `compile(ema=…)` instead."
            )
        for layer in objective.network._flatten_layers():
            if getattr(layer, "activity_regularizer", None) is not None:
                raise ValueError(
                    f"layer {layer.name!r} of objective {objective.name!r} has an activity regularizer, which the "
                    "harness does not see: put the penalty into the loss. Those of kernels and biases are seen."
                )


def _scales(optimizer) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def _copied(optimizer):
    """A new optimizer of the same settings."""
    optimizer = keras.optimizers.get(optimizer)
    return type(optimizer).from_config(optimizer.get_config())


def _fuse(optimizer, strategy):
    """Lets Keras' Adam update a variable in one operation, in place of some fifteen; the arithmetic is the same."""
    if type(optimizer) is not keras.optimizers.Adam or optimizer.amsgrad:
        return
    if strategy.num_replicas_in_sync == 1:
        optimizer._backend_update_step = functools.partial(_adam_step, optimizer)
    else:  # Keras brings the gradients together, and goes to each variable where it lies
        optimizer.update_step = lambda gradient, variable, rate: _adam_step(optimizer, [gradient], [variable], rate)


def _adam_step(optimizer, gradients, variables, learning_rate):
    steps = tf.cast(tf.convert_to_tensor(optimizer.iterations) + 1, tf.float32)
    settings = {
        "beta1_power": optimizer.beta_1**steps, "beta2_power": optimizer.beta_2**steps, "lr": learning_rate,
        "beta1": optimizer.beta_1, "beta2": optimizer.beta_2, "epsilon": optimizer.epsilon,
    }  # fmt: skip
    of_type = functools.cache(lambda dtype: {name: tf.cast(value, dtype) for name, value in settings.items()})
    for gradient, variable in zip(gradients, variables):
        index = optimizer._get_variable_index(variable)
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        dtype = variable.dtype
        moments = {"m": optimizer._momentums[index].value.handle, "v": optimizer._velocities[index].value.handle}
        gradient = tf.cast(gradient, dtype)
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, grad=gradient, **moments, **of_type(dtype))
