"""The page: its tables, figures and charts, and the document around them."""

import math
import sys

from genmodels.report import figures
from genmodels.report.charts import Line, chart, hue
from genmodels.report.markup import Markup, duration, element, joined, number
from genmodels.report.runs import FIGURES
from genmodels.report.style import CSS

# Nothing is fetched and nothing runs, whatever the names in a run are.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NONE = "–"
FILES = {
    "metrics.json": "End of training", "test.json": "Test, by the recipe", "evaluation.json": "Evaluation",
}  # fmt: skip


def document(title, sections, num_runs, seed) -> str:
    """The whole file. Tables of many runs are stacked where the page is too narrow for them."""
    narrow = 11 + 8.5 * num_runs
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", title),
        element("style", Markup(CSS.replace("/*narrow*/", f"{narrow:g}em"))),
    )
    version = sys.modules["genmodels"].__version__
    footer = element("footer", f"All that is drawn is of seed {seed}. Written by genmodels {version}.")
    body = element("body", element("header", element("h1", title)), element("main", *sections), footer)
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def section(title, content):
    """A part of the page under a heading."""
    return element("section", element("h2", title), content)


def overview(runs):
    """A row a run: what it is, on what it was trained, how large it is and how long it took."""
    names = ("run", "model", "family", "paper", "data", "parameters", "steps", "time")
    rows = []
    for run in runs:
        model, end = run.model, run.figures["metrics.json"]
        cells = (
            model.title or type(model).__name__, run.family, f"{model.paper} ({model.year})" if model.paper else NONE,
            run.data["name"], _parameters(model), number(end["step"]), duration(end["seconds"]),
        )  # fmt: skip
        columns = [element("td", cell, data_label=name) for name, cell in zip(names[1:], cells)]
        rows.append(element("tr", _run_cell(run), *columns))
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    return element("table", head, element("tbody", *rows), class_="overview")


def gallery(runs, drawn):
    """A picture a run, or words."""
    return element(
        "div", *(element("figure", element("figcaption", _name(run)), drawn(run)) for run in runs), class_="gallery"
    )


def table(runs, rows):
    """A table with a column a run, from rows of text: name to a value a run, or None."""
    cells = {name: [NONE if value is None else value for value in values] for name, values in rows.items()}
    return _table(runs, cells)


def curves(runs):
    """A chart for each metric that runs share, and those of single runs folded away."""
    series = {}
    for run in runs:
        for metric in _metrics(run.log):
            # A loss is its family's own; other metrics mean the same everywhere, on the same data.
            own = run.family if metric == "loss" or metric.endswith("_loss") else None
            series.setdefault((metric, own, run.data["name"]), []).append(run)
    shared = {key: found for key, found in series.items() if len(found) > 1 or len(runs) == 1}
    alone = {key: found for key, found in series.items() if key not in shared}
    parts = [element("p", "Solid lines are training, dashed ones validation.")]
    if shared:
        parts.append(_charts(shared))
    if alone:
        summary = element("summary", f"{len(alone)} charts of metrics that one run alone has")
        parts.append(element("details", summary, _charts(alone), open="" if not shared else None))
    return joined(parts)


def figure_tables(runs):
    """A table a file of figures, the best of those that may be compared marked."""
    marked = "Marked is the best of a row among likelihoods of the same kind, of the same data."
    parts = [element("p", marked)] if len(runs) > 1 else []
    for file in FIGURES:
        found = [figures.figures(run, file) for run in runs]
        rows = {}
        for name, values in figures.side_by_side(found).items():
            best = figures.best({i: (name, figure) for i, figure in enumerate(values) if figure is not None})
            rows[name] = [NONE if f is None else _figure(f, i in best) for i, f in enumerate(values)]
        if rows:
            parts += [element("h3", FILES[file], " ", element("code", file)), _table(runs, rows, unit=figures.unit)]
    return joined(parts)


def settings_tables(runs):
    """The settings that differ, then all of them, folded away."""
    rows = figures.side_by_side([figures.settings(run) for run in runs])
    parts = []
    if len(runs) > 1:
        differing = figures.differing(rows)
        parts.append(element("h3", "Those that differ"))
        parts.append(table(runs, differing) if differing else element("p", "None: the runs have the same settings."))
    return joined([*parts, element("details", element("summary", f"All {len(rows)} settings"), table(runs, rows))])


def _table(runs, rows, unit=lambda name: None):
    head = element("tr", element("td"), *(element("th", _name(run), scope="col") for run in runs))
    body = []
    for name, cells in rows.items():
        # A word break after each dot, and none inside of words where it can be helped.
        title = joined(Markup("<wbr>.") if letter == "." else letter for letter in name)
        of = unit(name)
        label = element("th", title, element("small", of) if of else "", scope="row")
        columns = (
            element("td", cell, data_label=run.name, class_="missing" if cell == NONE else None)
            for run, cell in zip(runs, cells)
        )
        body.append(element("tr", label, *columns))
    return element("table", element("thead", head), element("tbody", *body), class_="runs")


def _figure(figure, best):
    value = figure.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = element("data", number(value), value=repr(value))
    kind = element("small", "best of its kind: " if best else "", figure.kind) if figure.kind else ""
    return joined([element("strong", value) if best else value, kind])


def _charts(series):
    drawn = []
    for (metric, own, data), runs in series.items():
        lines = [
            Line(hue(run.number), [(row["step"], row[name]) for row in run.log if name in row], name != metric)
            for run in runs
            for name in (metric, f"val_{metric}")
        ]
        title = metric.replace("_", " ")
        unit = figures.unit(metric)
        where = f"{f'{own}, ' if own else ''}{data}"
        picture = chart(
            lines, x_label="training steps", y_label=f"{title}, {unit}" if unit else title,
            title=f"{title} on {where}, by training step: {', '.join(run.name for run in runs)}",
        )  # fmt: skip
        legend = element("ul", *(element("li", _name(run)) for run in runs), class_="legend")
        caption = element("figcaption", element("b", title), f" {where}")
        drawn.append(element("figure", caption, picture, legend))
    return element("div", *drawn, class_="gallery")


def _metrics(log):
    """The metrics of a log in order; a loss that equals another one of them in every row is left out."""
    names = dict.fromkeys(name.removeprefix("val_") for row in log for name in row if name not in figures.PLACE)
    columns = {name: [row.get(name, math.nan) for row in log] for name in names}
    twice = any(columns["loss"] == column for name, column in columns.items() if name != "loss" and "loss" in columns)
    return [name for name in names if not (name == "loss" and twice)]


def _parameters(model):
    """The trainable numbers of each player."""
    counts = {
        objective.name: sum(math.prod(v.shape) for v in objective.network.trainable_variables)
        for objective in model.objectives()
    }
    if len(counts) == 1:
        return number(*counts.values())
    return joined(element("span", f"{name} {number(count)}", class_="part") for name, count in counts.items())


def _run_cell(run):
    return element("th", _name(run), scope="row")


def _name(run):
    """The run's name beside its colour."""
    return element("span", run.name, class_="run", style=f"--hue:{hue(run.number)}")
