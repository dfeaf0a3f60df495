"""Grids and animations pixel by pixel as read back from the files; curves by what the figure shows."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from genmodels import images, plots


def test_grid_places_enlarged_images_on_grey():
    batch = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) * np.ones([3, 2, 2, 1], np.uint8)
    picture = images.grid(batch, levels=3, columns=2, scale=2, padding=1)
    expected = np.full([11, 11], 128)
    expected[1:5, 1:5], expected[1:5, 6:10], expected[6:10, 1:5] = 0, 128, 255  # levels 0, 1, 2 of 3
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 0], expected)


def test_grid_enlarges_small_images_and_is_square():
    assert images.grid(np.zeros([9, 8, 8, 1]), levels=17, padding=0).shape == (3 * 64, 3 * 64, 1)
    assert images.grid(np.zeros([9, 28, 28, 3]), levels=256, padding=0).shape == (3 * 56, 3 * 56, 3)
    assert images.grid(np.zeros([2, 100, 80, 3]), levels=256, padding=0).shape == (100, 160, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_every_level_comes_back_from_the_png(tmp_path, levels, channels):
    batch = np.random.default_rng(0).integers(levels, size=[1, 40, 50, channels])
    path = images.save_grid(tmp_path / "new" / "folder" / "x.png", batch, levels=levels, scale=1, padding=0)
    with Image.open(path) as picture:
        pixels = np.asarray(picture).reshape(40, 50, channels)
    np.testing.assert_array_equal(np.rint(pixels / 255 * (levels - 1)), batch[0])
    assert [file.name for file in path.parent.iterdir()] == ["x.png"]


def test_floats_are_rounded_and_clipped():
    batch = tf.reshape([-0.2, 0.4, 1.0, 1.1], [1, 2, 2, 1])
    picture = images.grid(batch, levels=2, scale=1, padding=0)
    np.testing.assert_array_equal(picture[..., 0], [[0, 102], [255, 255]])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = images.save_grid(tmp_path / "x.png", np.zeros([1, 8, 8, 1]), levels=2)
    before = path.read_bytes()

    def fail_midway(self, file, **options):
        file.write_bytes(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail_midway)
    with pytest.raises(OSError, match="disk full"):
        images.save_grid(path, np.ones([1, 8, 8, 1]), levels=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_gallery_shows_each_grid_under_its_title(tmp_path):
    random = np.random.default_rng(0)
    small, large = random.integers(0, 256, [4, 8, 8, 1]), random.integers(0, 256, [2, 3, 20, 20, 3])
    panels = {"one": small, "two": large, "three": small}
    path = images.save_gallery(tmp_path / "new" / "gallery.png", panels, levels=256, columns=2, scale=1)
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    first, second = (images.grid(batch, levels=256, scale=1, padding=1) for batch in (small, large))
    below = 24 + second.shape[0] + 12 + 24  # title, the row's highest grid, gap, title
    left = first.shape[1] + 12
    np.testing.assert_array_equal(pixels[24 : 24 + first.shape[0], : first.shape[1]], first.repeat(3, -1))
    np.testing.assert_array_equal(pixels[24 : 24 + second.shape[0], left:], second)
    np.testing.assert_array_equal(pixels[below:, : first.shape[1]], first.repeat(3, -1))
    assert pixels[:24, : first.shape[1]].min() < 128 < 255 == pixels[below:, left:].min()  # a title; nothing
    for given in ({}, {"a": np.zeros([2, 8, 8, 2])}):
        with pytest.raises(ValueError, match=r"panels|images"):
            images.save_gallery(tmp_path / "gallery.png", given, levels=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_holds_every_frame(tmp_path, channels):
    frames = np.arange(4).reshape(4, 1, 1, 1, 1) * np.ones([4, 6, 8, 8, channels], int)
    path = images.save_gif(tmp_path / "x.gif", frames, levels=4, columns=6, seconds=0.25)
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.size) == (4, (6 * 66 + 2, 68))
        for i in range(4):
            animation.seek(i)
            assert animation.info["duration"] == 250
            assert animation.convert("RGB").getpixel((30, 30)) == (85 * i,) * 3


@pytest.mark.parametrize(
    ("batch", "options", "words"),
    [
        (np.zeros([8, 8, 1]), {}, r"must be \[batch, height, width, 1 or 3\].* got \(8, 8, 1\)"),
        (np.zeros([2, 8, 8, 2]), {}, r"got \(2, 8, 8, 2\)"),
        (np.zeros([0, 8, 8, 1]), {}, r"got \(0, 8, 8, 1\)"),
        (np.full([1, 8, 8, 1], np.nan), {}, "must be finite"),
        (np.full([1, 8, 8, 1], 2), {"levels": 2}, "must lie in 0 … 1 for levels=2; got 2 … 2"),
        (np.full([1, 8, 8, 1], -1), {}, "must lie in 0 … 255"),
        (np.zeros([1, 8, 8, 1]), {"levels": None}, "`levels` must be an integer ≥ 2.* got None"),
        (np.zeros([1, 8, 8, 1]), {"levels": 1}, "`levels` must be an integer ≥ 2.* got 1"),
        (np.zeros([1, 8, 8, 1]), {"columns": 0}, "`columns` must be an integer ≥ 1; got 0"),
        (np.zeros([1, 8, 8, 1]), {"scale": 1.5}, "`scale` must be an integer ≥ 1; got 1.5"),
        (np.zeros([1, 8, 8, 1]), {"padding": -1}, "`padding` must be an integer ≥ 0; got -1"),
    ],
)
def test_bad_images_are_refused_in_words(tmp_path, batch, options, words):
    with pytest.raises(ValueError, match=words):
        images.save_grid(tmp_path / "x.png", batch, **{"levels": 256, **options})
    assert not list(tmp_path.iterdir())


def test_bad_files_and_frames_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png; got 'x\.jpg'"):
        images.save_grid("x.jpg", np.zeros([1, 8, 8, 1]), levels=2)
    with pytest.raises(ValueError, match=r"must end in \.gif"):
        images.save_gif(tmp_path / "x.png", np.zeros([1, 1, 8, 8, 1]), levels=2)
    with pytest.raises(ValueError, match=r"must be \[frames, images, height, width, channels\]"):
        images.save_gif(tmp_path / "x.gif", np.zeros([1, 8, 8, 1]), levels=2)
    with pytest.raises(ValueError, match=r"`seconds` must be at least 0.02.* got 0"):
        images.save_gif(tmp_path / "x.gif", np.zeros([1, 1, 8, 8, 1]), levels=2, seconds=0)


def test_read_log_skips_empty_cells(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,step,loss,val_loss\n1,10,2.5,\n2,20,nan,1e-3\n3,30")
    first, second, torn = plots.read_log(log)
    assert first == {"epoch": 1, "step": 10, "loss": 2.5}
    assert second["val_loss"] == 1e-3 and np.isnan(second["loss"])
    assert torn == {"epoch": 3, "step": 30}
    log.write_text("")
    assert plots.read_log(log) == []


def test_read_log_names_the_bad_cell(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\n1,2.5\n2,high\n")
    with pytest.raises(ValueError, match="row 3: 'loss' must be a number; got 'high'"):
        plots.read_log(log)
    log.write_text("epoch,loss\n1,2.5,7\n")
    with pytest.raises(ValueError, match="row 2: expected at most 2 cells; got 3"):
        plots.read_log(log)


@pytest.fixture
def shown(monkeypatch):
    """The figures that were saved."""
    figures, save = [], plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def test_curves_have_one_panel_a_metric(tmp_path, shown):
    rows = [{"epoch": i, "step": 10 * i, "seconds": 0.1, "loss": 5 - i, "kl": 1.0} for i in (1, 2, 3)]
    rows[2]["val_loss"] = 2.5
    rows.append({"epoch": 4, "loss": 0.0})  # without a step there is no place for it
    path = plots.save_curves(tmp_path / "new" / "curves.png", rows)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    loss, kl = shown[0].axes
    assert (loss.get_title(), loss.get_xlabel(), kl.get_title()) == ("loss", "step", "kl")
    curves = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert curves == {"training": [[10, 4], [20, 3], [30, 2]], "validation": [[30, 2.5]]}


def test_curves_without_step_or_epoch_count_rows(tmp_path, shown):
    plots.save_curves(tmp_path / "curves.png", [{"val_loss": 3.0}, {"val_loss": 2.0}])
    (panel,) = shown[0].axes
    assert panel.get_xlabel() == "row"
    assert panel.lines[0].get_xydata().tolist() == [[1, 3], [2, 2]]
    with pytest.raises(ValueError, match=r"must hold a metric .* got 1 rows with none"):
        plots.save_curves(tmp_path / "curves.png", [{"epoch": 1.0}])


def test_points_are_drawn_beside_data_on_the_same_axes(tmp_path, shown):
    rng = np.random.default_rng(0)
    data, points = rng.uniform(-1, 1, [50, 2]), rng.uniform(-9, 9, [60, 2])
    plots.save_points(tmp_path / "points.png", tf.constant(points), data)
    left, right = shown[0].axes
    assert (left.get_title(), right.get_title()) == ("data", "samples")
    assert left.get_xlim() == right.get_xlim() and left.get_xlim()[1] < 1.5
    np.testing.assert_array_equal(right.collections[0].get_offsets(), points)
    plots.save_points(tmp_path / "alone.png", points)
    assert len(shown[1].axes) == 1
    plots.save_points(tmp_path / "several.png", {"one": data, "two\n3 of 4": points}, data + 1)
    panels = shown[2].axes
    assert [panel.get_title() for panel in panels] == ["data", "one", "two\n3 of 4"]
    for panel, cloud in zip(panels, (data + 1, data, points)):
        np.testing.assert_array_equal(panel.collections[0].get_offsets(), cloud)
        assert panel.get_xlim() == panels[0].get_xlim() and panel.get_ylim() == panels[0].get_ylim()
    for wrong, message in (({}, "empty dict"), ({"a": points, "b": np.zeros([5, 3])}, r"The b must be points")):
        with pytest.raises(ValueError, match=message):
            plots.save_points(tmp_path / "points.png", wrong, data)
    with pytest.raises(ValueError, match=r"The data must be points in the plane, .* got \(50, 3\)"):
        plots.save_points(tmp_path / "points.png", points, np.zeros([50, 3]))


def test_embeddings_have_the_colours_of_their_classes(tmp_path):
    points = np.stack([np.arange(30.0), np.arange(30.0) % 7], axis=1)
    one = np.asarray(Image.open(plots.save_embedding(tmp_path / "one.png", points)).convert("RGB"))
    many = Image.open(plots.save_embedding(tmp_path / "many.png", points, np.arange(30) % 3, classes="abc"))
    many = np.asarray(many.convert("RGB"))
    # Colours of the default cycle: blue alone, or blue, orange and green.
    for picture, colours in ((one, 1), (many, 3)):
        found = [np.any(np.all(np.abs(picture.astype(int) - rgb) < 60, axis=-1)) for rgb in CYCLE]
        assert sum(found) == colours
    for labels, options, word in (
        ([0, 1], {}, "30 integers"), (-np.ones(30, int), {}, "from 0"), (np.arange(30) % 3, {"classes": "ab"}, "3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            plots.save_embedding(tmp_path / "wrong.png", points, labels, **options)


CYCLE = ((31, 119, 180), (255, 127, 14), (44, 160, 44))
