"""From nothing to the first steps: processes of their own, the default model of each family.

    python benchmarks/cold_start.py --out cold_start.json

Each process imports the package, builds and compiles a model of 28×28×1, and trains three steps of 64 images. "first
step" is what `fit` takes until its first step is done, mostly tracing and compiling; "warm" is the third step.
"""

import json
import os
import statistics
import subprocess
import sys

import bench
import typer

from genmodels import cli

MODELS = ("VAE", "GatedPixelCNN", "RealNVP", "Glow", "DCGAN", "WGANGP", "DDPM")
CODE = """
import json, time
began = time.perf_counter()
import keras, numpy as np
import genmodels as gm
imported = time.perf_counter()
model = gm.{name}((28, 28, 1), dtype="{dtype}")
model.compile()
built = time.perf_counter()
ends = []
class Ends(keras.callbacks.Callback):  # which makes every call one step
    def on_train_batch_end(self, batch, logs=None):
        ends.append(time.perf_counter())
images = np.random.default_rng(0).integers(0, 256, [640, 28, 28, 1]).astype(np.uint8)
started = time.perf_counter()
model.fit(images, batch_size=64, steps=3, callbacks=[Ends()], verbose=0)
print(json.dumps(dict(imported=imported - began, build=built - imported, first=ends[0] - started,
                      warm=ends[2] - ends[1])))
"""


def main(
    models: str = typer.Option(",".join(MODELS), help="Models, with commas."),
    precision: str = typer.Option("float32", help="float32 or bfloat16."),
    repeats: int = typer.Option(3, help="Processes of each model."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Prints seconds, medians of the processes."""
    (kind,) = bench.some("precision", precision, bench.PRECISIONS)
    environment, found = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, {}
    print(f"{'':>15}{'import':>9}{'build':>9}{'first step':>12}{'warm step':>12}")
    for name in bench.some("models", models, MODELS):
        code = CODE.replace("{name}", name).replace("{dtype}", bench.PRECISIONS[kind])
        runs = []
        for _ in range(repeats):
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        found[name] = row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        cells = f"{row['imported']:9.1f}{row['build']:9.1f}{row['first']:12.1f}{row['warm']:12.3f}"
        print(f"{name:>15}{cells}", flush=True)
    bench.save({"precision": kind, "repeats": repeats, "seconds": found}, out)


if __name__ == "__main__":
    cli.run(main)
