"""Latent diffusion: a VQ-VAE, and a diffusion model of its codes beside the VQ-VAE's own prior.

    python recipes/latent_diffusion.py --run runs/latent-diffusion
    python recipes/latent_diffusion.py --data digits --autoencoder-steps 1500 --steps 3000 --num-quality 300

The two stages are runs of their own, in the folders `autoencoder` and `diffusion`, each continued where it was stopped.
Both priors know the classes, and one decoder decodes their samples: what tells them apart is how they model the codes.
The VQ-VAE's row counts its prior; latent diffusion's counts neither the autoencoder's parameters nor its training.
"""

import json
from pathlib import Path

import keras
import typer

import genmodels as gm
from genmodels import cli


def adam(steps):
    """Adam whose rate falls from 0.001 to 0 along a cosine."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps))


def main(
    run: Path = typer.Option(Path("runs/latent-diffusion"), help="Folder of both runs; resumes what it holds."),
    data: str = typer.Option("fashion_mnist", help="A named data set of images with classes."),
    autoencoder_steps: int = typer.Option(5_000, help="Training steps of the VQ-VAE."),
    steps: int = typer.Option(10_000, help="Training steps of the diffusion model."),
    batch_size: int = 64,
    width: int = typer.Option(32, help="Channels of the U-Net at the codes' own size."),
    guidance: float = typer.Option(1.0, help="Of the samples, towards their class; 1 for none."),
    precision: str = typer.Option("auto", help=cli.PRECISION),
    num_quality: int = typer.Option(10_000, help="Samples to compare with test pictures: Fréchet distance, KID, …"),
    seed: int = 0,
):
    """Trains both stages; leaves reconstructions, samples of both priors, and what they measure."""
    keras.utils.set_random_seed(seed)
    train, test = gm.load_data(data)
    images = {"event_shape": train.event_shape, "levels": train.levels, "num_classes": train.num_classes}
    first = cli.precision(precision, run / "autoencoder", train.event_shape)
    halvings = 2 if min(train.event_shape[:2]) >= 16 else 1
    autoencoder = gm.VQVAE(**images, halvings=halvings, filters=32, prior_filters=32, dtype=first)
    autoencoder.compile({"autoencoder": adam(autoencoder_steps), "prior": adam(autoencoder_steps)}, ema=0.999)
    fitting = {"batch_size": batch_size, "seed": seed}
    autoencoder.fit(train, steps=autoencoder_steps, run_dir=run / "autoencoder", **fitting)

    second = cli.precision(precision, run / "diffusion", train.event_shape)
    codes = {"levels": None, "num_classes": train.num_classes, "width": width, "dtype": second}
    model = gm.LatentDiffusion(autoencoder, gm.Diffusion(autoencoder.latent_shape, **codes))
    model.compile(adam(steps), ema=0.999, clipnorm=1.0)
    model.fit(train, steps=steps, run_dir=run / "diffusion", **fitting)

    shown = test.examples[:32]
    compared = gm.images.pairs(shown, autoencoder.reconstruct(shown))
    paths = [
        gm.save_grid(run / "reconstructions.png", compared, levels=train.levels, columns=8),
        gm.save_grid(run / "prior.png", autoencoder.sample(100, seed=seed), levels=train.levels),
        gm.save_grid(run / "diffusion.png", model.sample(100, seed=seed, guidance=guidance), levels=train.levels),
    ]
    rows = []
    for stage, options in (("autoencoder", {}), ("diffusion", {"guidance": guidance})):
        rows.append(gm.evaluate(
            run / stage, (train, test), sampling=options, features="classifier", num=min(1000, len(test)),
            num_quality=num_quality, seed=seed, progress=True,
        ))  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(gm.evaluation.markdown(rows))
    for path in [*paths, run / "autoencoder", run / "diffusion"]:
        print(f"  {path}")


if __name__ == "__main__":
    cli.run(main)
