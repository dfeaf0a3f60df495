"""The multiscale architecture: squeeze, transform, factor half of the channels out, go on (Dinh et al. 2016)."""

from collections.abc import Callable

from genmodels.models.flows.bijections import Bijection, Chain
from genmodels.models.flows.shapes import Flatten, Split
from genmodels.settings import checked_count, checked_shape

SMALLEST = 4  # pixels a side below which nothing is squeezed by default


def multiscale(event_shape, scales, level: Callable[[int, bool], list[Bijection]], dtype) -> Chain:
    """A flow of images to one flat latent; of vectors, `level(0, True)` alone.

    Args:
        event_shape: `(height, width, channels)` or `(dimensions,)`.
        scales: how often the image is squeezed; None for as often as its sides stay even, down to 4 pixels or more.
        level: (index, whether it is the last) to the bijections of a level, its squeeze included where it has one.
        dtype: Keras dtype policy of the learned priors' networks.
    """
    if len(event_shape) == 1:
        return Chain(level(0, True))
    flow = None
    for index in reversed(range(scales)):
        parts = level(index, flow is None)
        flow = Chain([*parts, Flatten() if flow is None else Split(flow, dtype=dtype)])
    return flow


def checked_scales(event_shape, scales) -> int:
    """How often the image is squeezed, checked; 1 for vectors."""
    shape = checked_shape(event_shape)
    if len(shape) == 1:
        if scales not in (None, 1):
            raise ValueError(f"vectors have one scale; got scales={scales}.")
        return 1
    sides = shape[:2]
    most = 0
    while all(side % 2 ** (most + 1) == 0 for side in sides):
        most += 1
    if most == 0:
        raise ValueError(f"image flows squeeze 2×2 pixels: height and width must be even; got {sides}.")
    scales = checked_count("scales", scales, 1, "None for as many as fit")
    if scales is None:
        return max(1, sum(min(sides) // 2**n >= SMALLEST for n in range(1, most + 1)))
    if scales > most:
        raise ValueError(f"images of {sides[0]}×{sides[1]} can be squeezed {most} times; got scales={scales}.")
    return scales


