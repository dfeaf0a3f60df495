"""What `import genmodels` costs beside `import tensorflow`: fresh processes in turn, medians.

    python benchmarks/import_time.py --out import_time.json
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import typer

from genmodels import cli


def main(
    repeats: int = typer.Option(9, help="Timed processes of each."),
    out: str = typer.Option("", help="A JSON file for the figures."),
):
    """Times both imports and prints seconds and their ratio."""
    times = {"tensorflow": [], "genmodels": []}
    for repeat in range(repeats + 1):
        for name, values in times.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True, stderr=subprocess.DEVNULL)
            if repeat:  # the first fills the file cache
                values.append(time.perf_counter() - began)
    for name, values in times.items():
        print(f"import {name}: {statistics.median(values):.2f} s")
    ratios = [g / t for g, t in zip(times["genmodels"], times["tensorflow"])]
    print(f"ratio: {statistics.median(ratios):.3f} (pairs {min(ratios):.3f} … {max(ratios):.3f})")
    if out:
        Path(out).write_text(json.dumps({"seconds": times, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main)
