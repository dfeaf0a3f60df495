"""Code that the pages for users show runs as it stands, and what it adds does its part in a model."""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys
from test_diffusion import Exact
from test_solvers import exact, solution

import genmodels as gm
from genmodels.core import Batch
from genmodels.sampling import Streams, make_seed

ROOT = pathlib.Path(__file__).parents[1]


def blocks(page):
    """Python blocks under their headings; left out are sketches, with an ellipsis, and those that train."""
    _, *parts = re.split(r"^## (.*)\n", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[::2], parts[1::2]):
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            if "…" not in block and ".fit(" not in block:
                assert heading not in found
                found[heading] = block
    return found


CODE = {page: blocks(page) for page in ("CONTRIBUTING.md", "README.md", "docs/families.md")}


@functools.cache
def ran(page, heading):
    """The names that a block leaves; where a page imports once, at its head, with these. Sampling is cut short."""
    known = {} if page == "CONTRIBUTING.md" else {"gm": gm, "keras": keras}
    if page == "docs/families.md":
        known["train"], known["test"] = gm.load_data("digits")
    exec(compile(re.sub(r"\bsteps=\d+", "steps=1", CODE[page][heading]), f"<{page}>", "exec"), known)
    return known


@pytest.mark.parametrize("page, heading", [(page, heading) for page in CODE for heading in CODE[page]])
def test_code_runs(page, heading):
    assert any(isinstance(value, gm.GenerativeModel) for value in ran(page, heading).values())


def test_no_complete_block_is_left_out():
    assert [len(found) for found in CODE.values()] == [5, 1, 2]


def test_a_model_of_ones_own_learns_and_is_loaded(tmp_path):
    """Its samples' mean comes near that of the data, which lie far from where it begins."""
    model = ran("CONTRIBUTING.md", "Adding a model")["MomentMatching"]((2, 2, 1), levels=17, width=4)
    x = np.random.default_rng(0).integers(9, 17, (256, 2, 2, 1), dtype=np.uint8)
    first, last = (model.fit(x, steps=steps, batch_size=64, verbose=0).history["mmd"][-1] for steps in (1, 300))
    assert last < 0.2 * first
    samples = model.sample(256, seed=1).numpy()
    assert abs(samples.mean() - x.mean()) < 1.0 and samples.dtype == np.uint8
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras").sample(256, seed=1), samples)


def test_a_loss_and_a_regularizer_of_ones_own_make_the_game(tmp_path):
    own = ran("CONTRIBUTING.md", "Adding a loss or a regularizer of GANs")
    loss, regularizer, x, seed = own["SoftHinge"](), own["SmallValues"](), toys.points(32), make_seed(5)
    small = {"levels": None, "width": 8, "latent_dim": 4, "normalization": None}
    model = gm.GAN((2,), loss=loss, regularizers=regularizer, **small)
    for weight in model.critic.weights:
        weight.assign(5.0 * weight)  # a penalty that counts
    fake = model.generator(model.latents(Streams(seed, 0, 32)))
    on_real, on_fake = (model.critic(examples)[:, 0].numpy().astype(float) for examples in (x, fake))
    batch = Batch(tf.constant(x))
    (critic, metrics), (generator, _) = (objective.loss(batch, seed, True) for objective in model.objectives())
    penalty = 1e-3 * np.mean(on_real**2)
    assert float(metrics["small_values"]) == pytest.approx(penalty, rel=1e-4)
    truth = np.logaddexp(0, 1 - on_real).mean() + np.logaddexp(0, 1 + on_fake).mean() + penalty
    assert penalty > 1e-3 * truth and float(critic) == pytest.approx(truth, rel=1e-5)
    assert float(generator) == pytest.approx(-on_fake.mean(), rel=1e-4)
    model.save(tmp_path / "model.keras")
    again = gm.load_model(tmp_path / "model.keras")
    assert again.adversarial_loss == loss and again.regularizers == (regularizer,)


def test_a_schedule_and_a_solver_of_ones_own_reach_the_data():
    """Of Gaussian data, whose denoiser is known."""
    own = ran("CONTRIBUTING.md", "Adding a schedule or a solver of diffusion")
    schedule, times = own["Polynomial"](), np.linspace(0.01, 1.0, 9)
    levels = schedule.values(times)
    squares = (1 - (0.997 * times) ** 2) ** 2
    np.testing.assert_allclose(np.square(levels), [squares, 1 - squares], rtol=1e-6)
    np.testing.assert_allclose(schedule.time(*levels), times, rtol=1e-6)
    x, t = keras.Input((2,)), keras.Input(())
    denoiser = keras.Model([x, t], Exact(schedule)(x, t))
    model = gm.Diffusion((2,), levels=None, schedule=schedule, prediction="x0", denoiser=denoiser)
    z = model.prior(100)
    _, alphas, sigmas = schedule.grid(40)
    reached = own["midpoint"](exact(), sigmas[0] * z, alphas, sigmas, None)
    np.testing.assert_allclose(reached, solution(sigmas[0] * z.numpy().astype(float), alphas, sigmas), atol=0.03)
    _, alphas, sigmas = schedule.grid(3)
    reached = own["midpoint"](exact(), sigmas[0] * z, alphas, sigmas, None)
    np.testing.assert_allclose(model.sample(100, solver=own["midpoint"], steps=3), reached, atol=1e-3)
