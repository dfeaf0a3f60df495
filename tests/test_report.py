"""The report: whole, escaped, self-contained, and true to the files of its runs."""

import base64
import html.parser
import io
import json
import shutil

import keras
import numpy as np
import pytest
import toys
from PIL import Image

import genmodels as gm
from genmodels.report import charts, figures, write_report
from genmodels.report.markup import duration, element, number
from genmodels.report.page import figure_tables
from genmodels.report.runs import gathered

WICKED = '<script>alert("1")&'  # no path separators: it is the name of a folder
VOID = ("img", "meta", "br", "wbr")


class Page(html.parser.HTMLParser):
    """A page as its parts; refuses elements that are not closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.images, self.tables, self.words, self.tags, self.values = [], [], [], [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "img":
            self.images.append(attributes)
        if tag == "data":
            self.values.append(json.loads(attributes["value"]))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        self.words.append(data)

    def row(self, name):
        """The row of that name in the first table that has it, without the name."""
        return next(row[1:] for table in self.tables for row in table if row and row[0].startswith(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of models that have and lack each ability, a few steps long."""
    folder = tmp_path_factory.mktemp("runs")
    keras.utils.set_random_seed(0)
    train, test = (part.take(64) for part in gm.load_data("digits"))
    images = {"levels": 17, "num_classes": 10}
    vae = gm.VAE((8, 8, 1), latent_dim=2, architecture="mlp", **images)
    vae.fit(train, steps=2, validation_data=test, run_dir=folder / "vae", verbose=0)
    (folder / "vae" / "evaluation.json").write_text(
        json.dumps({"likelihood": "lower bound", "nats": -123.456789012345, "examples": 359, "finite": True})
    )
    (folder / "vae" / "test.json").write_text(
        json.dumps({"kind": "iwae_5", "nats": -0.1, "<b>": "<i>", "deep": {"a": 3}})
    )
    pixels = gm.PixelCNN((8, 8, 1), filters=4, blocks=1, **images)
    pixels.fit(train, steps=1, run_dir=folder / "pixels", verbose=0)
    moons = gm.load_data("two_moons", num=100)[0]
    gm.RealNVP((2,), levels=None, layers=2, width=8).fit(moons, steps=1, run_dir=folder / WICKED, verbose=0)
    toys.ToyWGAN().fit(toys.points(), steps=1, run_dir=folder / "gan", verbose=0)
    toys.Mean().fit(toys.points(), steps=1, run_dir=folder / "mean", verbose=0)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    path = folder / "out" / "report.html"
    runs = [folder / name for name in ("vae", "pixels", WICKED, "gan", "mean")]
    assert write_report(runs, path, title="A & <b>", num=20) == path
    return Page(path)


def test_the_page_is_whole_and_fetches_nothing(page):
    names = [tag for tag, _ in page.tags]
    assert {"script", "link", "iframe", "object", "b>", "i"}.isdisjoint(names)
    assert ("html", {"lang": "en"}) in page.tags and names.count("title") > 1
    assert "http:" not in page.text and "https:" not in page.text and "url(" not in page.text
    assert "A & <b>" in page.words  # the title, as text
    for _, attributes in page.tags:
        assert not {name for name in attributes if name in ("href", "srcset", "action") or name.startswith("on")}
    for image in page.images:
        assert image["alt"] and image["src"].startswith("data:image/png;base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])


def test_names_show_as_text(page):
    assert WICKED in page.words and WICKED not in page.text
    assert page.row("<b>")[0] == "<i>"


def test_samples_are_those_of_the_seed_in_columns_by_class(page, folder):
    drawn = gm.load_model(folder / "vae").sample(20, seed=0).numpy()
    image = next(i for i in page.images if i["alt"] == "vae: 20 samples, a column a class")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
    scale = (int(image["width"]) - 2) // 10 - 2
    assert scale % 8 == 0
    for i in (0, 3, 19):  # a border of 2 pixels around each image
        top, left = (2 + i // 10 * (scale + 2)), (2 + i % 10 * (scale + 2))
        shown = pixels[top : top + scale, left : left + scale].reshape(8, scale // 8, 8, scale // 8)
        np.testing.assert_array_equal(shown.min((1, 3)), shown.max((1, 3)))
        np.testing.assert_array_equal(shown[:, 0, :, 0], np.rint(drawn[i, :, :, 0] * (255 / 16)))


def test_what_a_run_lacks_is_said(page):
    text = "".join(page.words)
    for words in (
        "No encoder.", "No latents, hence no encoder.", "No latents to walk between", "walks between latents",
        "completions of its upper half", "each left of its reconstruction", "1000 samples", " over test data (grey)",
    ):  # fmt: skip
        assert words in text, words


def test_completions_keep_the_upper_half(page):
    _, test = gm.load_data("digits")
    image = next(i for i in page.images if "completions" in i["alt"])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
    scale = (int(image["width"]) - 2) // 10 - 2
    upper = [pixels[2 : 2 + scale // 2, 2 + i * (scale + 2) :][:, :scale] for i in range(10)]
    known = np.rint(test.examples[:2, :4, :, 0] * (255 / 16))
    for i in range(10):
        np.testing.assert_array_equal(upper[i][:: scale // 8, :: scale // 8], known[i // 5])


def test_figures_are_those_of_the_files(page, folder):
    written = []
    for run in ("vae", "pixels", WICKED, "gan", "mean"):
        for file in ("metrics.json", "test.json", "evaluation.json"):
            if (folder / run / file).exists():
                found = json.loads((folder / run / file).read_text())
                skipped = ("epoch", "step", "seconds") if file == "metrics.json" else ()
                written += [v for k, v in found.items() if type(v) in (int, float) and k not in skipped]
    assert sorted(page.values) == sorted([*written, 3])  # and the nested one
    assert page.row("nats")[0] == "−0.1importance-weighted bound (iwae_5), given the class"
    assert "−123.457lower bound, given the class" in "".join(page.words)
    assert page.row("deep.a")[:2] == ["3", "–"]
    assert page.row("nll")[1].endswith("exact, given the class") and page.row("nll")[2].endswith("exact")


def test_settings_and_the_overview(page, folder):
    record = json.loads((folder / "vae" / "run.json").read_text())
    assert page.row("model.latent_dim")[:2] == [str(record["settings"]["model"]["latent_dim"]), "–"]
    assert page.row("data.fingerprint")[0] == record["settings"]["data"]["fingerprint"]
    assert page.row("training.optimizer.model.learning_rate")[0] == "0.001"
    assert page.row("keras")[0] == keras.__version__
    model, family, paper, data, parameters, steps, _ = page.row("vae")
    assert (model, family, paper) == ("VAE", "autoencoder", "Kingma & Welling, arXiv:1312.6114 (2013)")
    networks = gm.load_model(folder / "vae")
    count = networks.encoder.count_params() + networks.decoder.count_params()
    assert (data, parameters.replace("\u202f", ""), steps) == ("digits", str(count), "2")
    assert page.row("gan")[1] == "own" and page.row("gan")[4] == "critic 129generator 82"


def test_one_run_and_given_data(folder):
    data = toys.points(50)
    path = write_report(folder / WICKED, folder / "one.html", data=[gm.Dataset(data, None, None)], num=5)
    page = Page(path)
    assert f"The run {WICKED}" in page.words and "Those that differ" not in page.words
    assert "50 reconstructions, each with a line to its test point" in page.words
    before = path.read_bytes()
    write_report(folder / WICKED, path, data=[gm.Dataset(data, None, None)], num=5)
    assert path.read_bytes() == before  # the same seed, the same page
    assert sorted(p.name for p in folder.glob("*one*")) == ["one.html"]  # nothing half-written beside it


def test_wrong_input_is_refused_before_any_work(folder, tmp_path):
    out = tmp_path / "deep" / "report.html"
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    good = folder / "vae"
    for runs, options, words in (
        ([good, tmp_path / "nothing"], {}, "nothing is none"),
        ([tmp_path / "begun"], {}, "begun is not finished"),
        ([], {}, "at least one"),
        ([good, folder / "gan" / ".." / "vae"], {}, "given twice"),
        ([good], {"num": 0}, "`num`"),
        ([good], {"seed": -1}, "`seed`"),
        ([good], {"data": []}, "each of 1 runs"),
        ([good], {"data": [toys.points()]}, "levels=17"),
    ):
        with pytest.raises(ValueError, match=words):
            write_report(runs, out, **options)
    for path in ("report.txt", folder):
        with pytest.raises(ValueError, match=r"\.html"):
            write_report(good, path)
    assert not out.parent.exists()


def test_a_file_that_is_no_object_of_json_is_named(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for file in ("run.json", "metrics.json", "model.keras", "log.csv"):
        (run / file).write_bytes((folder / "mean" / file).read_bytes())
    for text in ("{", "[1]"):
        (run / "test.json").write_text(text)
        with pytest.raises(ValueError, match=r"test\.json"):
            write_report(run, tmp_path / "report.html")


def test_the_best_is_marked_among_its_kind_alone():
    def cell(name, value, kind, on="digits"):
        return name, figures.Figure(value, kind, (on,))

    cells = {
        0: cell("nats", -90.0, "exact"), 1: cell("nats", -80.0, "exact"), 2: cell("nats", -70.0, "lower bound"),
        3: cell("nats", -60.0, "exact", on="others"), 4: cell("nats", float("nan"), "exact"),
        5: cell("nats", -1.0, figures.UNSTATED), 6: cell("nats", -2.0, figures.UNSTATED),
    }  # fmt: skip
    assert figures.best(cells) == {1}
    lower = {i: cell("a.val_bits_per_dim", value, "exact") for i, value in enumerate([1.2, 1.1, 1.1])}
    assert figures.best(lower) == {1, 2}
    assert figures.best({0: cell("loss", 1.0, None), 1: cell("loss", 2.0, None)}) == set()


def test_the_page_marks_the_best(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder / "vae", other)
    (other / "evaluation.json").write_text(json.dumps({"likelihood": "lower bound", "nats": -9.5, "examples": 359}))
    tables = figure_tables(gathered([folder / "vae", other]))
    row = next(row for row in tables.split("<tr>") if ">−9.5<" in row)
    shown, best = row.split("</td>")[:2]
    assert ">−123.457<" in shown and "best" not in shown
    assert "<strong>" in best and "best of its kind: lower bound, given the class" in best


def test_a_chart_places_its_points():
    svg = charts.chart(
        [charts.Line(0.0, [(0, 1.0), (100, 3.0), (50, float("nan"))])], x_label="x", y_label="<y>", title="t"
    )
    path = svg.split('style="--hue:0.0"')[0].rpartition(' d="M')[2].partition("h0")[0]
    (x0, y0), (x1, y1) = np.array(path.split(), float).reshape(2, 2)
    assert (x0, x1) == (charts.LEFT, charts.RIGHT)
    inner = (charts.BOTTOM - charts.TOP) / 1.08  # margins of 4 %
    assert y0 - y1 == pytest.approx(inner, abs=0.11) and "&lt;y&gt;" in svg and "log scale" not in svg
    log = charts.chart([charts.Line(0.0, [(0, 1000.0), (5, 10.0), (10, 0.1)])], x_label="", y_label="y", title="t")
    heights = np.array(log.rpartition(' d="M')[2].partition("h0")[0].split(), float).reshape(3, 2)[:, 1]
    assert "y (log scale)" in log and heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)


def test_text_of_numbers_and_elements():
    assert [number(v) for v in (1234567, 0.00012345678, -2.5, 1e7, float("inf"))] == [
        "1\u202f234\u202f567", "0.000123457", "−2.5", "10\u202f000\u202f000", "inf"
    ]  # fmt: skip
    assert [duration(s) for s in (4.4, 125.0, 3599.6, 7325)] == ["4 s", "2 min 5 s", "1 h 0 min", "2 h 2 min"]
    assert element("a", "<", element("br"), title='"', class_=None) == '<a title="&quot;">&lt;<br></a>'
