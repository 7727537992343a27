"""Extend a sheet by strips of its neighbours' labels, of any width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.labels.label_codes import CodedLabels, merge_tables
from terraseam.tiles.labels.stitch import NODATA

SheetOffset = tuple[int, int]
"""Offset from a sheet to a neighbouring one: rows and columns of sheets, each -1, 0 or 1."""

NEIGHBOUR_OFFSETS: tuple[SheetOffset, ...] = tuple(
    (row, col) for row in (-1, 0, 1) for col in (-1, 0, 1) if row or col
)
"""The offsets to all eight neighbouring sheets."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeStrip:
    """The outermost labels of a sheet, as its neighbours need them.

    Attributes:
        top: The topmost rows, shape ``(depth, width)``; fewer if the sheet is smaller.
        bottom: The bottommost rows.
        left: The leftmost columns, shape ``(height, depth)``.
        right: The rightmost columns.
    """

    top: CodedLabels
    bottom: CodedLabels
    left: CodedLabels
    right: CodedLabels


def edge_strip_of(labels: CodedLabels, depth: int) -> EdgeStrip:
    """Copy the outermost labels of a sheet, `depth` pixels deep, so that the sheet itself can be freed."""
    first, last, every = slice(depth), slice(-depth, None), slice(None)
    parts = ((first, every), (last, every), (every, first), (every, last))
    return EdgeStrip(*(labels.part(rows, cols).compact() for rows, cols in parts))


def with_neighbour_context(
    labels: CodedLabels, around: Mapping[SheetOffset, EdgeStrip], depth: int
) -> CodedLabels:
    """Pad a sheet's labels with those of its neighbours.

    Args:
        labels: Label map of the sheet, shape ``(height, width)``.
        around: Edge strips of the neighbouring sheets by their offset, `depth` or more deep unless a sheet is
            smaller; none beyond the raster.
        depth: Width of the context, in pixels.

    Returns:
        Shape ``(height + 2 * depth, width + 2 * depth)``; nodata beyond the raster.
    """
    parts = [_context_part(edge_strip, offset, depth) for offset, edge_strip in around.items()]
    (own, *others), table = merge_tables([labels, *parts])
    wide = np.pad(own, depth, constant_values=NODATA)
    for offset, strip in zip(around, others, strict=True):
        rows, cols = (
            _slice_along(*axis) for axis in zip(offset, own.shape, strip.shape, (depth, depth), strict=True)
        )
        wide[rows, cols] = strip
    return CodedLabels(wide, table)


def _context_part(edge_strip: EdgeStrip, offset: SheetOffset, depth: int) -> CodedLabels:
    """Return the part of a neighbouring sheet in the context: at most `depth` of its rows, its columns, or both."""
    row, col = offset
    ends = {1: slice(depth), 0: slice(None), -1: slice(-depth, None)}
    if row == 0:
        return (edge_strip.left if col > 0 else edge_strip.right).part(ends[0], ends[col])
    return (edge_strip.top if row > 0 else edge_strip.bottom).part(ends[row], ends[col])


def _slice_along(offset: int, length: int, size: int, depth: int) -> slice:
    """Return where `size` pixels of a neighbouring sheet lie along one axis of the padded labels."""
    start = (depth - size, depth, depth + length)[offset + 1]
    return slice(start, start + size)
