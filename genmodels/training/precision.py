"""Which precision a machine computes images faster in."""

import time

import keras
import tensorflow as tf

from genmodels.training import run_directory

CHOICES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
HELP = "float32, mixed_bfloat16, mixed_float16; auto times the first two, and may choose otherwise another day."
CHANNELS, SIDE, BATCH = 32, 28, 32
GAIN = 1.1  # the least for which float32 is given up
REPEATS = 5


def faster(event_shape) -> tuple[str, str]:
    """The faster of float32 and mixed_bfloat16, by a trial of about a second, and why, in words.

    The trial is a step of two 3×3 convolutions with SiLU. bfloat16 pays where the processor multiplies it in hardware
    (AMX, tensor cores); elsewhere it is emulated, and slower. Points are left in float32: their networks are small.

    Args:
        event_shape: of an example.

    Returns:
        A Keras dtype policy's name, and the reason.

    Example:
        >>> faster((2,))
        ('float32', 'the examples are no images')
    """
    if len(event_shape) != 3:
        return "float32", "the examples are no images"
    seconds = {name: _seconds(name) for name in ("float32", "mixed_bfloat16")}
    gain = seconds["float32"] / seconds["mixed_bfloat16"]
    chosen = "mixed_bfloat16" if gain >= GAIN else "float32"
    return chosen, f"measured: bfloat16 runs at {gain:.1f} times the speed of float32 here"


def check(asked) -> None:
    """Raises ValueError for what is none of `CHOICES`."""
    if asked not in CHOICES:
        raise ValueError(f"--precision must be {', '.join(CHOICES)}; got {asked!r}.")


def chosen(asked, run, event_shape) -> str:
    """A precision by its name; "auto" is that of the run that is there to be continued, or the faster, which is said.

    Args:
        asked: one of `CHOICES`.
        run: the folder of the run that is to be trained.
        event_shape: of an example.

    Raises:
        ValueError: for another name.

    Example:
        >>> chosen("auto", "no-run", (2,))
        precision: float32 (the examples are no images)
        'float32'
    """
    check(asked)
    if asked != "auto":
        return asked
    begun = run_directory.precision(run)
    if begun is not None:
        return begun
    name, reason = faster(event_shape)
    print(f"precision: {name} ({reason})", flush=True)
    return name


def _seconds(precision):
    """The shortest time of a trial step."""
    # Of zeros: random weights would be taken from the global generator, and those of the model to come be others.
    options = {"padding": "same", "activation": "silu", "kernel_initializer": "zeros", "dtype": precision}
    network = keras.Sequential([
        keras.Input((SIDE, SIDE, CHANNELS)),
        keras.layers.Conv2D(CHANNELS, 3, **options),
        keras.layers.Conv2D(CHANNELS, 3, **options),
    ])  # fmt: skip
    x = tf.zeros([BATCH, SIDE, SIDE, CHANNELS])

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(network(x, training=True), tf.float32))
        return [tf.reduce_sum(g) for g in tape.gradient(loss, network.trainable_variables)]

    step()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        [g.numpy() for g in step()]
        times.append(time.perf_counter() - began)
    return min(times)
