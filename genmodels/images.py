"""Batches of images as one picture: grids, PNG files and GIF animations."""

import math
import numbers
import os
import pathlib

import numpy as np

_TITLE, _GAP = 24, 12  # pixels: height of a panel's title, distance of panels
_BACKGROUND = 128  # tells the border of an image from both black and white pixels


def grid(images, *, levels, columns=None, scale=None, padding=2):
    """Images side by side in one array of 8-bit pixels.

    Args:
        images: [N, H, W, C] with C 1 or 3, in data units 0 … levels-1; floats are clipped to that range.
            [rows, columns, H, W, C] fixes the rows, one interpolation each for instance.
        levels: number of levels of a pixel, an integer ≥ 2.
        columns: images in a row; by default as many as make the grid square.
        scale: integer enlargement by repeating pixels; by default the greatest that keeps an image
            within 64 × 64 pixels, so that an 8 × 8 digit can be seen.
        padding: pixels of grey around each image, after enlargement.

    Returns:
        uint8 [rows * (H * scale + padding) + padding, columns * (W * scale + padding) + padding, C].

    Raises:
        ValueError: images of another shape, integers outside 0 … levels-1, NaN or infinity, or bad options.

    Example:
        >>> import numpy as np
        >>> from genmodels.images import grid
        >>> grid(np.zeros([6, 8, 8, 1], np.uint8), levels=17, columns=3).shape
        (134, 200, 1)
    """
    images = np.asarray(images)
    if images.ndim == 5:
        columns, images = images.shape[1], images.reshape(-1, *images.shape[2:])
    pixels = _pixels(images, levels)
    count, height, width, channels = pixels.shape
    columns = _whole("columns", math.ceil(math.sqrt(count)) if columns is None else columns, at_least=1)
    scale = _whole("scale", max(1, 64 // max(height, width)) if scale is None else scale, at_least=1)
    padding = _whole("padding", padding, at_least=0)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    cell_height, cell_width = height * scale + padding, width * scale + padding
    rows = math.ceil(count / columns)
    canvas = np.full(
        [rows * cell_height + padding, columns * cell_width + padding, channels], _BACKGROUND, np.uint8
    )
    for i, image in enumerate(pixels):
        top, left = padding + i // columns * cell_height, padding + i % columns * cell_width
        canvas[top : top + height * scale, left : left + width * scale] = image
    return canvas


def save_grid(path, images, *, levels, columns=None, scale=None, padding=2):
    """Writes `grid` of the images as a PNG file, whole or not at all.

    Args:
        path: a file name ending in .png; missing folders are made.
        images: [N, H, W, C] with C 1 or 3, in data units 0 … levels-1; floats are clipped to that range.
        levels: number of levels of a pixel, an integer ≥ 2.
        columns: images in a row; by default as many as make the grid square.
        scale: integer enlargement, as in `grid`.
        padding: pixels of grey around each image.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: as for `grid`, or a path that does not end in .png.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.images import save_grid
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_grid(folder + "/samples.png", np.zeros([6, 8, 8, 1]), levels=17).name
        'samples.png'
    """
    picture = grid(images, levels=levels, columns=columns, scale=scale, padding=padding)
    return _save(path, [picture], "png")


def save_gallery(path, panels, *, levels, columns=2, scale=None, padding=1):
    """Writes grids of images under their titles, side by side in one PNG file: models beside each other.

    Args:
        path: a file name ending in .png; missing folders are made.
        panels: from title to images, [N, H, W, C] or [rows, columns, H, W, C] as in `grid`, in the order of reading.
        levels: number of levels of a pixel, an integer ≥ 2, of all panels.
        columns: panels in a row.
        scale: integer enlargement, as in `grid`.
        padding: pixels of grey around each image.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: as for `grid`, or no panels.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.images import save_gallery
        >>> panels = {"zeros": np.zeros([4, 8, 8, 1]), "ones": np.ones([4, 8, 8, 1])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_gallery(folder + "/gallery.png", panels, levels=2).name
        'gallery.png'
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = _whole("columns", columns, at_least=1)
    if not panels:
        raise ValueError("`panels` must hold at least one grid of images; got none.")
    grids = [grid(batch, levels=levels, scale=scale, padding=padding) for batch in panels.values()]
    rows = [list(zip(panels, grids))[i : i + columns] for i in range(0, len(grids), columns)]
    widths = [max(row[i][1].shape[1] for row in rows if i < len(row)) for i in range(min(columns, len(grids)))]
    heights = [max(g.shape[0] for _, g in row) for row in rows]
    size = sum(widths) + _GAP * (len(widths) - 1), sum(heights) + (_TITLE + _GAP) * len(rows) - _GAP
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TITLE - 8)
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for (title, pixels), width in zip(row, widths):
            draw.text((left, top + 2), title, "black", font)
            shown = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
            canvas.paste(shown, (left, top + _TITLE))
            left += width + _GAP
        top += height + _TITLE + _GAP
    return _save(path, [np.asarray(canvas)], "png")


def save_gif(path, frames, *, levels, seconds=0.1, columns=None, scale=None, padding=2):
    """Writes frames as an endless GIF animation, whole or not at all.

    Args:
        path: a file name ending in .gif; missing folders are made.
        frames: grids of images [T, N, H, W, C] with C 1 or 3, in data units 0 … levels-1, one `grid` a frame.
            A path from `interpolate`, [B, T, H, W, C], is given as `tf.transpose(path, [1, 0, 2, 3, 4])`.
        levels: number of levels of a pixel, an integer ≥ 2.
        seconds: time a frame is shown, at least 0.02; the format counts in hundredths.
        columns: images in a row; by default as many as make the grid square.
        scale: integer enlargement, as in `grid`.
        padding: pixels of grey around each image.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: as for `grid`, frames of another shape, or a path that does not end in .gif.

    Example:
        >>> import numpy as np, tempfile
        >>> from genmodels.images import save_gif
        >>> frames = np.arange(3).reshape(3, 1, 1, 1, 1) * np.ones([3, 4, 8, 8, 1], int)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_gif(folder + "/path.gif", frames, levels=3).name
        'path.gif'
    """
    frames = np.asarray(frames)
    if frames.ndim != 5 or not len(frames):
        raise ValueError(f"`frames` must be [frames, images, height, width, channels]; got {frames.shape}.")
    if not seconds >= 0.02:
        raise ValueError(f"`seconds` must be at least 0.02, the shortest that viewers keep to; got {seconds!r}.")
    pictures = [grid(frame, levels=levels, columns=columns, scale=scale, padding=padding) for frame in frames]
    return _save(path, pictures, "gif", save_all=True, duration=round(1000 * seconds), loop=0)


def pairs(first, second):
    """Two batches of images in turn, [2 N, H, W, C] float: examples beside their reconstructions in a grid.

    Args:
        first: [N, H, W, C].
        second: [N, H, W, C].

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import numpy as np
        >>> from genmodels.images import pairs
        >>> pairs(np.zeros([3, 8, 8, 1]), np.ones([3, 8, 8, 1]))[:, 0, 0, 0].tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    """
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if first.shape != second.shape:
        raise ValueError(f"both batches must have one shape; got {first.shape} and {second.shape}.")
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def stretched(images, levels):
    """Pictures that can be shown, and their levels: real-valued ones from their own lowest number to their highest.

    Args:
        images: `[…]`, in data units.
        levels: number of levels of a pixel, or None for real-valued ones; with a number nothing changes.

    Example:
        >>> import numpy as np
        >>> from genmodels.images import stretched
        >>> stretched(np.array([-1.0, 3.0]), None)
        (array([  0., 255.]), 256)
    """
    if levels is not None:
        return images, levels
    images = np.asarray(images)
    low, high = images.min(), images.max()
    return (images - low) / max(high - low, 1e-12) * 255.0, 256


def _pixels(images, levels):
    """Data units to 0 … 255."""
    if not isinstance(levels, numbers.Integral) or isinstance(levels, bool) or levels < 2:
        raise ValueError(
            "`levels` must be an integer ≥ 2, the number of values of a pixel (scale real-valued images to "
            f"0 … levels-1 first); got {levels!r}."
        )
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"`images` must be [batch, height, width, 1 or 3], not empty; got {images.shape}.")
    if not np.isfinite(images).all():
        raise ValueError("`images` must be finite; got NaN or infinity.")
    low, high = images.min(), images.max()
    if np.issubdtype(images.dtype, np.integer) and (low < 0 or high > levels - 1):
        raise ValueError(f"`images` must lie in 0 … {levels - 1} for levels={levels}; got {low} … {high}.")
    scaled = np.clip(images.astype(np.float64), 0, levels - 1) * (255 / (levels - 1))
    return np.rint(scaled).astype(np.uint8)


def _whole(name, value, at_least):
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"`{name}` must be an integer ≥ {at_least}; got {value!r}.")
    return int(value)


def _save(path, pictures, form, **options):
    from PIL import Image

    path = pathlib.Path(path)
    if path.suffix.lower() != f".{form}":
        raise ValueError(f"`path` must end in .{form}; got {str(path)!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pictures)
    if rest:
        options["append_images"] = rest
    # Replacing is atomic within a folder, so a run that is killed here leaves no half-written picture.
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        first.save(partial, format=form, **options)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
