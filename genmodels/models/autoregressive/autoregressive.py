"""What autoregressive models share: exact likelihoods, sampling pixel by pixel, completion."""

import numbers

import keras
import numpy as np
import tensorflow as tf

from genmodels import arguments, likelihoods, networks
from genmodels.compiling import compiled, few_sizes, parts_at_once
from genmodels.core import LikelihoodModel, Objective
from genmodels.layers import CausalConv2D, ChannelHead
from genmodels.sampling import Streams, make_seed
from genmodels.sampling.incremental import CausalGraph
from genmodels.settings import checked_count, checked_shape

LOG_PROB_PIXELS = 64 * 28 * 28  # at a time: the float32 features of a whole batch would fill the memory


COMPLETION = 0xF111  # a stream apart from that of `sample`: its own completion would be the sample itself


@keras.saving.register_keras_serializable(package="genmodels")
class AutoregressiveModel(LikelihoodModel):
    """p(x) = Π p(x_i | x_1 … x_{i-1}) over the pixels in raster order, and the channels of a pixel in theirs.

    This class takes any network of causal layers; `PixelCNN` and its kin bring theirs. That no output sees the
    pixel it predicts, nor a later one, is read off the network's graph when the model is made.

    `sample` takes `temperature` (below 1: more typical, less varied) and `incremental`; see `generate`. The first call
    compiles the sampler, in seconds to half a minute.

    Logged: `nll` in nats an example and `bits_per_dim`, both exact.

    Args:
        event_shape: `(height, width, channels)`.
        network: a functional Keras model, or the path of its file, of `genmodels.layers.CausalLayer`s and of Keras
            layers that act on each pixel alone, from the image scaled to [-1, 1] (and one-hot labels, with
            `num_classes`) to `[height, width, likelihood.parameters(channels)]`.
        levels: pixels are 0 … levels-1.
        likelihood: of a pixel given those before it: "auto" for Bernoulli at 2 levels and a softmax over the levels
            otherwise; or a name or object of `genmodels.likelihoods`.
        num_classes: number of classes of a conditional model.
        dtype: Keras dtype policy; likelihoods and samples are computed in float32 whatever it is.
        name: name of the model.

    Raises:
        ValueError: for settings out of range, and for networks that look ahead, with the layer's name.

    Example:
        >>> import genmodels as gm
        >>> image = keras.Input((8, 8, 1))
        >>> x = gm.layers.CausalConv2D(32, above=2, left=2, right=2, mask="A")(image)  # from here on before the pixel
        >>> x = gm.layers.CausalConv2D(17)(keras.layers.ReLU()(x))
        >>> model = gm.AutoregressiveModel((8, 8, 1), keras.Model(image, x), levels=17)
        >>> model.sample(2).shape
        TensorShape([2, 8, 8, 1])
    """

    def __init__(self, event_shape, network, *, levels=256, likelihood="auto", num_classes=None, dtype=None, name=None):
        super().__init__(event_shape, levels=levels, num_classes=num_classes, dtype=dtype, name=name)
        network = networks.given(self, "network", network)
        self.likelihood = pixel_likelihood(likelihood, levels)
        labels = () if self.num_classes is None else ((self.num_classes,),)
        grid, channels = image_shape(event_shape)[:2], self.event_shape[-1]
        networks.check("network", network, (self.event_shape, *labels), (*grid, self.likelihood.parameters(channels)))
        self.network = network
        self.graph = CausalGraph(network)

    def default_optimizers(self):
        """Adam with a rate of 0.001."""
        return {"model": keras.optimizers.Adam(1e-3)}

    def objectives(self):
        """One: the negative log-likelihood."""
        return (Objective("model", self._loss, self.network),)

    def _loss(self, batch, seed, training):
        inputs = [self.scaled(batch.x), *self._one_hot(batch.labels)]
        params = self.network(inputs if len(inputs) > 1 else inputs[0], training=training)
        nll = -tf.reduce_mean(self.likelihood.log_prob(params, batch.x))
        return nll, {"nll": nll, "bits_per_dim": nll / float(np.prod(self.event_shape) * np.log(2.0))}

    def scaled(self, x):
        """Pixels 0 … levels-1 as [-1, 1]."""
        return tf.cast(x, tf.float32) * (2.0 / (self.levels - 1)) - 1.0

    def _one_hot(self, labels):
        return [] if self.num_classes is None else [tf.one_hot(labels, self.num_classes)]

    # ------------------------------------------------------------------ likelihoods

    def log_prob(self, x, labels=None):
        """The exact log-likelihood, `[B]` nats.

        Args:
            x: images `[B, *event_shape]` of integers 0 … levels-1.
            labels: `[B]` class labels of a conditional model.
        """
        x, labels = self._examples(x, labels)
        size = max(1, LOG_PROB_PIXELS // (self.event_shape[0] * self.event_shape[1]))
        return tf.concat([self._log_prob(*part) for _, *part in arguments.parts(x, labels, size)], 0)

    @compiled
    def _log_prob(self, x, labels):
        return self.likelihood.log_prob(self.params(self.scaled(x), labels), x)

    def predictive(self, x, labels=None):
        """The distribution of every pixel given those before it, as TFP's, of batch shape `[B]`.

        Args:
            x: images as in `log_prob`.
            labels: `[B]` class labels of a conditional model.

        Example:
            >>> import genmodels as gm
            >>> model = gm.PixelCNN((4, 4, 1), levels=2, filters=8, blocks=1)
            >>> model.predictive(tf.zeros([3, 4, 4, 1], tf.uint8)).distribution.entropy().shape  # of each pixel
            TensorShape([3, 4, 4, 1])
        """
        x, labels = self._examples(x, labels)
        return self.likelihood.distribution(self.params(self.scaled(x), labels))

    def params(self, x, labels=None):
        """The likelihood's parameters of every pixel, float32 `[B, H, W, parameters]`, differentiable in x.

        Args:
            x: images scaled to [-1, 1], float32 `[B, *event_shape]`.
            labels: `[B]` class labels of a conditional model.
        """
        return self.graph(x, *self._one_hot(labels))

    # ------------------------------------------------------------------ sampling

    def generate(self, streams: Streams, labels, *, temperature=1.0, incremental=True):
        """Samples. Options of `sample`:

        Args:
            streams: one random stream a sample.
            labels: `[num]` labels or None.
            temperature: below 1 pixels are more typical and less varied; see the likelihood's `tempered`.
            incremental: compute at each pixel only what is new. False re-runs the whole network for each, draws the
                same samples hundreds of times more slowly, and is there to check the other.

        Returns:
            `[num, *event_shape]` float32.
        """
        blank = tf.zeros([streams.num, *self.event_shape])
        return self._fill(blank, tf.zeros_like(blank[..., :1], tf.bool), streams, labels, temperature, incremental)

    def complete(self, x, mask, *, labels=None, seed=0, batch_size=None, temperature=1.0, incremental=True):
        """Keeps the known pixels of images and samples the others, in raster order.

        A pixel is drawn given those before it, known and drawn. Known pixels that come later do not change it: for
        a model in raster order, what is missing is best the lower part of a picture.

        Args:
            x: images `[N, *event_shape]`, or one; values at unknown pixels do not matter.
            mask: True where a pixel is known: `[N, H, W]`, or `[H, W]` for all images.
            labels: `[N]` class labels of a conditional model.
            seed: the same seed gives the same completion of image i, whatever the batch size.
            batch_size: images at a time; None for the next power of two, at most 256.
            temperature: as in `sample`.
            incremental: as in `sample`.

        Returns:
            `[N, *event_shape]` in the data's own type.

        Example:
            >>> import genmodels as gm
            >>> train, test = gm.load_data("digits")
            >>> model = gm.PixelCNN(train.event_shape, levels=train.levels, filters=8, blocks=1)
            >>> known = tf.range(8)[:, None] < tf.fill([8, 8], 4)  # the upper half
            >>> completed = model.complete(test.examples[:5], known)
            >>> bool(tf.reduce_all(completed[:, :4] == test.examples[:5, :4]))
            True
        """
        x, mask = self._masked(x, mask)
        num = x.shape[0]
        if self.num_classes is not None and labels is None:
            raise ValueError(f"the model has num_classes={self.num_classes}: give `labels` with the images.")
        labels = self._labels(labels, num)
        size = few_sizes(num) if batch_size is None else checked_count("batch_size", batch_size, 1)
        parts = []
        for start in range(0, num, size):
            rows = tf.range(start, start + size) % num  # the last batch is filled up: one shape, one trace
            streams = Streams(make_seed(seed), tf.constant(start, tf.int64), size).fold(COMPLETION)
            chosen = None if labels is None else tf.gather(labels, rows)
            known = tf.gather(x, rows), tf.gather(mask, rows)
            parts.append(self._fill(*known, streams, chosen, temperature, incremental))
        return self._to_data(tf.concat(parts, 0)[:num])

    def _masked(self, x, mask):
        """Images and masks of the same shape, checked."""
        x, mask = np.asarray(x), np.asarray(mask)
        x = x[None] if x.shape == self.event_shape else x
        if x.ndim != 4 or x.shape[1:] != self.event_shape or not len(x):
            raise ValueError(f"images must have shape {('N', *self.event_shape)}; got {x.shape}.")
        if mask.dtype != bool:
            raise ValueError(f"`mask` must be boolean, True where a pixel is known; got {mask.dtype}.")
        grid = self.event_shape[:2]
        if mask.shape not in (grid, (len(x), *grid)):
            raise ValueError(f"`mask` must have shape {grid} or {(len(x), *grid)}, without channels; got {mask.shape}.")
        mask = np.broadcast_to(mask, (len(x), *grid))[..., None]
        known = np.where(mask, x, 0)
        self._examples(known.astype(x.dtype), None if self.num_classes is None else np.zeros(len(x), int))
        return tf.constant(known, tf.float32), tf.constant(mask)

    def _fill(self, x, mask, streams, labels, temperature, incremental):
        if not isinstance(temperature, numbers.Real) or not 0 < temperature < np.inf:
            raise ValueError(f"`temperature` must be a finite number above 0; got {temperature!r}.")
        uniform = streams.uniform((*self.event_shape[:2], self.likelihood.uniforms(self.event_shape[-1])))
        fill = self._incremental if incremental else self._naive
        return fill(x, mask, uniform, labels, tf.constant(temperature, tf.float32))

    @compiled(exact_shapes=True)
    def _incremental(self, x, mask, uniform, labels, temperature):
        """In as many parts at once as there are cores: what is computed once a pixel is too small to share."""
        parts = parts_at_once(x.shape[0])
        split = [tf.split(t, parts) for t in (x, mask, uniform)]
        labels = [None] * parts if labels is None else tf.split(labels, parts)
        return tf.concat([self._cached(*part, temperature) for part in zip(*split, labels)], 0)

    @compiled(xla=True)
    def _cached(self, x, mask, uniform, labels, temperature):
        def draw(params, u):
            return self.likelihood.sample(self.likelihood.tempered(params, temperature), u)

        return self.graph.fill(x, mask, uniform, draw, self.scaled, self._one_hot(labels))

    @compiled(exact_shapes=True)
    def _naive(self, x, mask, uniform, labels, temperature):
        """The whole network for every pixel, and for every channel of it where channels see each other there."""
        height, width, channels = self.event_shape
        passes = channels if self.graph.channels_in_order else 1
        known = x

        def fill_pixel(index, x):
            here = tf.reshape(tf.one_hot(index, height * width, True, False), [height, width, 1]) & ~mask
            for channel in range(passes):
                params = self.params(self.scaled(x), labels)
                drawn = self.likelihood.sample(self.likelihood.tempered(params, temperature), uniform)
                chosen = True if passes == 1 else tf.one_hot(channel, channels, True, False)
                x = tf.where(here & chosen, drawn, x)
            return index + 1, x

        start = 0, tf.where(mask, x, 0.0)
        return tf.where(mask, known, tf.while_loop(lambda index, _: index < height * width, fill_pixel, start)[1])


# ---------------------------------------------------------------------- parts of the networks


def image_shape(event_shape):
    """The shape of an image, checked."""
    shape = checked_shape(event_shape)
    if len(shape) != 3:
        raise ValueError(
            f"autoregressive models are of images: `event_shape` must be (height, width, channels); got {shape}."
        )
    return shape


def pixel_likelihood(likelihood, levels):
    """The likelihood that a name stands for; "auto" is Bernoulli at 2 levels and else a softmax."""
    if levels is None:
        raise ValueError("autoregressive models are of integer pixels; these data are real numbers (`levels=None`).")
    levels = checked_count("levels", levels, 2)
    if likelihood == "auto":
        likelihood = "bernoulli" if levels == 2 else "categorical"
    return likelihoods.get(likelihood, levels)


def network_inputs(event_shape, num_classes):
    """Symbolic inputs: the image, and the one-hot label or None."""
    num_classes = checked_count("num_classes", num_classes, 2, "None for an unconditional model")
    return keras.Input(image_shape(event_shape)), None if num_classes is None else keras.Input((num_classes,))


def functional(image, label, outputs):
    """The functional model of these inputs and outputs."""
    return keras.Model(image if label is None else [image, label], outputs)


def conditioned(x, label, dtype):
    """Features plus a learned bias of each class: `[B, H, W, F]`."""
    if label is None:
        return x
    bias = keras.layers.Dense(x.shape[-1], use_bias=False, dtype=dtype)(label)
    return keras.layers.Add(dtype=dtype)([x, keras.layers.Reshape((1, 1, x.shape[-1]), dtype=dtype)(bias)])


def pixel_head(features, image, likelihood, filters, dtype):
    """ReLU, 1×1, ReLU, 1×1 to the likelihood's parameters; the channels of a pixel in their order."""
    channels = image.shape[-1]
    features = keras.layers.ReLU(dtype=dtype)(features)
    if channels > 1 and not likelihood.couples_channels:
        own = {"kinds_apart": likelihood.kinds_apart, "dtype": dtype}
        return ChannelHead(filters, likelihood.parameters(1), **own)(features, image)
    features = keras.layers.ReLU(dtype=dtype)(CausalConv2D(filters, dtype=dtype)(features))
    return CausalConv2D(likelihood.parameters(channels), kernel_initializer="glorot_uniform", dtype=dtype)(features)
