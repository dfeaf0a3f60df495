"""Recipes of flows, run as a person runs them, and their pictures."""

import json

import numpy as np
import pytest
from PIL import Image
from test_scripts import script

from genmodels import plots


def test_spline_recipe_measures_and_draws_a_density(tmp_path):
    run = tmp_path / "run"
    small = ["--steps", 20, "--batch-size", 64, "--layers", 1, "--width", 8, "--bins", 4]
    small += ["--num", 200, "--num-test", 300]
    done = script("recipes/spline_densities.py", "--run", run, "--densities", "eight_gaussians", *small)
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "test.json").read_text())
    assert list(results) == ["eight_gaussians"]
    result = results["eight_gaussians"]
    # log 8 and a normal's entropy would be that of modes which do not overlap; these, six deviations apart, hardly do.
    assert 0 < np.log(8) + np.log(2 * np.pi * np.e * (0.5 / 1.414) ** 2) - result["entropy"] < 0.01
    # The two estimates of one divergence differ by the noise of log p(x) alone: 1 nat a point.
    assert abs(result["excess"] - result["kl"]) < 4 / np.sqrt(300)
    assert result["kl"] > 5 * result["kl_standard_error"] > 0 and result["examples"] == 300  # hardly trained
    assert f"NLL {result['nll']:.4f}" in done.stdout and f"KL {result['kl']:.4f}" in done.stdout
    assert str(run / "densities.png") in done.stdout
    assert np.asarray(Image.open(run / "densities.png").convert("L")).std() > 20  # not a blank picture
    assert (run / "eight_gaussians" / "model.keras").is_file()

    done = script("recipes/spline_densities.py", "--run", run, "--densities", "circles,two_moon")
    assert done.returncode == 2 and "two_moon" in done.stderr and not (run / "circles").exists()


def test_glow_recipe_measures_its_bound(tmp_path):
    run = tmp_path / "run"
    small = ["--steps", 1, "--width", 4, "--transform", "affine", "--epochs", 1, "--warmup", 2, "--num-samples", 2]
    done = script("recipes/glow_mnist.py", "--data", "digits", "--run", run, *small)
    assert done.returncode == 0, done.stderr
    result = json.loads((run / "test.json").read_text())
    assert result["kind"] == "dequantization bound, uniform noise, 2 draws" and result["examples"] == 359
    assert f"≤ {result['bits_per_dim']:.3f}" in done.stdout
    for name in ("temperatures.png", "interpolation.png"):
        assert np.asarray(Image.open(run / name)).std() > 20


def test_realnvp_recipe_and_scripts_on_its_run(tmp_path):
    run = tmp_path / "run"
    done = script("recipes/realnvp_digits.py", "--run", run, "--epochs", 1, "--layers", 1, "--width", 4)
    assert done.returncode == 0, done.stderr
    for name in ("samples.png", "temperatures.png", "interpolation.png", "curves.png"):
        assert str(run / name) in done.stdout and np.asarray(Image.open(run / name)).std() > 10
    for temperature in (0, 1):
        out = tmp_path / f"{temperature}.png"
        done = script("samples/sample.py", "--run", run, "--num", 20, "--temperature", temperature, "--out", out)
        assert done.returncode == 0, done.stderr
    cold = np.asarray(Image.open(tmp_path / "0.png").convert("L")).astype(float)
    assert not np.array_equal(cold, np.asarray(Image.open(tmp_path / "1.png").convert("L")))
    walk = ["samples/interpolate.py", "--run", run, "--data", "digits", "--rows", 2, "--out", tmp_path / "walk.png"]
    done = script(*walk)
    assert done.returncode == 2 and "--labels" in done.stderr
    assert script(*walk, "--labels", 3).returncode == 0
    done = script(*walk, "--rows", 1000)
    assert done.returncode == 2 and "--rows" in done.stderr


@pytest.fixture
def shown(monkeypatch):
    """The figures that were saved."""
    figures, save = [], plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def normal(mean, scale):
    """Log-density of independent normals, by its formula."""
    return lambda x: (-0.5 * ((x - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))).sum(1)


def test_densities_are_drawn_where_and_as_high_as_they_are(tmp_path, shown):
    mean, above, scale = np.array([2.0, -1.0]), np.array([2.0, 0.0]), np.array([0.5, 0.25])
    data = np.random.default_rng(0).normal(mean, scale, [200_000, 2])
    column = {"data": data, "model": normal(mean, scale)}
    shifted = {"data": data, "model": normal(above, scale)}
    path = plots.save_densities(tmp_path / "new" / "densities.png", {"one\n3 nats": column, "two": shifted})
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    panels = np.reshape(shown[0].axes, [2, 2])
    assert [panel.get_title() for panel in panels[0]] == ["one\n3 nats", "two"]
    assert [panel.get_ylabel() for panel in panels[:, 0]] == ["data", "model"]
    for (row, place), centre in {(0, 0): mean, (1, 0): mean, (1, 1): above}.items():
        (picture,) = panels[row, place].images
        assert picture.origin == "lower"
        left, right, bottom, top = picture.get_extent()
        assert right - left == pytest.approx(top - bottom)
        density = np.asarray(picture.get_array())  # [y, x]
        cell = (right - left) / len(density)
        x, y = left + cell * (np.arange(len(density)) + 0.5), bottom + cell * (np.arange(len(density)) + 0.5)
        assert density.sum() * cell**2 == pytest.approx(1.0, abs=1e-3)
        centroid = cell**2 * np.array([density.sum(0) @ x, density.sum(1) @ y])
        np.testing.assert_allclose(centroid, centre, atol=0.01)
        peak = 1 / (2 * np.pi * scale.prod())
        assert density.max() == pytest.approx(peak, rel=0.02 if row else 0.2)
        assert picture.get_clim()[0] == 0 and picture.get_clim() == panels[0, place].images[0].get_clim()


def test_densities_that_cannot_be_drawn_are_refused(tmp_path):
    data = np.zeros([3, 2])
    plots.save_densities(tmp_path / "x.png", {"a": {"data": data, "model": lambda x: np.full(len(x), -np.inf)}})
    cases = [
        ({}, "must be dicts of the same panels"),
        ({"a": {"data": data}, "b": {"samples": data}}, r"same panels.* got \[\['data'\], \['samples'\]\]"),
        ({"a": {"data": np.zeros([3, 3])}}, r"The data must be points .* got \(3, 3\)"),
        ({"a": {"data": data, "samples": np.zeros([0, 2])}}, r"The samples must be points .* got \(0, 2\)"),
        ({"a": {"model": normal(0.0, 1.0)}}, "The model must be points in the plane"),
        ({"a": {"data": data + np.nan}}, "must be finite"),
        ({"a": {"data": data, "model": lambda x: x}}, r"The model must give a log-density a point.* got \(40000, 2\)"),
    ]
    for columns, message in cases:
        with pytest.raises(ValueError, match=message):
            plots.save_densities(tmp_path / "x.png", columns)
