"""Compiled arithmetic inside ordinary graphs: its second derivatives, of which a gradient penalty is made."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

import genmodels as gm

X = tf.constant(toys.values(2, 3, 4, 8))
MODULATION = tf.constant(toys.values(2, 16, seed=1))
PARAMETERS = tf.constant(toys.values(96, 22, seed=2))
SPLINE = gm.flows.Spline(bins=4)


def normalized(x):
    """Group norm, modulation and SiLU by other means."""
    groups = tf.reshape(x, [2, 12, 4, 2])
    mean, variance = tf.nn.moments(groups, [1, 3], keepdims=True)
    scale, shift = tf.split(MODULATION[:, None, None], 2, axis=-1)
    y = (1.0 + scale) * tf.reshape((groups - mean) * tf.math.rsqrt(variance + 1e-5), x.shape) + shift
    return y * tf.sigmoid(y)


def halves(x):
    return tf.split(2.0 * x, 2, axis=-1)


def spline(x):
    return SPLINE.forward(tf.reshape(x, [-1, 2]), PARAMETERS)[0]


# name: (as compiled in a graph, as truth)
FUNCTIONS = {
    "group norm": (lambda x: LAYERS["group norm"](x, MODULATION), normalized),
    "gate": (lambda x: LAYERS["gate"](x, x), lambda x: tf.tanh(halves(x)[0]) * tf.sigmoid(halves(x)[1])),
    "linear gate": (lambda x: LAYERS["linear gate"](x), lambda x: halves(x)[0] / 2 * tf.sigmoid(halves(x)[1] / 2)),
    "concat ELU": (lambda x: LAYERS["concat ELU"](x), lambda x: tf.nn.elu(tf.concat([x, -x], -1))),
    "spline": (spline, spline),  # eager calls of which go op by op
}
LAYERS = {
    "group norm": gm.layers.FusedGroupNormalization(4), "gate": gm.layers.Gate(), "linear gate": gm.layers.LinearGate(),
    "concat ELU": gm.layers.ConcatELU(),
}  # fmt: skip


def second(function):
    """The gradient of the squared length of a gradient."""
    with tf.GradientTape() as outer:
        outer.watch(X)
        with tf.GradientTape() as inner:
            inner.watch(X)
            y = tf.reduce_sum(function(X) ** 3)
        penalty = tf.reduce_sum(inner.gradient(y, X) ** 2)
    return outer.gradient(penalty, X)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name):
    own, truth = FUNCTIONS[name]
    expected = second(truth)
    largest = float(tf.reduce_max(tf.abs(expected)))
    assert largest > 0.1
    np.testing.assert_allclose(tf.function(lambda: second(own))(), expected, atol=1e-5 * largest)


def test_networks_with_such_layers_are_trained_on_second_derivatives():
    """A gradient penalty of a critic with group norm."""
    image = keras.Input((4, 4, 1))
    x = gm.layers.FusedGroupNormalization(2)(keras.layers.Conv2D(8, 3)(image))
    critic = keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    model = gm.WGANGP((4, 4, 1), levels=17, architecture="mlp", width=8, critic=critic)
    history = model.fit(toys.images(64, (4, 4, 1)), batch_size=16, steps=2, verbose=0).history
    assert history["gradient_penalty"][0] > 0
