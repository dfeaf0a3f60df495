"""WGAN-GP and SNGAN on a grid of 25 Gaussians: does a GAN find every mode, and nothing between them?

    python recipes/wgan_points.py --run runs/wgan-points
    python recipes/wgan_points.py --run runs/sngan-points --models sngan

Each model's folder holds what the same latents became over time, in `samples/`.
"""

import json
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli
from genmodels.data import synthetic

MODELS = {"wgan-gp": gm.WGANGP, "sngan": gm.SNGAN}


def main(
    run: Path = typer.Option(Path("runs/wgan-points"), help="Folder of the runs, one a model; resumes them."),
    models: str = typer.Option(",".join(MODELS), help="Names, separated by commas."),
    steps: int = typer.Option(10_000, help="Updates of the generator, for each model."),
    batch_size: int = 256,
    latent_dim: int = typer.Option(2, help="Length of the latent."),
    width: int = typer.Option(128, help="Units of the three hidden layers of both networks."),
    penalty: float = typer.Option(1.0, help="Weight of WGAN-GP's gradient penalty, for data of deviation 2.83."),
    critic_updates: int = typer.Option(2, help="Updates of the critic for one of the generator."),
    critic_rate: float = typer.Option(1e-3, help="The critic's learning rate; both fall to 0 along a cosine."),
    generator_rate: float = typer.Option(5e-3, help="The generator's learning rate."),
    ema: float = typer.Option(0.999, help="Decay of the average of the weights, which samples."),
    num: int = typer.Option(200_000, help="Points to train on."),
    num_samples: int = typer.Option(10_000, help="Samples to measure and to draw."),
    seed: int = 0,
):
    """Trains each model, counts the modes that its samples cover, and draws the samples beside data."""
    names = [name.strip() for name in models.split(",")]
    for name in names:
        if name not in MODELS:
            raise ValueError(f"`models` must name some of {', '.join(MODELS)}, with commas between; got {name!r}.")
    train, _ = gm.load_data("gaussian_grid", num=num, seed=seed)
    _, test = gm.load_data("gaussian_grid", num=num_samples, seed=seed)
    results, panels = {"data": measured(test.examples)}, {}
    for name in names:
        keras.utils.set_random_seed(seed)
        options = {"penalty": penalty} if name == "wgan-gp" else {}
        model = MODELS[name](
            train.event_shape, levels=None, latent_dim=latent_dim, architecture="mlp", width=width,
            critic_updates=critic_updates, **options,
        )  # fmt: skip
        critic, generator = (objective.name for objective in model.objectives())
        # The generator's steps between modes are steep, and at the critic's own rate it takes far longer to learn them.
        model.compile(
            {critic: adam(critic_rate, steps * critic_updates), generator: adam(generator_rate, steps)}, ema=ema
        )
        model.fit(train, batch_size=batch_size, steps=steps, run_dir=run / name, seed=seed, save_every=10)

        samples = model.sample(num_samples, seed=seed).numpy()
        result = measured(samples)
        result["seconds"] = gm.plots.read_log(run / name / "log.csv")[-1]["seconds"]  # of training, resumed or not
        results[name] = result
        found = f"{result['modes']} of 25 modes, {result['within_4_sigma']:.1%} within 4σ"
        panels[f"{name}\n{found}"] = samples
        spread = "-" if result["spread"] is None else f"{result['spread']:.2f}σ"
        print(
            f"{name:8s} {found}, spread {spread} around the centres, KL {result['kl']:.4f} nats; "
            f"{result['seconds']:.0f} seconds",
            flush=True,
        )
    (run / "test.json").write_text(json.dumps(results, indent=2) + "\n")
    print(gm.plots.save_points(run / "samples.png", panels, test.examples))


def adam(rate, updates):
    """The papers' Adam for a critic that moves: without momentum."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, updates), beta_1=0.0, beta_2=0.9)


def measured(points):
    """How points [N, 2] spread over the modes.

    Returns:
        modes: how many have a twentieth of their share, N / 500, within 4σ of the centre (20 of 10 000).
        within_4_sigma: the part of the points that lie so near to some centre; of the data, 1 - e⁻⁸.
        spread: of those points around their centres, root mean square over that of the data; None without any.
        kl: nats, from the points counted by their nearest mode to the uniform; of the data, 12 / N by chance.
        samples: N.
    """
    distances = np.linalg.norm(points[:, None] - synthetic.GRID_CENTRES, axis=-1)  # [N, 25]
    nearest = distances.argmin(1)
    distance = distances.min(1)
    near = distance < 4 * synthetic.GRID_SIGMA
    share = np.bincount(nearest, minlength=25) / len(points)
    share = share[share > 0]
    return {
        "modes": int(np.sum(np.bincount(nearest[near], minlength=25) >= len(points) / 500)),
        "within_4_sigma": float(near.mean()),
        "spread": float(np.sqrt(np.mean(distance[near] ** 2) / 2) / synthetic.GRID_SIGMA) if near.any() else None,
        "kl": float(np.sum(share * np.log(25 * share))),
        "samples": len(points),
    }


if __name__ == "__main__":
    cli.run(main)
