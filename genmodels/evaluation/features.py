"""Features of examples, in which sets of them are compared: principal components, a classifier's, any network's."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from genmodels import data as datasets
from genmodels import files
from genmodels.evaluation.frechet import Moments
from genmodels.settings import checked_count

MOST_PIXELS = 4096  # of a covariance matrix that is decomposed whole: 128 MiB
FEW, FEW_BYTES = 2048, 1 << 28  # at most, of the examples that stand for all where there are more pixels
FORMAT = 1  # of the classifier and its training: raise it when either changes
SHOWN = 40_000  # images at least, in whole passes, and four passes at least
BATCH = 128


class Features:
    """A function from examples to vectors that says which it is.

    Attributes:
        name: in reports.
        hash: what tells two functions of one name apart; None where nothing can.
        event_shape: of the examples, or None for any.
        levels: of their pixels, or None for any.
    """

    name = "features"
    hash = None
    event_shape = None
    levels = None

    def __call__(self, x):
        """Features of integers, or real numbers, in the data's units: `[B, *event_shape]` to `[B, F]`."""
        raise TypeError(f"{type(self).__name__} must define `__call__(x)`.")

    def resizing(self, event_shape) -> str:
        """How examples of a shape are resized before the features are taken: "none", or the method and both sizes."""
        return "none"

    def check(self, data) -> None:
        """Raises ValueError unless the features are of such data.

        Args:
            data: a `Dataset`.
        """
        wanted = self.event_shape or data.event_shape, self.levels or data.levels
        if wanted != (data.event_shape, data.levels):
            raise ValueError(
                f"the features {self.name!r} are of examples {wanted[0]} with levels={wanted[1]}; got {data!r}."
            )


class PixelPCA(Features):
    """The leading principal components of a training set's pixels, which are scaled to 0 … 1.

    They tell strokes and colours and where these are, not what they are; no network is needed. Eigenvectors of the
    covariance in float64: of all examples where they have up to 4096 numbers, else of up to 2048 of them, and 256 MiB,
    that a fixed seed draws.

    Args:
        num: components.

    Raises:
        ValueError: for fewer than one component, and more than the data have numbers, when fitted.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> features = gm.evaluation.PixelPCA(num=16).fit(train)
        >>> features(test.examples).shape
        (359, 16)
    """

    def __init__(self, num=64):
        self.num = checked_count("num", num, 1)
        self.name = f"pixel-pca-{num}"

    def fit(self, train):
        """Finds the components.

        Args:
            train: a `Dataset` of more examples than there are components.

        Returns:
            This object.

        Raises:
            ValueError: for another kind or size of data.
        """
        check_dataset("train", train)
        pixels = math.prod(train.event_shape)
        few = len(train) if pixels <= MOST_PIXELS else min(len(train), FEW, FEW_BYTES // (8 * pixels))
        if self.num > min(pixels, few - 1):
            raise ValueError(
                f"`train` must hold more than {self.num} examples of {self.num} numbers or more, for {self.num} "
                f"components ({few - 1} at most for such examples); got {train!r}."
            )
        self.event_shape, self.levels = train.event_shape, train.levels
        if pixels > MOST_PIXELS:
            x = self._vectors(train.take(few, seed=0).examples)
            self._mean = x.mean(0)
            x -= self._mean
            values, vectors = (v[..., ::-1][..., : self.num] for v in np.linalg.eigh(x @ x.T))
            values = np.maximum(values, 1e-12 * values[0])  # of constant directions nothing is left
            self._components = x.T @ (vectors / np.sqrt(values))  # the covariance's eigenvectors, from the products'
        else:
            moments = Moments()
            for start in range(0, len(train), 1000):
                moments.update(self._vectors(train.examples[start : start + 1000]))
            self._mean = moments.mean
            self._components = np.linalg.eigh(moments.scatter)[1][:, ::-1][:, : self.num]  # [pixels, num]
        plain = dataclasses.replace(train, augment=None)  # examples are not varied here
        self.hash = _digest(f"{self.name} {plain.fingerprint()}".encode())
        return self

    def __call__(self, x):
        """Features of examples, `[B, *event_shape]` to `[B, num]` float64."""
        _check_fitted(self)
        return (self._vectors(x) - self._mean) @ self._components

    def _vectors(self, x):
        return np.reshape(x, [len(x), -1]).astype(np.float64) / (1 if self.levels is None else self.levels - 1)


class ClassifierFeatures(Features):
    """What a small convolutional classifier, trained once a data set, gives its last layer.

    The features are normalized to mean 0 and deviation 1 over the training data, by a batch normalization. Kept in
    `$GENMODELS_CACHE` (default `~/.cache/genmodels`) and trained anew only for other data or settings. Training has a
    fixed seed, but another machine rounds otherwise and then has another hash: figures of two hashes do not compare.
    The classifier knows its training data better than others, which a floor of those against the test data includes.

    Args:
        num: features.
        seed: of the weights and the order of the data.

    Raises:
        ValueError: for numbers out of range, and by `fit` for data without classes.

    Example:
        >>> import genmodels as gm
        >>> train, test = gm.load_data("digits")
        >>> features = gm.evaluation.ClassifierFeatures(num=16)  # features.fit(train) trains it
        >>> features.name
        'classifier-16'
    """

    def __init__(self, num=64, *, seed=0):
        self.num, self.seed = checked_count("num", num, 1), checked_count("seed", seed, 0)
        self.name = f"classifier-{num}"

    def fit(self, train, *, verbose=0):
        """Takes the classifier from the cache, or trains it: on 60 000 images of 28×28 in about a minute on two cores.

        Args:
            train: a `Dataset` with classes. Its augmentation is left out.
            verbose: Keras' word for how training reports; 2 is a line.

        Returns:
            This object.

        Raises:
            ValueError: for data without classes.
            OSError: where the cache cannot be written.
        """
        check_dataset("train", train)
        if train.labels is None or train.condition_dim is not None or train.labels.max() < 1:
            raise ValueError(f"`train` must have labels of two classes or more; got {train!r}.")
        train = dataclasses.replace(train, augment=None)
        self.event_shape, self.levels = train.event_shape, train.levels
        self.num_classes = train.num_classes or int(train.labels.max()) + 1
        key = _digest(json.dumps([FORMAT, self.name, self.seed, self.num_classes, train.fingerprint()]).encode())
        network = _cached(key) or _saved(key, self._trained(train, verbose))
        self.hash = network_hash(network)
        self._network = _compiled(keras.Model(network.inputs, network.get_layer("features").output), self.event_shape)
        self._kernel, self._bias = (np.asarray(w, np.float64) for w in network.get_layer("logits").get_weights())
        return self

    def __call__(self, x):
        """Features of examples, `[B, *event_shape]` to `[B, num]` float32."""
        _check_fitted(self)
        return self._network(tf.cast(x, tf.float32)).numpy()

    def probabilities(self, features) -> np.ndarray:
        """The classifier's p(class | x) from features that it gave, `[B, num]` to `[B, classes]` float64."""
        _check_fitted(self)
        logits = np.asarray(features, np.float64) @ self._kernel + self._bias
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def _trained(self, train, verbose):
        network = self._new()
        steps = max(4, math.ceil(SHOWN / len(train))) * math.ceil(len(train) / BATCH)
        rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        learner = keras.Model(network.inputs, network.outputs)  # what is saved holds no optimizer
        learner.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        batches = datasets.batches(train, BATCH, seed=self.seed)  # endless, in an order of its own
        learner.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=verbose)
        return network

    def _new(self):
        layers, seeds = keras.layers, iter(range(1000 * self.seed, 1000 * self.seed + 1000))

        def weights():
            return keras.initializers.GlorotUniform(seed=next(seeds))

        inputs = x = keras.Input(self.event_shape, dtype="float32", name="examples")
        if self.levels is not None:
            x = layers.Rescaling(2.0 / (self.levels - 1), -1.0, name="scaled")(x)
        for block in range(_halvings(self.event_shape)):
            width = min(32 << block, 128)
            conv = layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer=weights(),
                                 dtype="float32", name=f"conv_{block}")  # fmt: skip
            x = layers.MaxPooling2D(name=f"pool_{block}")(conv(x))
        x = layers.Flatten(name="flat")(x)
        for name, width in (("hidden", 256), ("raw", self.num)):
            activation = "relu" if name == "hidden" else None
            x = layers.Dense(width, activation, kernel_initializer=weights(), dtype="float32", name=name)(x)
        x = layers.BatchNormalization(momentum=0.95, center=False, scale=False, dtype="float32", name="features")(x)
        x = layers.Dense(self.num_classes, kernel_initializer=weights(), dtype="float32", name="logits")(x)
        return keras.Model(inputs, x, name="classifier")


class NetworkFeatures(Features):
    """The output of any network, or of any function.

    Images are resized to the size that a Keras model takes, bicubic and antialiased as in clean-fid (Parmar et al.
    2022; Keys' kernel with a = -1/2, widened where images shrink, unrounded), and one channel is repeated where it
    takes three.

    Args:
        network: a `keras.Model` with one output `[B, F]`; a `.keras` or `.h5` file of one, which is read without
            running code from it; or a function of a NumPy batch in the data's units.
        name: in reports; None for the file's name, or "network". The Fréchet distance is called FID where the name is
            "inception", and only there: say so of none but the Inception network of the paper.
        value_range: what a Keras model takes for the lowest and the highest pixel, such as (-1, 1); None for the data's
            units.
        levels: of the pixels that are given; needed where `value_range` is.

    Raises:
        ValueError: for what is no network, several inputs, and a range without levels.

    Example:
        >>> network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])
        >>> features = NetworkFeatures(network, name="mean colour", value_range=(0, 1), levels=256)
        >>> features(np.full([2, 8, 8, 1], 255, np.uint8))[0].tolist(), features.resizing((8, 8, 1))
        ([1.0, 1.0, 1.0], 'bicubic, antialiased, 8×8 to 4×4')
    """

    def __init__(self, network, *, name=None, value_range=None, levels=None):
        if isinstance(network, str | os.PathLike):
            name = Path(network).stem if name is None else name
            network = files.load_network(network)
        if not callable(network) or hasattr(network, "objectives"):
            raise ValueError(f"`network` must be a keras.Model, a file of one, or a function; got {network!r}.")
        self.name, self.levels, self._range = "network" if name is None else name, levels, value_range
        keras_model = isinstance(network, keras.Model)
        if value_range is not None and not (keras_model and levels and value_range[0] < value_range[1]):
            raise ValueError(
                "`value_range` must be (low, high), of a Keras model's pixels, and needs `levels`; got "
                f"{value_range!r} with levels={levels}."
            )
        self._input = None
        if keras_model:
            if len(network.inputs) != 1 or len(network.outputs) != 1:
                raise ValueError(f"`network` must have one input and one output; got {network.name!r}.")
            self._input = tuple(network.inputs[0].shape[1:])
            self.hash = network_hash(network)
            network = _compiled(network, prepare=self._prepared)
        self._network = network

    def __call__(self, x):
        """Features of examples, `[B, *event_shape]` to `[B, F]` float32."""
        x = np.asarray(x)
        return np.asarray(self._network(x if self._input is None else tf.cast(x, tf.float32)), np.float32)

    def resizing(self, event_shape) -> str:
        """How examples of a shape are resized: "none", or the method and both sizes."""
        if self._size(event_shape) is None:
            return "none"
        (height, width), (to_height, to_width) = event_shape[:2], self._size(event_shape)
        return f"bicubic, antialiased, {height}×{width} to {to_height}×{to_width}"

    def _size(self, event_shape):
        """The size to resize to, or None."""
        if self._input is None or len(self._input) != 3 or len(event_shape) != 3:
            return None
        size = tuple(wanted or given for wanted, given in zip(self._input[:2], event_shape[:2]))
        return None if size == tuple(event_shape[:2]) else size

    def _prepared(self, x):
        """Examples `[B, *event_shape]` float32 as the network takes them."""
        if self._range is not None:
            low, high = self._range
            x = low + x * ((high - low) / (self.levels - 1))
        if size := self._size(x.shape[1:]):
            x = tf.image.resize(x, size, method="bicubic", antialias=True)
        if len(self._input) == 3 and self._input[2] == 3 and x.shape[-1] == 1:
            x = tf.repeat(x, 3, axis=-1)
        return x


def as_features(features) -> Features:
    """What a user gives as features: `Features`, or what `NetworkFeatures` takes."""
    if isinstance(features, str) and not features.endswith((".keras", ".h5")):
        raise ValueError(f'`features` must be "pixels", "classifier", or a network or its file; got {features!r}.')
    return features if isinstance(features, Features) else NetworkFeatures(features)


def check_dataset(name, data) -> None:
    """Raises ValueError unless the data are a `Dataset` whose examples are the same at every visit."""
    if not isinstance(data, datasets.Dataset):
        raise ValueError(f"`{name}` must be a Dataset, such as gm.Dataset(x, None, levels=256); got {type(data)}.")
    if data.dynamic:
        raise ValueError(f"`{name}` is binarized anew at every visit; give `binarized('static')` data.")


def network_hash(network: keras.Model) -> str:
    """16 hexadecimal digits of a network's structure, names of its layers included, and weights."""
    structure = json.dumps(network.get_config(), sort_keys=True, default=str)
    weights = [np.ascontiguousarray(w) for w in network.get_weights()]
    return _digest(structure.encode(), *(part for w in weights for part in (repr((w.shape, w.dtype)).encode(), w)))


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _check_fitted(features):
    if features.hash is None:
        raise ValueError(f"the features {features.name!r} are not fitted: call `fit(train)` first.")


def _compiled(network, event_shape=None, prepare=tf.identity):
    """The network of float32 examples, outside of training, as one function for all batch sizes."""
    signature = None if event_shape is None else [tf.TensorSpec([None, *event_shape])]
    return tf.function(
        lambda x: tf.cast(network(prepare(x), training=False), tf.float32), signature, reduce_retracing=True,
        autograph=False,
    )  # fmt: skip


def _halvings(event_shape):
    """How often images are halved until they are 7 pixels high or wide, or fewer; points never."""
    smallest = min(event_shape[:2]) if len(event_shape) == 3 else 1
    return next(times for times in range(16) if smallest >> times <= 7)


def _cached(key):
    """The network of a key, whose file's name ends in its hash; None where there is none, or all are damaged."""
    for path in sorted(datasets.cache_folder().glob(f"classifier-{key}-*.keras")):
        try:
            network = files.load_network(path)
            found = network_hash(network)
        except ValueError as error:
            network, found = None, error
        if found == path.stem.split("-")[-1]:
            return network
        warnings.warn(f"{path} is damaged ({found}); it is removed, and the classifier trained anew.", stacklevel=3)
        path.unlink()
    return None


def _saved(key, network):
    """Writes a network beside the cache's files, and moves it into place."""
    cache = datasets.cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=cache, prefix="partial-"))
    except OSError as error:
        hint = "set GENMODELS_CACHE to a folder that can"
        raise OSError(f"the cache {cache} cannot be written ({error}): {hint}.") from error
    try:
        network.save(folder / "network.keras")
        os.replace(folder / "network.keras", cache / f"classifier-{key}-{network_hash(network)}.keras")
    finally:
        shutil.rmtree(folder)
    return network
