"""One function for all figures, and the table made of them."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import genmodels as gm
from genmodels.evaluation import markdown, recorded
from genmodels.evaluation.tables import merged
from genmodels.training import source
from genmodels.training.run_directory import model_hash

COST = {"parameters", "seconds_per_sample", "samples", "memory_mib"}
LIKELIHOOD = {"likelihood", "score", "nats", "standard_error", "bits_per_dim", "examples"}
MEMORISATION = {"copies", "distance_ratio"}
NAMES = {"model", "run", "model_hash", "data", "data_fingerprint"}


@pytest.fixture(scope="module")
def digits():
    return gm.load_data("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "nice"
    model = gm.NICE(digits[0].event_shape, levels=17, layers=2, width=8)
    model.fit(digits[0], steps=2, run_dir=folder, verbose=0)
    return folder


def test_a_run_says_all_that_it_allows(run, digits):
    figures = gm.evaluate(run, examples=40, num=8)
    training = {"training_steps", "training_seconds", "training_memory_mib"}
    assert set(figures) == NAMES | COST | LIKELIHOOD | MEMORISATION | training | {"num_samples", "sampling"}
    assert figures["sampling"] == "temperature=1.0"
    assert figures["training_steps"] == 2 and figures["training_seconds"] > 0
    assert 100 < figures["training_memory_mib"] <= figures["memory_mib"] < 1e6
    assert all(value is None or isinstance(value, int | float | str) for value in figures.values())
    # The same of the file, of the model in memory, and of named data; but for what only the run knows, and times.
    model = gm.load_model(run)
    expected = gm.evaluation.log_likelihood(model, digits[1].take(40, seed=0), seed=0)
    for given, data in ((run / "model.keras", "digits"), (model, digits)):
        others = gm.evaluate(given, data, examples=40, num=8)
        assert set(others) == set(figures) - training
        for name in ("nats", "standard_error", "copies", "distance_ratio", "parameters", "likelihood"):
            assert others[name] == figures[name], name
        assert others["nats"] == expected["nats"]


def test_only_the_metrics_that_are_asked_for(run, digits):
    always = NAMES | {"training_steps", "sampling"}
    assert set(gm.evaluate(run, metrics=["memorisation"], num=8)) == always | MEMORISATION
    assert set(gm.evaluate(run, digits[1], metrics="cost", num=8)) >= NAMES | COST
    alone = gm.evaluate(gm.load_model(run), digits[1], examples=20, num=8)  # without training data
    assert set(alone) == NAMES | COST | LIKELIHOOD | {"num_samples", "sampling"}
    quality = gm.evaluate(run, metrics=["quality"], num_quality=100)
    assert quality["features"] == "pixel-pca-64" and quality["num_fake"] == 100 and quality["floor_of"] == "reference"


def test_what_cannot_be_measured_is_refused_before_work(run, digits, tmp_path):
    model = gm.load_model(run)
    gan = gm.WGAN((2,), levels=None)
    points = gm.Dataset(np.eye(8, 2, dtype="float32"), None, levels=None)
    for match, arguments, options in (
        ("test set", [model], {}),
        ("likelihood, cost", [run], {"metrics": "speed"}),
        ("no likelihood", [gan, points], {"metrics": ["likelihood"]}),
        ("no likelihood", [gan, points], {"score": "elbo"}),
        ("log_prob", [run], {"score": "elbo"}),
        ("training data", [model, digits[1]], {"metrics": ["memorisation"]}),
        ("training data", [model, digits[1]], {"features": "pixels"}),
        ("model.keras", [tmp_path], {}),
        ("give `data`", [run / "model.keras"], {}),
        ("generative model", [keras.Sequential(), digits], {}),
        ("pair of training and test Dataset; got ndarray", [model, digits[1].examples], {}),
        ("singular covariance", [run], {"features": "pixels", "num_quality": 50}),
        ("`num`", [run], {"num": 0}),
        ("num_samples; got 'num_sampels'", [run], {"options": {"num_sampels": 5}}),
        ("num_samples; got 'seed'", [run], {"options": {"seed": 5}}),
        ("none is measured; got num_samples", [run], {"metrics": "cost", "options": {"num_samples": 5}}),
        ("options temperature; got steps", [run], {"sampling": {"steps": 5}}),
        (r"are of examples \(2,\)", [run], {"features": gm.evaluation.PixelPCA(1).fit(points)}),
    ):
        with pytest.raises(ValueError, match=match):
            gm.evaluate(*arguments, **options)


def test_data_that_are_binarized_anew_have_a_likelihood_alone(digits):
    model = gm.NICE(digits[0].event_shape, levels=2, layers=2, width=8)
    data = [split.binarized("dynamic") for split in digits]
    figures = gm.evaluate(model, data, examples=20, num=8)
    assert set(figures) == NAMES | COST | LIKELIHOOD | {"num_samples", "sampling"}
    for options in ({"metrics": "memorisation"}, {"metrics": "quality"}, {"features": "pixels"}):
        with pytest.raises(ValueError, match="binarized anew"):
            gm.evaluate(model, data, **options)


def test_copies_are_sought_beside_test_examples_of_all_kinds(digits):
    """The first examples of a sorted test set are of one class, beside which a perfect model's samples look copied."""
    train, test = digits
    ordered = test.subset(np.argsort(test.labels != 5, kind="stable"))  # fives, which lie far from one another

    class Perfect(gm.NICE):
        def sample(self, num, **_):
            return keras.ops.convert_to_tensor(test.take(num, seed=5).examples)

    model = Perfect(train.event_shape, levels=17, layers=1, width=8)
    few = np.mean([gm.evaluate(model, (train, ordered), metrics="memorisation", num=36, seed=s)["copies"]
                   for s in range(8)])  # fmt: skip
    first = gm.evaluation.memorisation(test.take(36, seed=5).examples, train, ordered)["copies"]
    assert few < 0.05 < 0.1 < first


def test_samples_are_of_the_test_datas_classes_and_by_the_options_given(digits):
    """Classes in turn would be compared with examples of another mixture."""
    train, test = digits
    seen = []

    class Watched(gm.NICE):
        def generate(self, streams, labels, *, temperature=1.0):
            return super().generate(streams, labels, temperature=temperature)

        def sample(self, num, **options):
            seen.append(options)
            return super().sample(num, **options)

    rare = test.subset(np.concatenate([np.flatnonzero(test.labels == 3)[:3], np.flatnonzero(test.labels == 5)]))
    model = Watched(train.event_shape, levels=17, num_classes=10, layers=1, width=8)
    figures = gm.evaluate(model, (train, rare), metrics="memorisation", num=20, sampling={"temperature": 0.5})
    assert figures["sampling"] == "temperature=0.5" and seen[0]["temperature"] == 0.5
    np.testing.assert_array_equal(np.sort(seen[0]["labels"]), np.sort(rare.take(20, seed=0).labels))
    assert "Samples are drawn by: Watched temperature=0.5." in markdown([figures])


def test_a_report_names_the_models_own_solver():
    data = gm.Dataset(np.zeros([4, 2], np.float32), None, None)
    model = gm.Diffusion((2,), levels=None, width=8, solver="heun", steps=3)
    figures = gm.evaluate(model, data, metrics="cost", num=2, sampling={"spacing": "karras"})
    assert figures["sampling"] == "steps=3, solver=heun, spacing=karras, guidance=1.0"


def test_other_data_than_the_runs_are_test_data_as_a_whole(tmp_path, run, digits):
    """Only a tenth of them would be measured else, and the rest pass for training data."""
    train, test = digits
    np.savez(tmp_path / "other.npz", x=test.examples[:50], levels=17)
    given = source.data_beside(run, gm.load_model(run), tmp_path / "other.npz")
    assert [len(split) for split in given] == [len(train), 50]
    assert [len(split) for split in source.data_beside(run, gm.load_model(run), "digits")] == [len(train), len(test)]
    figures = gm.evaluate(run, tmp_path / "other.npz", metrics=["likelihood", "memorisation"], num=10)
    assert figures["examples"] == 50 and figures["data"] == "other" and "copies" in figures
    train = digits[0].binarized("dynamic")  # whose own pictures are drawn once, to be compared with
    record = {"settings": {"data": {"name": train.name, "fingerprint": train.fingerprint()}}}
    (tmp_path / "anew").mkdir()
    (tmp_path / "anew" / "run.json").write_text(json.dumps(record))
    source.note(tmp_path / "anew", {"data": "digits", "binarize": "dynamic"})
    model = gm.NICE((8, 8, 1), levels=2, layers=1, width=8)
    given = source.data_beside(tmp_path / "anew", model, tmp_path / "other.npz")
    assert [(len(split), split.dynamic, split.levels) for split in given] == [(1438, False, 2), (50, False, 2)]
    # A run that does not say what it was trained on may have been trained on this.
    assert [len(s) for s in source.data_beside(tmp_path, gm.load_model(run), tmp_path / "other.npz")] == [45, 5]


def test_a_folder_in_the_home_is_the_folder_that_was_trained_on(tmp_path, monkeypatch):
    """Its training pictures would be measured as test data else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    train, test = gm.load_data("~/photos", size=8)
    (tmp_path / "run").mkdir()
    record = {"settings": {"data": {"name": train.name, "fingerprint": train.fingerprint()}}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    source.note(tmp_path / "run", {"data": str(tmp_path / "photos"), "size": 8})
    model = gm.VAE((8, 8, 3), latent_dim=2, architecture="mlp")
    for place in ("~/photos", tmp_path / "photos"):
        given = source.data_beside(tmp_path / "run", model, place)
        assert [len(split) for split in given] == [len(train), len(test)] == [18, 2]


def test_the_same_data_under_another_name_are_the_runs_own(tmp_path, run):
    """Flipped, binarized or with a validation split set apart: what was trained on is not measured on."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "here" / "x.npz", x=rng.integers(0, 17, (60, 8, 8, 1)), levels=17)
    (tmp_path / "there" / "y.npz").write_bytes((tmp_path / "here" / "x.npz").read_bytes())
    for told in ({"flip": True}, {"binarize": "dynamic"}, {"binarize": "static"}, {}):
        told = {"data": str(tmp_path / "here" / "x.npz"), **told}
        train = source.load(told, validation=not told.get("flip"))[0]
        record = {"settings": {"data": {"name": train.name, "fingerprint": train.fingerprint()}}}
        (tmp_path / "run.json").write_text(json.dumps(record))
        source.note(tmp_path, told)
        model = gm.NICE((8, 8, 1), levels=train.levels, layers=1, width=8)
        given = source.data_beside(tmp_path, model, str(tmp_path / "there" / "y.npz"))
        assert len(given[1]) == 6, told


def test_a_second_report_keeps_what_the_first_has_besides():
    base = {"model": "VAE", "run": "a", "model_hash": "12ab", "data": "digits", "data_fingerprint": "34cd"}
    first = {**base, "sampling": "temperature=1.0", "score": "elbo", "num_samples": 9, "nats": -80.0, "copies": 0.0,
             "frechet": 3.0, "floor_frechet": 0.1, "seed": 0, "parameters": 7}  # fmt: skip
    both = merged({**base, "score": "log_prob", "nats": -79.0, "steps": 32}, first)
    del first["num_samples"]  # of the other score
    assert both == {**first, "score": "log_prob", "nats": -79.0, "steps": 32}
    for other in ({"model_hash": "56"}, {"model_hash": None}, {"data_fingerprint": "56"}, {"sampling": "steps=2"}):
        assert merged({**first, **other}, first) is None


def test_held_out_examples_among_the_training_data_have_no_ratio(digits):
    train = digits[0]
    figures = gm.evaluation.memorisation(np.zeros([5, 8, 8, 1], np.uint8), train, train)
    assert figures["ratio"] is None and figures["held_out"] == 0


def test_data_that_changed_since_are_not_taken_for_the_same(tmp_path, run):
    """Other pictures in the folder would be split otherwise: what was trained on might be measured on."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(20):
        Image.new("L", (8, 8), 10 * i).save(pictures / f"{i:02}.png")
    told = {"data": str(pictures), "size": 8, "channels": 1, "flip": True}
    train, test = source.load(told)
    assert train.augment.flip and test.augment is None
    record = json.loads((run / "run.json").read_text())
    record["settings"]["data"] = {"name": train.name, "fingerprint": train.fingerprint()}
    (tmp_path / "run.json").write_text(json.dumps(record))
    source.note(tmp_path, told)
    assert [len(split) for split in source.load_of(tmp_path)] == [len(train), len(test)]
    Image.new("L", (8, 8), 255).save(pictures / "new.png")
    with pytest.raises(ValueError, match="other examples"):
        source.load_of(tmp_path)


def test_a_validation_split_was_not_trained_on(tmp_path, digits):
    train, _, test = gm.load_data("digits", validation=True)
    settings = {"data": {"name": train.name, "fingerprint": train.fingerprint()}}
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    found = source.load_of(tmp_path)
    assert [split.fingerprint() for split in found] == [train.fingerprint(), test.fingerprint()]
    assert len(found[0]) < len(digits[0])


# ------------------------------------------------------------------ the table

QUALITY = {
    "frechet_name": "Fréchet distance", "features": "pca", "features_hash": "abc", "num_fake": 10000, "num_real": 10000,
    "data": "digits", "split": "test", "resize": "none", "floor_of": "reference",
    **{f"{prefix}{name}": value for prefix, value in (("", 0.5), ("floor_", 0.125))
       for name in ("frechet", "kid", "kid_standard_error", "precision", "recall", "density", "coverage")},
}  # fmt: skip


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(text, name):
    lines = text.split("\n\n")[0].splitlines()
    place = cells(lines[0]).index(name)
    return [cells(line)[place] for line in lines[2:]]


def test_bounds_are_marked():
    likelihood = {"standard_error": 0.2, "nats": -84.85, "bits_per_dim": 0.156}
    reports = [
        {"model": "A", "likelihood": "exact", **likelihood},
        {"model": "B", "likelihood": "importance-weighted bound", "num_samples": 500, **likelihood},
        {"model": "C"},
        {"model": "D", "likelihood": "probability-flow ODE", **likelihood},
        {"model": "E", "likelihood": "probability-flow ODE, dequantization bound", **likelihood},
    ]
    text = markdown(reports)
    assert column(text, "nats") == ["−84.85 ± 0.20", "≥ −84.85 ± 0.20", "–", *["≈ −84.85 ± 0.20"] * 2]
    assert column(text, "bits/dim") == ["0.156", "≤ 0.156", "–", "≈ 0.156", "≈ 0.156"]
    kinds = ["exact", "importance-weighted bound, 500 draws", "–"]
    kinds += ["probability-flow ODE", "probability-flow ODE, dequantization bound"]
    assert column(text, "kind of likelihood") == kinds
    assert "Fréchet" not in text


def test_the_floor_is_the_first_row_and_the_protocol_stands_below():
    text = markdown([{"model": "A", **QUALITY}, {"model": "B"}])
    assert column(text, "model") == ["*training data*", "A", "B"]
    assert column(text, "Fréchet") == ["0.125", "0.500", "–"]
    assert column(text, "KID × 1000") == ["125.00 ± 125.00", "500.00 ± 500.00", "–"]
    below = text.split("\n\n")[1]
    assert "pca, abc" in below and "10 000 samples against 10 000 examples of digits (test)" in below
    assert column(markdown([{"model": "A", **QUALITY}], floor=False), "model") == ["A"]
    lines = gm.evaluation.listing({"model": "A", **QUALITY}).splitlines()
    shown = {name.strip(): value for name, _, value in (line.partition("  ") for line in lines)}
    assert shown["Fréchet"].strip() == "0.500 (training data: 0.125)" and lines[-1].endswith("resized: none.")
    assert shown["KID × 1000"].strip() == "500.00 ± 500.00 (training data: 125.00 ± 125.00)"
    assert "Fréchet" not in gm.evaluation.listing({"model": "B", "copies": 0.01, "distance_ratio": 1.5})
    text = markdown([{"model": "A", **QUALITY}], without=("data", "copies"))
    assert "| data |" not in text and "of digits (test)" in text


def test_what_was_measured_otherwise_is_marked():
    text = markdown([{"model": "A", **QUALITY}, {"model": "B", **QUALITY, "num_fake": 500}, {"model": "C", **QUALITY}])
    assert column(text, "Fréchet") == ["0.500¹", "0.500²", "0.500¹"]
    assert [line.split()[:2] for line in text.split("\n\n")[1].splitlines()] == [["¹", "Fréchet"], ["²", "Fréchet"]]


def test_many_protocols_and_data_of_one_name_are_told_apart():
    reports = [{"model": "A", **QUALITY, "num_fake": n} for n in range(1, 13)]
    text = markdown(reports)
    assert column(text, "Fréchet")[8:11] == ["0.500⁹", "0.500¹⁰", "0.500¹¹"]
    assert len(text.split("\n\n")[1].splitlines()) == 12
    text = markdown([{"model": name, **QUALITY, "data_fingerprint": name} for name in "AB"])
    assert column(text, "Fréchet") == ["0.500¹", "0.500²"]
    assert "examples of digits, B (test)" in text


@pytest.mark.parametrize("hashed", [True, False])  # older reports have no hash
def test_a_report_from_before_the_run_went_on_is_left_out(run, tmp_path, hashed):
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    (tmp_path / "model.keras").write_bytes(b"first")
    (tmp_path / "metrics.json").write_text(json.dumps({"step": 2, "seconds": 1.0}))
    figures = {"model": "NICE", "parameters": 8, "training_steps": 2, "nats": -3.0}
    figures.update({"model_hash": model_hash(tmp_path)} if hashed else {})
    (tmp_path / "evaluation.json").write_text(json.dumps(figures))
    assert recorded(tmp_path)["nats"] == -3.0
    (tmp_path / "model.keras").write_bytes(b"second")
    (tmp_path / "metrics.json").write_text(json.dumps({"step": 2 if hashed else 4, "seconds": 1.0}))
    with pytest.warns(UserWarning, match="was trained on since"):
        report = recorded(tmp_path)
    assert "nats" not in report and report["training_steps"] == (2 if hashed else 4)
    (tmp_path / "model.keras").unlink()  # a record without its model
    assert recorded(tmp_path)["nats"] == -3.0


def test_a_run_that_was_not_measured_has_its_training(run, tmp_path):
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps({"step": 2000, "seconds": 1800.0, "peak_memory_mib": 1500.4}))
    report = recorded(tmp_path)
    assert (report["model"], report["data"]) == ("NICE", "digits")
    text = markdown([report])
    assert [column(text, name) for name in ("training", "steps", "memory")] == [["30.0 min"], ["2 000"], ["1 500 MiB"]]
    (tmp_path / "evaluation.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"evaluation\.json"):
        recorded(tmp_path)
    with pytest.raises(ValueError, match=r"run\.json"):
        recorded(tmp_path / "none")
