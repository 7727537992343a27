"""Simplify the outlines of regions so that neighbours still share their borders.

A ring is cut into arcs at its nodes and at pinned vertices. An arc lies between the same two regions all along, and
both simplify it independently: from the same end, from nothing but the arc and the corners of the label map near it.
So both get the same line, in any process.

Part of an arc becomes one line if no vertex of it is farther from that line than the tolerance, and no other corner
lies between; otherwise it is split at the vertex that is farthest away (Douglas and Peucker, 1973,
https://doi.org/10.3138/FM57-6770-U75U-7727). Other corners are those of all other borders, and of the other parts of
the same one. So no line ever passes over a corner of another, and lines that did not meet never will (de Berg, van
Kreveld and Schirra, 1998, https://doi.org/10.1559/152304098782383007).

Two arcs with the same ends must not become the same line: an arc becomes one line only if that line is slanted and no
other corner lies within the tolerance around it; otherwise it keeps a vertex between its ends. A closed arc keeps
two. So no region is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.regions import NODE, PINNED, Regions
from terraseam.tiles.regions.rings import canonical_rings
from terraseam.tiles.regions.tolerance import Tolerance

FIXED = NODE | PINNED
"""Marks of the ends of arcs."""


Table = tuple[np.ndarray, np.ndarray, int]


@dataclass(frozen=True, slots=True, eq=False)
class CornerTables:
    """Corners indexed by row and by column."""

    by_row: Table
    by_column: Table

    @staticmethod
    def of(corners: Corners) -> CornerTables:
        """Build the tables of corners."""
        return CornerTables(_table(corners), _table(corners.transposed()))


def simplify(regions: Regions, corners: Corners | CornerTables, tolerance: Tolerance) -> Regions:
    """Simplify the rings of regions, which must be in canonical form.

    Args:
        regions: Whole regions.
        corners: All corners of the label map within ``tolerance.reach`` of their rings; as tables if several regions
            are simplified one after the other.
        tolerance: Largest distance of a vertex from the line that replaces it.

    Returns:
        The same regions with fewer vertices. Collinear vertices remain only if they are nodes.
    """
    if not len(regions):
        return regions
    ground = np.array(tolerance.ground) / tolerance.metres
    tables = CornerTables.of(corners) if isinstance(corners, Corners) else corners
    limits = ground, tolerance.pixels, (tables.by_row, tables.by_column)
    vertices, ring_offsets = _simplify_rings(regions.coords, regions.marks, regions.ring_offsets, limits)
    owners = np.repeat(np.arange(len(regions)), np.diff(regions.region_offsets))
    simplified = regions.coords[vertices], regions.marks[vertices]
    coords, marks, ring_offsets = canonical_rings(*simplified, ring_offsets, owners)
    return replace(regions, coords=coords, marks=marks, ring_offsets=ring_offsets)


def _table(corners: Corners) -> Table:
    return corners.x, corners.row_offsets, corners.top


@njit(cache=True, nogil=True)
def _simplify_rings(coords, marks, ring_offsets, limits):  # type: ignore[no-untyped-def]
    """Return the indices of the vertices that are kept, ring by ring, each closed; and the ring offsets."""
    vertices = np.empty(len(coords), np.int64)
    offsets = np.zeros(len(ring_offsets), np.int64)
    n = 0
    for ring in range(len(ring_offsets) - 1):
        first, count = ring_offsets[ring], ring_offsets[ring + 1] - 1 - ring_offsets[ring]
        # Walk the ring from its first node, or from its first vertex, which is the same from both sides.
        anchor = 0
        for i in range(count):
            if marks[first + i] & FIXED:
                anchor = i
                break
        path = first + (anchor + np.arange(count + 1)) % count
        begin, start = n, 0
        for end in range(1, count + 1):
            if end < count and not marks[path[end]] & FIXED:
                continue
            stays = _simplify_arc(coords[path[start : end + 1]], limits)
            for k in range(start, end):
                if stays[k - start]:
                    vertices[n] = path[k]
                    n += 1
            start = end
        vertices[n] = vertices[begin]
        n += 1
        offsets[ring + 1] = n
    return vertices[:n], offsets


@njit(cache=True, nogil=True)
def _simplify_arc(arc, limits):  # type: ignore[no-untyped-def]
    """Return whether each vertex of an arc is kept, independent of the direction of the arc."""
    last = len(arc) - 1
    if last < 2:
        return np.ones(last + 1, np.bool_)
    closed = arc[0, 0] == arc[last, 0] and arc[0, 1] == arc[last, 1]
    inset = 1 if closed else 0
    a, b = arc[inset], arc[last - inset]
    if b[1] < a[1] or (b[1] == a[1] and b[0] < a[0]):
        return _choose(np.ascontiguousarray(arc[::-1]), closed, limits)[::-1]
    return _choose(arc, closed, limits)


@njit(cache=True, nogil=True)
def _choose(arc, closed, limits):  # type: ignore[no-untyped-def]
    """Return whether each vertex of an arc is kept: its ends, those that keep it apart, and those it is split at."""
    ground, pixels, tables = limits
    last = len(arc) - 1
    stays = np.zeros(last + 1, np.bool_)
    stays[0] = stays[last] = True
    far, distance = _farthest(arc, 0, last, ground)
    if closed:
        stays[far] = True
        stays[_off_the_line(arc, far, ground)] = True
    elif distance > 1 or _may_coincide(arc, pixels, tables):
        stays[far] = True
    else:
        return stays
    pieces = [(0, 0)]
    start = 0
    for end in range(1, last + 1):
        if stays[end]:
            pieces.append((start, end))
            start = end
    while len(pieces) > 1:
        start, end = pieces.pop()
        if end - start < 2:
            continue
        far, distance = _farthest(arc, start, end, ground)
        if distance > 1 or not _is_clear(arc, start, end, 0, tables):
            stays[far] = True
            pieces.append((start, far))
            pieces.append((far, end))
    return stays


@njit(cache=True, nogil=True)
def _may_coincide(arc, pixels, tables):  # type: ignore[no-untyped-def]
    """Check whether another arc might become the line between the ends of this one: a straight or nearby one."""
    last = len(arc) - 1
    upright = arc[0, 0] == arc[last, 0] or arc[0, 1] == arc[last, 1]
    return upright or not _is_clear(arc, 0, last, pixels, tables)


@njit(cache=True, nogil=True)
def _farthest(arc, start, end, ground):  # type: ignore[no-untyped-def]
    """Return the vertex between two others that is farthest from the line between them, and its squared distance."""
    line_x, line_y = _on_ground(arc, start, end, ground)
    length = line_x * line_x + line_y * line_y
    far, farthest = start + 1, -1.0
    for k in range(start + 1, end):
        x, y = _on_ground(arc, start, k, ground)
        share = (x * line_x + y * line_y) / length if length > 0 else 0.0
        share = min(max(share, 0.0), 1.0)
        x, y = x - share * line_x, y - share * line_y
        if x * x + y * y > farthest:
            far, farthest = k, x * x + y * y
    return far, farthest


@njit(cache=True, nogil=True)
def _off_the_line(arc, far, ground):  # type: ignore[no-untyped-def]
    """Return the vertex of a closed arc farthest from the infinite line through its end and the vertex `far`."""
    line_x, line_y = _on_ground(arc, 0, far, ground)
    best, farthest = far, -1.0
    for k in range(1, len(arc) - 1):
        x, y = _on_ground(arc, 0, k, ground)
        off = abs(x * line_y - y * line_x)
        if k != far and off > farthest:
            best, farthest = k, off
    return best


@njit(cache=True, nogil=True)
def _on_ground(arc, start, k, ground):  # type: ignore[no-untyped-def]
    """Return the vector from one vertex to another, right and up, in units of the tolerance."""
    cols, rows = arc[k, 0] - arc[start, 0], arc[k, 1] - arc[start, 1]
    return cols * ground[0, 0] + rows * ground[1, 0], cols * ground[0, 1] + rows * ground[1, 1]


@njit(cache=True, nogil=True)
def _is_clear(arc, start, end, margin, tables):  # type: ignore[no-untyped-def]
    """Check whether no corners but its own lie between part of an arc and the line between its ends.

    The area between is scanned along rows, or along columns if the line is flatter than steep: on each, from the
    first to the last point of the part and the line.

    Args:
        arc: Vertices ``(x, y)``.
        start: Index of the first vertex of the part.
        end: Index of its last vertex.
        margin: Distance around part and line that must also be free of corners, in pixels.
        tables: Corners by row, and by column.
    """
    flat = abs(arc[end, 0] - arc[start, 0]) > abs(arc[end, 1] - arc[start, 1])
    along, across = (0, 1) if flat else (1, 0)
    places, offsets, top = tables[1] if flat else tables[0]
    piece_along, piece_across = arc[start : end + 1, along], arc[start : end + 1, across]
    first, last = piece_along.min(), piece_along.max()
    low, high = _spans(piece_along, piece_across, first, last)
    corner_count = 0
    for line in range(max(first - margin, top), min(last + margin + 1, top + len(offsets) - 1)):
        here = places[offsets[line - top] : offsets[line - top + 1]]
        near = slice(max(line - first - margin, 0), line - first + margin + 1)
        a, b = low[near].min() - margin, high[near].max() + margin
        corner_count += np.searchsorted(here, b, side="right") - np.searchsorted(here, a, side="left")
    return corner_count == end - start + 1


@njit(cache=True, nogil=True)
def _spans(along, across, first, last):  # type: ignore[no-untyped-def]
    """Return the smallest and largest integer position on the part or its line, for each line `first` to `last`."""
    low = np.full(last - first + 1, np.int64(1) << 40)
    high = np.full(last - first + 1, -(np.int64(1) << 40))
    for k in range(len(along)):
        after = min(k + 1, len(along) - 1)
        for line in range(min(along[k], along[after]), max(along[k], along[after]) + 1):
            low[line - first] = min(low[line - first], across[k], across[after])
            high[line - first] = max(high[line - first], across[k], across[after])
    begin, end = np.int64(along[0]), np.int64(along[-1])
    rise = np.int64(across[-1]) - across[0]
    if end < begin:
        begin, end, rise = end, begin, -rise
    base = across[0] if begin == along[0] else across[-1]
    for line in range(begin, end + 1):
        # The line crosses between integer positions: only integers between it and the part count.
        numerator, length = (line - begin) * rise, max(end - begin, 1)
        low[line - first] = min(low[line - first], base - (-numerator) // length)
        high[line - first] = max(high[line - first], base + numerator // length)
    return low, high
