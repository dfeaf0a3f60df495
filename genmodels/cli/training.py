"""`genmodels train`: from data to a trained generator."""

import ast
import difflib
import os
import shlex
from pathlib import Path

import keras
import tensorflow as tf
import typer

from genmodels import catalogue
from genmodels.data import data_names
from genmodels.settings import checked_count, checked_positive, constructor_arguments, fixed_arguments
from genmodels.training import CosineFall, source
from genmodels.training import precision as precisions
from genmodels.training.replicas import is_chief

SIZE = 32  # pixels of a folder's pictures where none is given
LARGEST = 512  # a VAE of 1500 pixels filled 24 GB and ended without a word; how much 512 takes depends on the model
STEPS = 10_000  # where neither steps nor epochs are given
OWN = ("event_shape", "levels", "num_classes", "dtype", "name")  # arguments that data and flags decide


def train(
    model: str = typer.Argument(help="Which model, such as vae, ddpm, wgan-gp; `genmodels models` lists them."),
    data: str = typer.Argument(help="A named set, a folder of pictures, or an .npz file."),
    run: Path = typer.Option(None, help="Folder of the run, continued if it is there.  [default: runs/MODEL-DATA]"),
    steps: int = typer.Option(None, help=f"Training steps.  [default: {STEPS}, without --epochs]"),
    epochs: int = typer.Option(None, help="Passes over the data, in place of --steps."),
    batch_size: int = typer.Option(64, help="Examples an update."),
    size: int = typer.Option(None, help=f"Pictures are made this many pixels square.  [default: {SIZE} for a folder]"),
    channels: int = typer.Option(None, help="1 for gray, 3 for colour.  [default: the set's own; 3 for a folder]"),
    binarize: str = typer.Option(None, help='"static" or "dynamic": pixels of 0 and 1.'),
    conditional: bool = typer.Option(False, help="Learn the classes too (the subfolders of a folder)."),
    flip: bool = typer.Option(False, help="Mirror pictures at random."),
    shift: int = typer.Option(0, help="Move pictures at random by up to this many pixels each way."),
    seed: int = typer.Option(0, help="Of the weights, the order of the data, and all noise."),
    precision: str = typer.Option("auto", help=precisions.HELP),
    ema: float = typer.Option(0.999, help="Decay of the average of the weights that is kept and used; 0 for none."),
    learning_rate: float = typer.Option(None, help="Of all optimizers.  [default: the model's own]"),
    decay: str = typer.Option(None, help='"cosine": rates fall to 0 at the end, and the run cannot be made longer.'),
    clipnorm: float = typer.Option(None, help="Longest gradient of an update; longer ones are shortened to it."),
    accumulate: int = typer.Option(1, help="Compute a batch in this many parts, to fit memory."),
    jit_compile: bool = typer.Option(False, help="Compile training with XLA, and flows' sampling: a longer start."),
    distribute: str = typer.Option(None, help="gpus, all of this machine, or hosts, as TF_CONFIG says."),
    validate: bool = typer.Option(
        False, help="Evaluate after every epoch, on the set's own validation split or a tenth of the training data."
    ),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="An argument of the model's constructor."),
):
    """Trains a model on a named set, a folder of pictures, or an .npz file.

    A tenth of a folder is kept as the test split. Ctrl-C keeps the place, and the model as it is: the same command
    continues, `genmodels sample RUN` draws.
    """
    cls = catalogue.model_class(model)
    precisions.check(precision)
    # before the data are read:
    _check(steps, epochs, batch_size, accumulate, shift, seed, ema, learning_rate, decay, clipnorm)
    if distribute == "hosts" and precision == "auto":
        raise ValueError("--distribute hosts needs --precision by name: the hosts might find different ones faster.")
    strategy = _strategy(distribute)  # before TensorFlow computes anything
    if size is not None and size > LARGEST:
        raise ValueError(f"--size must be at most {LARGEST}; got {size}. The default networks are made for 8 to 64.")
    arguments = parsed_settings(cls, set_)
    told = {
        "data": data, "size": SIZE if size is None and _is_folder(data) else size, "channels": channels,
        "binarize": binarize, "flip": flip, "shift": shift,
    }  # fmt: skip
    examples, *others = source.load(told, validation=validate)
    if conditional and examples.num_classes is None:
        raise ValueError(f"--conditional needs classes, and {data} has none; a folder's are its subfolders.")
    classes = examples.classes if conditional else None
    run = Path("runs", f"{catalogue.slug(cls)}-{_stem(data)}") if run is None else run
    precision = precisions.chosen(precision, run, examples.event_shape)
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        built = build(cls, examples, arguments, conditional, precision)
        batches = sum(objective.updates for objective in built.objectives())  # a step
        total = steps or (STEPS if epochs is None else epochs * -(-len(examples) // (batch_size * batches)))
        optimizers = _optimizers(built, learning_rate, total if decay else None)
        built.compile(optimizers, ema=ema or None, clipnorm=clipnorm, accumulate=accumulate, jit_compile=jit_compile)
    built.fit(
        examples, batch_size=batch_size, steps=total, validation_data=others[0] if validate else None,
        callbacks=[_Start(built, examples, run, {**told, "data": _anywhere(data), "classes": classes})],
        run_dir=run, seed=seed,
    )  # fmt: skip
    print(f"next: genmodels sample {shlex.quote(str(run))}")


def _check(steps, epochs, batch_size, accumulate, shift, seed, ema, learning_rate, decay, clipnorm):
    if steps is not None and epochs is not None:
        raise ValueError("give --steps or --epochs, not both.")
    for name, value in (("--steps", steps), ("--epochs", epochs), ("--batch-size", batch_size)):
        checked_count(name, value, 1, "left out")
    checked_count("--shift", shift, 0)
    checked_count("--accumulate", accumulate, 1)
    if batch_size % accumulate:
        raise ValueError(f"--accumulate must divide the batch of {batch_size}; got {accumulate}.")
    checked_count("--seed", seed, 0, most=2**32 - 1)  # Keras' own takes no more
    if not 0 <= ema < 1:
        raise ValueError(f"--ema must be at least 0 and below 1; got {ema:g}.")
    if decay not in (None, "cosine"):
        raise ValueError(f"--decay must be cosine, or left out for constant rates; got {decay!r}.")
    for name, value in (("--learning-rate", learning_rate), ("--clipnorm", clipnorm)):
        if value is not None:
            checked_positive(name, value)


def build(cls, data, arguments, conditional=False, precision="float32"):
    """A model for a data set, with further constructor arguments."""
    try:
        return cls(
            data.event_shape, levels=data.levels, dtype=precision, **arguments,
            **({"num_classes": data.num_classes} if conditional else {}),
        )  # fmt: skip
    except TypeError as error:
        if "missing" in str(error) and "'num_classes'" in str(error):
            raise ValueError(f"{catalogue.slug(cls)} is a model of classes: give --conditional.") from None
        raise


def parsed_settings(cls, texts) -> dict:
    """Constructor arguments from `key=value` flags; values are Python's numbers, tuples, True, None, or plain words.

    Example:
        >>> import genmodels as gm
        >>> parsed_settings(gm.VAE, ["latent_dim=8", "architecture=mlp"])
        {'latent_dim': 8, 'architecture': 'mlp'}
    """
    fixed = fixed_arguments(cls)
    for name in (text.partition("=")[0] for text in texts):
        if name in OWN:
            raise ValueError(f"{name!r} is decided by the data and by flags of their own, not by --set.")
        if name in fixed:
            raise ValueError(f"{catalogue.slug(cls)} fixes {name!r}: it is what makes it {cls.title}.")
    known = settable(cls)
    settings = settings_of(texts, list(known), f"{catalogue.slug(cls)} has the settings")
    for name, value in settings.items():
        if isinstance(known[name], bool) and not isinstance(value, bool):
            raise ValueError(f"{name} is True or False; got {value!r}.")
    return settings


def settable(cls) -> dict:
    """What `--set` takes for a model, with defaults.

    Example:
        >>> import genmodels as gm
        >>> "prediction" in settable(gm.Diffusion), "prediction" in settable(gm.DDPM)
        (True, False)
    """
    given = {*OWN, *fixed_arguments(cls)}
    return {name: default for name, default in constructor_arguments(cls).items() if name not in given}


def settings_of(texts, known=None, saying="known are") -> dict:
    """Values by name from `key=value` flags; a name that is not known is refused with the nearest that is.

    Example:
        >>> settings_of(["steps=10", "solver=ddim"])
        {'steps': 10, 'solver': 'ddim'}
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"a setting is given as KEY=VALUE, such as steps=10; got {text!r}.")
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"{saying} {', '.join(known) or 'none'}; got {name!r}{hint}")
        settings[name] = _literal(value)
    return settings


def _optimizers(model, rate, decay_steps=None):
    """The model's own optimizers, with another rate where one is given, which falls to 0 in so many training steps."""
    if rate is None and decay_steps is None:
        return None
    updates, found = {objective.name: objective.updates for objective in model.objectives()}, {}
    for name, own in model.default_optimizers().items():
        config = own.get_config()
        start = config["learning_rate"] if rate is None else rate
        if isinstance(start, dict):
            start = keras.optimizers.schedules.deserialize(start)
        if decay_steps is not None:
            start = CosineFall(start, decay_steps * updates[name])
        found[name] = type(own).from_config({**config, "learning_rate": start})
    return found


def _strategy(distribute):
    """Which devices take part: see docs/scaling.md."""
    if distribute not in (None, "gpus", "hosts"):
        raise ValueError(f"--distribute must be gpus or hosts; got {distribute!r}.")
    if distribute == "gpus" and not tf.config.list_physical_devices("GPU"):
        raise ValueError("--distribute gpus needs at least one GPU that TensorFlow sees; it sees none.")
    if distribute == "hosts" and "TF_CONFIG" not in os.environ:
        raise ValueError("--distribute hosts needs the cluster in TF_CONFIG; it is not set. See docs/scaling.md.")
    if distribute is None:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy() if distribute == "gpus" else tf.distribute.MultiWorkerMirroredStrategy()


class _Start(keras.callbacks.Callback):
    """Once the arguments are accepted and the folder is this run's: says what is trained, and notes the data there.

    Of several hosts, which share the folder, one does.
    """

    def __init__(self, model, data, run, record):
        super().__init__()
        self.text = (
            f"{model.title} of {_thousands(model.parameters)} parameters on {data!r}; the run is {run}. {{}} "
            "a pass over the data. Ctrl-C keeps the place."
        )
        self.run, self.record = run, {"model": catalogue.slug(type(model)), **record}
        self.chief = is_chief(model.distribute_strategy)

    def on_train_begin(self, logs=None):
        """Says and writes it."""
        if not self.chief:
            return
        count = self.params["steps"]
        steps = f"{_thousands(count)} step{'s' * (count != 1)}"
        print(self.text.format(steps), flush=True)
        source.note(self.run, self.record)


def _literal(text):
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_named(data):
    return data.lower().replace("-", "_") in data_names()


def _is_folder(data):
    """Whether a source is a folder of pictures; a name goes before a folder of that name."""
    return Path(data).expanduser().is_dir() and not _is_named(data)


def _anywhere(data):
    """A source as it can be found from other folders, too."""
    return data if _is_named(data) else str(Path(data).expanduser().resolve())


def _stem(data):
    place = Path(data).expanduser()
    return place.resolve().stem if place.exists() else data


def _thousands(number):
    return f"{number:,}".replace(",", " ")
