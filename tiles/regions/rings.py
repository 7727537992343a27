"""Canonical form of rings on pixel edges, independent of how the raster was cut."""

from __future__ import annotations

import math

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.regions import NODE, RELINK, ragged_take


def canonical_rings(
    coords: np.ndarray, marks: np.ndarray, ring_offsets: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop collinear vertices that are not nodes, and sort rings independently of how they were found.

    A ring starts at its topmost vertex, the leftmost of these; the shell of an owner comes before its holes, holes in
    order of their starts. Each start is the corner of a different pixel, so no two are equal.

    Args:
        coords: Vertices ``(x, y)`` of closed rings, int32, shape ``(vertices, 2)``. Interiors lie to the right of the
            path (rows going down): shells have a positive area, holes a negative one.
        marks: Marks of each vertex, uint8, shape ``(vertices,)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        owners: The region that each ring belongs to, shape ``(rings,)``.

    Returns:
        Vertices, their marks without `RELINK`, and ring offsets, ordered by owner.
    """
    tidy, tidy_marks, offsets, areas = _tidy(coords, marks, ring_offsets)
    starts = tidy[offsets[:-1]]
    order = np.lexsort((starts[:, 0], starts[:, 1], areas < 0, owners))
    vertices, ordered = ragged_take(offsets, order)
    return tidy[vertices], tidy_marks[vertices] & np.uint8(~RELINK & 255), ordered


def densify(coords: np.ndarray, ring_offsets: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Add vertices so that no edge is longer than `step` along either axis.

    Edges along an axis get one wherever they cross a multiple of `step`, counted from the raster's corner; slanted
    ones are split into equal parts, at most half a step long along either axis. Both sides of an edge get the same
    vertices, whatever their direction.

    Args:
        coords: Vertices ``(x, y)`` of closed rings, shape ``(vertices, 2)``. If they are not integers, all edges
            count as slanted.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        step: Lattice spacing, in pixels.

    Returns:
        Vertices and ring offsets; vertices keep the integer type of `coords` unless slanted edges were split.
    """
    whole = coords.dtype.kind == "i"
    extra = _vertices_to_add(coords, ring_offsets, step, whole)
    if not extra.any():
        return coords, ring_offsets
    place = np.concatenate([[0], np.cumsum(extra + 1)])
    edge = np.repeat(np.arange(len(extra)), extra)
    nth = 1 + np.arange(len(edge)) - (np.cumsum(extra) - extra)[edge]
    kind = np.int64 if whole else np.float64
    start, end = coords[edge].astype(kind), coords[edge + 1].astype(kind)
    added, nth = place[edge] + nth, nth[:, None]
    forward = (start // step + nth) * step
    backward = (-(-start // step) - nth) * step
    on_axis = np.where(end == start, start, np.where(end > start, forward, backward))
    slanted = (start != end).all(axis=1) | (not whole)
    dense = np.empty((place[-1], 2))
    dense[place[:-1]] = coords
    dense[added] = np.where(slanted[:, None], _part(start, end, nth, extra[edge, None] + 1), on_axis)
    on_lattice = whole and not slanted.any()
    return dense.astype(coords.dtype) if on_lattice else dense, place[ring_offsets]


def _part(start: np.ndarray, end: np.ndarray, nth: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the `nth` of the points that split edges into equal parts, bitwise equal from both ends."""
    forward = (start[:, :1] < end[:, :1]) | ((start[:, :1] == end[:, :1]) & (start[:, 1:] < end[:, 1:]))
    low, high = np.where(forward, start, end), np.where(forward, end, start)
    return low + (high - low) * np.where(forward, nth, parts - nth) / parts


@njit(cache=True, nogil=True)
def _vertices_to_add(coords, ring_offsets, step, whole):  # type: ignore[no-untyped-def]
    """Return how many vertices `densify` adds after each vertex, int64."""
    extra = np.zeros(len(coords), np.int64)
    for ring in range(len(ring_offsets) - 1):
        for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            x, y, next_x, next_y = coords[i, 0], coords[i, 1], coords[i + 1, 0], coords[i + 1, 1]
            if whole and y == next_y:
                extra[i] = _multiples_between(x, next_x, step)
            elif whole and x == next_x:
                extra[i] = _multiples_between(y, next_y, step)
            else:
                longest = max(abs(next_x - x), abs(next_y - y))
                extra[i] = max(math.ceil(longest / max(step // 2, 1)) - 1, 0)
    return extra


@njit(cache=True, nogil=True)
def _multiples_between(a, b, step):  # type: ignore[no-untyped-def]
    """Count the multiples of `step` strictly between two integers."""
    low, high = min(a, b), max(a, b)
    first = (low // step + 1) * step
    return (high - 1 - first) // step + 1 if first < high else 0


@njit(cache=True, nogil=True)
def _tidy(coords, marks, ring_offsets):  # type: ignore[no-untyped-def]
    """Return corners and nodes of each ring from its start, their marks and offsets, and twice each ring's area."""
    rings = len(ring_offsets) - 1
    tidy, tidy_marks = np.empty_like(coords), np.empty_like(marks)
    offsets = np.zeros(rings + 1, np.int64)
    areas = np.zeros(rings, np.int64)
    n = 0
    for ring in range(rings):
        first, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        start = _start(coords, first, last)
        walked = coords[first:last], marks[first:last]
        areas[ring], end = _copy_corners(walked, start - first, (tidy[n:], tidy_marks[n:]))
        n += end
        offsets[ring + 1] = n
    return tidy[:n], tidy_marks[:n], offsets, areas


@njit(cache=True, nogil=True)
def _start(coords, first, last):  # type: ignore[no-untyped-def]
    """Return the topmost, then leftmost of the vertices from `first` to before `last`."""
    best = first
    for i in range(first + 1, last):
        higher = coords[i, 1] < coords[best, 1]
        if higher or (coords[i, 1] == coords[best, 1] and coords[i, 0] < coords[best, 0]):
            best = i
    return best


@njit(cache=True, nogil=True)
def _copy_corners(walked, start, out):  # type: ignore[no-untyped-def]
    """Write the corners and nodes of an open ring to `out`, from `start` around and back to it.

    Returns:
        Twice the signed area, and the number of vertices written.
    """
    ring, marks = walked
    coords_out, marks_out = out
    count = len(ring)
    before = ring[start - 1 if start else count - 1]
    area = np.int64(0)
    n = 0
    for step in range(count):
        i = start + step
        i -= count if i >= count else 0
        here, after = ring[i], ring[i + 1 if i + 1 < count else 0]
        area += np.int64(here[0]) * after[1] - np.int64(after[0]) * here[1]
        turns = (here[0] - before[0]) * (after[1] - here[1]) != (here[1] - before[1]) * (after[0] - here[0])
        if turns or marks[i] & NODE:
            coords_out[n], marks_out[n] = here, marks[i]
            n += 1
        before = here
    coords_out[n], marks_out[n] = coords_out[0], marks_out[0]
    return area, n + 1
