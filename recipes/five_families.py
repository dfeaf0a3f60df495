"""A small generator of each of the five families on the embedded digits, side by side: `make demo`.

    python recipes/five_families.py --out runs/demo

Minutes on two CPU cores, no network needed. The runs are continued where they were left.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli

SHOWN = (2, 5, 8)  # classes of the walks and completions


def adam(rate, steps):
    """Adam whose rate rises over a twentieth of the steps and falls to 0 along a cosine."""
    rise = steps // 20
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps - rise, warmup_target=rate, warmup_steps=rise)
    return keras.optimizers.Adam(schedule)


def vae(digits, steps):
    """An MLP encoder and decoder, eight latents."""
    model = gm.VAE((8, 8, 1), **digits, latent_dim=8, dropout=0.2, architecture="mlp")
    model.compile(adam(1e-3, steps), ema=0.99)
    return model


def pixelcnn(digits, steps):
    """Masked convolutions, five residual blocks."""
    model = gm.PixelCNN((8, 8, 1), **digits, filters=48, blocks=5, dropout=0.2)
    model.compile(adam(3e-3, steps), ema=0.99)
    return model


def realnvp(digits, steps):
    """Affine couplings on two scales."""
    model = gm.RealNVP((8, 8, 1), **digits, layers=3, width=48)
    model.compile(adam(4e-3, steps), ema=0.99, clipnorm=100.0)
    return model


def dcgan(digits, steps):
    """Transposed convolutions against a discriminator."""
    model = gm.DCGAN((8, 8, 1), **digits, width=48)
    model.compile(ema=0.99)
    return model


def ddpm(digits, steps):
    """A small U-Net."""
    denoiser = gm.diffusion.unet((8, 8, 1), width=24, blocks=1, attention=(), num_classes=10)
    model = gm.DDPM((8, 8, 1), **digits, denoiser=denoiser)
    model.compile(adam(2e-3, steps), ema=0.99)
    return model


# name: (what makes the compiled model, training steps, score, its options)
FAMILIES = {
    "VAE": (vae, 2000, "log_prob", {"num_samples": 100}),
    "PixelCNN": (pixelcnn, 700, "log_prob", {}),
    "RealNVP": (realnvp, 1400, "log_prob", {"num_samples": 16}),
    "DCGAN": (dcgan, 1600, None, {}),
    "DDPM": (ddpm, 600, "elbo", {"num_times": 50}),
}


def trained(name, run, train, scale, seed):
    """A model of a family after its training."""
    make, steps, *_ = FAMILIES[name]
    steps = max(1, round(scale * steps))
    print(f"\n{name}", flush=True)
    keras.utils.set_random_seed(seed)
    model = make({"levels": train.levels, "num_classes": train.num_classes}, steps)
    model.fit(train, batch_size=64, steps=steps, run_dir=run, seed=seed, save_every=600)
    return model


def measured(name, run, model, data, seed):
    """The figures of a model, kept in its run's folder."""
    *_, score, options = FAMILIES[name]
    figures = gm.evaluate(model, data, score=score, options=options, features="pixels", seed=seed)
    figures = {**gm.evaluation.recorded(run), **figures, "run": str(run)}
    (run / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def between(model, test):
    """What the panel beside the samples is called, and its rows: walks between test digits that are of one class and
    little alike, or where there are no latents completions of upper halves."""
    if isinstance(model, gm.LatentModel):
        start = np.array([np.flatnonzero(test.labels == digit)[0] for digit in SHOWN])
        distances = np.abs(test.examples[start][:, None] - test.examples.astype(float)).sum((2, 3, 4))
        end = np.argmax(np.where(test.labels == test.labels[start][:, None], distances, 0), axis=1)
        ends = test.examples[start], test.examples[end]
        return "walks between test digits", gm.interpolate_examples(model, *ends, steps=10, labels=test.labels[start])
    some = np.concatenate([np.flatnonzero(test.labels == digit)[:10] for digit in SHOWN])
    upper = np.arange(8)[:, None] < np.full([8, 8], 4)
    completed = model.complete(test.examples[some], upper, labels=test.labels[some])
    return "upper halves completed", completed.numpy().reshape(3, 10, 8, 8, 1)


def main(
    out: Path = typer.Option(Path("runs/demo"), help="Folder of the five runs, and of what compares them."),
    scale: float = typer.Option(1.0, help="Of all numbers of steps: less for a quick look."),
    only: str = typer.Option(",".join(FAMILIES).lower(), help="Which, with commas."),
    seed: int = 0,
):
    """Trains five models, measures them by the same code, and sets them side by side."""
    started = time.monotonic()
    chosen = [name for name in FAMILIES if name.lower() in only.lower().split(",")]
    if len(chosen) != len(set(only.split(","))):
        raise ValueError(f"--only must name some of {', '.join(FAMILIES).lower()}; got {only}.")
    data = train, test = gm.load_data("digits")
    panels, reports = {}, []
    for name in chosen:
        run = out / name.lower()
        model = trained(name, run, train, scale, seed)
        reports.append(measured(name, run, model, data, seed))
        title, rows = between(model, test)
        panels[f"{name}: samples, a column a class"] = model.sample(30, seed=seed).numpy().reshape(3, 10, 8, 8, 1)
        panels[f"{name}: {title}"] = rows
    table = gm.evaluation.markdown(reports)
    (out / "table.md").write_text(table + "\n")
    gm.save_gallery(out / "families.png", panels, levels=train.levels, scale=4)
    print(f"\n{table}\n\n{time.monotonic() - started:.0f} seconds in all")
    for path in (out / "families.png", out / "table.md", *(out / name.lower() for name in chosen)):
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
