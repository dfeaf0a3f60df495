"""The report in Chromium: `make browser-test`. CHROMIUM names the program."""

import base64
import html
import io
import json
import os
import re
import subprocess

import numpy as np
import pytest
import toys
from PIL import Image

import genmodels as gm
from genmodels.report import write_report

WIDTHS = (400, 800, 1200)
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium's sandbox does not run as root
)  # fmt: skip

# The report itself runs no script: a page around it measures it, at each width.
MEASURE = """
<pre id="found"></pre>
<script>
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach(part => part.open = true);
    return {
      width: page.documentElement.clientWidth,
      content: page.documentElement.scrollWidth,
      images: [...page.images].map(i => ({natural: i.naturalWidth, complete: i.complete, alt: i.alt,
        box: i.getBoundingClientRect().toJSON()})),
      charts: [...page.querySelectorAll("svg")].map(s => s.getBoundingClientRect().height),
      fetched: frame.contentWindow.performance.getEntriesByType("resource").map(e => e.name),
      columns: getComputedStyle(page.querySelector(".gallery")).gridTemplateColumns.split(" ").length,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
  console.log("measured");
};
</script>
"""


def chromium(tmp_path, page, *flags):
    """What Chromium prints of a page, and its log."""
    program = os.environ.get("CHROMIUM", "chromium")
    command = [program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def screenshot(tmp_path, page, *flags):
    """The page at 1200 pixels, `[2400, 1200, 3]`."""
    file = tmp_path / "screenshot.png"
    chromium(tmp_path, page, f"--screenshot={file}", "--window-size=1200,2400", *flags)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    train = gm.load_data("digits")[0].take(64)
    for name in ("first", "<script>alert(1)</script>".replace("/", ":")):
        vae = gm.VAE((8, 8, 1), levels=17, num_classes=10, latent_dim=2, architecture="mlp")
        vae.fit(train, epochs=2, run_dir=folder / name, verbose=0)
    long = "a-run-of-a-long-name-" * 5
    gm.RealNVP((2,), levels=None, layers=2, width=8).fit(toys.points(), steps=2, run_dir=folder / long, verbose=0)
    return write_report([p for p in sorted(folder.iterdir()) if p.is_dir()], folder / "report.html")


@pytest.fixture(scope="module")
def measured(report, tmp_path_factory):
    """What the report is at each width, and the log of the browser."""
    folder = tmp_path_factory.mktemp("wrapped")
    text = html.escape(report.read_text(encoding="utf-8"))
    frames = "".join(f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{text}"></iframe>' for w in WIDTHS)
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f'<!DOCTYPE html><meta charset="utf-8">{frames}{MEASURE}', encoding="utf-8")
    printed, log = chromium(folder, wrapper, "--dump-dom")
    found = re.search(r'<pre id="found">(.+?)</pre>', printed)[1]
    return json.loads(html.unescape(found)), log


def test_it_renders_without_errors_and_fetches_nothing(measured):
    found, log = measured
    assert re.findall(r"CONSOLE.*?\"(.*?)\"", log) == ["measured"]  # our own line, and no error
    for page in found:
        assert page["fetched"] == []
        assert len(page["images"]) == 6 and len(page["charts"]) >= 4
        assert all(image["complete"] and image["natural"] > 0 for image in page["images"])
        assert min(page["charts"]) > 100


def test_it_fits_a_phone_and_fills_a_screen(measured):
    found, _ = measured
    assert [page["width"] for page in found] == list(WIDTHS)
    assert [page["content"] for page in found] == list(WIDTHS)  # nothing to scroll to the right, with all parts open
    assert [page["columns"] for page in found] == [1, 2, 3]
    for page in found:
        for image in page["images"]:
            assert image["box"]["width"] == image["natural"], image["alt"]  # pixels at an integer scale


def test_the_picture_is_on_the_screen_as_it_is_in_the_file(report, measured, tmp_path):
    image = next(i for i in measured[0][-1]["images"] if i["alt"].startswith("first: 60 samples"))
    source = re.search(r'src="data:image/png;base64,([^"]+)" alt="first: 60 samples', report.read_text())[1]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGB"))
    shown = screenshot(tmp_path, report)
    top, left = round(image["box"]["top"]), round(image["box"]["left"])
    at = [shown[y : y + len(drawn), x : x + drawn.shape[1]] for y in (top - 1, top, top + 1) for x in (left, left + 1)]
    assert any(np.array_equal(part, drawn) for part in at)


@pytest.mark.parametrize(("scheme", "paper"), [(1, (253, 253, 252)), (0, (23, 24, 28))])  # light, dark
def test_it_follows_the_colours_of_the_reader(report, tmp_path, scheme, paper):
    shown = screenshot(tmp_path, report, f"--blink-settings=preferredColorScheme={scheme}")
    assert tuple(shown[3, 3]) == paper
    assert 0.3 < (shown == paper).all(-1).mean() < 0.98  # a page, not an empty one
