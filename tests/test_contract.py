"""Every model through the contract: fit, sample, evaluate, save, load, resume."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import toys

import genmodels as gm
from genmodels.training.run_directory import RunDirectory

IMAGES = toys.images()
LABELS = np.arange(64) % 3

# name: (constructor, data, labels, options of `sample` that make untrained samples differ by seed)
NOISE = {"pixel_noise": True}
RGB = toys.images(64, (4, 4, 3), 256)
GRAY = toys.images(64, (8, 8, 1), 256)  # untrained GANs are gray: fewer levels would not tell their samples apart
SMALL = {"filters": 8, "blocks": 1}
NARROW = {"width": 8, "depth": 1}
MODELS = {
    "vae": (lambda: vae(), IMAGES, None, NOISE),
    "vae-conditional": (lambda: vae(num_classes=3), IMAGES, LABELS, NOISE),
    "vae-categorical": (lambda: vae(likelihood="categorical"), IMAGES, None, NOISE),
    "vae-conv-binary": (lambda: vae((9, 12, 1), 2, "conv"), toys.images(64, (9, 12, 1), 2), None, NOISE),
    "vae-conv-rgb": (lambda: vae((16, 16, 3), 256, "conv"), toys.images(64, (16, 16, 3), 256), None, NOISE),
    "vae-points": (lambda: vae((2,), None), toys.points(), None, NOISE),
    "aae": (
        lambda: gm.AAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp", width=16, num_classes=3),
        IMAGES,
        LABELS,
        NOISE,
    ),
    "iwae": (
        lambda: gm.IWAE((8, 8, 1), levels=17, latent_dim=3, architecture="mlp", num_samples=3, num_classes=3),
        IMAGES,
        LABELS,
        NOISE,
    ),
    "vq-vae": (
        lambda: gm.VQVAE(
            (8, 8, 1), levels=17, num_codes=5, latent_dim=3, halvings=1, filters=8, prior_filters=8, prior_blocks=1,
            num_classes=3,
        ),
        IMAGES,
        LABELS,
        NOISE,
    ),
    "vae-own-encoder": (toys.noisy_vae, IMAGES, None, NOISE),
    "pixelcnn": (lambda: gm.PixelCNN((8, 8, 1), levels=17, num_classes=3, **SMALL), IMAGES, LABELS, {}),
    "gated-pixelcnn": (lambda: gm.GatedPixelCNN((8, 8, 1), levels=2, **SMALL), toys.images(levels=2), None, {}),
    "pixelcnn-pp": (
        lambda: gm.PixelCNNPlusPlus((4, 4, 3), resolutions=1, mixtures=2, dropout=0.0, **SMALL),
        RGB,
        None,
        {},
    ),
    "pixelrnn-row": (lambda: gm.PixelRNN((4, 4, 3), kind="row", filters=4, layers=1), RGB, None, {}),
    "pixelrnn-diagonal": (lambda: gm.PixelRNN((4, 4, 3), kind="diagonal", filters=4, layers=1), RGB, None, {}),
    "pixelsnail": (lambda: gm.PixelSNAIL((4, 4, 3), filters=8, blocks=1, convolutions=1, keys=4), RGB, None, {}),
    "image-gpt": (lambda: gm.ImageGPT((8, 8, 1), levels=17, num_classes=3, width=8, blocks=1), IMAGES, LABELS, {}),
    "autoregressive-own": (lambda: own_autoregressive(), IMAGES, None, {}),
    "realnvp-points": (lambda: gm.RealNVP((2,), levels=None, layers=2, **NARROW), toys.points(), None, {}),
    "glow": (
        lambda: gm.Glow((4, 4, 1), levels=17, steps=1, num_classes=3, dequantization=noise(), **NARROW),
        toys.images(64, (4, 4, 1)),
        LABELS,
        {},
    ),
    "maf": (lambda: gm.MAF((2,), levels=None, layers=2, **NARROW), toys.points(), None, {}),
    "spline-flow": (
        lambda: gm.NeuralSplineFlow((2,), levels=None, layers=2, bins=4, **NARROW), toys.points(), None, {}
    ),
    "dcgan": (lambda: gm.DCGAN((8, 8, 1), width=8), GRAY, None, {}),
    "wgan-gp": (lambda: gm.WGANGP((8, 8, 1), architecture="mlp", width=8, num_classes=3), GRAY, LABELS, {}),
    "sngan": (lambda: gm.SNGAN((8, 8, 1), architecture="dcgan", width=8), GRAY, None, {}),
    "sagan": (lambda: gm.SAGAN((8, 8, 1), width=8, num_classes=3), GRAY, LABELS, {}),
    "acgan": (lambda: gm.ACGAN((8, 8, 1), architecture="mlp", width=8, num_classes=3), GRAY, LABELS, {}),
    "infogan": (lambda: gm.InfoGAN((8, 8, 1), architecture="mlp", width=8, categorical=(3, 4)), GRAY, None, {}),
    "wgan-points": (lambda: gm.WGAN((2,), levels=None, width=8), toys.points(), None, {}),
    "ddpm": (lambda: gm.DDPM((4, 4, 1), denoiser=toys.denoiser((4, 4, 1)), steps=3), GRAY[:, :4, :4], None, {}),
    "improved-ddpm": (
        lambda: gm.ImprovedDDPM((8, 8, 1), num_classes=3, denoiser=toys.denoiser((8, 8, 1), 3, outputs=2)),
        GRAY,
        LABELS,
        {"solver": "ancestral", "steps": 3},
    ),
    "edm-points": (lambda: gm.EDM((2,), levels=None, denoiser=narrow(), steps=3), toys.points(), None, {}),
    "flow-matching": (
        lambda: gm.FlowMatching((5, 7, 3), num_classes=3, denoiser=toys.denoiser((5, 7, 3), 3)),
        toys.images(64, (5, 7, 3), 256),
        LABELS,
        {"guidance": 2.0, "steps": 3},
    ),
    "ncsn-points": (lambda: gm.NCSN((2,), levels=None, denoiser=narrow(), noise_levels=2), toys.points(), None, {}),
    "latent-diffusion": (
        lambda: gm.LatentDiffusion(
            vae(levels=256, num_classes=3),
            gm.Diffusion((3,), levels=None, num_classes=3, denoiser=narrow((3,), 3), steps=3),
        ),
        GRAY,
        LABELS,
        {"guidance": 2.0},
    ),
    "latent-diffusion-grid": (
        lambda: gm.LatentDiffusion(
            gm.VQVAE((8, 8, 1), num_codes=5, latent_dim=3, halvings=1, filters=8, prior_filters=8, prior_blocks=1),
            gm.Diffusion((4, 4, 3), levels=None, denoiser=toys.denoiser((4, 4, 3)), steps=3),
        ),
        GRAY,
        None,
        {},
    ),
    "toy-wgan": (toys.ToyWGAN, toys.points(), None, {}),
    "toy-mean": (toys.Mean, toys.points(), None, {}),
}


def vae(event_shape=(8, 8, 1), levels=17, architecture="mlp", **options):
    return gm.VAE(event_shape, levels=levels, latent_dim=3, architecture=architecture, **options)


def noise():
    return gm.flows.VariationalDequantization(couplings=1, width=8)


def narrow(event_shape=(2,), num_classes=None):
    return gm.diffusion.mlp_denoiser(event_shape, num_classes=num_classes, width=16, depth=1)


def own_autoregressive():
    image = keras.Input((8, 8, 1))
    x = gm.layers.Shift("right")(image)
    x = gm.layers.CausalConv2D(8, above=1, left=1, right=1, mask="B")(x)
    x = keras.layers.Dense(17)(keras.layers.ReLU()(x))
    return gm.AutoregressiveModel((8, 8, 1), keras.Model(image, x), levels=17)


@pytest.fixture(params=MODELS)
def case(request):
    return MODELS[request.param]


def built(build):
    keras.utils.set_random_seed(1)
    model = build()
    model.compile(ema=0.9)
    return model


def weights(model):
    return [v.numpy() for v in model.weights] + [
        v.numpy() for optimizer in model.optimizers.values() for v in optimizer.variables
    ]


def assert_equal(a, b):
    assert len(a) == len(b)
    for i, (one, other) in enumerate(zip(a, b)):
        np.testing.assert_array_equal(one, other, err_msg=f"variable {i}")


def test_contract(case, tmp_path):
    build, x, y, options = case
    model = built(build)
    history = model.fit(x, y, batch_size=16, steps=3, verbose=0)
    assert isinstance(history, keras.callbacks.History)
    assert all(np.isfinite(values).all() for values in history.history.values())

    samples = model.sample(7, seed=3, **options).numpy()
    assert samples.shape == (7, *model.event_shape)
    assert samples.dtype == x.dtype
    if model.levels is not None:
        assert samples.max() < model.levels
    np.testing.assert_array_equal(samples, model.sample(7, seed=3, **options).numpy())
    # Other batch sizes change the rounding of matrix products, nothing else; a pixel may fall to its other side.
    parts = model.sample(7, seed=3, batch_size=2, **options).numpy()
    apart = ~np.isclose(samples.astype(float), parts.astype(float), atol=1e-5, rtol=1e-4)
    assert not apart.any() or (model.levels is not None and apart.mean() < 0.01)
    assert not np.array_equal(samples, model.sample(7, seed=4, **options).numpy())

    figures = model.evaluate(x, y)
    assert set(figures) == set(history.history)
    assert figures == pytest.approx(model.evaluate(x, y), abs=0)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(weights(model), weights(loaded))
    assert loaded.average.resting and loaded.average.decay == 0.9
    np.testing.assert_array_equal(samples, loaded.sample(7, seed=3, **options).numpy())

    # The loaded model trains on as the original does: its optimizers and averages came along.
    for one in (model, loaded):
        one.fit(x, y, batch_size=16, steps=2, verbose=0, seed=5)
    if build is not toys.noisy_vae:  # Keras does not save a Dropout's seed
        assert_equal(weights(model), weights(loaded))


# Whose variables and layers are no other's: what has to survive.
RESUMED = (
    "vae-conv-rgb", "vae-own-encoder", "aae", "vq-vae", "pixelcnn", "pixelcnn-pp", "pixelrnn-diagonal",
    "autoregressive-own", "glow", "maf", "dcgan", "wgan-gp", "sngan", "ddpm", "flow-matching", "edm-points",
    "latent-diffusion", "toy-wgan", "toy-mean",
)  # fmt: skip


@pytest.mark.parametrize("name", RESUMED)
def test_run_is_resumed_exactly(name, tmp_path, monkeypatch):
    """Stop at 3 of 7 steps and continue in a new object: as if never stopped."""
    build, x, y, _ = MODELS[name]
    monkeypatch.setattr(RunDirectory, "save_samples", lambda *_: None)  # samplers take long to compile
    finals = []
    for name, stops in (("whole", (7,)), ("parts", (3, 7))):
        for steps in stops:
            model = built(build)
            history = model.fit(x, y, batch_size=16, steps=steps, run_dir=tmp_path / name, verbose=0)
        finals.append((weights(model), history.history))
    assert_equal(finals[0][0], finals[1][0])
    steps = [json.loads((tmp_path / name / "metrics.json").read_text())["step"] for name in ("whole", "parts")]
    assert steps == [7, 7]


def test_fresh_process_gives_the_same_samples(tmp_path):
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=3, dtype="mixed_bfloat16", num_classes=3)
    model.compile(ema=0.9)
    model.fit(IMAGES, LABELS, batch_size=16, steps=3, verbose=0)
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, numpy, genmodels\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "assert model.dtype_policy.name == 'mixed_bfloat16'\n"
        "numpy.save(sys.argv[2], model.sample(5, seed=2, labels=[0, 1, 2, 2, 1]))\n"
    )
    out = tmp_path / "samples.npy"
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.keras", out], check=True)
    np.testing.assert_array_equal(np.load(out), model.sample(5, seed=2, labels=[0, 1, 2, 2, 1]).numpy())


def test_inner_networks_load_without_the_package(tmp_path):
    model = gm.VAE((8, 8, 1), levels=17, latent_dim=3)
    gm.export.plain(model.decoder).save(tmp_path / "decoder.keras")
    code = (
        "import sys, keras, numpy\n"
        "decoder = keras.models.load_model(sys.argv[1])\n"
        "assert not any(name.startswith('genmodels') for name in sys.modules)\n"
        "numpy.save(sys.argv[2], decoder(numpy.ones((2, 3), 'float32')))\n"
    )
    out = tmp_path / "out.npy"
    subprocess.run([sys.executable, "-c", code, tmp_path / "decoder.keras", out], check=True)
    np.testing.assert_allclose(np.load(out), model.decoder(np.ones((2, 3), "float32")), rtol=1e-5, atol=1e-6)
