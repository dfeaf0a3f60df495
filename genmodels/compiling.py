"""Methods and elementwise arithmetic as compiled functions, and batches of sizes that suit them.

Neither compiled methods nor training steps are converted by AutoGraph, as Keras' are not: that takes some sixty
milliseconds a function, seconds of a model's first step. Loops of a graph are written as `tf.while_loop`.
"""

import functools
import os

import tensorflow as tf

PLAIN = (tf.Tensor, bool, int, float, str)


def compiled(method=None, *, xla=False, exact_shapes=False):
    """A method as one `tf.function` a model instance; arguments are tensors, or hashable settings.

    Args:
        method: the method.
        xla: compile with XLA, which needs exact shapes.
        exact_shapes: trace anew for every shape, where the code asks for sizes.
    """
    if method is None:
        return functools.partial(compiled, xla=xla, exact_shapes=exact_shapes)

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        functions = self.__dict__.setdefault("_functions", {})  # plain __dict__: not for Keras to track
        if method.__name__ not in functions:
            functions[method.__name__] = tf.function(
                functools.partial(method, self),
                reduce_retracing=not (xla or exact_shapes),
                jit_compile=xla or None,
                autograph=False,
            )
        function = functions[method.__name__]
        plain = not kwargs and all(value is None or isinstance(value, PLAIN) for value in args)
        if not plain or not tf.executing_eagerly() or tf.config.functions_run_eagerly():
            return function(*args, **kwargs)
        # Finding the trace costs a `tf.function` 0.2 ms a call; a dictionary finds it in 0.01.
        key = (method.__name__, *map(_kind, args))
        if key not in functions:
            functions[key] = function.get_concrete_function(*args)
        return functions[key](*args)

    return call


def _kind(value):
    """What a trace depends on: of a tensor its type and shape, of a setting its value."""
    return (value.dtype, *value.shape) if tf.is_tensor(value) else (type(value), value)


def fused(function):
    """A function of tensors that XLA compiles inside an ordinary graph, and its gradient too; op by op in eager mode.

    A spline takes some sixty small operations: outside XLA each reads and writes the memory once more. The backward
    kernel computes the forward values anew in place of reading them. Each shape is compiled once.

    Args:
        function: `(*tensors, **settings)` to one tensor or a tuple of them; settings are hashable.
    """

    @functools.cache
    def kernels(settings):
        bound = functools.partial(function, **dict(settings))

        def gradient(arguments, upstream):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                outputs = bound(*arguments)
            return tape.gradient(outputs, arguments, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        forward = tf.function(bound, jit_compile=True, reduce_retracing=True, autograph=False)
        backward = tf.function(gradient, jit_compile=True, reduce_retracing=True, autograph=False)

        @tf.custom_gradient
        def call(*arguments):
            return forward(*arguments), lambda *upstream: backward(list(arguments), list(upstream))

        return call

    @functools.wraps(function)
    def run(*arguments, **settings):
        if tf.executing_eagerly():
            return function(*arguments, **settings)
        return kernels(tuple(sorted(settings.items())))(*arguments)

    return run


def kernel(function):
    """A function of tensors, and settings by keyword, compiled by XLA inside an ordinary graph; op by op in eager mode.

    Its gradient is what TensorFlow makes of it; a caller that knows better gives a custom one.
    """

    @functools.cache
    def compiled_for(settings):
        return tf.function(functools.partial(function, **dict(settings)), jit_compile=True, autograph=False)

    @functools.wraps(function)
    def run(*arguments, **settings):
        if tf.executing_eagerly():
            return function(*arguments, **settings)
        return compiled_for(tuple(sorted(settings.items())))(*arguments)

    return run


def few_sizes(num: int, *, points: bool = False) -> int:
    """A batch size for `num` examples, one of few, so that a compiled function serves many numbers of them.

    A power of two up to 256; of points up to 2048, and then a multiple of that up to 16 384.
    """
    if points and num > 2048:
        return min(-(-num // 2048) * 2048, 16_384)
    return min(1 << (num - 1).bit_length(), 2048 if points else 256)


@functools.cache
def parts_at_once(batch: int) -> int:
    """Into how many parts to split a batch of small operations: the largest divisor up to the number of cores.

    One part a core needs no waiting between the threads of each operation. 1 on a GPU, which shares the work itself.
    """
    if tf.config.list_logical_devices("GPU"):
        return 1
    cores = tf.config.threading.get_inter_op_parallelism_threads() or os.cpu_count() or 1
    return max(n for n in range(1, cores + 1) if batch % n == 0)
