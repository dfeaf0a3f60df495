"""Activations computed again: the same numbers. How much memory it saves is measured by benchmarks/memory.py."""

import collections

import keras
import numpy as np
import pytest

import genmodels as gm

DIGITS = {"event_shape": (8, 8, 1), "levels": 17}


def ddpm(recompute):
    denoiser = gm.diffusion.unet((8, 8, 1), width=8, multipliers=(1,), blocks=1, attention=(), recompute=recompute)
    return gm.DDPM(**DIGITS, denoiser=denoiser)


def glow(recompute):
    return gm.Glow(**DIGITS, steps=2, width=8, transform="affine", recompute=recompute)


@pytest.mark.parametrize(("make", "part", "blocks"), [(ddpm, keras.layers.Add, 5), (glow, gm.flows.Coupling, 2)])
def test_the_gradient_computes_blocks_again_and_training_is_the_same(make, part, blocks, monkeypatch, tmp_path):
    data = gm.load_data("digits")[0]
    weights, calls, call = [], [], part.call

    def counted(self, *args, **kwargs):
        calls[-1][self.name] += 1
        return call(self, *args, **kwargs)

    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        model = make(recompute)
        variables = model.trainable_variables
        if make is ddpm:  # its layers have names, and another order within networks of their own
            variables = sorted(variables, key=lambda v: v.path.split("/")[-2:])
        for i, v in enumerate(variables):  # zeros hide mistakes
            v.assign(keras.random.normal(v.shape, stddev=0.05, seed=i))
        model.compile(keras.optimizers.SGD(0.01), clipnorm=1.0)
        calls.append(collections.Counter())
        with monkeypatch.context() as patched:
            patched.setattr(part, "call", counted)
            model.fit(data, batch_size=16, steps=3, verbose=0)  # is traced once
        weights.append([keras.ops.convert_to_numpy(v) for v in variables])
    assert {*calls[0].values()} == {1} and [*calls[1].values()].count(2) == blocks
    assert [w.shape for w in weights[0]] == [w.shape for w in weights[1]]
    for kept, again in zip(*weights):
        np.testing.assert_allclose(again, kept, atol=1e-5)
    model.save(tmp_path / "model.keras")
    same = gm.load_model(tmp_path / "model.keras")
    for kept, again in zip(model.weights, same.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (kept, again)))


def test_networks_that_draw_are_refused():
    with pytest.raises(ValueError, match="draws random numbers"):
        gm.diffusion.unet((8, 8, 1), width=8, dropout=0.1, recompute=True)


def test_networks_with_a_state_are_refused():
    network = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    spectral = gm.gans.SpectralNormalization().prepare(gm.networks.mlp((2,), (1,), widths=(8,)))
    for stateful in (network, spectral):
        with pytest.raises(ValueError, match="changes its state"):
            gm.layers.Recompute(stateful)


def test_plain_networks_keep_what_was_recomputed():
    network = ddpm(True).denoiser
    inputs = [np.random.default_rng(0).normal(size=[2, 8, 8, 1]).astype(np.float32), np.float32([0.2, 0.9])]
    plain = gm.export.plain(network)
    assert all(type(layer).__module__.startswith("keras") for layer in plain._flatten_layers())
    np.testing.assert_allclose(plain(inputs), network(inputs), atol=1e-5)
