"""A check of what a bijection claims about itself."""

import math

import keras
import numpy as np
import tensorflow as tf

FEW = 4  # examples that are taken alone
LARGEST = 256  # dimensions of which a Jacobian is computed
ROWS = 64  # of a Jacobian at a time


def check_invertible(bijection, x, condition=None, *, tolerance=1e-4) -> dict:
    """Checks that a bijection is one: its inverse, its log-determinants, and that examples do not mix.

    * z = `forward_and_log_det(x)` has as many elements as x, log-determinants are `[B]`, and all numbers are finite;
    * `inverse_and_log_det` gives x back, and forward gives latents midway between those of two examples back;
    * the two log-determinants are each other's negative;
    * an example alone has the results that it has within the batch;
    * the log-determinant is log |det ∂z/∂x|, of the Jacobian by automatic differentiation.

    Errors of x and z are relative to max(1, the example's largest magnitude), those of log-determinants to
    max(1, |log det|). The last two are checked of 4 examples, and the Jacobian only where it has at most 256 dimensions
    D: it costs D passes of one example, forward and backward. All is computed in eager mode and on the CPU.

    Args:
        bijection: a `genmodels.flows.Bijection`, or any object with `forward_and_log_det(x, condition)` and
            `inverse_and_log_det(z, condition)`. A Keras layer that is not built is called once.
        x: two examples or more, `[B, …]`; taken as float32 unless a tensor. The bijection of a model of integers takes
            them in [0, 1], as (x + 0.5) / levels.
        condition: `[B, …]`, taken in the same way, or None; of a model with classes, their one-hot labels.
        tolerance: the largest error permitted. The default is for float32 and well-conditioned bijections; each digit
            of the condition number costs one.

    Returns:
        `inverse_error`, `log_det_error` and `mixing_error`, the largest found; how many `examples` were checked, and
        how many `jacobians`.

    Raises:
        ValueError: naming the first check that fails, with numbers.

    Example:
        >>> import genmodels as gm
        >>> flow = gm.flows.Chain([gm.flows.InvertibleLinear(), gm.flows.Coupling("affine")])
        >>> report = gm.evaluation.check_invertible(flow, np.random.default_rng(0).normal(size=(8, 3)))
        >>> report["examples"], report["jacobians"], report["inverse_error"] < 1e-5
        (8, 4, True)
    """
    if not (hasattr(bijection, "forward_and_log_det") and hasattr(bijection, "inverse_and_log_det")):
        raise ValueError(
            "`bijection` must have `forward_and_log_det` and `inverse_and_log_det`, as the `bijection` of a flow has; "
            f"got a {type(bijection).__name__}."
        )
    x, condition = (v if v is None or tf.is_tensor(v) else tf.constant(v, tf.float32) for v in (x, condition))
    if x.shape.rank < 2 or x.shape[0] < 2:
        raise ValueError(f"`x` must be two examples or more, [B, …]; got shape {tuple(x.shape)}.")
    with tf.device("CPU:0"):  # a GPU's matrix products are of 10 bits
        if isinstance(bijection, keras.layers.Layer) and not bijection.built:
            bijection(x) if condition is None else bijection(x, condition)
        check = _Check(bijection, condition, tolerance)
        z = check.round_trip("forward", x)
        check.round_trip("inverse", (z + tf.roll(z, 1, axis=0)) / 2)  # latents that forward did not give
        check.alone("forward", x)
        check.alone("inverse", z)
        jacobians = min(FEW, len(x)) if math.prod(x.shape[1:]) <= LARGEST else 0
        check.jacobians(x, jacobians)
    return {**check.worst, "examples": len(x), "jacobians": jacobians}


class _Check:
    """The checks of one bijection, and the largest errors so far."""

    def __init__(self, bijection, condition, tolerance):
        self.name = getattr(bijection, "name", type(bijection).__name__)
        self.methods = {"forward": bijection.forward_and_log_det, "inverse": bijection.inverse_and_log_det}
        self.condition, self.tolerance = condition, tolerance
        self.worst = {"inverse_error": 0.0, "log_det_error": 0.0, "mixing_error": 0.0}

    def round_trip(self, there, x):
        """One direction and back; returns what is between."""
        back = "inverse" if there == "forward" else "forward"
        y, log_det = self._apply(there, x, self.condition)
        again, log_det_back = self._apply(back, y, self.condition)
        if again.shape != x.shape:
            self._refuse(f"{back} gives shape {tuple(again.shape)}, not {tuple(x.shape)}")
        self._compare("inverse_error", f"{back} does not undo {there}", again, x)
        self._compare("log_det_error", f"{back}'s log-determinant is not {there}'s negated", log_det_back, -log_det)
        return y

    def alone(self, method, x):
        """Each example by itself, of the first few."""
        whole = self._apply(method, x, self.condition)
        few = [self._apply(method, x[i : i + 1], self._condition(i, 1)) for i in range(min(FEW, len(x)))]
        for what, within, alone in zip(("result", "log-determinant"), whole, zip(*few)):
            what = f"{method}'s {what} within the batch is not that of the example alone"
            self._compare("mixing_error", what, within[: len(few)], tf.concat(alone, 0))

    def jacobians(self, x, count):
        """The log-determinant against the Jacobian, of the first examples."""
        for index in range(count):
            example = x[index : index + 1]
            log_det = self._apply("forward", example, self._condition(index, 1))[1]
            truth = np.linalg.slogdet(self._jacobian(example, index))[1]
            self._compare("log_det_error", "forward's log-determinant is not that of the Jacobian", log_det, [truth])

    def _jacobian(self, example, index):
        """∂z/∂x, `[D, D]` float64. Copies of the example give a row each: cheaper than a vectorized Jacobian."""
        size = math.prod(example.shape[1:])
        rows = []
        for part in np.array_split(np.arange(size), math.ceil(size / ROWS)):
            copies = tf.repeat(example, len(part), axis=0)
            with tf.GradientTape() as tape:
                tape.watch(copies)
                z, _ = self.methods["forward"](copies, self._condition(index, len(part)))
                picked = tf.gather(tf.reshape(z, [len(part), size]), part, batch_dims=1)
            row = tape.gradient(picked, copies, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            rows.append(np.reshape(row, [len(part), size]))
        return np.concatenate(rows).astype(np.float64)

    def _condition(self, index, times):
        """The condition of one example, repeated."""
        return None if self.condition is None else tf.repeat(self.condition[index : index + 1], times, axis=0)

    def _apply(self, method, x, condition):
        """The result and the log-determinants, whose shapes are right and which are finite."""
        y, log_det = self.methods[method](x, condition)
        if y.shape[0] != x.shape[0] or math.prod(y.shape) != math.prod(x.shape):
            self._refuse(f"{method} gives shape {tuple(y.shape)} for {tuple(x.shape)}, which has not as many elements")
        if log_det.shape != x.shape[:1]:
            self._refuse(f"{method} gives log-determinants of shape {tuple(log_det.shape)}, not ({len(x)},)")
        for what, values in (("results", y), ("log-determinants", log_det)):
            wrong = ~np.isfinite(np.reshape(values, [len(x), -1])).all(axis=1)
            if wrong.any():
                self._refuse(f"{method} gives {what} that are not finite, for {wrong.sum()} of {len(x)} examples")
        return y, log_det

    def _compare(self, kind, what, found, expected):
        found, expected = (np.reshape(np.asarray(v, np.float64), [len(v), -1]) for v in (found, expected))
        difference = np.abs(found - expected)
        errors = difference.max(axis=1) / np.maximum(1.0, np.abs(expected).max(axis=1))
        example = errors.argmax()
        if not errors[example] <= self.tolerance:
            place = difference[example].argmax()
            self._refuse(
                f"{what}: {found[example, place]:.7g} instead of {expected[example, place]:.7g} in example {example}, "
                f"a relative error of {errors[example]:.2g}, where {self.tolerance:g} is permitted"
            )
        self.worst[kind] = max(self.worst[kind], float(errors[example]))

    def _refuse(self, what):
        raise ValueError(f"{self.name}: {what}.")
