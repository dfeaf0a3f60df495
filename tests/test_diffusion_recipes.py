"""The recipes of diffusion: short runs, what they leave, and what they refuse."""

import json

from PIL import Image
from test_scripts import script


def test_diffusion_points(tmp_path):
    run = tmp_path / "points"
    small = ("--steps", 30, "--width", 16, "--depth", 1, "--num", 2000, "--num-test", 50)
    done = script("recipes/diffusion_points.py", "--run", run, "--densities", "two_moons", *small)
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "test.json").read_text())
    assert set(results) == {"two_moons-edm", "two_moons-flow-matching"}
    assert all(result["kl"] > 0 and result["examples"] == 50 for result in results.values())
    assert Image.open(run / "densities.png").size[0] > 100


def test_diffusion_points_refuses_what_it_does_not_know(tmp_path):
    for flag, value in (("--densities", "two_moon"), ("--models", "edm,ddpm")):
        done = script("recipes/diffusion_points.py", "--run", tmp_path / "points", flag, value)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "points").exists()


def test_latent_diffusion(tmp_path):
    run = tmp_path / "latent"
    small = ("--data", "digits", "--autoencoder-steps", 3, "--steps", 3, "--width", 8, "--num-quality", 100)
    done = script("recipes/latent_diffusion.py", "--run", run, *small)
    assert done.returncode == 0, done.stderr
    rows = json.loads((run / "evaluation.json").read_text())
    assert [row["model"] for row in rows] == ["VQVAE", "LatentDiffusion"]
    assert all(row["frechet"] > 0 for row in rows) and "likelihood" not in rows[1]
    assert "solver=dpmpp_2m" in rows[1]["sampling"]
    assert Image.open(run / "diffusion.png").size == Image.open(run / "prior.png").size
    assert Image.open(run / "reconstructions.png").size[0] > 50


def test_ddpm_digits(tmp_path):
    run = tmp_path / "digits"
    done = script("recipes/ddpm_digits.py", "--run", run, "--epochs", 1, "--width", 8)
    assert done.returncode == 0, done.stderr
    assert "variational bound" in done.stdout
    for name in ("samples", "guided", "interpolation", "edits", "curves"):
        assert Image.open(run / f"{name}.png").size[0] > 50
