"""Figures: training curves, points and densities in the plane."""

import csv
import math
import pathlib

import numpy as np

from genmodels import images

_AXES = ("step", "epoch", "row", "seconds")  # columns of a log that are no metrics
_CELLS = {"histogram": 80, "density": 200}  # of the pictures of densities, a side


def read_log(path):
    """Rows of a run's `log.csv`.

    Args:
        path: a CSV file with a header, all other cells numbers or empty.

    Returns:
        A list with one dict a row from column name to float, without the empty cells.

    Raises:
        ValueError: a cell that is no number, or a row longer than the header.

    Example:
        >>> import pathlib, tempfile
        >>> from genmodels.plots import read_log
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = pathlib.Path(folder, "log.csv")
        ...     _ = log.write_text("epoch,loss,val_loss\\n1,2.5,\\n2,2.25,2.5\\n")
        ...     read_log(log)
        [{'epoch': 1.0, 'loss': 2.5}, {'epoch': 2.0, 'loss': 2.25, 'val_loss': 2.5}]
    """
    with open(path, newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    rows = []
    for number, cells in enumerate(lines, start=2):
        if len(cells) > len(header):
            raise ValueError(f"{path}, row {number}: expected at most {len(header)} cells; got {len(cells)}.")
        row = {}
        for name, cell in zip(header, cells):
            if cell.strip():
                try:
                    row[name] = float(cell)
                except ValueError:
                    raise ValueError(f"{path}, row {number}: {name!r} must be a number; got {cell!r}.") from None
        rows.append(row)
    return rows


def save_curves(path, rows):
    """Draws training curves, one panel a metric with training and validation in it.

    Args:
        path: an image file, its format by its ending (.png, .pdf, .svg); missing folders are made.
        rows: dicts of floats as from `read_log`. "step" is the horizontal axis, or else "epoch", or else the
            row number; "seconds" is not drawn; "val_x" is drawn beside "x". Any may be missing from a row.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: no metric in any row.

    Example:
        >>> import tempfile
        >>> from genmodels.plots import save_curves
        >>> rows = [{"epoch": i, "loss": 1 / i, "val_loss": 1.1 / i} for i in range(1, 10)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_curves(folder + "/curves.png", rows).name
        'curves.png'
    """
    columns = list(dict.fromkeys(name for row in rows for name in row if name not in _AXES))
    metrics = list(dict.fromkeys(name.removeprefix("val_") for name in columns))
    if not metrics:
        raise ValueError(f'`rows` must hold a metric such as "loss"; got {len(rows)} rows with none.')
    rows = [{"row": number, **row} for number, row in enumerate(rows, start=1)]
    axis = next(name for name in _AXES if any(name in row for row in rows))
    across = min(3, len(metrics))
    down = math.ceil(len(metrics) / across)
    figure = _figure(4 * across, 3 * down)
    for i, metric in enumerate(metrics):
        panel = figure.add_subplot(down, across, i + 1, title=metric.replace("_", " "), xlabel=axis)
        for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
            points = [(row[axis], row[name]) for row in rows if name in row and axis in row]
            if points:
                # A single point draws no line.
                panel.plot(*zip(*points), label=label, marker="o" if len(points) < 30 else None, markersize=3)
        panel.grid(alpha=0.3)
        panel.legend()
    return _save(figure, path)


def save_points(path, points, data=None):
    """Draws points in the plane, beside the data on the same axes where they are given.

    Args:
        path: an image file, its format by its ending (.png, .pdf, .svg); missing folders are made.
        points: samples, [N, 2], or a dict of such from the title of a panel.
        data: examples, [M, 2]; they set the limits of all panels, so that stray samples do not shrink them. Without
            them the first samples do.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: points of another shape, or an empty dict.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.plots import save_points
        >>> points = np.random.default_rng(0).normal(size=(100, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_points(folder + "/points.png", points).name
        'points.png'
    """
    if isinstance(points, dict) and not points:
        raise ValueError("`points` must hold the samples of a panel; got an empty dict.")
    panels = [] if data is None else [("data", data)]
    panels += points.items() if isinstance(points, dict) else [("samples", points)]
    panels = [(name, _checked_points(name, cloud)) for name, cloud in panels]
    figure = _figure(4 * len(panels), 4)
    first = panels[0][1]
    low, high = first.min(axis=0), first.max(axis=0)
    margin = 0.1 * max(high - low) or 1.0
    for i, (name, cloud) in enumerate(panels):
        panel = figure.add_subplot(
            1,
            len(panels),
            i + 1,
            title=name,
            aspect="equal",
            xlim=(low[0] - margin, high[0] + margin),
            ylim=(low[1] - margin, high[1] + margin),
        )
        panel.scatter(*cloud.T, s=min(10, 5000 / len(cloud)), alpha=0.5, linewidths=0)
    return _save(figure, path)


def save_embedding(path, points, labels=None, *, classes=None):
    """Draws examples laid out in the plane, such as by `genmodels.latent.embed_2d`, in the colours of their classes.

    Args:
        path: an image file, its format by its ending (.png, .pdf, .svg); missing folders are made.
        points: [N, 2].
        labels: [N] integers from 0; None for one colour.
        classes: names of the classes, for the legend; None for their numbers.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: points or labels of another shape, and fewer names than classes.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.plots import save_embedding
        >>> points = np.random.default_rng(0).normal(size=(100, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_embedding(folder + "/plane.png", points, np.arange(100) % 3).name
        'plane.png'
    """
    points = _checked_points("points", points)
    labels = np.zeros(len(points), int) if labels is None else np.asarray(labels)
    if labels.shape != (len(points),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"`labels` must be {len(points)} integers from 0; got {labels.shape} of {labels.dtype}.")
    present = np.unique(labels)
    if classes is not None and len(classes) <= present[-1]:
        raise ValueError(f"`classes` must name {present[-1] + 1} classes; got {len(classes)}.")
    figure = _figure(7, 6)
    panel = figure.add_subplot(aspect="equal", xticks=[], yticks=[])
    for label in present:
        cloud = points[labels == label]
        name = str(label) if classes is None else classes[label]
        panel.scatter(*cloud.T, s=12, linewidths=0, alpha=0.8, color=f"C{label % 10}", label=name)
    if len(present) > 1:
        figure.legend(loc="outside right upper", markerscale=2, frameon=False)
    return _save(figure, path)


def save_densities(path, columns):
    """Draws densities in the plane, a column each: points as histograms, functions as pictures of exp(log-density).

    Histograms are scaled to densities. The panels of a column show the same square, that of its first points, in the
    same colours.

    Args:
        path: an image file, its format by its ending (.png, .pdf, .svg); missing folders are made.
        columns: a dict from title to a column, which is a dict from name to panel; all columns name the same panels.
            A panel is points `[N, 2]`, or a function of points `[M, 2]` float32 to log-densities `[M]`, nats. The
            first panel is points.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: columns of different panels, or none; points or values of a function of another shape.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.plots import save_densities
        >>> points = np.random.default_rng(0).normal(size=(1000, 2))
        >>> column = {"data": points, "model": lambda x: -0.5 * (x**2).sum(1) - np.log(2 * np.pi)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_densities(folder + "/densities.png", {"normal": column}).name
        'densities.png'
    """
    names = [list(column) for column in columns.values()]
    if not names or not names[0] or any(other != names[0] for other in names):
        raise ValueError(f"`columns` must be dicts of the same panels, at least one; got {names}.")
    figure = _figure(2 * len(columns), 2 * len(names[0]) + 0.5)
    panels = figure.subplots(len(names[0]), len(columns), squeeze=False)
    for place, (title, column) in enumerate(columns.items()):
        low, high = _square(_checked_points(names[0][0], column[names[0][0]]))
        pictures = [_density(name, panel, low, high) for name, panel in column.items()]
        # The lowest of the peaks: one spike of a bad model would darken all the rest.
        top = min((picture.max() for picture in pictures if picture.any()), default=1.0)
        for row, picture in enumerate(pictures):
            panel = panels[row, place]
            extent = (low[0], high[0], low[1], high[1])
            panel.imshow(picture, extent=extent, vmin=0, vmax=top, origin="lower", cmap="magma")
            panel.set(xticks=[], yticks=[], title="" if row else title, ylabel="" if place else names[0][row])
    return _save(figure, path)


def save_samples(path, samples, *, levels, columns=None):
    """Draws whatever a model samples: images as a grid, points as a scatter plot of their first two dimensions.

    Args:
        path: a file name ending in .png; missing folders are made.
        samples: [N, H, W, C] with C 1 or 3, or [N, D] with D ≥ 2.
        levels: number of levels of a pixel; None for real-valued data, whose own range is shown as black to white.
        columns: images in a row.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: samples of a shape that cannot be shown.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.plots import save_samples
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_samples(folder + "/grid.png", np.zeros([4, 8, 8, 1], np.uint8), levels=17).name
        'grid.png'
    """
    samples = np.asarray(samples)
    if samples.ndim == 2 and samples.shape[1] >= 2:
        return save_points(path, samples[:, :2])
    if samples.ndim != 4:
        raise ValueError(f"`samples` must be images [N, H, W, C] or points [N, 2 or more]; got {samples.shape}.")
    samples, levels = images.stretched(samples, levels)
    return images.save_grid(path, samples, levels=levels, columns=columns)


def _checked_points(name, points):
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"The {name} must be points in the plane, [N, 2], not empty; got {points.shape}.")
    return points


def _square(points):
    """The corners of a square around points, with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    if not np.isfinite([low, high]).all():
        raise ValueError(f"The first panel's points must be finite; they reach from {low} to {high}.")
    half = 0.55 * max(high - low) or 1.0
    return (low + high) / 2 - half, (low + high) / 2 + half


def _density(name, panel, low, high):
    """A density on a grid, [y, x]: a histogram of points, or a function at the middles of the cells."""
    cells = _CELLS["density" if callable(panel) else "histogram"]
    x, y = edges = np.linspace(low, high, cells + 1).T
    if not callable(panel):
        points = _checked_points(name, panel)
        counts, *_ = np.histogram2d(*points.T, bins=edges)
        return counts.T / (len(points) * (x[1] - x[0]) * (y[1] - y[0]))
    middles = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
    logs = np.asarray(panel(np.stack(middles, -1).reshape(-1, 2).astype(np.float32)))
    if logs.shape != (cells**2,):
        raise ValueError(f"The {name} must give a log-density a point, ({cells**2},); got {logs.shape}.")
    return np.exp(logs.astype(np.float64)).reshape(cells, cells)


def _figure(width, height):
    # Figures of their own leave pyplot's global state and the user's choice of window system alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
