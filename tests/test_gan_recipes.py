"""The recipe of GANs on points: its measures on samples made by hand, and a short run of it."""

import json
import runpy

import numpy as np
import pytest
from PIL import Image
from test_scripts import ROOT, script

from genmodels.data import synthetic

CENTRES = 2.0 * np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)])


@pytest.fixture(scope="module")
def measured():
    return runpy.run_path(str(ROOT / "recipes/wgan_points.py"))["measured"]


def test_an_even_spread_and_a_collapse(measured):
    even = measured(np.tile(CENTRES, [4, 1]))
    zero = pytest.approx(0.0, abs=1e-12)
    assert even == {"modes": 25, "within_4_sigma": 1.0, "spread": 0.0, "kl": zero, "samples": 100}
    collapsed = measured(np.tile(CENTRES[3], [100, 1]))
    assert (collapsed["modes"], collapsed["within_4_sigma"]) == (1, 1.0)
    assert collapsed["kl"] == pytest.approx(np.log(25))


def test_points_count_within_four_deviations_of_a_centre(measured):
    angle = np.linspace(0, 2 * np.pi, 25)
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    near, far = CENTRES + 0.199 * around, CENTRES + 0.201 * around
    half = measured(np.concatenate([near, far[:15], far[:10]]))
    assert half["modes"] == 25 and half["within_4_sigma"] == 0.5
    assert half["spread"] == pytest.approx(0.199 / (0.05 * np.sqrt(2)))
    # Points far from every centre cover nothing, yet have a nearest mode: 10 modes three times, 15 twice.
    nothing = measured(np.concatenate([far, far, far[:10]]))
    assert nothing["modes"] == 0 and nothing["within_4_sigma"] == 0.0 and nothing["spread"] is None
    share = np.repeat([3 / 60, 2 / 60], [10, 15])
    assert nothing["kl"] == pytest.approx(np.sum(share * np.log(share * 25)))


def test_a_mode_needs_a_twentieth_of_its_share(measured):
    points = np.repeat(CENTRES, [952, *24 * [2]], axis=0)  # 1 000: the share is 40
    assert measured(points)["modes"] == 25
    points[-1] = CENTRES[0]
    assert measured(points)["modes"] == 24


def test_the_data_have_all_modes_and_the_share_of_a_normal(measured):
    data = measured(synthetic.sample("gaussian_grid", 100_000, seed=5))
    assert data["modes"] == 25
    missed = np.exp(-8)  # P(r > 4σ) of a normal in the plane
    assert abs(1 - data["within_4_sigma"] - missed) < 4 * np.sqrt(missed / 100_000)
    # E[r² | r < 4σ] = 2σ² (1 - 8 e⁻⁸ / (1 - e⁻⁸)); a mean of N squares of deviation 2σ².
    assert data["spread"] ** 2 == pytest.approx(1 - 8 * missed / (1 - missed), abs=4 / np.sqrt(100_000))
    # 2 N times the divergence of counts from the truth is chi-square of 24 degrees of freedom.
    assert abs(2 * 100_000 * data["kl"] - 24) < 4 * np.sqrt(48)


def test_the_recipe_measures_draws_and_resumes(tmp_path):
    run = tmp_path / "run"
    small = ["--run", run, "--steps", 3, "--batch-size", 8, "--width", 4, "--num", 100, "--num-samples", 300]
    done = script("recipes/wgan_points.py", *small)
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "test.json").read_text())
    assert list(results) == ["data", "wgan-gp", "sngan"]
    assert results["data"]["modes"] == 25 and results["data"]["within_4_sigma"] > 0.98
    for name in ("wgan-gp", "sngan"):
        result = results[name]
        assert result["samples"] == 300 and result["kl"] > 0.5 and result["seconds"] > 0  # hardly trained
        assert f"{result['modes']} of 25 modes, {result['within_4_sigma']:.1%} within 4σ" in done.stdout
        assert (run / name / "samples" / "step-00000003.png").is_file()
        assert (run / name / "model.keras").is_file()
    assert str(run / "samples.png") in done.stdout
    picture = np.asarray(Image.open(run / "samples.png").convert("L"))
    assert picture.shape[1] > 2.5 * picture.shape[0] and picture.std() > 5  # three panels beside each other

    # SNGAN as it is when it was interrupted after its first checkpoint; WGAN-GP has ended.
    (run / "sngan" / "checkpoints" / "step-0000000003.npz").unlink()
    (run / "sngan" / "metrics.json").unlink()
    done = script("recipes/wgan_points.py", *small)
    assert done.returncode == 0, done.stderr
    assert f"{run / 'wgan-gp'} holds a finished run" in done.stdout and "sngan holds" not in done.stdout
    assert (run / "sngan" / "checkpoints" / "step-0000000003.npz").is_file()
    again = json.loads((run / "test.json").read_text())
    for result in (*results.values(), *again.values()):
        result.pop("seconds", None)
    assert again == results


def test_an_unknown_model_is_refused_before_any_work(tmp_path):
    done = script("recipes/wgan_points.py", "--run", tmp_path / "run", "--models", "wgan-gp,wgan")
    assert done.returncode == 2 and "wgan-gp, sngan" in done.stderr and "'wgan'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_pictures_measures_its_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    run, small = tmp_path / "run", ("--epochs", 1, "--num", 100, "--num-quality", 100, "--precision", "float32")
    done = script("recipes/dcgan_fashion.py", "--data", "digits", "--run", run, *small)
    assert done.returncode == 0, done.stderr
    figures = json.loads((run / "evaluation.json").read_text())
    assert figures["frechet"] > figures["floor_frechet"] and figures["features"] == "classifier-64"
    assert figures["num_fake"] == 100 and "copies" in figures and "variance of samples" in done.stdout
    for name in ("samples", "neighbours", "interpolation", "curves"):
        assert Image.open(run / f"{name}.png").size[0] > 50
