"""What half an hour of two CPU cores buys: models of all families, at equal time, measured by the same code.

    python recipes/half_hour.py vae --data fashion_mnist
    for model in vae gated-pixelcnn glow wgan-gp ddpm; do python recipes/half_hour.py $model --data mnist; done

Networks, batches and numbers of steps are for two idle cores with AVX2 and without AMX, in float32, where convolutions
take most of the time: so networks and batches are small. On another machine give --steps, and with AMX --precision
mixed_bfloat16. What a run took is in its metrics.json.
`recipes/results.py` makes the table of what the runs leave: evaluation.json and samples.png, without the weights.
"""

import json
from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli

SAMPLES, COLUMNS = 40, 8  # in the picture


def adam(steps, warmup=0, **options):
    """Adam whose rate rises over the warm-up to 0.001 and falls to 0 along a cosine."""
    warm = {"warmup_target": 1e-3, "warmup_steps": warmup} if warmup else {}
    schedule = keras.optimizers.schedules.CosineDecay(0.0 if warmup else 1e-3, steps - warmup, **warm)
    return keras.optimizers.Adam(schedule, **options)


def vae(images, steps, dtype):
    """A convolutional VAE, discretized logistic pixels."""
    model = gm.VAE(**images, latent_dim=32, dtype=dtype)
    model.compile(adam(steps), ema=0.999, clipnorm=100.0)
    return model


def gated_pixelcnn(images, steps, dtype):
    """A gated PixelCNN of five blocks."""
    model = gm.GatedPixelCNN(**images, filters=32, blocks=5, kernel_size=5, dtype=dtype)
    model.compile(adam(steps), ema=0.999, clipnorm=100.0)
    return model


def glow(images, steps, dtype):
    """A Glow of two scales of eight steps, spline couplings, variational noise."""
    settings = {"steps": 8, "width": 128, "transform": "spline", "logit": 1e-6, "dequantization": "variational"}
    model = gm.Glow(**images, **settings, dtype=dtype)
    model.compile(adam(steps, warmup=300), ema=0.999, clipnorm=200.0)
    return model


def wgan_gp(images, steps, dtype):
    """A WGAN-GP of half the default width, two updates of the critic a step, rates above the paper's.

    In 75 seconds on Fashion-MNIST the Fréchet distance came to 59 with the default width, 43 with half of it (rate
    2e-4, five updates), 21 with the rate 5e-4, and 15 with two updates.
    """
    model = gm.WGANGP(**images, width=32, critic_updates=2, dtype=dtype)
    optimizers = {}
    for player, updates in (("critic", 2 * steps), ("generator", steps)):
        rate = keras.optimizers.schedules.CosineDecay(5e-4, updates)
        optimizers[player] = keras.optimizers.Adam(rate, beta_1=0.0, beta_2=0.9)
    model.compile(optimizers, ema=0.999)
    return model


def ddpm(images, steps, dtype):
    """A DDPM whose small U-Net halves the picture twice."""
    denoiser = gm.diffusion.unet(images["event_shape"], width=16, multipliers=(1, 2, 4), blocks=1, dtype=dtype)
    model = gm.DDPM(**images, denoiser=denoiser, dtype=dtype)
    model.compile(adam(steps, warmup=300), ema=0.999, clipnorm=1.0)
    return model


def vq_vae(images, steps, dtype):
    """A VQ-VAE of half the default widths, 7×7 codes out of 128."""
    model = gm.VQVAE(**images, filters=32, prior_filters=32, dtype=dtype)
    model.compile({"autoencoder": adam(steps), "prior": adam(steps)}, ema=0.999, clipnorm=100.0)
    return model


# name: (what makes the compiled model, batch, steps in half an hour, score, its options)
MODELS = {
    "vae": (vae, 64, 14_000, "log_prob", {"num_samples": 100}),
    "gated-pixelcnn": (gated_pixelcnn, 16, 8_400, "log_prob", {}),
    "glow": (glow, 16, 5_500, "log_prob", {"num_samples": 1}),
    "wgan-gp": (wgan_gp, 64, 9_000, None, {}),
    "ddpm": (ddpm, 32, 7_200, "elbo", {"num_times": 10}),
    "vq-vae": (vq_vae, 64, 14_000, "log_prob", {}),
}


def main(
    name: str = typer.Argument(metavar="MODEL", help=f"Which: {', '.join(MODELS)}."),
    data: str = typer.Option("fashion_mnist", help="A named set of images with classes."),
    binarize: bool = typer.Option(False, "--binarize", help="Draw each pixel black or white, once, by its grey."),
    run: Path = typer.Option(None, help="Folder of the run, continued if it is there. [default: runs/half-hour/…]"),
    steps: int = typer.Option(None, help="Training steps. [default: what half an hour allows]"),
    examples: int = typer.Option(None, help="Test pictures for the likelihood. [default: all]"),
    num_quality: int = typer.Option(10_000, help="Samples to compare with test pictures."),
    precision: str = typer.Option("float32", help=cli.PRECISION),
    seed: int = 0,
):
    """Trains, draws forty samples, and measures; the figures are in the run's evaluation.json."""
    if name not in MODELS:
        raise ValueError(f"MODEL must be {', '.join(MODELS)}; got {name!r}.")
    make, batch_size, half_hour, score, options = MODELS[name]
    steps = half_hour if steps is None else steps
    run = Path("runs", "half-hour", f"{name}-{data}{'-binarized' * binarize}") if run is None else run
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data, binarize="static" if binarize else None)
    precision = cli.precision(precision, run, train.event_shape)
    model = make({"event_shape": train.event_shape, "levels": train.levels}, steps, precision)
    model.fit(train, batch_size=batch_size, steps=steps, run_dir=run, seed=seed, save_every=300)

    shown = {"levels": train.levels, "columns": COLUMNS, "scale": 1, "padding": 1}
    print(gm.save_grid(run / "samples.png", model.sample(SAMPLES, seed=seed), **shown))
    figures = gm.evaluate(
        run, (train, test), score=score, options=options, examples=examples, num=min(1000, len(test)),
        features="classifier", num_quality=num_quality, seed=seed, progress=True,
    )  # fmt: skip
    figures["run"] = run.name  # a record that may travel
    (run / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(gm.evaluation.markdown([figures]))


if __name__ == "__main__":
    cli.run(main)
