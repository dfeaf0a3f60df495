"""EDM and flow matching on densities in the plane whose entropy is known.

    python recipes/diffusion_points.py --run runs/diffusion-points
    python recipes/diffusion_points.py --run runs/swiss-roll --densities swiss_roll --models edm

The likelihood is that of the probability-flow ODE; no model's NLL lies below the entropy.
"""

import functools
import json
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli
from genmodels.data import synthetic

MODELS = ("edm", "flow-matching")


def main(
    run: Path = typer.Option(Path("runs/diffusion-points"), help="Folder of the runs, one each; resumes them."),
    densities: str = typer.Option("two_moons,eight_gaussians", help="Names, separated by commas."),
    models: str = typer.Option(",".join(MODELS), help="Names, separated by commas."),
    steps: int = typer.Option(5000, help="Updates, for each model and density."),
    batch_size: int = 512,
    width: int = typer.Option(128, help="Units of the denoiser's layers."),
    depth: int = typer.Option(3, help="Residual layers of the denoiser."),
    learning_rate: float = typer.Option(2e-3, help="Falls to 0 along a cosine."),
    ema: float = 0.999,
    num: int = typer.Option(200_000, help="Points to train on."),
    num_test: int = typer.Option(10_000, help="Points to measure on and to draw."),
    seed: int = 0,
):
    """Trains each model on each density, prints what it lacks to the truth, and draws data, samples and densities."""
    names, chosen = ([name.strip() for name in given.split(",")] for given in (densities, models))
    for name in names:
        synthetic.entropy(name)  # refuses an unknown name before any work
    if not set(chosen) <= set(MODELS):
        raise ValueError(f"`models` must name some of {', '.join(MODELS)}, with commas between; got {models!r}.")
    results, columns = {}, {}
    for name in names:
        train, _ = gm.load_data(name, num=num, seed=seed)
        _, test = gm.load_data(name, num=num_test, seed=seed)
        for kind in chosen:
            keras.utils.set_random_seed(seed)
            denoiser = gm.diffusion.mlp_denoiser((2,), width=width, depth=depth)
            if kind == "edm":
                model = gm.EDM((2,), levels=None, denoiser=denoiser, data_deviation=float(train.examples.std()))
            else:
                model = gm.FlowMatching((2,), levels=None, denoiser=denoiser)
            model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)), ema=ema)
            folder = run / f"{name}-{kind}"
            model.fit(train, batch_size=batch_size, steps=steps, run_dir=folder, seed=seed)

            result = measured(model, name, test.examples)
            result["seconds"] = gm.plots.read_log(folder / "log.csv")[-1]["seconds"]  # of training, resumed or not
            results[f"{name}-{kind}"] = result
            print(
                f"{name:16s} {kind:14s} NLL {result['nll']:.3f} ± {result['standard_error']:.3f}, entropy "
                f"{result['entropy']:.3f}; KL {result['kl']:.4f} ± {result['kl_standard_error']:.4f} nats; "
                f"{result['seconds']:.0f} seconds",
                flush=True,
            )
            columns[f"{name.replace('_', ' ')}\n{kind}\nNLL {result['nll']:.3f}, KL {result['kl']:.3f}"] = {
                "data": test.examples,
                "samples": model.sample(len(test), seed=seed).numpy(),
                "model's density": functools.partial(model.log_prob, steps=16),
                "true density": lambda x, name=name: synthetic.log_density(name, x),
            }
    (run / "test.json").write_text(json.dumps(results, indent=2) + "\n")
    print(gm.plots.save_densities(run / "densities.png", columns))


def measured(model, name, points):
    """The negative log-likelihood of the ODE, and point by point the divergence KL(data ‖ model)."""
    log_prob = model.log_prob(points).numpy().astype(np.float64)
    log_ratio = synthetic.log_density(name, points) - log_prob
    root = np.sqrt(len(points))
    return {
        "nll": -log_prob.mean(),
        "standard_error": log_prob.std(ddof=1) / root,
        "entropy": synthetic.entropy(name),
        "kl": log_ratio.mean(),
        "kl_standard_error": log_ratio.std(ddof=1) / root,
        "examples": len(points),
    }


if __name__ == "__main__":
    cli.run(main)
