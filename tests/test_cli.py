"""The command `genmodels`: every subcommand on a tiny run of each family, and what it says of wrong inputs."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toys
from PIL import Image

import genmodels as gm
from genmodels import catalogue, cli
from genmodels.cli import main, training, using
from genmodels.training import precision, source

STEPS = ("--steps", 3, "--batch-size", 16, "--precision", "float32")
FAMILIES = {
    "vae": ("--set", "architecture=mlp", "--set", "latent_dim=2", "--conditional"),
    "gated-pixelcnn": ("--set", "filters=8", "--set", "blocks=1"),
    "nice": ("--set", "width=8", "--set", "depth=1"),
    "wgan-gp": ("--set", "architecture=mlp", "--set", "width=8"),
    "ddpm": ("--set", "denoiser=DENOISER"),
}
LATENT = [name for name in FAMILIES if name != "gated-pixelcnn"]


def command(*arguments):
    """Exit code, standard output, standard error of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["genmodels", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main.main()
    except SystemExit as leave:
        return leave.code or 0, out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("the command must end by SystemExit")


def done(*arguments):
    """Standard output of a command that must succeed."""
    code, out, err = command(*arguments)
    assert code == 0, (arguments, err)
    return out


def refused(*arguments):
    """The one line of a command that must be refused."""
    code, _, err = command(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, (arguments, code, err)
    return lines[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny run of each family on the digits."""
    folder = tmp_path_factory.mktemp("runs")
    toys.denoiser((8, 8, 1)).save(folder / "denoiser.keras")
    for name, settings in FAMILIES.items():
        settings = [text.replace("DENOISER", str(folder / "denoiser.keras")) for text in settings]
        out = done("train", name, "digits", "--run", folder / name, *STEPS, *settings)
        assert f"genmodels sample {folder / name}" in out
    (folder / "denoiser.keras").unlink()  # a run needs no file but its own
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_of_each_family(runs, name, tmp_path):
    out = done("sample", runs / name, "--num", 4, "--seed", 3, "--out", tmp_path / "a.png")
    assert out.strip() == str(tmp_path / "a.png") and Image.open(tmp_path / "a.png").size == (134, 134)
    done("sample", runs / name, "--num", 4, "--seed", 3, "--out", tmp_path / "a.npz")
    assert np.load(tmp_path / "a.npz")["samples"].shape == (4, 8, 8, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_figures_of_each_family(runs, name):
    options = {"ddpm": ("--set", "num_times=2")}.get(name, ())
    out = done("evaluate", runs / name, "--examples", 20, "--num", 8, *options)
    figures = json.loads((runs / name / "evaluation.json").read_text())
    model = catalogue.model_class(name)
    assert figures["model"] == model.__name__ and figures["data"] == "digits" and "copies" in out
    assert ("likelihood" in figures) == bool(model.scores)
    if model.scores:
        assert figures["examples"] == 20 and figures["likelihood"] in out


@pytest.mark.parametrize("name", LATENT)
def test_walks_and_reconstructions(runs, name, tmp_path):
    labels = ("--labels", "0,1") if name == "vae" else ()
    done("interpolate", runs / name, "--rows", 2, "--steps", 3, *labels, "--out", tmp_path / "walk.gif")
    assert Image.open(tmp_path / "walk.gif").n_frames == 3
    small = ("--rows", 2, "--steps", 3, *labels)
    done("interpolate", runs / name, "--data", "digits", *small, "--out", tmp_path / "w.png")
    done("interpolate", runs / name, "--loop", "--rows", 3, "--steps", 3, *labels, "--out", tmp_path / "loop.gif")
    assert Image.open(tmp_path / "loop.gif").n_frames <= 6  # frames that are alike are one
    done("reconstruct", runs / name, "--num", 4, "--out", tmp_path / "r.png")
    assert Image.open(tmp_path / "w.png").size[0] > 100 and Image.open(tmp_path / "r.png").size[0] > 100


def test_quality_of_samples(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "quality.json"
    arguments = ("evaluate", runs / "wgan-gp", "--num", 8, "--out", out)
    done(*arguments, "--features", "pixels", "--num-quality", 100)
    figures = json.loads(out.read_text())
    assert figures["num_fake"] == 100 and figures["frechet"] > figures["floor_frechet"] > 0
    assert figures["features"] == "pixel-pca-64" and figures["split"] == "test"
    assert "| WGANGP | wgan-gp | digits |" in out.with_suffix(".md").read_text()
    assert "pixels, classifier" in refused(*arguments, "--features", "pixel")
    assert ".json" in refused("evaluate", runs / "wgan-gp", "--out", tmp_path / "quality.txt")
    done(*arguments, "--metrics", "memorisation", "--num", 9)
    both = json.loads(out.read_text())
    assert both["copies"] != figures["copies"] or both["distance_ratio"] != figures["distance_ratio"]
    assert {**both, **{name: figures[name] for name in ("copies", "distance_ratio")}} == figures
    said = done(*arguments, "--metrics", "memorisation", "--sampling", "truncation=0.5")
    only = json.loads(out.read_text())
    always = {"model", "run", "model_hash", "data", "data_fingerprint", "training_steps", "sampling"}
    assert set(only) == always | {"copies", "distance_ratio"}
    assert "it is now" in said and json.loads((tmp_path / "quality-1.json").read_text()) == both
    assert "memorisation" in refused(*arguments, "--metrics", "copies")


def test_the_faster_precision_is_measured_said_and_kept(tmp_path, monkeypatch):
    small = ("vae", "digits", "--run", tmp_path / "run", "--set", "architecture=mlp", "--set", "latent_dim=2")
    monkeypatch.setattr(precision, "_seconds", {"float32": 3.0, "mixed_bfloat16": 2.0}.get)
    out = done("train", *small, "--steps", 2)
    assert "precision: mixed_bfloat16 (measured: bfloat16 runs at 1.5 times the speed of float32 here)" in out
    # The run that is there is continued in its precision, whatever a trial would say today.
    monkeypatch.setattr(precision, "_seconds", {"float32": 2.0, "mixed_bfloat16": 2.0}.get)
    assert precision.faster((8, 8, 1))[0] == "float32"
    out = done("train", *small, "--steps", 4)
    assert "precision:" not in out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 4
    assert "by name" in refused("train", *small, "--distribute", "hosts")


def test_what_a_family_lacks_is_said(runs, tmp_path):
    for name in ("reconstruct", "interpolate"):
        said = refused(name, runs / "gated-pixelcnn", "--out", tmp_path / "x.png")
        assert "GatedPixelCNN" in said and "flow" in said
    for devices, word in (("gpus", "sees none"), ("hosts", "TF_CONFIG"), ("all", "gpus or hosts")):
        assert word in refused("train", "vae", "digits", "--run", tmp_path / "run", "--distribute", devices, *STEPS)
    assert not (tmp_path / "run").exists()
    assert "elbo" in refused("evaluate", runs / "nice", "--score", "elbo")
    assert "no likelihood" in refused("evaluate", runs / "wgan-gp", "--score", "elbo")
    assert "--format saved-model" in refused("export", runs / "gated-pixelcnn")


def test_runs_are_compared(runs, tmp_path):
    (runs / "nice" / "evaluation.json").unlink(missing_ok=True)
    out = done("compare", *(runs / name for name in FAMILIES), "--num", 4, "--out", tmp_path / "report.html")
    assert f"{runs / 'nice'} has not been measured" in out
    page = (tmp_path / "report.html").read_text()
    assert all(catalogue.model_class(name).title in page for name in FAMILIES)
    table, rows = (tmp_path / "report.md").read_text(), json.loads((tmp_path / "report.json").read_text())
    written = [str(tmp_path / f"report.{kind}") for kind in ("html", "json", "md")]
    assert table in out and all(path in out.splitlines() for path in written)
    assert [row["model"] for row in rows] == [catalogue.model_class(name).__name__ for name in FAMILIES]
    assert all(f"| {name} |" in table for name in FAMILIES)


def test_what_is_no_finished_run_is_left_out_of_the_comparison(runs, tmp_path):
    (tmp_path / "no-run").mkdir()
    arguments = ("--num", 4, "--out", tmp_path / "report.html")
    code, out, err = command("compare", tmp_path / "no-run", runs / "vae", *arguments)
    assert code == 0 and "no-run is none. It is left out." in err and "| VAE |" in out
    assert "no-run is none" in refused("compare", tmp_path / "no-run", *arguments)


def test_rates_and_lengths_of_gradients(tmp_path):
    small = ("wgan-gp", "digits", "--set", "architecture=mlp", "--set", "width=8", *STEPS)
    done("train", *small, "--run", tmp_path / "run", "--learning-rate", 0.002, "--clipnorm", 3)
    model = gm.load_model(tmp_path / "run")
    assert all(abs(float(optimizer.learning_rate) - 0.002) < 1e-8 for optimizer in model.optimizers.values())
    assert model.get_compile_config()["clipnorm"] == 3
    assert float(model.optimizers["critic"].beta_2) == pytest.approx(0.9)  # the rest is the paper's
    assert "above 0" in refused("train", *small, "--run", tmp_path / "other", "--learning-rate", -1)
    said = refused("train", *small, "--run", tmp_path / "other", "--learning-rate", 1e30)
    assert "not finite" in said and "clipnorm" in said


def test_rates_that_fall(tmp_path):
    own = ("wgan-gp", "digits", "--set", "architecture=mlp", "--set", "width=8", "--set", "critic_updates=3")
    run = ("--run", tmp_path / "run", "--decay", "cosine")
    done("train", *own, *STEPS, *run)
    rates = {name: o._learning_rate for name, o in gm.load_model(tmp_path / "run").optimizers.items()}
    steps = int(STEPS[STEPS.index("--steps") + 1])
    assert {name: rate.steps for name, rate in rates.items()} == {"critic": 3 * steps, "generator": steps}
    for rate in rates.values():  # from the paper's
        assert float(rate(0)) == pytest.approx(1e-4) and float(rate(rate.steps)) == pytest.approx(0, abs=1e-12)
    assert "optimizer" in refused("train", *own, *run, *STEPS, "--steps", steps + 1)
    assert "cosine" in refused("train", *own, *STEPS, "--run", tmp_path / "other", "--decay", "linear")
    done("train", *own, "--epochs", 1, "--run", tmp_path / "epoch", "--decay", "cosine", "--batch-size", 512)
    metrics = json.loads((tmp_path / "epoch" / "metrics.json").read_text())
    rate = gm.load_model(tmp_path / "epoch").optimizers["generator"]._learning_rate
    assert metrics["step"] == rate.steps == 1  # four batches a step hold the 1 438 digits
    done("train", "nice", "digits", *FAMILIES["nice"], *STEPS, "--run", tmp_path / "nice", "--decay", "cosine")
    rate = gm.load_model(tmp_path / "nice").optimizers["model"]._learning_rate
    assert float(rate(steps)) == pytest.approx(0, abs=1e-12)
    assert float(rate(1)) == pytest.approx(1e-3 / 500 * (1 + np.cos(np.pi / steps)) / 2, rel=1e-5)  # warming up



def test_real_valued_pictures_are_shown(tmp_path):
    np.savez(tmp_path / "real.npz", x=np.random.default_rng(0).normal(size=(60, 8, 8, 1)))
    run, small = tmp_path / "run", ("--set", "architecture=mlp", "--set", "latent_dim=2", *STEPS)
    done("train", "vae", tmp_path / "real.npz", "--run", run, *small)
    for file in ("sample.png", "reconstruct.png", "interpolate.png", "interpolate.gif"):
        done(file.split(".")[0], run, "--out", tmp_path / file)
        assert Image.open(tmp_path / file).size[0] > 100


def test_networks_are_taken_away(runs, tmp_path):
    out = done("export", runs / "vae", "--out", tmp_path / "networks").split()
    assert sorted(path.rsplit("/", 1)[1] for path in out) == ["decoder.keras", "encoder.keras"]
    for name, form, file in (
        ("wgan-gp", "h5", "generator.h5"), ("ddpm", "litert", "denoiser.tflite"), ("vae", "onnx", "decoder.onnx"),
        ("nice", "saved-model", "saved_model.pb"),
    ):  # fmt: skip
        done("export", runs / name, "--format", form)
        assert (runs / name / "export" / form / file).is_file()
    assert "exists" in refused("export", runs / "nice", "--format", "saved-model")


def test_a_run_goes_on_and_another_is_refused(runs):
    again = ("train", "nice", "digits", "--run", runs / "nice", *FAMILIES["nice"], "--batch-size", 16)
    assert "nothing left to train" in done(*again, "--steps", 3)
    assert "3 steps, 2 were asked for: nothing" in done(*again, "--steps", 2)
    done(*again, "--steps", 5)
    assert json.loads((runs / "nice" / "metrics.json").read_text())["step"] == 5
    assert "seed" in refused(*again, "--steps", 5, "--seed", 1)


def test_a_folder_of_pictures_becomes_a_sample_grid(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(20):
        (tmp_path / "cats").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / "cats" / f"{i}.png")
    small = ("--set", "architecture=mlp", "--set", "latent_dim=2", *STEPS)
    done("train", "vae", "cats", "--size", 8, "--flip", "--shift", 1, "--accumulate", 4, *small)
    assert json.loads(Path("runs/vae-cats/run.json").read_text())["settings"]["training"]["accumulate"] == 4
    done("sample", "runs/vae-cats", "--num", 4)
    assert Image.open("samples.png").mode == "RGB"
    assert source.noted("runs/vae-cats") == {
        "model": "vae", "data": str(tmp_path / "cats"), "size": 8, "channels": None, "binarize": None, "flip": True,
        "shift": 1, "classes": None,
    }  # fmt: skip
    assert "subfolders" in refused("train", "vae", "cats", "--conditional", "--run", "runs/other", *small)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done("evaluate", "../runs/vae-cats", "--num", 2)  # the run knows where its pictures are
    (tmp_path / "cats").rename(tmp_path / "lions")
    moved = refused("evaluate", "../runs/vae-cats", "--num", 2)
    assert str(tmp_path / "cats") in moved and "--data" in moved
    again = ("../lions", "--run", "../runs/vae-cats", "--size", 8, "--flip", "--shift", 1, "--accumulate", 4, *small)
    assert "nothing left to train" in done("train", "vae", *again)  # the same pictures, in another place
    assert "[8, 8, 3]" in refused("train", "vae", *again, "--size", 16)


def test_a_validated_run_without_an_average(tmp_path):
    run, small = tmp_path / "run", ("--set", "architecture=mlp", "--set", "latent_dim=2", "--precision", "float32")
    done("train", "vae", "digits", "--run", run, "--epochs", 1, "--validate", "--ema", 0, "--channels", 1, *small)
    (row,) = gm.plots.read_log(run / "log.csv")
    assert {"loss", "val_loss", "val_elbo", "val_kl"} <= set(row)
    assert [len(split) for split in source.load_of(run)] == [1294, 359]  # 144 set apart, and the test split not touched
    model = gm.load_model(run)
    assert model.average is None and model.event_shape == (8, 8, 1) and source.noted(run)["channels"] == 1
    done("sample", run, "--num", 3, "--columns", 3, "--out", tmp_path / "row.png")
    assert Image.open(tmp_path / "row.png").size == (200, 68)  # three pictures of 64 pixels and borders of 2


def test_points(tmp_path):
    run = tmp_path / "moons"
    flow = ("realnvp", "two_moons", "--set", "layers=2", "--set", "width=8", "--jit-compile")
    done("train", *flow, "--run", run, *STEPS)
    assert json.loads((run / "run.json").read_text())["settings"]["training"]["jit_compile"] is True
    done("sample", run, "--num", 10, "--out", tmp_path / "points.png")
    assert "pictures" in refused("interpolate", run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "vea", "digits"), ["'vae'"]),
        (("train", "vae", "digit"), ["'digits'"]),
        (("train", "vae", "nowhere/pictures"), ["nowhere/pictures"]),
        (("train", "vae", "digits", "--set", "latent_dims=3"), ["latent_dims", "'latent_dim'"]),
        (("train", "vae", "digits", "--set", "latent_dim"), ["KEY=VALUE"]),
        (("train", "vae", "digits", "--set", "levels=3"), ["levels", "data"]),
        (("train", "vae", "digits", "--set", "latent_dim=x"), ["latent_dim", "'x'"]),
        (("train", "glow", "digits", "--set", "recompute=no"), ["recompute", "True or False", "'no'"]),
        (("train", "ddpm", "digits", "--set", "prediction=v"), ["prediction", "DDPM"]),
        (("train", "vae", "digits", "--precision", "float8"), ["float8", "mixed_bfloat16"]),
        (("train", "vae", "digits", "--steps", 3, "--epochs", 1), ["--steps", "--epochs"]),
        (("train", "vae", "digits", "--steps", 0), ["steps"]),
        (("train", "vae", "digits", "--steps", "ten"), ["--steps", "integer"]),
        (("train", "vae", "digits", "--stepz", 3), ["--stepz", "--steps"]),
        (("train", "vae", "digits", "--size", 5000), ["--size", "512"]),
        (("train", "vae", "digits", "--batch-size", 0), ["--batch-size", "≥ 1"]),
        (("train", "vae", "digits", "--seed", 2**32), ["--seed", "4294967295"]),
        (("train", "vae", "digits", "--ema", 1.5), ["--ema", "1.5"]),
        (("train", "vae", "digits", "--clipnorm", -1), ["--clipnorm", "-1"]),
        (("train", "vae", "digits", "--shift", -1), ["--shift", "≥ 0", "-1"]),
        (("train", "pixelcnn", "two_moons"), ["integer pixels", "real numbers"]),
        (("train", "latent-diffusion", "digits"), ["in Python"]),
        (("train", "vae", "digits", "--accumulate", 3), ["--accumulate", "64", "3"]),
        (("reconstruct", "nowhere", "--out", "r.jpg"), [".png", "r.jpg"]),
        (("trian", "vae", "digits"), ["trian"]),
        (("train", "vae", "two_moons", "--conditional"), ["--conditional"]),
        (("train", "acgan", "digits"), ["acgan", "--conditional"]),
        (("train", "realnvp", "VECTORS", "--conditional"), ["--conditional"]),
        (("train", "vae", "FLOATS"), ["levels=256", "float64"]),
        (("sample", "nowhere"), ["nowhere", "model.keras"]),
        (("export", "nowhere", "--format", "zip"), ["zip", "onnx"]),
        (("compare", "nowhere"), ["nowhere"]),
    ],
)
def test_wrong_inputs_are_told_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("VECTORS.npz", x=rng.normal(size=(200, 2)), y=rng.normal(size=(200, 3)))
    np.savez("FLOATS.npz", x=rng.random((100, 8, 8, 1)), levels=256)
    files = {"VECTORS": "VECTORS.npz", "FLOATS": "FLOATS.npz"}
    said = refused(*(files.get(argument, argument) for argument in arguments))
    assert all(word in said for word in words), said
    assert not (tmp_path / "runs").exists()


def test_few_pictures_are_enough_and_classes_have_names(tmp_path, monkeypatch):
    """A tenth of a small folder is fewer test pictures than the defaults of the commands; one cannot be read."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "my shapes" / ("round" if i % 2 else "square")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    small = ("--set", "architecture=mlp", "--set", "latent_dim=2", "--size", 8, "--conditional", *STEPS)
    code, out, err = command("train", "vae", "my shapes", *small)
    assert code == 0 and "genmodels sample 'runs/vae-my shapes'" in out
    assert "note: 1 of 41 pictures" in err and "UserWarning" not in err
    run = "runs/vae-my shapes"
    done("reconstruct", run)
    assert "in place of 8: there are no more pairs" in command("interpolate", run, "--data", "my shapes")[2]
    done("sample", run, "--labels", "square,round", "--out", "named.npz")
    done("sample", run, "--labels", "1,0", "--out", "numbered.npz")
    assert np.array_equal(np.load("named.npz")["samples"], np.load("numbered.npz")["samples"])
    assert "names, with commas, such as 0,1,2 (0 round, 1 square)" in refused("sample", run, "--labels", "triangle")
    done("sample", run, "--num", 6, "--out", "classes.png")
    assert Image.open("classes.png").size == (134, 200)  # a column a class
    assert "'my shapes'" in refused("train", "vae", "my shape")


def test_walks_are_of_the_classes_that_have_pairs():
    labels = np.array([0, 1, 1, 1, 1, 1, 2, 2])
    test = gm.Dataset(np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), labels, levels=256)
    model = gm.VAE((1, 1, 1), latent_dim=1, architecture="mlp", num_classes=4)
    start, end, classes = using._ends(model, test, 3, None, 0)
    assert classes.tolist() == [1, 2, 1]
    used = [*start.ravel(), *end.ravel()]
    assert labels[used].tolist() == [1, 2, 1, 1, 2, 1] and len(set(used)) == 6
    with pytest.warns(UserWarning, match="3 walks in place of 5"):
        using._ends(model, test, 5, None, 0)


def test_wrong_inputs_on_a_run(runs, tmp_path):
    for arguments, word in (
        (("--labels", "11"), "from 0 to 9"), (("--labels", "a"), "with commas"), (("--num", 0), "num"),
        (("--set", "tempreature=1"), "'temperature'"), (("--out", "samples.jpg"), ".png"),
        (("--set", "temperature=hot"), "temperature"),
    ):  # fmt: skip
        assert word in refused("sample", runs / "vae", *arguments), arguments
    for name, option in (
        ("nice", "temperature"), ("gated-pixelcnn", "temperature"), ("wgan-gp", "truncation"), ("ddpm", "steps"),
        ("ddpm", "guidance"), ("ddpm", "solver"), ("ddpm", "spacing"), ("ddpm", "eta"),
    ):  # fmt: skip
        others = ("--set", "solver=ddim") if option == "eta" else ()
        assert "'hot'" in refused("sample", runs / name, "--num", 2, "--set", f"{option}=hot", *others)
    assert "--data" in refused("evaluate", runs / "vae" / "model.keras")
    assert "takes examples" in refused("evaluate", runs / "vae", "--data", "two_moons")
    assert "'num_sampels'" in refused("evaluate", runs / "nice", "--set", "num_sampels=5")
    np.savez(tmp_path / "plain.npz", x=np.zeros([40, 8, 8, 1], np.uint8), levels=17)
    assert "have none" in refused("interpolate", runs / "vae", "--data", tmp_path / "plain.npz")


def test_a_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--set", "architecture=mlp", "--set", "latent_dim=2", *STEPS)
    for said in ("the run is digits", "nothing left to train"):  # at first there is no such folder
        assert said in done("train", "vae", "digits", "--run", "digits", *small)


def test_a_run_on_data_binarized_anew_is_measured(tmp_path):
    small = ("--set", "architecture=mlp", "--set", "latent_dim=2", "--binarize", "dynamic", *STEPS)
    done("train", "vae", "digits", "--run", tmp_path / "run", *small)
    done("evaluate", tmp_path / "run", "--examples", 20, "--num", 4, "--out", tmp_path / "new" / "figures.json")
    assert "copies" not in json.loads((tmp_path / "new" / "figures.json").read_text())
    done("reconstruct", tmp_path / "run", "--num", 4, "--out", tmp_path / "r.png")  # of pictures drawn once


def test_every_command_has_help():
    for name in ("models", "data", "train", "sample", "reconstruct", "interpolate", "evaluate", "compare", "export"):
        assert "Usage" in done(name, "--help")
    assert "wgan-gp" in done("models") and "Gulrajani" in done("models")
    settings = [line.split() for line in done("models", "realnvp").splitlines()]
    assert ["width", "128"] in settings and ["temperature", "1.0"] in settings and ["levels", "256"] not in settings
    fixed = done("models", "ddpm") + done("models", "ncsn")
    assert not any(line.split()[0] == "prediction" for line in fixed.splitlines() if line.strip())
    assert "noise_levels" in fixed and "built in" in done("data")


def test_every_model_has_a_name_of_its_own():
    names = list(catalogue.models())
    assert len(names) == len(set(names)) >= 25
    for name in names:
        assert catalogue.model_class(name.upper().replace("-", "_")) is catalogue.models()[name]
        assert training.parsed_settings(catalogue.models()[name], []) == {}


def test_data_are_brought_to_the_models_form():
    bits = cli.data_for(gm.VAE((8, 8, 1), levels=2, latent_dim=2), "digits")[1]
    assert bits.levels == 2 and np.array_equal(bits.examples, gm.load_data("digits", binarize="static")[1].examples)


def test_debug_shows_where_and_a_process_ends_with_the_code(tmp_path):
    arguments = [sys.executable, "-m", "genmodels", "--debug", "sample", tmp_path / "nowhere"]
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 1 and "Traceback" in ended.stderr and "nowhere" in ended.stderr
