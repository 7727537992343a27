"""Memory of a call: what grows with the pixels of a chip, and what grows faster, as attention does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOAT_BYTES = 4
LARGE_CHIP = 1536**2
"""Pixels of a chip at which the bound for maps that grow between once and twice as fast as pixels is met."""
ATTENTION_COPIES = 1.3
"""What attention takes for each byte of its scores that are alive at once: TensorFlow and OpenVINO were measured to take
1.1 times, ONNX Runtime, for which plans add 40 %, 0.9 to 1.6 times."""
STRAIGHT = 1.1
"""Memory grows faster than pixels where it grows so many times as fast between larger chips as between smaller ones."""


@dataclass(frozen=True, slots=True)
class CallMemory:
    """Memory of a call on a chip of ``p`` pixels: ``per_pixel * p + per_pixel_squared * p * p`` bytes.

    Attributes:
        per_pixel: Bytes per pixel of the chip.
        per_pixel_squared: Bytes per pixel squared; 0 where nothing compares every place with every other.
    """

    per_pixel: int
    per_pixel_squared: float = 0.0


def value_bytes(dtype: str) -> int:
    """Return the bytes that engines take for a value of a type; halves are computed with as float32 on CPUs."""
    return 2 * FLOAT_BYTES if dtype.endswith("64") else FLOAT_BYTES


def round_up(number: float) -> float:
    """Return a number of few digits that is not smaller."""
    if number <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(number)) - 3)
    return float(f"{math.ceil(number / unit) * unit:.4g}")


def growth_terms(count: float, pixels: float, excess: float) -> tuple[float, float]:
    """Bound a number that grows as ``pixels ** (1 + excess)`` by a part per pixel and a part per pixel squared.

    With ``x = pixels / LARGE_CHIP``, ``x ** excess <= (1 - excess) + excess * x`` for every excess from 0 to 1.

    Args:
        count: The number on a chip of `pixels`.
        pixels: Pixels of that chip.
        excess: By how much it grows faster than pixels, 0 to 1.

    Returns:
        The number per pixel, and per pixel squared.
    """
    at_large = count / pixels * (LARGE_CHIP / pixels) ** excess
    return at_large * (1 - excess), at_large * excess / LARGE_CHIP


def excess_of(rows: float, columns: float) -> float:
    """Return by how much a map grows faster than the pixels of a square chip.

    Args:
        rows: Exponent with which it grows with the height of a chip.
        columns: Exponent with which it grows with the width.

    Returns:
        0, 0.5 or 1, rounded up: padding and single tokens that are added make exponents a little smaller.
    """
    return min(max(math.ceil(rows + columns - 2 - 0.2), 0), 2) / 2


def fit_memory(pixels: Sequence[int], peaks: Sequence[int]) -> tuple[float, float]:
    """Fit memory that was measured on chips of three sizes, by divided differences.

    Args:
        pixels: Pixels of the chips, from the smallest to the largest.
        peaks: Highest memory on each, in bytes.

    Returns:
        Bytes per pixel, and bytes per pixel squared; the second is 0 where memory grows about as pixels do.
    """
    first, second, third = pixels
    near, far = (peaks[1] - peaks[0]) / (second - first), (peaks[2] - peaks[1]) / (third - second)
    if far <= STRAIGHT * max(near, 0):
        return (peaks[2] - peaks[0]) / (third - first), 0.0
    squared = (far - max(near, 0)) / (third - first)
    return max(near - squared * (first + second), 0), squared
