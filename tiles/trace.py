"""Trace the regions of one sheet of a label map along the cracks between its pixels.

Regions that touch no neighbouring sheet come out whole. The others stay open: their rings get a vertex at
every pixel step along a seam, so that `tiles.close` can take out the steps that two sheets share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from tiles.components import Components, find_components
from tiles.fragments import Fragments
from tiles.regions import Regions, ragged_take
from tiles.rings import canonical_rings
from tiles.seams import Seams, SeamSummary, summarize_seams

# Directions are 0 = east, 1 = south, 2 = west, 3 = north; the region lies to the right of the way.
STEP_X = np.array([1, 0, -1, 0])
STEP_Y = np.array([0, 1, 0, -1])
# Pixels ahead of a corner (x, y), as offsets from (y, x) in an array with a frame one pixel wide.
RIGHT_ROW = np.array([1, 1, 0, 0])
RIGHT_COL = np.array([1, 0, 0, 1])
LEFT_ROW = np.array([0, 1, 1, 0])
LEFT_COL = np.array([1, 1, 0, 0])


@dataclass(frozen=True, slots=True, eq=False)
class SheetTrace:
    """What was traced on one sheet.

    Attributes:
        closed: Regions that touch no neighbouring sheet, finished.
        fragments: The pieces of those that do.
        summary: What neighbouring sheets need to know of the fragments.
    """

    closed: Regions
    fragments: Fragments
    summary: SeamSummary


def trace_sheet(
    labels: np.ndarray, scores: np.ndarray, offset: tuple[int, int], seams: Seams, keep: np.ndarray
) -> SheetTrace:
    """Trace the 4-connected regions of one sheet.

    Args:
        labels: Label map of the sheet, uint8, shape ``(height, width)``.
        scores: Score of each pixel, uint8, same shape.
        offset: First pixel ``(row, col)`` of the sheet in the raster.
        seams: The sides on which another sheet lies.
        keep: Labels to trace, bool, shape ``(256,)``; the others and nodata are nothing.

    Raises:
        ValueError: If the arrays do not have these shapes and types.
    """
    _check_maps(labels, scores, keep)
    components = find_components(labels, scores, keep)
    table = _trace_components(components, labels, offset, seams)
    numbers = components.numbers[1:-1, 1:-1]
    is_open = np.zeros(len(table.parts) + 1, dtype=bool)
    for side in seams.sides(numbers):
        is_open[side] = True
    is_open = is_open[1:]
    fragments = table.take(np.flatnonzero(is_open))
    fragment_numbers = np.concatenate([[-1], np.where(is_open, np.cumsum(is_open) - 1, -1)])
    summary = summarize_seams(fragment_numbers.astype(np.int32)[numbers], fragments, seams)
    return SheetTrace(_finish(table.parts.take(np.flatnonzero(~is_open))), fragments, summary)


def _check_maps(labels: np.ndarray, scores: np.ndarray, keep: np.ndarray) -> None:
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"labels must be uint8 (height, width), got {labels.dtype} {labels.shape}")
    if scores.shape != labels.shape or scores.dtype != np.uint8:
        raise ValueError(f"scores must be uint8 {labels.shape}, got {scores.dtype} {scores.shape}")
    if keep.shape != (256,) or keep.dtype != np.bool_:
        raise ValueError(f"keep must be bool (256,), got {keep.dtype} {keep.shape}")


def _trace_components(
    components: Components, labels: np.ndarray, offset: tuple[int, int], seams: Seams
) -> Fragments:
    """The rings of all components as they were walked, in the order of components."""
    height, width = labels.shape
    first = components.first
    found = labels[first[:, 0], first[:, 1]]
    rim_x = np.zeros(width + 1, dtype=bool)
    rim_y = np.zeros(height + 1, dtype=bool)
    rim_x[0], rim_x[-1] = seams.left, seams.right
    rim_y[0], rim_y[-1] = seams.top, seams.bottom
    padded_labels = np.concatenate([[0], found]).astype(np.uint8)
    walked, ring_offsets, owners = _trace_rings(components.numbers, padded_labels, rim_x, rim_y)
    order = np.argsort(owners, kind="stable")
    vertices, ring_offsets = ragged_take(ring_offsets, order)
    walked = walked[vertices]
    rings = np.bincount(owners, minlength=len(found) + 1)[1:]
    row, col = offset
    parts = Regions(
        walked[:, :2] + np.array([col, row], dtype=np.int32),
        ring_offsets,
        np.concatenate([[0], np.cumsum(rings)]).astype(np.int64),
        found,
        first + np.array([row, col]),
        components.pixels,
        components.score_sum,
    )
    return Fragments(parts, walked[:, 2].astype(bool))


def _finish(parts: Regions) -> Regions:
    """Bring the rings of regions that are whole into the canonical form."""
    owners = np.repeat(np.arange(len(parts)), np.diff(parts.region_offsets))
    coords, ring_offsets = canonical_rings(parts.coords, parts.ring_offsets, owners)
    return Regions(
        coords,
        ring_offsets,
        parts.region_offsets,
        parts.labels,
        parts.first,
        parts.pixels,
        parts.score_sum,
    )


@njit(cache=True, nogil=True)
def _trace_rings(numbers, labels, rim_x, rim_y):  # type: ignore[no-untyped-def]
    """Walk every ring once, each from the first of its top edges in row-major order.

    Returns:
        Vertices ``(x, y, node)`` of all rings, their offsets, and the component of each ring.
    """
    height, width = numbers.shape[0] - 2, numbers.shape[1] - 2
    visited = np.zeros((height, width), np.bool_)
    walked = np.empty((1 << 12, 3), np.int32)
    offsets = np.zeros(1 << 10, np.int64)
    owners = np.zeros(1 << 10, np.int32)
    n = rings = 0
    for row in range(height):
        here, above, seen = numbers[row + 1, 1:-1], numbers[row, 1:-1], visited[row]
        col = _next_start(here, above, seen, 0)
        while col < width:
            if rings + 1 == len(offsets):
                offsets = np.concatenate((offsets, np.zeros_like(offsets)))
                owners = np.concatenate((owners, np.zeros_like(owners)))
            walked, n = _walk((numbers, labels, rim_x, rim_y), (col, row), visited, walked, n)
            owners[rings] = here[col]
            rings += 1
            offsets[rings] = n
            col = _next_start(here, above, seen, col + 1)
    return walked[:n], offsets[: rings + 1], owners[:rings]


@njit(cache=True, nogil=True)
def _next_start(here, above, seen, col):  # type: ignore[no-untyped-def]
    """The next pixel of a row, from `col` on, whose top edge no ring has passed yet; else the row's length.

    A function of its own: in the loop that also grows arrays it would run ten times slower.
    """
    while col < len(here) and (here[col] == 0 or here[col] == above[col] or seen[col]):
        col += 1
    return col


@njit(cache=True, nogil=True)
def _walk(sheet, start, visited, walked, n):  # type: ignore[no-untyped-def]
    """Append one ring to `walked` from vertex `n` on; gives `walked`, perhaps moved, and its new end."""
    numbers, labels, rim_x, rim_y = sheet
    x, y = start
    number = numbers[y + 1, x + 1]
    begin = n
    direction, last, saddle = 0, -1, False
    while True:
        on_rim = rim_x[x] or rim_y[y]
        if direction != last or on_rim:
            if n + 2 > len(walked):
                walked = np.concatenate((walked, np.empty_like(walked)))
            walked[n, 0], walked[n, 1], walked[n, 2] = x, y, on_rim or saddle
            n += 1
        if direction == 0:
            visited[y, x] = True
        last = direction
        x += STEP_X[direction]
        y += STEP_Y[direction]
        direction, saddle = _turn(numbers, labels, number, (x, y), direction)
        if direction == 0 and x == start[0] and y == start[1]:
            break
    walked[begin, 2] |= saddle
    walked[n] = walked[begin]
    return walked, n + 1


@njit(cache=True, nogil=True)
def _turn(numbers, labels, number, corner, direction):  # type: ignore[no-untyped-def]
    """The direction to go on in from a corner, and whether another piece of equal label lies across it.

    Where the region meets itself diagonally the way turns left, round what lies between: rings never touch
    themselves. Where it meets another component of its label, both may be one region in the whole raster.
    """
    x, y = corner
    left = numbers[y + LEFT_ROW[direction], x + LEFT_COL[direction]]
    if left == number:
        return (direction + 3) & 3, False
    if numbers[y + RIGHT_ROW[direction], x + RIGHT_COL[direction]] == number:
        return direction, False
    return (direction + 1) & 3, left != 0 and labels[left] == labels[number]
