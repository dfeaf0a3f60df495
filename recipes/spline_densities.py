"""Neural spline flows on six densities in the plane whose entropy is known.

    python recipes/spline_densities.py --run runs/spline-densities
    python recipes/spline_densities.py --run runs/two-moons --densities two_moons

No model's negative log-likelihood lies below the entropy, but for the error of a mean over a finite set; the excess is
the divergence KL(data ‖ model).
"""

import json
from pathlib import Path

import keras
import numpy as np
import typer

import genmodels as gm
from genmodels import cli
from genmodels.data import synthetic

DENSITIES = "two_moons,eight_gaussians,checkerboard,circles,swiss_roll,pinwheel"


def main(
    run: Path = typer.Option(Path("runs/spline-densities"), help="Folder of the runs, one a density; resumes them."),
    densities: str = typer.Option(DENSITIES, help="Names, separated by commas."),
    steps: int = typer.Option(8000, help="Updates, for each density."),
    batch_size: int = 512,
    layers: int = typer.Option(4, help="Layers of splines, each after a linear map."),
    width: int = typer.Option(64, help="Units of the hidden layers of the couplings' networks."),
    bins: int = typer.Option(16, help="Bins of each spline."),
    bound: float = typer.Option(4.0, help="Outside it, in standard deviations of the data, a spline is the identity."),
    learning_rate: float = typer.Option(5e-3, help="After a twentieth of the steps; it falls to 0 along a cosine."),
    clipnorm: float = typer.Option(5.0, help="Largest gradient."),
    ema: float = 0.999,
    num: int = typer.Option(500_000, help="Points to train on."),
    num_test: int = typer.Option(50_000, help="Points to measure on and to draw."),
    seed: int = 0,
):
    """Trains a flow for each density, prints what it lacks to the truth, and draws data, samples and densities."""
    names = [name.strip() for name in densities.split(",")]
    for name in names:
        synthetic.entropy(name)  # refuses an unknown name before any work
    results, columns = {}, {}
    for name in names:
        keras.utils.set_random_seed(seed)
        train, _ = gm.load_data(name, num=num, seed=seed)
        _, test = gm.load_data(name, num=num_test, seed=seed)
        model = gm.NeuralSplineFlow((2,), levels=None, layers=layers, width=width, bins=bins, bound=bound)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, steps - steps // 20, warmup_target=learning_rate, warmup_steps=steps // 20
        )
        model.compile(keras.optimizers.Adam(schedule), ema=ema, clipnorm=clipnorm)
        model.fit(train, batch_size=batch_size, steps=steps, run_dir=run / name, seed=seed)

        result = measured(model, name, test.examples)
        result["seconds"] = gm.plots.read_log(run / name / "log.csv")[-1]["seconds"]  # of training, resumed or not
        results[name] = result
        print(
            f"{name:16s} NLL {result['nll']:.4f} ± {result['standard_error']:.4f}, entropy {result['entropy']:.4f}, "
            f"excess {result['excess']:.4f}; KL {result['kl']:.4f} ± {result['kl_standard_error']:.4f} nats; "
            f"{result['seconds']:.0f} seconds",
            flush=True,
        )
        nats = f"entropy {result['entropy']:.3f} nats\nNLL {result['nll']:.3f}, KL {result['kl']:.3f}"
        columns[f"{name.replace('_', ' ')}\n{nats}"] = {
            "data": test.examples,
            "samples": model.sample(len(test), seed=seed, batch_size=len(test)).numpy(),
            "model's density": model.log_prob,
            "true density": lambda x, name=name: synthetic.log_density(name, x),
        }
    (run / "test.json").write_text(json.dumps(results, indent=2) + "\n")
    print(gm.plots.save_densities(run / "densities.png", columns))


def measured(model, name, points):
    """The negative log-likelihood, and its excess in two ways: over the entropy, and point by point."""
    log_prob = model.log_prob(points).numpy().astype(np.float64)
    # Of the same points: what both densities have in common cancels, so that the error is far smaller than the NLL's.
    log_ratio = synthetic.log_density(name, points) - log_prob
    root = np.sqrt(len(points))
    return {
        "nll": -log_prob.mean(),
        "standard_error": log_prob.std(ddof=1) / root,
        "entropy": synthetic.entropy(name),
        "excess": -log_prob.mean() - synthetic.entropy(name),
        "kl": log_ratio.mean(),
        "kl_standard_error": log_ratio.std(ddof=1) / root,
        "examples": len(points),
    }


if __name__ == "__main__":
    cli.run(main)
