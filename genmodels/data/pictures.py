"""One picture file, or one array of pictures, brought to a size and a number of channels."""

from __future__ import annotations

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
UNREAD = (".heic", ".heif", ".avif", ".jp2", ".pgm", ".ppm", ".tga", ".ico", ".svg", ".psd", ".dng", ".cr2", ".nef")


def as_size(size) -> tuple[int, int] | None:
    """(height, width) of `size`.

    Args:
        size: an integer for a square, (height, width), or None.

    Returns:
        (height, width), or None.

    Raises:
        ValueError: anything else.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else size
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in pair)):  # fmt: skip
        raise ValueError(f"`size` must be a number of pixels or (height, width); got {size!r}.")
    return int(pair[0]), int(pair[1])


def decode(path, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """Reads a picture: its first frame, upright, on white where it is transparent.

    Args:
        path: of the file.
        size: (height, width): the short side is resized with antialiasing, then the centre cut out. None keeps
            the picture's own.
        channels: 1 for grey, 3 for RGB.

    Returns:
        `[height, width, channels]` uint8.

    Raises:
        Exception: whatever Pillow raises for a file that it cannot or, for its size, will not read.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16"):  # Pillow clips 16 bits to 255 where it converts them
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        if picture.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {picture.mode!r} have no known range")
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return _array(_fit(picture.convert("L" if channels == 1 else "RGB"), size))


def conform(images: np.ndarray, size: tuple[int, int] | None, channels: int | None, levels: int) -> np.ndarray:
    """Brings an array of pictures to a size and a number of channels, as `decode` does with files.

    Args:
        images: `[N, H, W, C]` uint8.
        size: (height, width), or None to keep.
        channels: 1, 3, or None to keep.
        levels: resized pixels stay below it.

    Returns:
        `[N, *size, channels]` uint8; the array itself where nothing changes.

    Raises:
        ValueError: not images, or of neither one nor three channels.
    """
    if size in (None, images.shape[1:3]) and channels in (None, images.shape[-1]):
        return images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"only images of 1 or 3 channels can be resized or recoloured; got {images.shape[1:]}.")
    from PIL import Image

    mode = "RGB" if (channels or images.shape[-1]) == 3 else "L"
    results = None
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if images.shape[-1] == 1 else image)
        result = _array(_fit(picture.convert(mode), size))
        if results is None:
            results = np.empty([len(images), *result.shape], np.uint8)
        results[i] = result
    return np.minimum(results, levels - 1)  # the bicubic kernel overshoots


def _fit(picture, size):
    from PIL import Image, ImageOps

    if size is None or picture.size == size[::-1]:
        return picture
    return ImageOps.fit(picture, size[::-1], Image.Resampling.BICUBIC)


def _array(picture):
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels
