"""Which precision a machine computes images faster in."""

import time

import keras
import tensorflow as tf

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


def _seconds(precision):
    """The shortest time of a trial step."""
    layers = keras.layers
    network = keras.Sequential([
        keras.Input((SIDE, SIDE, CHANNELS)),
        layers.Conv2D(CHANNELS, 3, padding="same", activation="silu", dtype=precision),
        layers.Conv2D(CHANNELS, 3, padding="same", activation="silu", dtype=precision),
    ])  # fmt: skip
    x = tf.zeros([BATCH, SIDE, SIDE, CHANNELS])

    @tf.function
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
