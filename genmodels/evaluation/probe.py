"""What a model's features are good for: a network to fine-tune, and a linear classifier on top."""

import inspect
import math

import keras
import numpy as np

from genmodels import data as datasets

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)  # of half the squared weights beside the mean cross-entropy, in nats


def encoder_for(model, *, label=None, **options) -> keras.Model:
    """A plain Keras model from examples to the features that a trained model has of them, to train on as a classifier.

    Of a VAE these are the means of q(z | x); of a GAN what the critic's last layer is given (after Radford et al.
    2015); of a diffusion model the denoiser's innermost features where there is little noise (Xiang et al. 2023,
    "Denoising Diffusion Autoencoders are Unified Self-supervised Learners"), averaged over the pixels. Scaling, label
    and time are inside. All weights are copies, the averaged ones where the model keeps an average: training them
    leaves the model as it is. Layers of ours stay in it; `genmodels.export.plain` puts Keras' own in their place.

    Args:
        model: a VAE, a GAN or a diffusion model, or another with `feature_network`.
        label: class that a conditional network is shown with every example; None for no class, a vector of zeros. To a
            conditional VAE's encoder, and a GAN's critic where the label reaches the features, that is new.
        **options: of the model's `feature_network`: `layer` of GANs and diffusion models, the name of another layer
            of the critic or denoiser; `noise` of diffusion models, σ / α.

    Returns:
        A functional `keras.Model` from `[B, *event_shape]` in the data's units, integers or float32, to `[B, F]`
        float32. Gradients reach all weights that were trainable.

    Raises:
        ValueError: for a model without such features (autoregressive models, whose features are a pixel's, and flows,
            whose latents are the data in other coordinates), and for options that it does not have.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> model = gm.VAE(train.event_shape, levels=train.levels, latent_dim=8)
        >>> encoder = gm.evaluation.encoder_for(model)
        >>> classifier = keras.Sequential([encoder, keras.layers.Dense(10, "softmax")])
        >>> classifier.compile("adam", "sparse_categorical_crossentropy")
        >>> history = classifier.fit(train.examples, train.labels, batch_size=256, verbose=0)
        >>> classifier.output_shape
        (None, 10)
    """
    if not hasattr(model, "feature_network"):
        raise ValueError(f"expected a generative model with `feature_network`; got {model!r}.")
    parameters = inspect.signature(model.feature_network).parameters
    unknown = sorted(set(options) - set(parameters))
    if unknown and "options" not in parameters:
        raise ValueError(f"features of {type(model).__name__} have the options {', '.join(parameters)}; got {unknown}.")
    with model.averaged():
        shared = model.feature_network(label=label, **options)
        copied = keras.models.clone_model(shared)
        copied.set_weights(shared.get_weights())
    return copied


def linear_probe(model, train, test, *, batch_size=500, seed=0) -> dict:
    """How well a linear classifier tells classes from a model's features (Alain & Bengio 2016).

    Multinomial logistic regression of the features, each scaled to mean 0 and deviation 1 on `train`. The L2 penalty is
    the one of `PENALTIES` that classifies best a fifth of `train` which is held out; then all of `train` is fitted.
    `test` is read once, by the last fit.

    Args:
        model: what `encoder_for` takes, without labels; or a function of examples to features `[B, F]`, such as a
            Keras model or a flow's `encode`.
        train: labelled examples in the data's units: a `Dataset`, or a tuple (x, y) of arrays.
        test: others, as `train`.
        batch_size: examples encoded at a time.
        seed: of which fifth is held out.

    Returns:
        `accuracy` on `test` and its `standard_error`, `train_accuracy`, `features` (how many), `examples` (of `test`)
        and `penalty`.

    Raises:
        ValueError: for data without classes, of other shapes or levels than the model's, and features that are no
            finite vectors.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> figures = gm.evaluation.linear_probe(lambda x: x.reshape(len(x), -1), train, test)  # of the pixels
        >>> figures["features"], figures["accuracy"] > 0.9
        (64, True)
    """
    train, test = _labelled("train", train, model), _labelled("test", test, model)
    if train.event_shape != test.event_shape:
        raise ValueError(f"`train` and `test` must have one shape; got {train.event_shape} and {test.event_shape}.")
    encoder = encoder_for(model) if hasattr(model, "feature_network") else model
    x, x_test = (_features(encoder, data.examples, batch_size) for data in (train, test))
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1.0  # a feature that never changes says nothing
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    classifier, penalty = _fitted(x, train.labels, seed)
    accuracy = float(classifier.score(x_test, test.labels))
    return {
        "accuracy": accuracy,
        "standard_error": math.sqrt(accuracy * (1.0 - accuracy) / len(test)),
        "train_accuracy": float(classifier.score(x, train.labels)),
        "features": x.shape[1],
        "examples": len(test),
        "penalty": penalty,
    }


def _labelled(name, data, model):
    """The data as a `Dataset` of the model's form, with classes."""
    if isinstance(data, tuple) and len(data) == 2:
        x, y = np.asarray(data[0]), np.asarray(data[1])
        levels = getattr(model, "levels", 256 if x.dtype.kind in "iu" else None)
        classes = int(y.max()) + 1 if y.dtype.kind in "iu" and y.size else None
        data = datasets.as_dataset(x, y, event_shape=x.shape[1:], levels=levels, num_classes=classes)
    if not isinstance(data, datasets.Dataset) or data.labels is None or data.condition_dim is not None:
        raise ValueError(f"`{name}` must be a Dataset with classes, or a tuple (x, y) of arrays; got {data!r}.")
    if data.dynamic:
        raise ValueError(f"`{name}` is binarized anew at every visit; give `binarized('static')` data.")
    wanted = getattr(model, "event_shape", data.event_shape), getattr(model, "levels", data.levels)
    if (data.event_shape, data.levels) != wanted:
        raise ValueError(
            f"the model is of data of shape {wanted[0]} with levels={wanted[1]}; `{name}` has shape {data.event_shape} "
            f"and levels={data.levels}."
        )
    return data


def _features(encoder, examples, batch_size):
    """Features `[N, F]` float32, a batch at a time."""
    encode = encoder.predict_on_batch if isinstance(encoder, keras.Model) else encoder
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = np.asarray(examples[start : start + batch_size])
        parts.append(np.asarray(encode(batch), np.float32))
        if parts[-1].ndim != 2 or len(parts[-1]) != len(batch) or not np.isfinite(parts[-1]).all():
            raise ValueError(f"the features must be {len(batch)} finite vectors [B, F]; got shape {parts[-1].shape}.")
    return np.concatenate(parts)


def _fitted(x, labels, seed):
    """The classifier of all examples, and its penalty; of equally good ones the strongest."""
    # Imported here: scikit-learn takes half a second.
    from sklearn.linear_model import LogisticRegression

    order = np.random.default_rng(seed).permutation(len(x))
    held, rest = order[: len(x) // 5], order[len(x) // 5 :]
    if len(held) == 0 or len(np.unique(labels[rest])) < 2:
        raise ValueError(f"`train` must hold at least 5 examples of 2 classes or more; got {len(x)} examples.")
    classifier = LogisticRegression(max_iter=1000, warm_start=True)  # from the strongest penalty on: few steps each

    def fit(penalty, rows):
        # scikit-learn weighs the sum of the losses by C, against half the squared weights.
        return classifier.set_params(C=1.0 / (penalty * len(rows))).fit(x[rows], labels[rows])

    scores = [fit(penalty, rest).score(x[held], labels[held]) for penalty in PENALTIES]
    penalty = PENALTIES[int(np.argmax(scores))]
    return fit(penalty, order), penalty
