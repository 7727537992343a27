"""Rings on pixel edges in the one form in which they are written, wherever the raster was cut."""

from __future__ import annotations

import numpy as np
from numba import njit

from tiles.regions import ragged_take


def canonical_rings(
    coords: np.ndarray, ring_offsets: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drop collinear vertices and bring rings into an order that does not depend on how they were found.

    A ring starts at its topmost vertex, the leftmost of these; the shell of an owner comes before its holes,
    holes in the order of their starts. That start is the corner of one pixel of its own, so no two are equal.

    Args:
        coords: Vertices ``(x, y)`` of closed rings, int32, shape ``(vertices, 2)``. Interiors lie to the
            right of the way (rows going down): shells have a positive area, holes a negative one.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        owners: The region that each ring belongs to, shape ``(rings,)``.

    Returns:
        Vertices and ring offsets, ordered by owner.
    """
    tidy, offsets, areas = _tidy(coords, ring_offsets)
    starts = tidy[offsets[:-1]]
    order = np.lexsort((starts[:, 0], starts[:, 1], areas < 0, owners))
    vertices, ordered = ragged_take(offsets, order)
    return tidy[vertices], ordered


@njit(cache=True, nogil=True)
def _tidy(coords, ring_offsets):  # type: ignore[no-untyped-def]
    """Corners of each ring from its start on, their offsets, and twice the signed area of each ring."""
    rings = len(ring_offsets) - 1
    tidy = np.empty_like(coords)
    offsets = np.zeros(rings + 1, np.int64)
    areas = np.zeros(rings, np.int64)
    n = 0
    for ring in range(rings):
        first, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        start = _start(coords, first, last)
        areas[ring], end = _copy_corners(coords[first:last], start - first, tidy[n:])
        n += end
        offsets[ring + 1] = n
    return tidy[:n], offsets, areas


@njit(cache=True, nogil=True)
def _start(coords, first, last):  # type: ignore[no-untyped-def]
    """The topmost, then leftmost of the vertices from `first` to before `last`."""
    best = first
    for i in range(first + 1, last):
        higher = coords[i, 1] < coords[best, 1]
        if higher or (coords[i, 1] == coords[best, 1] and coords[i, 0] < coords[best, 0]):
            best = i
    return best


@njit(cache=True, nogil=True)
def _copy_corners(ring, start, out):  # type: ignore[no-untyped-def]
    """Write the corners of an open ring to `out`, from `start` round and back to it.

    Returns:
        Twice the signed area, and the number of vertices written.
    """
    count = len(ring)
    before = ring[start - 1 if start else count - 1]
    area = np.int64(0)
    n = 0
    for step in range(count):
        i = start + step
        i -= count if i >= count else 0
        here, after = ring[i], ring[i + 1 if i + 1 < count else 0]
        area += np.int64(here[0]) * after[1] - np.int64(after[0]) * here[1]
        if (here[0] - before[0]) * (after[1] - here[1]) != (here[1] - before[1]) * (after[0] - here[0]):
            out[n] = here
            n += 1
        before = here
    out[n] = out[0]
    return area, n + 1
