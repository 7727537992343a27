"""Memory of a model call: a part proportional to the chip's pixels, and a part that grows faster (attention)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOAT_BYTES = 4
LARGE_CHIP = 1536**2
"""Pixels of a chip at which the bound is tight for maps that grow between linearly and quadratically with pixels."""
ATTENTION_COPIES = 1.3
"""Memory of attention per byte of its scores alive at once. Measured: 1.1 times with TensorFlow and OpenVINO, 0.9 to
1.6 times with ONNX Runtime, for which plans add 40 %."""
STRAIGHT = 1.1
"""Ratio of slopes (larger to smaller chips) above which memory counts as growing faster than pixels."""


@dataclass(frozen=True, slots=True)
class CallMemory:
    """Memory of a call on a chip of ``p`` pixels: ``per_pixel * p + per_pixel_squared * p * p`` bytes.

    Attributes:
        per_pixel: Bytes per pixel of the chip.
        per_pixel_squared: Bytes per pixel squared; 0 unless the network compares every position with every other.
    """

    per_pixel: int
    per_pixel_squared: float = 0.0


def value_bytes(dtype: str) -> int:
    """Return the bytes that engines use for a value of a type; float16 is computed as float32 on CPUs."""
    return 2 * FLOAT_BYTES if dtype.endswith("64") else FLOAT_BYTES


def round_up(number: float) -> float:
    """Round a number up to four significant digits; negative numbers become 0."""
    if number <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(number)) - 3)
    return float(f"{math.ceil(number / unit) * unit:.4g}")


def growth_terms(count: float, pixels: float, excess: float) -> tuple[float, float]:
    """Bound a quantity that grows as ``pixels ** (1 + excess)`` by a part per pixel and a part per pixel squared.

    With ``x = pixels / LARGE_CHIP``, ``x ** excess <= (1 - excess) + excess * x`` for every excess from 0 to 1.

    Args:
        count: The quantity on a chip of `pixels`.
        pixels: Pixels of that chip.
        excess: Growth exponent beyond 1, 0 to 1.

    Returns:
        The quantity per pixel, and per pixel squared.
    """
    at_large = count / pixels * (LARGE_CHIP / pixels) ** excess
    return at_large * (1 - excess), at_large * excess / LARGE_CHIP


def excess_of(rows: float, columns: float) -> float:
    """Return how far a map's growth exponent, in pixels of a square chip, exceeds 1.

    Args:
        rows: Exponent of growth with the height of a chip.
        columns: Exponent of growth with the width.

    Returns:
        0, 0.5 or 1, rounded up: padding and extra tokens make exponents a little smaller.
    """
    return min(max(math.ceil(rows + columns - 2 - 0.2), 0), 2) / 2


def fit_memory(pixels: Sequence[int], peaks: Sequence[int]) -> tuple[float, float]:
    """Fit memory measured on chips of three sizes, by divided differences.

    Args:
        pixels: Pixels of the chips, from the smallest to the largest.
        peaks: Peak memory on each, in bytes.

    Returns:
        Bytes per pixel, and bytes per pixel squared; the second is 0 if memory is about proportional to pixels.
    """
    first, second, third = pixels
    near, far = (peaks[1] - peaks[0]) / (second - first), (peaks[2] - peaks[1]) / (third - second)
    if far <= STRAIGHT * max(near, 0):
        return (peaks[2] - peaks[0]) / (third - first), 0.0
    squared = (far - max(near, 0)) / (third - first)
    return max(near - squared * (first + second), 0), squared
