"""Peak of main memory, a process a model: training at batch 64, also with activations computed again, and samples.

    python benchmarks/memory.py --out memory.json

Each process builds one model for 28×28×1 images and takes a few training steps, or draws 1 000 samples and then 10 000,
and says the most memory that it held so far; "before" is TensorFlow, the model, optimizer and data.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import typer

from genmodels import cli

MODELS = {
    "VAE": "gm.VAE(shape)",
    "GatedPixelCNN": "gm.GatedPixelCNN(shape)",
    "Glow": "gm.Glow(shape)",
    "Glow, recompute": "gm.Glow(shape, recompute=True)",
    "WGANGP": "gm.WGANGP(shape)",
    "DCGAN": "gm.DCGAN(shape)",
    "DDPM": "gm.DDPM(shape)",
    "DDPM, recompute": "gm.DDPM(shape, denoiser=gm.diffusion.unet(shape, recompute=True))",
}
# Options of `sample`: fewer steps, since a step holds no more than another.
DRAWN = {"VAE": "", "GatedPixelCNN": "", "Glow": "", "WGANGP": "", "DDPM": ", solver='ddim', steps=2"}
BUILT = """
import json
import numpy as np
import genmodels as gm
from genmodels.memory import peak_memory
shape = (28, 28, 1)
model = {model}
"""
TRAINED = """
model.compile()
data = np.random.default_rng(0).integers(0, 256, [640, *shape]).astype(np.uint8)
before = peak_memory()
model.fit(data, batch_size=64, steps=6, verbose=0)
print(json.dumps(dict(before=before, peak=peak_memory(), parameters=model.parameters)))
"""
SAMPLED = """
before = peak_memory()
model.sample(1000, seed=0{options})
first = peak_memory()
model.sample(10_000, seed=0{options})
print(json.dumps(dict(before=before, thousand=first, ten_thousand=peak_memory())))
"""


def measured(code):
    """What a process of its own prints."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(
    out: str = typer.Option("", help="A JSON file for the figures."),
    only: str = typer.Option("", help="Only models whose names hold this."),
):
    """Prints two tables, and writes them as JSON."""
    chosen = {name: BUILT.replace("{model}", model) for name, model in MODELS.items() if only in name}
    found = {"training": {}, "samples": {}}
    print(f"{'training':20} {'parameters':>12} {'before, MiB':>12} {'peak, MiB':>12}", flush=True)
    for name, built in chosen.items():
        found["training"][name] = row = measured(built + TRAINED)
        print(f"{name:20} {row['parameters']:12,} {row['before']:12,.0f} {row['peak']:12,.0f}", flush=True)
    print(f"{'samples':20} {'before, MiB':>12} {'1 000':>12} {'10 000':>12}", flush=True)
    for name in [name for name in DRAWN if name in chosen]:
        found["samples"][name] = row = measured(chosen[name] + SAMPLED.replace("{options}", DRAWN[name]))
        print(f"{name:20} {row['before']:12,.0f} {row['thousand']:12,.0f} {row['ten_thousand']:12,.0f}", flush=True)
    if out:
        Path(out).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
