"""Draws samples from a trained model into one picture.

    python samples/sample.py --run runs/vae-digits --num 64 --out samples.png
"""

from pathlib import Path

import typer

import genmodels as gm
from genmodels import cli


def main(
    run: Path = typer.Option(..., help="A run directory, or a .keras file."),
    num: int = typer.Option(64, help="How many samples."),
    labels: str = typer.Option("", help="Classes of a conditional model, such as 7 or 0,1,2, taken in turn."),
    temperature: float = typer.Option(None, help="Below 1: more typical, less varied; for models that have one."),
    seed: int = typer.Option(0, help="The same seed gives the same samples."),
    columns: int = typer.Option(None, help="Samples in a row."),
    out: Path = typer.Option(Path("samples.png"), help="The PNG to write."),
):
    """Draws samples from a trained model into one picture."""
    model = gm.load_model(run)
    if model.condition_dim is not None:
        raise ValueError(f"{run} is conditional on vectors: sample it in Python by model.sample(num, labels=vectors).")
    options = {} if temperature is None else {"temperature": temperature}
    samples = model.sample(num, labels=cli.classes_of(model, labels, num, run), seed=seed, **options)
    if columns is None and model.num_classes is not None and not labels and model.num_classes <= num:
        columns = model.num_classes  # a column a class
    print(gm.plots.save_samples(out, samples, levels=model.levels, columns=columns))


if __name__ == "__main__":
    cli.run(main)
