"""Imports inside genmodels point one way, and everything outside uses its public names."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# What each part may import, itself apart; the parts not named here (cli, and the list of public names) may
# import everything. Layers serve networks; sampling holds the seeds, which core and training fold.
ALLOWED = {
    "core": {"arguments", "compiling", "sampling", "settings"},
    "models": {"arguments", "compiling", "core", "settings", "likelihoods", "networks", "layers", "sampling"},
    "training": {"compiling", "core", "sampling", "settings", "data", "files", "images", "memory", "plots"},
    "latent": {"core", "sampling", "settings"},
    "evaluation": {"arguments", "core", "data", "files", "latent", "memory", "sampling", "settings", "training"},
    "export": {"arguments", "settings", "core", "compiling", "files", "layers", "models", "networks", "sampling"},
    "report": {"catalogue", "core", "settings", "data", "evaluation", "images", "latent", "plots", "training"},
    "catalogue": {"core", "settings"},
    "networks": {"files", "layers"},
    "layers": {"compiling", "settings"},
    "sampling": {"layers", "settings"},
    "plots": {"images"},
    "likelihoods": {"settings"},
    **{part: set() for part in ("arguments", "settings", "compiling", "data", "files", "images", "memory")},
}
# `fit` fetches the trainer when it is called; the catalogue lists the public names.
INSIDE_FUNCTIONS = {"core": {"training"}, "catalogue": {"genmodels"}}
SCRIPTS = ("recipes", "samples")


def imported(source, package):
    """(dotted name, whether at the top level) of everything of genmodels that a module of a package imports."""
    tree = ast.parse(source)
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    inner = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -node.level + 1 or None] if node.level else []
            base += node.module.split(".") if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "genmodels":
                yield name, id(node) not in inner


def violations(path, source):
    """The imports of a file that break the rule; `path` is relative to the root of the repository."""
    folders = pathlib.PurePosixPath(path).with_suffix("").parts
    names = imported(source, ".".join(folders[:-1]))
    if folders[0] != "genmodels":
        # Scripts are what users read and copy: at most one module deep. Tests may reach each module.
        deepest = 3 if folders[0] in SCRIPTS else None
        return [
            name
            for name, _ in names
            if any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
            or (deepest and len(name.split(".")) > deepest)
        ]
    own = folders[1]
    if own not in ALLOWED:
        return []
    found = []
    for name, top_level in names:
        part = name.split(".")[1] if "." in name else "genmodels"
        allowed = {own} | ALLOWED[own] | (set() if top_level else INSIDE_FUNCTIONS.get(own, set()))
        if part not in allowed:
            found.append(name)
    return found


def sources():
    folders = ("genmodels", "recipes", "samples", "benchmarks", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_rule(path):
    assert violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) == []


def test_every_part_is_under_the_rule():
    parts = {
        path.relative_to(ROOT / "genmodels").parts[0].removesuffix(".py")
        for path in sources()
        if path.is_relative_to(ROOT / "genmodels")
    }
    assert parts <= {*ALLOWED, "__init__", "__main__", "cli"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("genmodels/models/gans/dcgan.py", "def fit():\n    from genmodels.training import Trainer"),
        ("genmodels/models/gans/dcgan.py", "from ...training import Trainer"),
        ("genmodels/models/gans/dcgan.py", "from genmodels import VAE"),
        ("genmodels/models/gans/dcgan.py", "import genmodels"),
        ("genmodels/core.py", "from genmodels import training"),
        ("genmodels/core.py", "from .training import trainer"),
        ("genmodels/core.py", "def fit():\n    import genmodels.evaluation"),
        ("genmodels/training/trainer.py", "from genmodels.models.gans import dcgan"),
        ("genmodels/latent/manifold.py", "from genmodels import images"),
        ("genmodels/evaluation/frechet.py", "from ..report import page"),
        ("genmodels/layers/masked.py", "from genmodels.networks import mlp"),
        ("genmodels/plots.py", "import numpy, genmodels.core as core"),
        ("recipes/vae.py", "from genmodels.models.autoencoders.vae import VAE"),
        ("samples/sample.py", "from genmodels.images import _pixels"),
        ("benchmarks/speed.py", "from genmodels._private import clock"),
        ("tests/test_vae.py", "from genmodels.core import _fold"),
    ],
)
def test_the_rule_catches(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("genmodels/__init__.py", "from genmodels.models.gans.dcgan import DCGAN"),
        ("genmodels/cli.py", "from genmodels import training, data"),
        ("genmodels/core.py", "class Model:\n    def fit(self):\n        from genmodels.training import Trainer"),
        ("genmodels/models/gans/wgan.py", "from .dcgan import DCGAN\nfrom ... import core, likelihoods"),
        ("genmodels/networks.py", "from genmodels.layers.masked import MaskedConv2D"),
        ("genmodels/training/__init__.py", "from . import trainer\nfrom .trainer import Trainer"),
        ("genmodels/training/trainer.py", "import tensorflow as tf\nfrom genmodels.images import save_grid"),
        ("recipes/vae.py", "import genmodels\nfrom genmodels import VAE\nfrom genmodels.data import load_data"),
        (
            "tests/test_trainer.py",
            "from genmodels.training.trainer import Trainer\nfrom genmodels import __version__",
        ),
    ],
)
def test_the_rule_allows(path, source):
    assert violations(path, source) == []


def test_no_two_classes_have_one_name_in_files():
    """Keras takes the later of two registered classes of one name, also for files of the earlier."""
    names = []
    for path in (ROOT / "genmodels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any("register" in ast.unparse(d) for d in node.decorator_list):
                names.append(node.name)
    assert len(names) > 40 and sorted(names) == sorted(set(names))
