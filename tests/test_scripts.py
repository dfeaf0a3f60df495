"""Recipes, sampling scripts and the demo's pictures, run as a person runs them."""

import contextlib
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


class Done:
    """What a script left: its exit code and its output."""

    def __init__(self, name, arguments):
        out, err = io.StringIO(), io.StringIO()
        before, sys.argv = sys.argv, [str(name), *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                runpy.run_path(str(ROOT / name), run_name="__main__")
            self.returncode = 0
        except SystemExit as leave:
            self.returncode = leave.code or 0
        finally:
            sys.argv = before
        self.stdout, self.stderr = out.getvalue(), err.getvalue()


def script(name, *arguments):
    """Runs a script in this process: a fresh one would spend its time importing TensorFlow."""
    return Done(name, arguments)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    run = tmp_path_factory.mktemp("demo") / "run"
    done = script("recipes/vae_digits.py", "--run", run, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def test_the_demo_leaves_what_it_names(demo):
    run, out = demo
    for name in ("samples.png", "reconstructions.png", "interpolation.png", "curves.png", "log.csv", "model.keras"):
        assert (run / name).is_file()
        assert str(run / name) in out
    assert "log p(x | class) ≥" in out and "iwae_100" in out
    assert np.asarray(Image.open(run / "samples.png")).std() > 20  # not a blank picture


def test_samples_and_walks_from_a_run(demo, tmp_path):
    run, _ = demo
    calls = [
        ("samples/sample.py", "--num", 6, "--labels", "7,1", "--out", tmp_path / "a.png"),
        ("samples/sample.py", "--num", 6, "--labels", "7,1", "--out", tmp_path / "b.png"),
        ("samples/interpolate.py", "--rows", 2, "--steps", 3, "--labels", "3", "--out", tmp_path / "c.png"),
        ("samples/interpolate.py", "--data", "digits", "--labels", "0,1", "--rows", 2, "--out", tmp_path / "d.gif"),
    ]
    for name, *arguments in calls:
        done = script(name, "--run", run, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(arguments[-1])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "d.gif").n_frames == 10


def test_wrong_input_is_one_line_and_exit_code_2(demo, tmp_path):
    run, _ = demo
    (tmp_path / "empty").mkdir()
    cases = [
        (("samples/sample.py", "--run", tmp_path / "nowhere"), "no"),
        (("samples/sample.py", "--run", tmp_path / "empty"), "model.keras"),
        (("samples/sample.py", "--run", run, "--labels", "eleven"), "0,1,2"),
        (("samples/sample.py", "--run", run, "--labels", "11"), "from 0 to 9"),
        (("samples/interpolate.py", "--run", run, "--data", "digit"), "digits"),
        (("recipes/vae_digits.py", "--run", run, "--epochs", 3), "learning_rate"),
        (("recipes/vae_mnist.py", "--data", tmp_path / "none.npz"), "none.npz"),
    ]
    for arguments, word in cases:
        done = script(*arguments)
        ours = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 2, (arguments, done.stderr)
        assert len(ours) == 1 and word in ours[0], (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_a_process_ends_with_the_code(tmp_path):
    command = [sys.executable, "samples/sample.py", "--run", tmp_path / "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: expected a run directory" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted([*ROOT.glob("recipes/*.py"), *ROOT.glob("samples/*.py")]), ids=lambda p: p.name)
def test_every_script_has_help(path):
    done = script(path, "--help")
    assert done.returncode == 0 and "--seed" in done.stdout


@pytest.fixture(scope="module")
def packed_bits(tmp_path_factory):
    rng = np.random.default_rng(0)
    sizes = {"train": 64, "valid": 8, "test": 40}
    path = tmp_path_factory.mktemp("mnist") / "binarized_mnist.npz"
    np.savez(path, **{name: rng.integers(0, 256, (n, 98), dtype=np.uint8) for name, n in sizes.items()})
    return path


def test_vae_recipe_runs_from_packed_bits(packed_bits, tmp_path):
    arguments = ["--data", packed_bits, "--run", tmp_path / "run", "--epochs", 1]
    done = script("recipes/vae_mnist.py", *arguments, "--batch-size", 32, "--num-samples", 2)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "test.json").read_text())
    assert result["kind"] == "iwae_2" and result["examples"] == 40
    assert f"≥ {result['nats']:.2f}" in done.stdout


def test_gated_pixelcnn_recipe_runs_from_packed_bits(packed_bits, tmp_path):
    arguments = ["--data", packed_bits, "--run", tmp_path / "run", "--epochs", 1, "--batch-size", 32]
    done = script("recipes/gated_pixelcnn_mnist.py", *arguments, "--filters", 4, "--blocks", 1, "--kernel-size", 3)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "test.json").read_text())
    assert result["kind"] == "nll" and result["examples"] == 40
    assert f"= {result['nats']:.2f}" in done.stdout
    assert (tmp_path / "run" / "completions.png").is_file()


def test_pixelcnn_recipe_and_completions(demo, tmp_path):
    run = tmp_path / "run"
    done = script("recipes/pixelcnn_digits.py", "--run", run, "--epochs", 1, "--filters", 8, "--blocks", 1)
    assert done.returncode == 0, done.stderr
    for name in ("samples.png", "completions.png", "entropy.png", "curves.png"):
        assert str(run / name) in done.stdout and np.asarray(Image.open(run / name)).std() > 20
    arguments = ["--run", run, "--data", "digits", "--rows", 2, "--num", 3, "--out", tmp_path / "c.png"]
    done = script("samples/complete.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "c.png")
    done = script("samples/interpolate.py", "--run", run)
    assert done.returncode == 2 and "PixelCNN" in done.stderr, done.stderr
    for wrong, word in ((["--known", 2], "from 0 to 1"), (["--run", demo[0]], "VAE"), (["--data", "digit"], "digits")):
        done = script("samples/complete.py", *arguments, *wrong)
        assert done.returncode == 2 and word in done.stderr, done.stderr


def test_the_demo_sets_families_side_by_side(tmp_path):
    """Two of the five: compiling all takes minutes."""
    done = script("recipes/five_families.py", "--out", tmp_path, "--scale", 0.002, "--only", "vae,pixelcnn")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout and "*training data*" in table
    rows = {line.split("|")[2].strip(): line for line in table.splitlines() if line.startswith("| ")}
    assert "≥" in rows["vae"] and "| importance-weighted bound, given the class, 100 draws |" in rows["vae"]
    assert "≥" not in rows["pixelcnn"] and "| exact, given the class |" in rows["pixelcnn"]
    for name in ("vae", "pixelcnn"):
        assert json.loads((tmp_path / name / "evaluation.json").read_text())["training_steps"] >= 1
        assert (tmp_path / name / "model.keras").is_file()
    assert np.asarray(Image.open(tmp_path / "families.png")).std() > 20
    done = script("recipes/five_families.py", "--out", tmp_path, "--only", "vae,gan")
    assert done.returncode == 2 and "dcgan" in done.stderr


def test_the_table_of_half_an_hour(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    small = ("--steps", 2, "--examples", 20, "--num-quality", 100, "--binarize")
    done = script("recipes/half_hour.py", "vae", "--data", "digits", "--run", tmp_path / "vae-digits", *small)
    assert done.returncode == 0, done.stderr
    assert "| importance-weighted bound, 100 draws |" in done.stdout and (tmp_path / "vae-digits/samples.png").is_file()
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- digits: begin -->\nold\n<!-- digits: end -->\nafter\n")
    renew = ("recipes/results.py", "--runs", tmp_path, "--data", "digits", "--page", page)
    done = script(*renew)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("before\n<!--") and text.endswith("end -->\nafter\n") and "old" not in text
    assert "| *training data* |" in text and "| VAE |" in text and "classifier-64" in text
    assert "examples of digits, statically binarized, " in text
    assert f"missing: {tmp_path / 'glow-digits'}" in done.stdout
    assert np.asarray(Image.open(tmp_path / "images" / "half_hour_digits.png")).std() > 20
    assert script(*renew).returncode == 0 and page.read_text() == text
    done = script("recipes/results.py", "--runs", tmp_path / "nowhere", "--data", "digits", "--page", page)
    assert done.returncode == 2 and "holds no record" in done.stderr and page.read_text() == text
    page.write_text("no marks")
    done = script(*renew)
    assert done.returncode == 2 and "digits: begin" in done.stderr and page.read_text() == "no marks"
    assert "vae, gated-pixelcnn" in script("recipes/half_hour.py", "gan").stderr
