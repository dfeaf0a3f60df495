"""The scripts of samples/ on small untrained models of every family: what they draw, and what they refuse.

`sample.py`, `interpolate.py` and `complete.py` are in test_scripts.py.
"""

import keras
import numpy as np
import pytest
from PIL import Image
from test_scripts import script

import genmodels as gm

SHAPE = (8, 8, 1)


def denoiser():
    """Of three inputs, small enough to compile in no time."""
    layers = keras.layers
    x, t, label = keras.Input(SHAPE), keras.Input(()), keras.Input((10,))
    flat = layers.Concatenate()([layers.Flatten()(x), layers.Reshape((1,))(t), label])
    return keras.Model([x, t, label], layers.Reshape(SHAPE)(layers.Dense(64)(flat)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    keras.utils.set_random_seed(0)
    models = {
        "vae": gm.VAE(SHAPE, levels=17, latent_dim=3, architecture="mlp"),
        "gan": gm.WGANGP(SHAPE, levels=17, latent_dim=3, architecture="mlp", width=8),
        "flow": gm.RealNVP((2,), levels=None, layers=2, width=8, depth=1),
        "diffusion": gm.DDPM(SHAPE, levels=17, num_classes=10, denoiser=denoiser()),
        "autoregressive": gm.PixelCNN(SHAPE, levels=17, filters=4, blocks=1),
    }
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    return folder


def drawn(runs, name, family, out, *arguments):
    """What a script prints before the path, and the picture that it writes."""
    done = script(f"samples/{name}.py", "--run", runs / f"{family}.keras", "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    *lines, path = done.stdout.strip().splitlines()
    assert path == str(out)
    return lines, Image.open(out)


def side(count, pixels=64, padding=2):
    """Pixels of a row of so many pictures."""
    return count * (pixels + padding) + padding


LATENT = [("vae", []), ("gan", []), ("flow", []), ("diffusion", ["--labels", 3])]


@pytest.mark.parametrize(("family", "labels"), LATENT, ids=lambda value: value if isinstance(value, str) else "")
def test_manifolds_and_traversals(runs, family, labels, tmp_path):
    _, picture = drawn(runs, "manifold", family, tmp_path / "a.png", "--num", 3, *labels)
    lines, rows = drawn(runs, "traverse", family, tmp_path / "b.png", "--num", 2, "--steps", 4, *labels)
    effects = [float(line.split()[-1]) for line in lines]
    assert len(effects) == 2 and effects[0] >= effects[1] > 0
    if family != "flow":  # a scatter plot
        assert picture.size == (side(3), side(3)) and rows.size == (side(4), side(2))
    assert np.asarray(picture).std() > 1


def test_a_manifold_of_named_axes(runs, tmp_path):
    model, out = gm.load_model(runs / "vae.keras"), tmp_path / "m.png"
    _, picture = drawn(runs, "manifold", "vae", out, "--num", 2, "--axes", "2,0", "--tail", 0.2)
    frames = gm.latent.manifold(model, 2, axes=(2, 0), tail=0.2).numpy()
    np.testing.assert_array_equal(np.asarray(picture), gm.images.grid(frames, levels=17)[..., 0])


def test_diffusion_completes_too(runs, tmp_path):
    arguments = ("--data", "digits", "--rows", 2, "--num", 1)
    _, picture = drawn(runs, "complete", "diffusion", tmp_path / "c.png", *arguments)
    assert picture.size == (side(3), side(2))
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[2:34, 2:66], pixels[2:34, 134:198])  # the upper half is the picture's own
    for wrong in (("--run", runs / "diffusion.keras", "--temperature", 0.5), ("--run", runs / "flow.keras")):
        done = script("samples/complete.py", *arguments, *wrong)
        assert done.returncode == 2 and "which complete" in done.stderr


@pytest.mark.parametrize(("family", "b"), [("vae", 7), ("gan", 7), ("diffusion", 7), ("diffusion", 1)])
def test_arithmetic(runs, family, b, tmp_path):
    arguments = ("--data", "digits", "--a", 7, "--b", b, "--c", 0, "--num", 2, "--rows", 1)
    lines, picture = drawn(runs, "arithmetic", family, tmp_path / "a.png", *arguments)
    assert len(lines) == (family == "gan") and all("no encoder" in line for line in lines)
    assert picture.size == (side(4), side(2))
    cells = [[np.int32(picture)[i * 66 + 2 :, j * 66 + 2 :][:64, :64] for j in range(4)] for i in range(2)]
    # 7 - 7 + 0 = 0, and 0, 0.5, 1 and 1.5 times 7 - 7 add nothing but the rounding of other places in a batch.
    apart = [np.abs(one - other).mean() for one, other in [cells[0][2:], *[(cells[1][0], x) for x in cells[1][1:]]]]
    assert max(apart) < 1 if b == 7 else min(apart) > 1


@pytest.mark.parametrize("family", ["vae", "autoregressive"])
def test_neighbours_are_training_examples(runs, family, tmp_path):
    arguments = ("--data", "digits", "--num", 2, "--k", 3, "--seed", 1)
    lines, picture = drawn(runs, "neighbours", family, tmp_path / "n.png", *arguments)
    samples = gm.load_model(runs / f"{family}.keras").sample(2, seed=1).numpy().astype(float)
    examples = gm.load_data("digits")[0].examples
    distances = np.linalg.norm((samples[:, None] - examples[None]).reshape(2, -1, 64), axis=-1)
    assert f"{np.median(distances.min(1)):.4g} of the samples" in lines[0]
    nearest = examples[distances.argsort(1)[:, 0]]
    shown = gm.images.grid(np.stack([samples, nearest], 1), levels=17)[..., 0]
    np.testing.assert_array_equal(np.asarray(picture)[:, : side(2)], shown)


def test_denoising_strips_and_films(runs, tmp_path):
    arguments = ("--num", 2, "--steps", 3, "--labels", "4", "--guidance", 2.0)
    _, picture = drawn(runs, "denoise_steps", "diffusion", tmp_path / "d.png", *arguments)
    assert picture.size == (side(3), side(4))
    _, film = drawn(runs, "denoise_steps", "diffusion", tmp_path / "d.gif", *arguments)
    assert film.n_frames == 4 and film.size == (side(2), side(1))


@pytest.mark.parametrize(
    ("name", "family", "arguments", "words"),
    [
        ("manifold", "autoregressive", (), "PixelCNN has no latents"),
        ("traverse", "autoregressive", (), "PixelCNN has no latents"),
        ("arithmetic", "autoregressive", ("--data", "digits", "--a", 1, "--b", 2, "--c", 3), "PixelCNN has no latents"),
        ("denoise_steps", "vae", (), "VAE does not sample by removing noise"),
        ("manifold", "vae", ("--axes", "0,9"), "from 0 to 2"),
        ("manifold", "diffusion", ("--axes", "0,1"), "one class"),
        ("traverse", "vae", ("--labels", 3), "num_classes"),
        ("arithmetic", "vae", ("--data", "digits", "--a", 1, "--b", 2, "--c", 11), "class 11"),
        ("arithmetic", "flow", ("--data", "eight_gaussians", "--a", 1, "--b", 2, "--c", 3), "class 3"),
        ("neighbours", "vae", ("--data", "digit"), "digits"),
        ("neighbours", "flow", ("--data", "digits"), "(2,)"),
        ("denoise_steps", "diffusion", ("--steps", 0), "steps"),
    ],
)
def test_what_a_model_cannot_do_is_told_in_one_line(runs, name, family, arguments, words, tmp_path):
    done = script(f"samples/{name}.py", "--run", runs / f"{family}.keras", "--out", tmp_path / "no.png", *arguments)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and words in errors[0], done.stderr
    assert not (tmp_path / "no.png").exists()
