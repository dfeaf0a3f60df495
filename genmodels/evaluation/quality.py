"""The quality of samples: how a set of them differs from real examples, beside how those differ from each other."""

import numpy as np
import scipy.special

from genmodels import arguments
from genmodels.evaluation.features import as_features, check_dataset
from genmodels.evaluation.frechet import Moments, frechet_distance
from genmodels.evaluation.kernel import kernel_distance
from genmodels.evaluation.neighbourhoods import density_coverage, precision_recall
from genmodels.evaluation.progress import counted
from genmodels.settings import checked_count

K_PRECISION, K_DENSITY = 3, 5  # the papers'


def sample_quality(
    samples, real, *, features, reference=None, num=10_000, split=None, labels=None, batch_size=256, seed=0,
    progress=False, **options,
) -> dict:  # fmt: skip
    """The figures of samples against real examples, and the same figures of real examples against others: the floor.

    All sets are cut to one size N, drawn by the seed: `num`, or the size of the smallest. Every figure depends on N:
    read it beside its floor of the same N. The Fréchet distance of equal distributions is about c / N.

    Samples are rounded to the data's integers first. Examples pass in batches; their features are kept, `[N, F]`.

    Args:
        samples: a generative model, or samples `[M, *event_shape]` in the data's units.
        real: a `Dataset` of examples to compare with: the test split, or by the habit of the GAN papers the training
            data, which a model that copies them pleases too.
        features: `Features`, such as `PixelPCA().fit(train)` and `ClassifierFeatures().fit(train)`; or what
            `NetworkFeatures` takes: a Keras model, a file of one, a function.
        reference: a `Dataset` of other real examples for the floor, such as the training data. None takes those of
            `real` that are left, or two halves of it where fewer than N are; `floor_num` says how many they were.
        num: N at most.
        split: what reports call `real`: "test", "train".
        labels: of a conditional model's samples, `[N]` or `[N, condition_dim]`; None for its classes in turn.
        batch_size: examples, and samples, at a time; the figures do not depend on it but by rounding.
        seed: of the samples (those of `model.sample(N, seed=seed)`), and of what is drawn from larger sets.
        progress: print a line about every half minute while a model draws samples.
        **options: of the model's `sample`, such as `steps=20`.

    Returns:
        A flat dictionary. The figures: `frechet` (of `frechet_distance`), `kid` and `kid_standard_error` (of
        `kernel_distance`), `precision` and `recall` (k = 3), `density` and `coverage` (k = 5), and where the features
        are a classifier's `classifier_score`. Of what: `frechet_name` ("FID" where the features are named "inception"),
        `features`, `features_hash`, `num_real`, `num_fake`, `data`, `data_fingerprint`, `split`, `resize`, `seed`. The
        floor: `floor_` with each figure, `floor_num`, and `floor_of`: "reference", "rest" or "halves".

    Raises:
        ValueError: for data that do not fit each other or the features, and where N is not above the number of
            features, F: covariances would be singular.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> features = gm.evaluation.PixelPCA(num=8).fit(train)
        >>> noise = np.random.default_rng(0).integers(0, 17, test.examples.shape)
        >>> report = gm.evaluation.sample_quality(noise, test, features=features, reference=train, split="test")
        >>> report["num_fake"], report["frechet"] > 10 * report["floor_frechet"]
        (359, True)
    """
    features = as_features(features)
    check_sets(features, real, reference)
    num, batch_size = checked_count("num", num, 2), checked_count("batch_size", batch_size, 1)
    model = samples if hasattr(samples, "generate") else None
    if model is not None:
        _check_model(model, real, options)
    elif labels is not None or options:
        raise ValueError(f"`labels` and options are for sampling a model; got {labels} and {options} with samples.")
    else:
        samples = _quantized(samples, real)
    given = [v for v in (real, reference, samples) if v is not None and v is not model]
    num = min(num, *map(len, given))
    floor_num = check_size(features, real, reference, num)
    if model is not None:
        labels = model._labels(labels, num)

    def taken(examples, most):
        order = np.random.default_rng(seed).permutation(len(examples))[:most]
        return _features(features, (examples[order[i : i + batch_size]] for i in range(0, len(order), batch_size)))

    found = taken(real.examples, num if reference is not None else max(num, 2 * floor_num))
    other = found[floor_num:][:floor_num] if reference is None else taken(reference.examples, num)
    if model is None:
        fake = taken(samples, num)
    else:
        with model.averaged():
            batches = model.sample_batches(num, labels=labels, seed=seed, batch_size=batch_size, **options)
            batches = counted(batches, num, "samples") if progress else batches
            fake = _features(features, (x.numpy() for x in batches))
    floor = _figures(features, found[:floor_num], other, seed)
    return {
        **_figures(features, found[:num], fake, seed),
        "frechet_name": "FID" if features.name == "inception" else "Fréchet distance",
        "features": features.name,
        "features_hash": features.hash,
        "num_real": num,
        "num_fake": len(fake),
        "data": real.name,
        "data_fingerprint": real.fingerprint(),
        "split": split,
        "resize": features.resizing(real.event_shape),
        "seed": seed,
        **{f"floor_{name}": value for name, value in floor.items()},
        "floor_num": floor_num,
        "floor_of": "reference" if reference is not None else "rest" if floor_num == num else "halves",
    }


def check_size(features, real, reference, num) -> int:
    """How many examples of each kind the floor has, where N = `num`; a ValueError unless more than there are features.

    Example:
        >>> train, test = gm.load_data("digits")
        >>> features = gm.evaluation.PixelPCA(num=8).fit(train)
        >>> check_size(features, test, None, 300)  # halves of 359
        179
    """
    floor_num = min(num, len(real) // 2) if reference is None else num
    count = _features(features, [real.examples[:1]]).shape[1]
    if floor_num <= count:
        raise ValueError(
            f"{floor_num} examples of {count} features have a singular covariance: give more examples"
            f"{' or a `reference`' if reference is None else ''}, or take fewer features."
        )
    return floor_num


def classifier_score(probabilities) -> float:
    """exp E KL(p(class | x) ‖ p(class)), from 1 to the number of classes: sure of each example, of all classes alike.

    The formula of the Inception Score (Salimans et al. 2016), which it is of an Inception network's probabilities
    alone; of all examples at once, not the mean of ten parts.

    Args:
        probabilities: p(class | x), `[N, classes]`, rows that sum to 1.

    Raises:
        ValueError: for rows that are no probabilities.

    Example:
        >>> round(classifier_score(np.eye(4)), 6), classifier_score(np.full([4, 4], 0.25))
        (4.0, 1.0)
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not p.size or not (p >= 0).all() or not np.allclose(p.sum(1), 1.0, atol=1e-4):
        raise ValueError(f"expected probabilities [N, classes], in rows that sum to 1; got shape {p.shape}.")
    divergence = np.sum(scipy.special.rel_entr(p, p.mean(0)), 1)  # 0 ln 0 = 0
    return float(np.exp(divergence.mean()))


def _figures(features, real, fake, seed):
    """All figures of one set of features against another, of as many examples."""
    moments = Moments(), Moments()
    for moment, vectors in zip(moments, (fake, real)):
        moment.update(vectors)
    kernel = kernel_distance(real, fake, seed=seed)
    figures = {
        "frechet": frechet_distance(*(v for m in moments for v in (m.mean, m.covariance()))),
        "kid": kernel["kid"],
        "kid_standard_error": kernel["standard_error"],
        **precision_recall(real, fake, k=K_PRECISION),
        **density_coverage(real, fake, k=K_DENSITY),
    }
    if hasattr(features, "probabilities"):
        figures["classifier_score"] = classifier_score(features.probabilities(fake))
    return figures


def _features(features, batches):
    """Features of all batches, `[N, F]` float32."""
    parts = []
    for x in batches:
        parts.append(np.asarray(features(x), np.float32))
        if parts[-1].ndim != 2 or len(parts[-1]) != len(x) or not np.isfinite(parts[-1]).all():
            raise ValueError(
                f"the features {features.name!r} must be finite vectors, [{len(x)}, F]; got shape {parts[-1].shape}."
            )
    return np.concatenate(parts)


def _check_model(model, real, options):
    if (model.event_shape, model.levels) != (real.event_shape, real.levels):
        raise ValueError(
            f"the model is of data of shape {model.event_shape} with levels={model.levels}; `real` is {real!r}."
        )
    arguments.check_options(model.generate, options)


def check_sets(features, real, reference) -> None:
    """Raises ValueError unless the data fit the features and each other; there may be no reference.

    Example:
        >>> train, test = gm.load_data("digits")
        >>> check_sets(gm.evaluation.PixelPCA(num=8).fit(train), test, train)
    """
    check_dataset("real", real)
    features.check(real)
    if reference is None:
        return
    check_dataset("reference", reference)
    if (reference.event_shape, reference.levels) != (real.event_shape, real.levels):
        raise ValueError(f"`reference` must be of the same kind as `real`, {real!r}; got {reference!r}.")
    if reference.fingerprint() == real.fingerprint():
        raise ValueError("`reference` must hold other examples than `real`; got the same.")


def _quantized(samples, real):
    """Samples as the data's integers, or as float32 where the data are real numbers."""
    x = np.asarray(samples)
    if x.ndim < 2 or x.shape[1:] != real.event_shape or x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise ValueError(
            "`samples` must be a generative model, or finite numbers of shape "
            f"{('batch', *real.event_shape)}; got {x.dtype} of shape {x.shape}."
        )
    if real.levels is None:
        return x.astype(np.float32)
    if x.dtype.kind in "iu" and (x.min() < 0 or x.max() >= real.levels):
        raise ValueError(f"samples must lie in 0 … {real.levels - 1}; found {x.min()} … {x.max()}.")
    return np.clip(np.rint(x), 0, real.levels - 1).astype(np.uint8)
