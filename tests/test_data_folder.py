"""Folders of pictures: decoding, classes, splits, the cache."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from genmodels.data import batches, load_data, load_test
from genmodels.data.pictures import conform, decode


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(path, colour=(10, 20, 30), size=(6, 6), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def animals(tmp_path):
    """20 cats and 10 dogs, each of its own brightness."""
    folder = tmp_path / "animals"
    for i in range(30):
        save(folder / ("cat" if i < 20 else "dog") / f"{i}.png", (i, i, i))
    return folder


def all_of(splits):
    return np.concatenate([split.examples for split in splits]), np.concatenate([split.labels for split in splits])


def test_subfolders_are_classes_and_splits_keep_their_proportions(animals):
    train, test = load_data(animals, test_fraction=0.2)
    assert train.event_shape == (6, 6, 3) and train.levels == 256 and train.name == "animals"
    assert train.classes == test.classes == ("cat", "dog")
    assert np.bincount(train.labels).tolist() == [16, 8] and np.bincount(test.labels).tolist() == [4, 2]
    examples, labels = all_of((train, test))
    assert sorted(examples[:, 0, 0, 0]) == list(range(30))
    assert np.array_equal(labels, examples[:, 0, 0, 0] >= 20)


def test_splits_are_memory_maps_of_one_cache_file(animals):
    train, valid, test = load_data(str(animals), validation=True, test_fraction=0.2)
    assert all(isinstance(split.examples, np.memmap) for split in (train, valid, test))
    assert (len(train), len(valid), len(test)) == (22, 2, 6)
    assert sorted(all_of((train, valid, test))[0][:, 0, 0, 0]) == list(range(30))
    assert next(iter(batches(train, 4, seed=0)))[0].shape == (4, 6, 6, 3)


def test_the_seed_chooses_the_test_set(animals):
    chosen = [set(load_data(animals, test_fraction=0.2, seed=seed)[1].examples[:, 0, 0, 0]) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_the_second_start_decodes_nothing(animals, monkeypatch, cache):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr("genmodels.data.pictures.decode", counted)
    before = load_data(animals)
    assert len(calls) == 30
    after = load_data(animals)
    assert len(calls) == 30
    assert [split.fingerprint() for split in before] == [split.fingerprint() for split in after]
    load_data(animals, size=4)  # another size, another file
    assert len(calls) == 60
    os.utime(animals / "cat" / "0.png", (1, 1))  # a changed picture, too
    load_data(animals)
    assert len(calls) == 90
    assert not [path for path in cache.iterdir() if path.name.startswith("partial")]


def test_a_crash_while_decoding_leaves_no_cache(animals, monkeypatch, cache):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("genmodels.data.pictures.decode", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_data(animals)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "PNG"])
def test_every_format_is_read(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"x.{suffix}", (200, 100, 50), **options)
    picture = decode(path, None, 3)
    assert picture.shape == (6, 6, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - (200, 100, 50)).max() <= (3 if suffix.startswith("jp") else 0)


@pytest.mark.parametrize(
    ("mode", "colour", "rgb", "grey"),
    [
        ("L", 77, (77, 77, 77), 77),
        ("1", 1, (255, 255, 255), 255),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255), 255),  # transparent: white shows
        ("RGBA", (255, 0, 0, 51), (255, 204, 204), 219),  # a fifth of red on white
        ("LA", (0, 51), (204, 204, 204), 204),
        ("I;16", 77 * 256 + 200, (77, 77, 77), 77),
        ("RGB", (255, 0, 0), (255, 0, 0), 76),
    ],
)
def test_every_mode_becomes_rgb_or_grey(tmp_path, mode, colour, rgb, grey):
    path = save(tmp_path / "x.png", colour, mode=mode)
    assert decode(path, None, 3)[0, 0].tolist() == list(rgb)
    assert decode(path, None, 1)[0, 0].tolist() == [grey]


def test_palettes_with_transparency_lie_on_white(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 9, 90, 200])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "x.gif", transparency=0)
    seen = decode(tmp_path / "x.gif", None, 3)
    assert seen[0, 0].tolist() == [255, 255, 255] and seen[3, 3].tolist() == [9, 90, 200]


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "x.gif", None, 3)[0, 0].tolist() == [255, 0, 0]


def test_photographs_stand_upright(tmp_path):
    picture = Image.new("RGB", (8, 4), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90°
    picture.save(tmp_path / "x.jpg", exif=exif)
    assert decode(tmp_path / "x.jpg", None, 3).shape == (8, 4, 3)


def test_the_short_side_is_resized_and_the_centre_cut_out(tmp_path):
    pixels = np.zeros([20, 60, 3], np.uint8)
    pixels[:, 20:40] = 255  # the middle third is white
    Image.fromarray(pixels).save(tmp_path / "x.png")
    square = decode(tmp_path / "x.png", (10, 10), 1)
    assert square.shape == (10, 10, 1) and square[:, 1:-1].min() == 255
    assert decode(tmp_path / "x.png", (10, 30), 1)[:, 0].max() == 0


def test_shrinking_averages(tmp_path):
    stripes = np.zeros([64, 64, 3], np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "x.png")
    small = decode(tmp_path / "x.png", (8, 8), 1)[1:-1, 1:-1]
    assert np.abs(small.astype(int) - 127).max() <= 10  # aliasing would give 0 or 255


def test_arrays_are_brought_to_a_size_like_files():
    images = np.random.default_rng(0).integers(0, 17, [5, 8, 8, 1], dtype=np.uint8)
    large = conform(images, (16, 12), 3, 17)
    assert large.shape == (5, 16, 12, 3) and large.max() <= 16
    assert conform(images, (8, 8), None, 17) is images
    assert conform(large, None, 1, 17).shape == (5, 16, 12, 1)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        conform(np.zeros([1, 8, 8, 2], np.uint8), (4, 4), None, 256)


def test_broken_pictures_are_named_and_left_out(animals):
    (animals / "cat" / "broken.png").write_bytes(b"no picture")
    whole = (animals / "cat" / "1.png").read_bytes()
    (animals / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=r"2 of 32 .*left out: cat/broken.png .*dog/cut.png "):
            train, test = load_data(animals)
        examples, labels = all_of((train, test))
        assert sorted(examples[:, 0, 0, 0]) == list(range(30))
        assert np.array_equal(labels, examples[:, 0, 0, 0] >= 20)
        with pytest.raises(ValueError, match="2 of 32 pictures"):
            load_data(animals, strict=True)


def test_decompression_bombs_are_unreadable(animals, monkeypatch):
    save(animals / "cat" / "large.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.warns(UserWarning, match=r"1 of 31 .*large.png \(DecompressionBombError"):
        load_data(animals)


def test_other_files_and_hidden_ones_are_passed_over(animals):
    (animals / "notes.txt").write_text("about the animals")
    (animals / "cat" / "._0.png").write_bytes(b"what a Mac leaves")
    (animals / ".git").mkdir()
    save(animals / ".git" / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(map(len, load_data(animals))) == 30


def test_a_flat_folder_has_no_labels(tmp_path):
    for i in range(10):
        save(tmp_path / "flat" / f"{i}.png", (i, i, i))
    train, test = load_data(tmp_path / "flat", channels=1, binarize="dynamic")
    assert train.labels is None and train.classes is None
    assert train.event_shape == (6, 6, 1) and train.levels == 2 and len(test) == 1


def test_a_whole_folder_stays_on_disk(animals):
    train, valid, test = load_data(animals, validation=True)
    whole = load_test(animals)
    assert isinstance(whole.examples, np.memmap)
    for name in ("examples", "labels"):
        parts = np.concatenate([getattr(part, name) for part in (test, valid, train)])
        np.testing.assert_array_equal(getattr(whole, name), parts)
    (animals / "again").symlink_to(animals, target_is_directory=True)  # a loop: nothing is there twice
    assert len(load_test(animals)) == len(whole)
    (animals / "again").unlink()


def test_deeper_folders_belong_to_their_class(tmp_path):
    for i in range(4):
        save(tmp_path / "deep" / "ab"[i % 2] / "more" / f"{i}.png", (i, i, i))
    assert load_data(tmp_path / "deep")[0].classes == ("a", "b")


def test_folders_that_cannot_be_loaded(animals, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        load_data(empty)
    (empty / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 1 pictures"):
        load_data(empty)
    save(animals / "top.png")
    with pytest.warns(UserWarning, match="1 pictures itself and 30 in subfolders, which are no classes"):
        assert load_data(animals)[0].labels is None
    (animals / "top.png").unlink()
    (animals / "phone.HEIC").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 files of .* are of kinds that are not read \(.heic\)"):
        assert len(load_data(animals)[0].classes) > 1
    (animals / "phone.HEIC").unlink()
    save(animals / "dog" / "wide.png", size=(9, 6))
    with pytest.raises(ValueError, match=r"differ in size: .*\(6, 6\).*give `size`"):
        load_data(animals)
    assert load_data(animals, size=6)[0].event_shape == (6, 6, 3)
    save(tmp_path / "ready" / "train" / "x.png")
    save(tmp_path / "ready" / "test" / "x.png")
    with pytest.raises(ValueError, match=r"splits \(test, train\), not classes"):
        load_data(tmp_path / "ready")
    save(tmp_path / "ready" / "preview.png")
    with pytest.raises(ValueError, match=r"splits \(test, train\), not classes"):
        load_data(tmp_path / "ready")
    save(tmp_path / "one" / "x.png")
    with pytest.raises(ValueError, match="too few"):
        load_data(tmp_path / "one")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "`size`"),
        ({"size": (4, 4, 3)}, "`size`"),
        ({"size": 4.5}, "`size`"),
        ({"size": True}, "`size`"),
        ({"channels": 4}, "`channels`"),
        ({"test_fraction": 1.0}, "between 0 and 1"),
        ({"test_fraction": 0.0}, "between 0 and 1"),
        ({"binarize": "maybe"}, "`binarize`"),
        ({"num": 5}, "`num` does not apply"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_wrong_options_are_refused_before_any_work(animals, cache, options, words):
    with pytest.raises(ValueError, match=words):
        load_data(animals, **options)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_says_how_to_move_it(animals, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="set GENMODELS_CACHE"):
        load_data(animals)
