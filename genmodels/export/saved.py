"""A trained model as a TensorFlow SavedModel, which runs wherever TensorFlow does, without Keras and this package."""

import functools
import inspect
import os
import shutil
from pathlib import Path

import tensorflow as tf

from genmodels import arguments
from genmodels.core import GenerativeModel, LatentModel, LikelihoodModel
from genmodels.sampling import Streams
from genmodels.settings import checked_count

FAMILIES = {
    "sample": "all families",
    "decode": "autoencoders, flows, GANs and diffusion",
    "encode": "autoencoders, flows and diffusion",
    "log_prob": "all but GANs, AAEs and latent diffusion",
}


def saved_model(model, folder, *, endpoints=None, sample_options=None, batch_size: int = 16) -> Path:
    """Writes a SavedModel whose endpoints are the things that the model can do.

    `sample(num, seed)`, and `decode(z)`, `encode(x)`, `log_prob(x)` where the family has them; those of a conditional
    model take labels as last argument, always. `num` is int32, `seed` int64, labels are `[N]` int32 or
    `[N, condition_dim]` float32; x has the data's type and units (uint8 where there are levels, else float32), z
    is float32. N is any number; the endpoints take `batch_size` rows at a time and fill the last
    batch up. Numbers out of range raise `tf.errors.InvalidArgumentError`.

    Results are those of the model with its own default options and averaged weights, to the rounding of float32:
    `sample(num, seed)` is `model.sample(num, seed=seed, batch_size=batch_size, **sample_options)`; `log_prob(x)` is
    `model.log_prob(x)`, its noise too. `tf.saved_model.load(folder)` reads one; parts that XLA compiles are compiled
    anew at their first call.

    Args:
        model: a generative model.
        folder: a new folder.
        endpoints: which of "sample", "decode", "encode", "log_prob" to write; None for all that the family has.
        sample_options: options of the family's `sample` that `sample` shall have, such as `{"steps": 10}`.
        batch_size: rows at a time. A single sample costs as much as a whole batch.

    Returns:
        The folder.

    Raises:
        ValueError: for something that is no generative model, endpoints and options that its family does not have, and
            a folder that exists.

    Example:
        >>> import tempfile
        >>> import genmodels as gm
        >>> model = gm.VAE((8, 8, 1), levels=17, latent_dim=2, architecture="mlp")
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     loaded = tf.saved_model.load(saved_model(model, f"{parent}/vae", endpoints=["sample"]))
        ...     loaded.sample(5, 1).shape
        TensorShape([5, 8, 8, 1])
    """
    folder, options = Path(folder), dict(sample_options or {})
    batch_size = checked_count("batch_size", batch_size, 1)
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"expected a generative model, whose `sample` can be exported; got {model!r}.")
    if folder.exists():
        raise ValueError(f"{folder} exists: a SavedModel is written into a new folder.")
    names = _chosen(model, endpoints)
    arguments.check_options(model.generate, options)
    with model.averaged():
        module, signatures = _module(model, names, options, batch_size)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            without = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, str(temporary), signatures=signatures, options=without)
            os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _chosen(model, endpoints):
    """The names of the endpoints, checked."""
    has = [name for name in FAMILIES if name == "sample" or _gives(model, name)]
    chosen = has if endpoints is None else list(endpoints)
    for name in chosen:
        if name not in FAMILIES:
            raise ValueError(f"`endpoints` are among {', '.join(FAMILIES)}; got {name!r}.")
        if name not in has:
            raise ValueError(f"{type(model).__name__} has no {name!r}; {FAMILIES[name]} have. It has {', '.join(has)}.")
    if not chosen:
        raise ValueError("`endpoints` must name at least one, or be None for all.")
    return chosen


def _module(model, names, options, size):
    """A module of the endpoints, traced, that holds the variables they read; and the endpoints as signatures."""
    module, signatures, variables = tf.Module(), {}, {}
    for name in names:
        function, specs = _sample(model, options, size) if name == "sample" else _by_rows(model, name, size)
        specs += _labels(model)
        # Within a function of its own: saving traces the outer one again, which costs nothing.
        traced = tf.function(function, input_signature=specs).get_concrete_function()
        endpoint = tf.function(functools.wraps(function)(functools.partial(_call, traced)), input_signature=specs)
        setattr(module, name, endpoint)
        signatures[name] = endpoint.get_concrete_function()
        variables.update({id(v): v for v in traced.graph.variables})
    module.held = list(variables.values())
    return module, signatures


def _call(traced, *given):
    return traced(*given)


def _gives(model, name):
    """Whether a family has a method that the base classes only name."""
    method = getattr(type(model), name, None)
    return method is not None and method not in (getattr(LatentModel, name, None), getattr(LikelihoodModel, name, None))


def _sample(model, options, size):
    """`sample(num, seed)` or `sample(num, seed, labels)`, and what it takes before the labels."""

    def sample(num, seed, labels=None):
        num = _checked(model, num, labels)
        words = tf.bitcast(seed, tf.int32)  # low and high, as in `make_seed`

        def draw(start, labels=None):
            return model._to_data(model.generate(Streams(words, start, size), labels, **options))

        return _by_batches(draw, [] if labels is None else [labels], num, size, _data(model).dtype)

    return sample, [tf.TensorSpec([], tf.int32, "num"), tf.TensorSpec([], tf.int64, "seed")]


def _by_rows(model, name, size):
    """A method of latents or examples, and of labels where the model is conditional; and what it takes before them."""
    latents = name == "decode"
    spec = tf.TensorSpec([None, *model.latent_shape], tf.float32, "z") if latents else _data(model)
    method = getattr(model, name)

    random = "first" in inspect.signature(method).parameters  # noise of its own for each row, by its number

    def at(start, *batch):
        return method(*batch, first=start) if random else method(*batch)

    def by_rows(rows, labels=None):
        num = _checked(model, tf.shape(rows)[0], labels, rows if spec.dtype.is_integer else None)
        given = [rows] if labels is None else [rows, labels]
        return _by_batches(at, given, num, size, tf.float32)

    return by_rows, [spec]


def _by_batches(function, given, num, size, dtype):
    """`function(start, *rows)` of `size` rows at a time; the last batch is filled up with the first rows, and cut.

    The batches have a static size: XLA's samplers need one, and so do the families' loops over parts of a batch.
    """

    def body(index, results):
        start = index * size
        rows = (start + tf.range(size)) % num
        return index + 1, results.write(index, function(tf.cast(start, tf.int64), *[tf.gather(x, rows) for x in given]))

    batches = (num + size - 1) // size
    results = tf.TensorArray(dtype, batches)
    _, results = tf.while_loop(lambda index, _: index < batches, body, [0, results], parallel_iterations=1)
    return results.concat()[:num]


def _data(model):
    """The type and shape of examples."""
    dtype = tf.float32 if model.levels is None else tf.uint8
    return tf.TensorSpec([None, *model.event_shape], dtype, "x")


def _labels(model):
    """The type and shape of labels in a list; none of an unconditional model."""
    if model.condition_dim is not None:
        return [tf.TensorSpec([None, model.condition_dim], tf.float32, "labels")]
    return [] if model.num_classes is None else [tf.TensorSpec([None], tf.int32, "labels")]


def _checked(model, num, labels, pixels=None):
    """The number of rows, which waits for the checks of the values in the graph."""
    check = tf.debugging
    checks = [check.assert_positive(num, "expected at least 1 row or sample")]
    if labels is not None:
        checks.append(check.assert_equal(tf.shape(labels)[0], num, "expected one label a row or sample"))
    if labels is not None and model.num_classes is not None:
        checks += _within(labels, model.num_classes, "labels")
    if pixels is not None:
        checks += _within(tf.cast(pixels, tf.int32), model.levels, "pixels")
    with tf.control_dependencies(checks):
        return tf.identity(num)


def _within(values, bound, name):
    message = f"{name} must be from 0 to {bound - 1}"
    return [tf.debugging.assert_non_negative(values, message), tf.debugging.assert_less(values, bound, message)]
