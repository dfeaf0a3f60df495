"""Monotone rational-quadratic splines (Gregory & Delbourgo 1982; Durkan et al. 2019, arXiv:1906.04032)."""

import functools
import itertools
import math

import tensorflow as tf

MIN_SIZE = 1e-3  # of a bin, as a share of the interval
MIN_SLOPE = 1e-3


def rational_quadratic(x, widths, heights, slopes, *, bound, inverse=False):
    """A monotone spline on [-bound, bound], the identity outside it, elementwise.

    Within a bin of width w, from (x₀, y₀) with slope δ₀ to slope δ₁, with s = h / w and ξ = (x − x₀) / w:

        y = y₀ + h (s ξ² + δ₀ ξ (1 − ξ)) / (s + (δ₀ + δ₁ − 2 s) ξ (1 − ξ))

    Args:
        x: `[…]`; y where `inverse`.
        widths: unnormalized widths of the K bins, `[…, K]`.
        heights: unnormalized heights, `[…, K]`.
        slopes: unnormalized slopes at the K − 1 inner knots, `[…, K - 1]`; all zeros give the identity.
        bound: half the side of the interval.
        inverse: map y to x.

    Returns:
        y and log dy/dx, each `[…]`; where `inverse`, x and log dx/dy.

    Example:
        >>> zeros = tf.zeros([1, 4])
        >>> y, log_slope = rational_quadratic(tf.constant([0.5]), zeros, zeros, zeros[:, :3], bound=1.0)
        >>> round(float(y[0]), 6), abs(float(log_slope[0])) < 1e-6
        (0.5, True)
    """
    inside = (x > -bound) & (x < bound)
    # The branch not taken must stay finite, or its gradient would be NaN: clamp before, not after.
    clamped = tf.clip_by_value(x, -bound, bound)
    columns, rows, slopes = _knots(widths, bound), _knots(heights, bound), _slopes(slopes)  # K + 1 tensors [...]
    starts = rows if inverse else columns
    knots = list(zip(columns, rows, slopes))
    (x0, y0, d0), (x1, y1, d1) = knots[:2]
    for start, left, right in zip(starts[1:], knots[1:], knots[2:]):
        after = clamped >= start  # a knot belongs to the bin on its right
        x0, y0, d0, x1, y1, d1 = (
            tf.where(after, new, old) for new, old in zip((*left, *right), (x0, y0, d0, x1, y1, d1))
        )
    w, h = x1 - x0, y1 - y0  # of the knots as rounded: 0 ≤ ξ ≤ 1 to the last bit, or a steep bin has a negative slope
    s = h / w
    curve = d0 + d1 - 2.0 * s
    if inverse:
        # With t = (y − y₀) / h: (s − b) ξ² + b ξ − s t = 0. The discriminant b² + 4 s t (s − b), written as a sum of
        # squares, is never below the square of the least slope; of the two forms of the root take the one that adds.
        t = (clamped - y0) / h
        b = d0 - t * curve
        root = tf.sqrt((d0 * (1.0 - t) - d1 * t) ** 2 + 4.0 * s * s * t * (1.0 - t))
        size = tf.where(b < 0, -b, b)
        q = root + size
        xi = tf.clip_by_value(tf.where(b < 0, q / (2.0 * (s + size)), 2.0 * s * t / q), 0.0, 1.0)
        result = x0 + w * xi
    else:
        xi = (clamped - x0) / w
        result = y0 + h * (s * xi * xi + d0 * xi * (1.0 - xi)) / (s + curve * xi * (1.0 - xi))
    bow = xi * (1.0 - xi)
    # dy/dx = s² (δ₁ ξ² + 2 s ξ (1 − ξ) + δ₀ (1 − ξ)²) / (s + (δ₀ + δ₁ − 2 s) ξ (1 − ξ))²
    numerator = d1 * xi * xi + 2.0 * s * bow + d0 * (1.0 - xi) * (1.0 - xi)
    log_slope = 2.0 * tf.math.log(s) + tf.math.log(numerator) - 2.0 * tf.math.log(s + curve * bow)
    log_slope = -log_slope if inverse else log_slope
    return tf.where(inside, result, x), tf.where(inside, log_slope, tf.zeros_like(x))


def _knots(raw, bound):
    """Where bins begin and end, from -bound to bound exactly; no bin is below the least size. K + 1 tensors."""
    raw = tf.unstack(raw, axis=-1)
    largest = tf.stop_gradient(functools.reduce(tf.maximum, raw))
    weights = [tf.exp(r - largest) for r in raw]
    scale = (1.0 - MIN_SIZE * len(raw)) / tf.add_n(weights)
    shares = [MIN_SIZE + scale * w for w in weights[:-1]]
    end = tf.fill(tf.shape(largest), tf.cast(bound, largest.dtype))
    return [-end, *(bound * (2.0 * share - 1.0) for share in itertools.accumulate(shares)), end]


def _slopes(raw):
    """Positive slopes at all knots; 1 at both ends, where the identity joins. K + 1 tensors."""
    zero = math.log(math.expm1(1.0 - MIN_SLOPE))  # softplus of it is 1 - MIN_SLOPE
    inner = [MIN_SLOPE + tf.nn.softplus(r + zero) for r in tf.unstack(raw, axis=-1)]
    end = tf.ones_like(inner[0])
    return [end, *inner, end]
