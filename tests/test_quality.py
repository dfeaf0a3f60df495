"""Measures of sample quality against closed forms, scipy, scikit-learn and brute force; and the report's parts."""

import json

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.stats
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

import genmodels as gm
from genmodels.evaluation import (
    Moments,
    PixelPCA,
    classifier_score,
    density_coverage,
    frechet_distance,
    kernel,
    kernel_distance,
    precision_recall,
    sample_quality,
)

RNG = np.random.default_rng


def normal(num, dims=4, seed=0):
    return RNG(seed).normal(size=(num, dims))


# ------------------------------------------------------------------------------------------- Fréchet distance


def random_covariance(dims, rank, seed):
    root = RNG(seed).normal(size=(dims, rank))
    return root @ root.T


@pytest.mark.parametrize("dims", [1, 3, 40])
def test_frechet_distance_agrees_with_scipys_root(dims):
    a, b = random_covariance(dims, dims + 2, 1), random_covariance(dims, dims + 5, 2)
    mean_a, mean_b = normal(2, dims)
    root = scipy.linalg.sqrtm(a @ b).real
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(a + b - 2 * root)
    assert frechet_distance(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_commuting_gaussians_has_a_closed_form_singular_ones_too():
    turn = scipy.linalg.qr(normal(6, 6))[0]
    a, b = np.array([4.0, 1.0, 0.0, 0.0, 9.0, 1e-12]), np.array([1.0, 0.0, 0.0, 2.0, 9.0, 1e-12])
    mean = np.arange(6.0)
    expected = np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    found = frechet_distance(0 * mean, turn * a @ turn.T, mean, turn * b @ turn.T)
    assert found == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_singular_covariances_is_that_within_their_space():
    """Of rank 3 in 50 dimensions, where a root of the product that is not symmetric is complex or fails."""
    space = scipy.linalg.qr(normal(50, 50))[0][:, :3]
    a, b = random_covariance(3, 5, 1), random_covariance(3, 5, 2)
    expected = np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    zero = np.zeros(50)
    wide = frechet_distance(zero, space @ a @ space.T, zero, space @ b @ space.T)
    assert wide == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(zero, space @ a @ space.T, zero, space @ a @ space.T) < 1e-6 * np.trace(a)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([0, 0], np.eye(2), [0, 0, 0], np.eye(3)), "shapes"),
        (([0, 0], np.eye(3), [0, 0], np.eye(2)), "cov_a"),
        (([0, 0], np.eye(2), [0, 0], [[1, 2], [2, 1]]), "positive semi-definite"),
        (([0, 0], np.eye(2), [0, 0], [[1, 0.5], [0, 1]]), "symmetric"),
        (([0, np.nan], np.eye(2), [0, 0], np.eye(2)), "finite"),
    ],
)
def test_frechet_distance_refuses_what_is_no_gaussian(arguments, text):
    with pytest.raises(ValueError, match=text):
        frechet_distance(*arguments)


def test_moments_of_batches_are_those_of_the_whole_far_from_zero_too():
    x = normal(1000, 5) @ normal(5, 5, seed=1) + 1e6
    moments = Moments()
    for batch in np.split(x, [1, 300, 301, 777]):
        moments.update(batch)
    assert moments.num == 1000
    np.testing.assert_allclose(moments.mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance(), np.cov((x - 1e6).T), rtol=1e-7, atol=1e-7)


def test_moments_announce_a_singular_covariance():
    moments = Moments()
    with pytest.raises(ValueError, match="N=0"):
        moments.covariance()
    moments.update(normal(4, 4))
    with pytest.raises(ValueError, match="N=4 vectors of 4 features is singular"):
        moments.covariance()
    moments.update(normal(1, 4, seed=1))
    assert np.linalg.matrix_rank(moments.covariance()) == 4
    for wrong in (normal(3, 5), np.full([2, 4], np.inf), np.zeros(4), np.zeros([0, 4])):
        with pytest.raises(ValueError, match="vectors"):
            moments.update(wrong)


# ------------------------------------------------------------------------------------------- KID


def slow_mmd2(x, y):
    """The U-statistic, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def within(v):
        return np.mean([k(v[i], v[j]) for i in range(len(v)) for j in range(len(v)) if i != j])

    return within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])


def test_kid_agrees_with_a_double_loop_and_with_scikit_learn(monkeypatch):
    x, y = normal(23, 3), normal(31, 3, seed=1) + 0.5
    found = kernel_distance(x, y)["kid"]
    assert found == pytest.approx(slow_mmd2(x, y), rel=1e-12)
    xx, yy = (polynomial_kernel(v, degree=3, coef0=1) for v in (x, y))  # its gamma is 1 / F
    within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy))
    assert found == pytest.approx(within - 2 * polynomial_kernel(x, y, degree=3, coef0=1).mean(), rel=1e-12)
    monkeypatch.setattr(kernel, "BLOCK", 70)  # blocks of two and three rows
    assert kernel_distance(x, y)["kid"] == pytest.approx(found, rel=1e-12)


def test_kid_is_unbiased_and_its_standard_error_that_of_many_draws():
    draws = [kernel_distance(*RNG(seed).normal(size=(2, 40, 4)))["kid"] for seed in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 20
    assert 0.3 < np.mean(np.array(draws) < 0) < 0.8  # and none is clipped
    shifted = []
    for seed in range(200):
        x, y = RNG(1000 + seed).normal(size=(2, 60, 1))
        shifted.append(kernel_distance(x, y + 2.0, groups=20, seed=seed))
    expected = mean_kernel(0, 0) + mean_kernel(2, 2) - 2 * mean_kernel(0, 2)
    kids, errors = np.array([[r["kid"], r["standard_error"]] for r in shifted]).T
    assert abs(kids.mean() - expected) < 4 * kids.std() / np.sqrt(200)
    assert errors.mean() == pytest.approx(kids.std(), rel=0.2)


def mean_kernel(m, n):
    """E (xy + 1)³ of independent x ~ N(m, 1) and y ~ N(n, 1), by E x³ = m³ + 3m and E x² = m² + 1."""
    first, second = ([1, v, v**2 + 1, v**3 + 3 * v] for v in (m, n))
    return sum(c * a * b for c, a, b in zip([1, 3, 3, 1], first, second))


@pytest.mark.parametrize(
    ("x", "y", "options", "text"),
    [
        (normal(9, 3), normal(9, 4), {}, "shapes"),
        (normal(3, 3), normal(9, 3), {}, "4 vectors"),
        (np.full([9, 3], np.nan), normal(9, 3), {}, "finite"),
        (normal(9, 3), normal(9, 3), {"groups": 1}, "groups"),
    ],
)
def test_kid_refuses_what_are_no_features(x, y, options, text):
    with pytest.raises(ValueError, match=text):
        kernel_distance(x, y, **options)


# ------------------------------------------------------------------------------------------- neighbourhoods


def slow_neighbourhoods(real, fake, k):
    """All four by their definitions, with scikit-learn's neighbours."""

    def radii(x):
        return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, k]  # itself is one

    distance = np.linalg.norm(fake[:, None] - real[None], axis=-1)  # [fake, real]
    in_real, in_fake = distance <= radii(real), distance <= radii(fake)[:, None]
    return {
        "precision": in_real.any(1).mean(), "recall": in_fake.any(0).mean(),
        "density": in_real.sum(1).mean() / k, "coverage": in_real.any(0).mean(),
    }  # fmt: skip


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", [70, 1 << 23])
def test_neighbourhoods_agree_with_brute_force(k, block, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", block)
    real, fake = normal(50, 3), normal(41, 3, seed=1) * 1.5 + 0.3
    expected = slow_neighbourhoods(real, fake, k)
    assert {**precision_recall(real, fake, k=k), **density_coverage(real, fake, k=k)} == pytest.approx(expected)


def test_copies_are_inside_however_far_from_zero():
    """Distances of zero to a copy, and radii of zero around examples that are there four times."""
    real = np.repeat(normal(20, 3) + 1e4, 4, axis=0)
    assert precision_recall(real, real, k=3) == {"precision": 1.0, "recall": 1.0}
    assert density_coverage(real, real, k=3)["coverage"] == 1.0
    assert precision_recall(real, real + 0.01, k=3) == {"precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_distributions_have_a_density_of_one_and_cover_all_but_a_half_to_the_k(k):
    """In expectation: density is 1 at every N; coverage has Naeem et al.'s Lemma 2, which goes to 1 - 2⁻ᵏ."""
    draws = [density_coverage(*RNG(seed).normal(size=(2, 400, 3)), k=k) for seed in range(20)]
    coverage = 1 - np.prod([(400 - i) / (800 - i) for i in range(1, k + 1)])
    assert coverage == pytest.approx(1 - 2.0**-k, abs=0.005)
    for name, expected in (("density", 1.0), ("coverage", coverage)):
        values = np.array([d[name] for d in draws])
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(20) < 0.1


def test_precision_falls_outside_the_support_and_recall_where_modes_are_dropped():
    centres = 20.0 * np.eye(4)
    real = np.concatenate([c + normal(100, 4, seed) for seed, c in enumerate(centres)])
    fake = np.concatenate([c + normal(100, 4, 10 + seed) for seed, c in enumerate(centres)])
    outside = fake.copy()
    outside[:100] += 200.0  # a quarter leaves the support, and with it goes a mode
    dropped = np.concatenate([c + normal(200, 4, 10 + seed) for seed, c in enumerate(centres[:2])])
    both, left, narrow = ({**precision_recall(real, f), **density_coverage(real, f)} for f in (fake, outside, dropped))
    assert min(both.values()) > 0.85
    for name in ("precision", "density"):
        assert left[name] == pytest.approx(0.75 * both[name], rel=0.05)
        assert narrow[name] > 0.85  # what is there is good
    for name in ("recall", "coverage"):
        assert narrow[name] == pytest.approx(0.5 * both[name], rel=0.1)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_neighbourhoods_refuse_a_k_without_neighbours(measure):
    with pytest.raises(ValueError, match="below the number of examples, 9 and 5"):
        measure(normal(9), normal(5), k=5)
    with pytest.raises(ValueError, match="integer ≥ 1"):
        measure(normal(9), normal(5), k=0)


def test_classifier_score_is_the_exponential_of_mutual_information():
    p = RNG(0).dirichlet(np.ones(5), 30)
    entropy = scipy.stats.entropy
    assert classifier_score(p) == pytest.approx(np.exp(entropy(p.mean(0)) - entropy(p, axis=1).mean()))
    assert classifier_score(np.eye(5)) == pytest.approx(5.0)
    for wrong in (p * 2, p[0], np.where(p > 0.9, np.nan, -p)):
        with pytest.raises(ValueError, match="probabilities"):
            classifier_score(wrong)


# ------------------------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def digits():
    return gm.load_data("digits")


def flat(x):
    return (np.reshape(x, [len(x), -1]) @ normal(64, 8)).astype(np.float32)


def test_the_report_is_that_of_its_parts(digits):
    train, test = digits
    fake = train.examples[-400:].astype(np.float64) + 0.4  # which is rounded off
    report = sample_quality(fake, test, features=flat, reference=train.take(500), split="test", num=len(test), seed=3)
    drawn = RNG(3).permutation(400)[: len(test)]
    x, y = flat(test.examples).astype(np.float64), flat(train.examples[-400:][drawn]).astype(np.float64)
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    assert report["frechet"] == pytest.approx(expected, rel=1e-4)
    assert report["kid"] == pytest.approx(kernel_distance(x, y)["kid"])
    for k, names in ((3, ("precision", "recall")), (5, ("density", "coverage"))):
        slow = slow_neighbourhoods(x, y, k)
        assert {n: report[n] for n in names} == pytest.approx({n: slow[n] for n in names})
    stated = {
        "frechet_name": "Fréchet distance", "features": "network", "features_hash": None, "num_real": len(test),
        "num_fake": len(test), "data": "digits", "data_fingerprint": test.fingerprint(), "split": "test",
        "resize": "none", "seed": 3, "floor_num": len(test), "floor_of": "reference",
    }  # fmt: skip
    assert {name: report[name] for name in stated} == stated
    assert "classifier_score" not in report and json.loads(json.dumps(report)) == report


def test_the_floor_is_of_others_the_rest_or_halves(digits):
    train, test = digits
    options = {"features": flat, "seed": 1}
    order = RNG(1).permutation(len(test))
    rest = sample_quality(train.examples, test, num=100, **options)
    assert (rest["floor_of"], rest["floor_num"], rest["num_real"], rest["num_fake"]) == ("rest", 100, 100, 100)
    x, y = (flat(test.examples[rows]) for rows in (order[:100], order[100:200]))
    assert rest["floor_kid"] == pytest.approx(kernel_distance(x, y)["kid"])
    halves = sample_quality(train.examples, test, **options)
    half = len(test) // 2
    assert (halves["floor_of"], halves["floor_num"], halves["num_fake"]) == ("halves", half, len(test))
    x, y = (flat(test.examples[rows]) for rows in (order[:half], order[half : 2 * half]))
    assert halves["floor_kid"] == pytest.approx(kernel_distance(x, y)["kid"])


def test_a_model_is_sampled_in_batches_and_gives_what_its_samples_give(digits):
    _, test = digits
    keras.utils.set_random_seed(0)
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp", num_classes=10)
    seen = []

    def features(x):
        seen.append(len(x))
        return flat(x)

    options = {"num": 90, "seed": 5, "pixel_noise": True}
    found = sample_quality(model, test, features=features, batch_size=16, labels=np.arange(90) % 3, **options)
    assert max(seen) == 16 and seen[-6:] == [16] * 5 + [10]
    samples = model.sample(90, seed=5, labels=np.arange(90) % 3, batch_size=16, pixel_noise=True).numpy()
    same = sample_quality(samples, test, features=flat, num=90, seed=5)
    assert {k: found[k] for k in ("frechet", "kid", "recall", "coverage")} == pytest.approx(
        {k: same[k] for k in ("frechet", "kid", "recall", "coverage")}, rel=1e-5
    )


def blurred(x, sigma):
    return scipy.ndimage.gaussian_filter(x.astype(np.float64), (0, sigma, sigma, 0))


def test_measures_follow_noise_and_blur(digits):
    """Distances rise and coverage falls. Noise widens the samples' own balls, which recall likes, and slight blur makes
    typical images, which precision and density like."""
    train, test = digits
    fake, features = train.take(len(test), seed=5).examples, PixelPCA(32).fit(train)
    noise = normal(len(test), 64).reshape(fake.shape)
    reports = {s: sample_quality(fake + s * noise, test, features=features, reference=train) for s in (0, 2, 4, 8)}
    rising, falling = ["frechet", "kid"], ["coverage", "precision", "density"]
    follow(list(reports.values()), rising, falling)
    assert reports[0]["frechet"] < 1.3 * reports[0]["floor_frechet"]
    assert abs(reports[0]["kid"]) < 4 * reports[0]["kid_standard_error"]
    smooth = [sample_quality(blurred(fake, s), test, features=features, reference=train) for s in (0.6, 0.9, 1.5)]
    follow([reports[0], *smooth], rising, ["coverage"])
    follow(smooth, [], falling)


def follow(reports, rising, falling):
    for names, sign in ((rising, 1), (falling, -1)):
        for name in names:
            assert (np.diff([r[name] for r in reports]) * sign > 0).all(), (name, [r[name] for r in reports])
