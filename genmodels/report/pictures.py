"""What a run's model draws, as pictures for the page; where it cannot, the reason in words."""

import base64
import io

import numpy as np
from PIL import Image

from genmodels import images
from genmodels.core import LatentModel
from genmodels.latent import interpolate
from genmodels.report.charts import hue, plane, square
from genmodels.report.markup import element, joined

WIDTH = 352  # pixels: a third of the page on a screen, and all of a phone's
POINTS = 1000
ROWS, FRAMES = 8, 10  # of walks between latents
COMPLETIONS = 4  # of each example


def samples(run, num, seed):
    """Fresh samples: images in a grid, points in the plane."""
    model = run.model
    reason = _cannot_show(model)
    if reason:
        return _words(reason)
    if _is_points(model):
        num = max(num, POINTS)
    labels = None
    if model.condition_dim is not None:
        if run.examples is None:
            return _words(f"it is conditional on vectors, and {run.absent}")
        labels = np.resize(run.first(num)[1], (num, model.condition_dim))
    drawn = model.sample(num, labels=labels, seed=seed).numpy()
    if _is_points(model):
        drawn = drawn[:, :2]
        window, behind = _window(run, drawn)
        outside = int(((drawn < window[0]) | (drawn > window[1])).any(axis=1).sum())
        more = f", {outside} of them outside of the picture" if outside else ""
        seen = " over test data (grey)" if behind else ""
        return _plane(run, window, [*behind, ("dots", drawn)], f"{num} samples{more}{seen}")
    classes = model.num_classes
    if classes is not None and classes <= num and classes * (model.event_shape[1] + 2) + 2 <= 2 * WIDTH:
        columns = classes * max(1, min(8, _across(model, num)) // classes)  # few classes: several columns each
        if columns > num:
            columns = classes
        drawn = drawn[: num // columns * columns]
        order = "a column a class" if columns == classes else "the classes in turn along a row"
        return _grid(run, drawn, columns, f"{len(drawn)} samples, {order}")
    return _grid(run, drawn, _across(model, num), f"{num} samples")


def between(run, seed):
    """Walks between latents of the prior; completions of examples where there are no latents."""
    model = run.model
    reason = _cannot_show(model)
    if reason:
        return _words(reason)
    if isinstance(model, LatentModel):
        return _walks(run, seed)
    if hasattr(model, "complete"):
        return _completions(run, seed)
    return _words(
        "no latents to walk between (autoencoders, GANs, flows and diffusion models have them), and no completion "
        "(autoregressive models have it)"
    )


def reconstructions(run):
    """Test examples beside what the model makes of their encodings."""
    model = run.model
    if not isinstance(model, LatentModel):
        return _words("no latents, hence no encoder")
    if type(model).encode is LatentModel.encode:
        return _words("no encoder")
    reason = _cannot_show(model)
    if reason or run.examples is None:
        return _words(reason or run.absent)
    x, labels = run.first(POINTS if _is_points(model) else 16)
    rebuilt = model.reconstruct(x, labels).numpy()
    if _is_points(model):
        x, rebuilt = x.numpy()[:, :2], rebuilt[:, :2]
        layers = [("faint dots", x), ("lines", np.stack([x, rebuilt], axis=1)), ("dots", rebuilt)]
        return _plane(run, square(x), layers, f"{len(x)} reconstructions, each with a line to its test point")
    columns = max(2, _across(model, 64) // 2 * 2)
    return _grid(run, images.pairs(x, rebuilt), columns, "test examples, each left of its reconstruction")


def _walks(run, seed):
    model = run.model
    labels, given = None, ""
    if model.num_classes is not None:
        labels, given = np.arange(ROWS, dtype=np.int32) % model.num_classes, ", a row a class"
    if model.condition_dim is not None:
        if run.examples is None:
            return _words(f"it is conditional on vectors, and {run.absent}")
        labels, given = np.resize(run.first(ROWS)[1], (ROWS, model.condition_dim)), ", a row a condition"
    ends = model.prior(2 * ROWS, seed, None if labels is None else np.concatenate([labels, labels]))
    frames = 33 if _is_points(model) else min(FRAMES, max(3, _across(model, FRAMES, FRAMES)))
    paths = interpolate(model, ends[:ROWS], ends[ROWS:], steps=frames, labels=labels).numpy()
    if _is_points(model):
        paths = paths[..., :2]
        window, behind = _window(run, paths.reshape(-1, 2))
        layers = [*behind, ("lines", paths), ("ends", paths[:, [0, -1]].reshape(-1, 2))]
        return _plane(run, window, layers, f"{ROWS} walks between latents of the prior")
    return _grid(run, paths.reshape(-1, *model.event_shape), frames, f"walks between latents of the prior{given}")


def _completions(run, seed):
    if run.examples is None:
        return _words(f"nothing to complete: {run.absent}")
    model = run.model
    across = _across(model, 10, most=10) // (COMPLETIONS + 1) or 1  # examples in a row
    x, labels = run.first(ROWS * across)
    known = np.arange(model.event_shape[0])[:, None] < np.full(model.event_shape[:2], model.event_shape[0] // 2)
    drawn = [model.complete(x, known, labels=labels, seed=seed + i).numpy() for i in range(COMPLETIONS)]
    strips = np.stack([x.numpy(), *drawn], axis=1).reshape(-1, *model.event_shape)
    text = f"test examples, each left of {COMPLETIONS} completions of its upper half"
    return _grid(run, strips, across * (COMPLETIONS + 1), text)


def _cannot_show(model):
    """Why no picture can show the model's examples; empty where one can."""
    *grid, channels = model.event_shape
    if grid and channels not in (1, 3):
        return f"images of {channels} channels are not drawn, only those of 1 or 3"
    return "" if grid or channels > 1 else "points of one dimension are not drawn"


def _is_points(model):
    return len(model.event_shape) == 1


def _across(model, num, most=8):
    """Images in a row that fill the width at most."""
    return max(1, min(most, num, (WIDTH - 2) // (model.event_shape[1] + 2)))


def _window(run, points):
    """The square to show, that of the data where they are at hand, and the data as a layer."""
    if run.examples is None:
        low, high = np.percentile(points, [1, 99], axis=0)  # stray samples would shrink all others
        return square(np.stack([low, high])), []
    data = run.first(POINTS)[0].numpy()[:, :2]
    return square(data), [("faint dots", data)]


def _grid(run, batch, columns, text):
    """Images as one PNG at an integer scale that fills the width, with its caption."""
    levels = run.model.levels
    if levels is None:  # real numbers: their own range is shown as black to white
        low, high = batch.min(), batch.max()
        batch, levels = (batch - low) / max(high - low, 1e-12) * 255.0, 256
    scale = max(1, ((WIDTH - 2) // columns - 2) // run.model.event_shape[1])
    pixels = images.grid(batch, levels=levels, columns=columns, scale=scale)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "png", optimize=True)
    height, width = pixels.shape[:2]
    return joined([
        element(
            "img", src=f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", alt=f"{run.name}: {text}",
            width=width, height=height, class_="pixels" if width <= WIDTH else None,
        ),
        element("p", text),
    ])  # fmt: skip


def _plane(run, window, layers, text):
    picture = plane(window, layers, title=f"{run.name}: {text}")
    return element("div", picture, element("p", text), style=f"--hue:{hue(run.number)}")


def _words(text):
    return element("p", f"{text[0].upper()}{text[1:]}.", class_="none")
