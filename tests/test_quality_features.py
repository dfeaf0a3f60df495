"""Features: PCA against scikit-learn, resizing against Pillow, the classifier's cache, and what is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import toys
from PIL import Image
from scipy.stats import entropy
from sklearn.decomposition import PCA

import genmodels as gm
from genmodels.evaluation import ClassifierFeatures, NetworkFeatures, PixelPCA, features, sample_quality

layers = keras.layers
TRAIN, TEST = gm.load_data("digits")


# ------------------------------------------------------------------------------------------- principal components


def test_components_agree_with_scikit_learn():
    found = PixelPCA(8).fit(TRAIN)
    x, y = (d.examples.reshape(len(d), -1) / 16 for d in (TRAIN, TEST))
    expected = PCA(8, svd_solver="full").fit(x).transform(y)
    sign = np.sign(np.sum(found(TEST.examples) * expected, 0))  # which is arbitrary
    np.testing.assert_allclose(found(TEST.examples) * sign, expected, atol=1e-9)
    points = gm.Dataset(toys.points(500), None, None)
    variances = np.linalg.eigvalsh(np.cov(points.examples.T, ddof=0))[::-1]
    np.testing.assert_allclose(PixelPCA(2).fit(points)(points.examples).var(0), variances, rtol=1e-5)


def test_components_of_large_pictures_are_those_of_a_part_of_them(monkeypatch):
    """There the covariance does not fit; the examples' products have its eigenvectors."""
    exact = PixelPCA(8).fit(TRAIN.take(500, seed=0))
    monkeypatch.setattr(features, "MOST_PIXELS", 60)
    monkeypatch.setattr(features, "FEW", 500)
    part = PixelPCA(8).fit(TRAIN)
    sign = np.sign(np.sum(part(TEST.examples) * exact(TEST.examples), 0))
    np.testing.assert_allclose(part(TEST.examples) * sign, exact(TEST.examples), atol=1e-8)
    assert part.hash != exact.hash  # it says of which data they are


def test_the_hash_of_components_tells_data_and_number():
    hashes = [PixelPCA(n).fit(data).hash for n, data in ((4, TRAIN), (4, TRAIN), (5, TRAIN), (4, TRAIN.take(900)))]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PixelPCA(0), "integer ≥ 1"),
        (lambda: PixelPCA(65).fit(TRAIN), "65 components"),
        (lambda: PixelPCA(8).fit(TRAIN.take(8)), "8 components"),
        (lambda: PixelPCA(8).fit(TRAIN.examples), "Dataset"),
        (lambda: PixelPCA(8).fit(TRAIN.binarized("dynamic")), "binarized anew"),
        (lambda: PixelPCA(8)(TRAIN.examples), "call `fit"),
        (lambda: ClassifierFeatures(8)(TRAIN.examples), "call `fit"),
        (lambda: ClassifierFeatures(8).fit(gm.Dataset(TRAIN.examples, None, 17)), "two classes"),
    ],
)
def test_what_is_no_training_data_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


# ------------------------------------------------------------------------------------------- the classifier


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trainings(cache, monkeypatch):
    """A cache of the tests' own, a short training, and a list of those that took place."""
    monkeypatch.setenv("GENMODELS_CACHE", str(cache))
    monkeypatch.setattr(features, "SHOWN", 12_000)
    found, train = [], ClassifierFeatures._trained
    monkeypatch.setattr(ClassifierFeatures, "_trained", lambda self, *a: found.append(self.name) or train(self, *a))
    return found


FRESH = """
import sys
import genmodels as gm
features = gm.evaluation.ClassifierFeatures(8).fit(gm.load_data("digits")[0])
print(features.hash, float(features(gm.load_data("digits")[1].examples)[0, 0]))
"""


def test_the_classifier_is_trained_once_and_is_one_in_every_process(trainings, cache):
    found = ClassifierFeatures(8).fit(TRAIN)
    again = ClassifierFeatures(8).fit(TRAIN.augmented(shift=1))
    assert trainings == ["classifier-8"] and again.hash == found.hash and len(list(cache.iterdir())) == 1
    x = found(TEST.examples)
    np.testing.assert_array_equal(again(TEST.examples), x)
    fresh = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    shown = fresh.stdout.split()
    assert shown[0] == found.hash and float(shown[1]) == pytest.approx(float(x[0, 0]), abs=1e-5)


def test_features_are_normalized_and_tell_the_classes(trainings):
    found = ClassifierFeatures(8).fit(TRAIN)
    x = found(TRAIN.examples)
    np.testing.assert_allclose(x.mean(0), 0.0, atol=0.15)
    np.testing.assert_allclose(x.std(0), 1.0, atol=0.15)
    p = found.probabilities(found(TEST.examples))
    np.testing.assert_allclose(p.sum(1), 1.0)
    assert (p.argmax(1) == TEST.labels).mean() > 0.9


def test_a_damaged_file_of_the_cache_is_named_and_replaced(trainings, cache):
    found = ClassifierFeatures(8).fit(TRAIN)
    path = next(cache.iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=f"{path.name} is damaged .* trained anew"):
        ClassifierFeatures(8).fit(TRAIN)
    trained = len(trainings)
    other = path.with_name(path.name.replace(found.hash, "0" * 16))
    other.write_bytes(whole)  # a whole file, but not the one that its name says
    with pytest.warns(UserWarning, match="is damaged"):
        ClassifierFeatures(8).fit(TRAIN)
    assert len(trainings) == trained and not other.exists()


def test_a_cache_that_cannot_be_written_says_what_to_set(trainings, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(ClassifierFeatures, "_trained", lambda self, *a: self._new())
    with pytest.raises(OSError, match="set GENMODELS_CACHE"):
        ClassifierFeatures(8).fit(TRAIN)


def test_a_report_on_a_classifiers_features(trainings):
    found = ClassifierFeatures(8).fit(TRAIN)
    report = sample_quality(TRAIN.examples, TEST, features=found, reference=TRAIN.take(400), split="test")
    assert (report["features"], report["features_hash"]) == ("classifier-8", found.hash)
    p = found.probabilities(found(TRAIN.examples[np.random.default_rng(0).permutation(len(TRAIN))[: len(TEST)]]))
    information = entropy(p.mean(0)) - entropy(p, axis=1).mean()
    assert report["classifier_score"] == pytest.approx(np.exp(information), rel=1e-4)
    noise = sample_quality(toys.images(400), TEST, features=found)
    assert noise["classifier_score"] < report["classifier_score"] and noise["frechet"] > 5 * report["frechet"]


# ------------------------------------------------------------------------------------------- any network


def identity(size, channels=1):
    """A network whose features are the pixels that it is given."""
    return keras.Sequential([keras.Input((*size, channels)), layers.Flatten()])


@pytest.mark.parametrize("size", [(5, 3), (20, 13)])
def test_resizing_is_pillows_bicubic_on_floats(size):
    x = toys.images(3, (8, 8, 1), 256)
    found = NetworkFeatures(identity(size))(x).reshape(3, *size)
    wanted = [Image.fromarray(i[..., 0].astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC) for i in x]
    np.testing.assert_allclose(found, np.stack([np.asarray(i) for i in wanted]), atol=2e-3)


def test_a_network_is_given_its_range_and_channels():
    x = toys.images(2, (4, 4, 1), 17)
    wrapped = NetworkFeatures(identity((4, 4), 3), value_range=(-1, 1), levels=17)
    np.testing.assert_allclose(wrapped(x).reshape(2, 4, 4, 3), np.repeat(x / 8.0 - 1.0, 3, axis=-1), atol=1e-6)
    assert wrapped.resizing((4, 4, 1)) == "none"
    free = NetworkFeatures(keras.Sequential([keras.Input((None, None, 1)), layers.GlobalMaxPooling2D()]))
    assert free.resizing((8, 8, 1)) == "none" and free(x).shape == (2, 1)


def test_a_file_is_its_network_and_has_its_hash(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
    network.save(tmp_path / "net.keras")
    memory, file = NetworkFeatures(network), NetworkFeatures(str(tmp_path / "net.keras"))
    np.testing.assert_allclose(file(TEST.examples[:5]), memory(TEST.examples[:5]), rtol=1e-5)
    assert file.hash == memory.hash and len(file.hash) == 16
    network.set_weights([w + 1e-6 for w in network.get_weights()])
    assert NetworkFeatures(network).hash != file.hash


def test_only_a_network_that_is_named_so_gives_an_fid():
    def report(**options):
        network = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
        return sample_quality(TRAIN.examples, TEST, features=NetworkFeatures(network, **options))

    assert report()["frechet_name"] == "Fréchet distance"
    named = report(name="inception")
    assert named["frechet_name"] == "FID" and named["resize"] == "bicubic, antialiased, 8×8 to 4×4"


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keras"):
        NetworkFeatures("classifier")
    with pytest.raises(ValueError, match="no file"):
        NetworkFeatures(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="a file of one, or a function"):
        NetworkFeatures(3)
    with pytest.raises(ValueError, match="needs `levels`"):
        NetworkFeatures(identity((8, 8)), value_range=(0, 1))
    with pytest.raises(ValueError, match="one input"):
        a, b = keras.Input((2,)), keras.Input((2,))
        NetworkFeatures(keras.Model([a, b], a + b))
    with pytest.raises(ValueError, match="must be finite vectors"):
        sample_quality(TRAIN.examples, TEST, features=lambda x: x)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"samples": TRAIN.examples[:, :4]}, "`samples` must be"),
        ({"samples": np.full([40, 8, 8, 1], np.nan)}, "finite"),
        ({"samples": np.full([40, 8, 8, 1], 17)}, "0 … 16; found 17"),
        ({"real": TEST.examples}, "`real` must be a Dataset"),
        ({"real": TEST.binarized("dynamic")}, "binarized anew"),
        ({"reference": TEST}, "other examples than `real`"),
        ({"reference": TRAIN.binarized("static")}, "same kind"),
        ({"features": NetworkFeatures(identity((8, 8)), value_range=(0, 1), levels=256)}, "levels=256"),
        ({"labels": 3}, "for sampling a model"),
        ({"steps": 3}, "for sampling a model"),
        ({"num": 1}, "`num`"),
        ({"num": 64}, "singular covariance"),
        ({"real": TEST.take(120), "samples": TRAIN.examples}, "`reference`"),
    ],
)
def test_bad_input_is_refused(arguments, text):
    given = {"samples": TRAIN.examples, "real": TEST, "features": identity((8, 8)), **arguments}
    with pytest.raises(ValueError, match=text):
        sample_quality(given.pop("samples"), given.pop("real"), **given)


def test_a_model_of_other_data_is_refused_and_so_are_unknown_options():
    model = gm.VAE((8, 8, 1), levels=256, latent_dim=2, architecture="mlp")
    with pytest.raises(ValueError, match="levels=256"):
        sample_quality(model, TEST, features=identity((8, 8)))
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
    with pytest.raises(ValueError, match="got steps"):
        sample_quality(model, TEST, features=identity((8, 8)), steps=3)
