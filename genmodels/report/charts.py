"""Line charts and pictures of the plane as inline SVG, in the colours of the page.

Scripts, fonts and name spaces are the page's. A run's colour is the hue of the nearest `--hue` above.
"""

import math
from typing import NamedTuple

import numpy as np

from genmodels.report.markup import element

LEFT, RIGHT, TOP, BOTTOM = 52, 350, 8, 186  # of a chart's frame, in a picture of 360 × 224
SIDE = 320  # of a picture of the plane


class Line(NamedTuple):
    """A curve: the hue of its run, points (x, y), and whether it is dashed."""

    hue: float
    points: list[tuple[float, float]]
    dashed: bool = False


def hue(number: int) -> float:
    """The hue of a run, degrees: blue first, each far from those before it (the golden angle apart)."""
    return round((215 + 137.508 * number) % 360, 1)


def chart(lines, *, x_label, y_label, title):
    """A line chart; its vertical axis is logarithmic where all values are positive and span a factor above 50."""
    lines = [line._replace(points=[p for p in line.points if all(map(math.isfinite, p))]) for line in lines]
    points = np.array([point for line in lines for point in line.points] or [(0.0, 0.0)])
    x_low, x_high = min(0.0, points[:, 0].min()), points[:, 0].max()
    y_low, y_high = points[:, 1].min(), points[:, 1].max()
    log = y_low > 0 and y_high > 50 * y_low
    rise = math.log if log else float
    bottom, top = rise(y_low), rise(y_high)
    margin = 0.04 * (top - bottom) or 0.5
    bottom, top = bottom - margin, top + margin

    def across(x):
        return LEFT + (RIGHT - LEFT) * (x - x_low) / (x_high - x_low or 1.0)

    def up(y):
        return BOTTOM - (BOTTOM - TOP) * (rise(y) - bottom) / (top - bottom)

    parts = [element("title", title)]
    for y in _log_ticks(y_low, y_high) if log else _ticks(y_low - margin, y_high + margin):
        parts.append(_path([[(LEFT, up(y)), (RIGHT, up(y))]], class_="rule"))
        parts.append(_text(_short(y), LEFT - 6, up(y) + 3.5, "end"))
    for x in _ticks(x_low, x_high):
        parts.append(_text(_short(x), across(x), BOTTOM + 15, "middle"))
    for line in lines:
        drawn = [(across(x), up(y)) for x, y in line.points]
        if drawn:
            parts.append(_path([drawn], class_="dashed line" if line.dashed else "line", style=f"--hue:{line.hue}"))
    parts.append(_text(x_label, (LEFT + RIGHT) / 2, BOTTOM + 33, "middle"))
    parts.append(_text(f"{y_label} (log scale)" if log else y_label, 10, (TOP + BOTTOM) / 2, "middle", turned=True))
    return element("svg", *parts, viewBox="0 0 360 224", role="img", class_="chart")


def plane(window, layers, *, title):
    """Points and paths in a square of the plane.

    Args:
        window: the square's low and high corner, `[2]` each.
        layers: (class of the style, points `[N, 2]` or paths `[N, T, 2]`), the lowest first.
        title: what the picture shows, for those who do not see it.
    """
    low, high = window

    def placed(points):
        unit = (np.asarray(points, np.float64) - low) / (high - low)
        return np.stack([LEFT + SIDE * unit[..., 0], TOP + SIDE * (1.0 - unit[..., 1])], -1)

    frame = [(LEFT, TOP), (LEFT + SIDE, TOP), (LEFT + SIDE, TOP + SIDE), (LEFT, TOP + SIDE), (LEFT, TOP)]
    parts = [element("title", title), _path([frame], class_="rule")]
    for style, points in layers:
        points = placed(points)
        points = points[:, None] if points.ndim == 2 else points
        parts.append(_path(_inside(points), class_=style))
    for value in _ticks(low[0], high[0]):
        parts.append(_text(_short(value), placed([value, low[1]])[0], TOP + SIDE + 16, "middle"))
    for value in _ticks(low[1], high[1]):
        parts.append(_text(_short(value), LEFT - 6, placed([low[0], value])[1] + 4, "end"))
    parts.append(_text("x₁", LEFT + SIDE / 2, TOP + SIDE + 34, "middle"))
    parts.append(_text("x₂", 12, TOP + SIDE / 2, "middle", turned=True))
    return element("svg", *parts, viewBox=f"0 0 {LEFT + SIDE + 12} {TOP + SIDE + 40}", role="img", class_="plane")


def square(points):
    """A square around points `[N, 2]`, with a margin: its low and its high corner."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.55 * max(high - low) or 1.0
    return (low + high) / 2 - half, (low + high) / 2 + half


def _inside(paths):
    """Paths all of whose points lie in the frame."""
    low, high = np.array([LEFT, TOP]), np.array([LEFT + SIDE, TOP + SIDE])
    return paths[((paths >= low) & (paths <= high)).all(axis=(1, 2))]


def _path(paths, **attributes):
    # "h0" draws the dot of a path of one point, where lines have round ends.
    steps = ("M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in path) + "h0" for path in paths)
    return element("path", d="".join(steps), **attributes)


def _text(text, x, y, anchor, turned=False):
    turn = f"rotate(-90 {x:.1f} {y:.1f})" if turned else None
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, transform=turn)


def _ticks(low, high):
    from matplotlib.ticker import MaxNLocator

    # Rounding: a tick at the very end counts as inside.
    slack = 1e-9 * (high - low)
    return [t for t in MaxNLocator(4).tick_values(low, high) if low - slack <= t <= high + slack]


def _log_ticks(low, high):
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(ticks) <= 6:
            return ticks
    return ticks[:: math.ceil(len(ticks) / 6)]


def _short(value):
    """A tick's number: 20k for 20 000."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.6g}k"
    return f"{value:.4g}".replace("-", "−") if abs(value) > 1e-12 else "0"
