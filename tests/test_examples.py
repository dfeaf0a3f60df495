"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import genmodels as gm


def modules():
    return [module.name for module in pkgutil.walk_packages(gm.__path__, "genmodels.")]


@pytest.mark.parametrize("name", modules())
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    keras.utils.set_random_seed(0)
    # What an example needs of its own module or file it imports itself; these four every reader has.
    known = {"gm": gm, "tf": tf, "np": np, "keras": keras}
    results = doctest.testmod(module, extraglobs=known)
    assert results.failed == 0
