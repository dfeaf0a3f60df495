"""Peak of main memory in training, a process a model: defaults at batch 64, and with activations computed again.

    python benchmarks/memory.py --out memory.json

Each process builds one model for 28×28×1 images, takes a few training steps, and says the most memory that it held;
what it held before the first step (TensorFlow, the model, optimizer and data) stands beside it.
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
CODE = """
import json
import numpy as np
import genmodels as gm
from genmodels.memory import peak_memory
shape = (28, 28, 1)
model = {model}
model.compile()
data = np.random.default_rng(0).integers(0, 256, [640, *shape]).astype(np.uint8)
before = peak_memory()
model.fit(data, batch_size=64, steps=6, verbose=0)
print(json.dumps(dict(before=before, peak=peak_memory(), parameters=model.parameters)))
"""


def main(
    out: str = typer.Option("", help="A JSON file for the figures."),
    only: str = typer.Option("", help="Only models whose names hold this."),
):
    """Prints a table, and writes it as JSON."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = {}
    print(f"{'model':20} {'parameters':>12} {'before, MiB':>12} {'peak, MiB':>12}")
    for name, model in MODELS.items():
        if only not in name:
            continue
        command = [sys.executable, "-c", CODE.replace("{model}", model)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found[name] = row = json.loads(done.stdout.splitlines()[-1])
        print(f"{name:20} {row['parameters']:12,} {row['before']:12,.0f} {row['peak']:12,.0f}", flush=True)
    if out:
        Path(out).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
