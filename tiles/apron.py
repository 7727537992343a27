"""What a sheet sees of the sheets around it: strips of their labels, as wide as is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tiles.stitch import NODATA

Way = tuple[int, int]
"""From a sheet to one beside it: rows and columns of sheets, each -1, 0 or 1."""

WAYS: tuple[Way, ...] = tuple((row, col) for row in (-1, 0, 1) for col in (-1, 0, 1) if row or col)
"""The ways to all eight sheets around one."""


@dataclass(frozen=True, slots=True, eq=False)
class Rim:
    """The outermost labels of a sheet, as its neighbours see them; uint8.

    Attributes:
        top: The topmost rows, shape ``(depth, width)``; fewer rows where the sheet is smaller.
        bottom: The lowest rows.
        left: The leftmost columns, shape ``(height, depth)``.
        right: The rightmost columns.
    """

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


def rim_of(labels: np.ndarray, depth: int) -> Rim:
    """The outermost labels of a sheet, `depth` pixels deep; copies, so that the sheet itself need not stay."""
    top, bottom = labels[:depth].copy(), labels[-depth:].copy()
    return Rim(top, bottom, labels[:, :depth].copy(), labels[:, -depth:].copy())


def with_apron(labels: np.ndarray, around: Mapping[Way, Rim], depth: int) -> np.ndarray:
    """A sheet's labels and those around it.

    Args:
        labels: Label map of the sheet, uint8, shape ``(height, width)``.
        around: Rims of the sheets beside it, at least `depth` deep where they are as large as that, by the way
            to them; nothing where the raster ends.
        depth: Width of the apron, in pixels.

    Returns:
        uint8, shape ``(height + 2 * depth, width + 2 * depth)``; nodata where the raster ends.
    """
    wide = np.pad(labels, depth, constant_values=NODATA)
    for way, rim in around.items():
        seen = _seen(rim, way, depth)
        rows, cols = (
            _place(*axis) for axis in zip(way, labels.shape, seen.shape, (depth, depth), strict=True)
        )
        wide[rows, cols] = seen
    return wide


def _seen(rim: Rim, way: Way, depth: int) -> np.ndarray:
    """What is seen of a sheet that lies that way: at most `depth` of its rows, of its columns, or of both."""
    row, col = way
    if row == 0:
        return rim.left[:, :depth] if col > 0 else rim.right[:, -depth:]
    strip = rim.top[:depth] if row > 0 else rim.bottom[-depth:]
    return strip if col == 0 else strip[:, :depth] if col > 0 else strip[:, -depth:]


def _place(way: int, length: int, seen: int, depth: int) -> slice:
    """Where `seen` pixels of a sheet that lies that way stand along one axis of the apron."""
    start = (depth - seen, depth, depth + length)[way + 1]
    return slice(start, start + seen)
