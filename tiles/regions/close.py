"""Close open polygons: join the fragments of a region from neighbouring sheets.

The rings of fragments are cut at their nodes into arcs. Two arcs of one region that run along the same pixel edge in
opposite directions lie on a seam inside it and cancel; the others are linked into rings again by the tracer's own
rule: where a region meets itself diagonally, the path turns left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.regions import RELINK, Regions
from terraseam.tiles.regions.rings import canonical_rings
from terraseam.tiles.regions.seams import Homes
from terraseam.tiles.regions.simplify import simplify
from terraseam.tiles.regions.tolerance import Tolerance


def close_regions(parts: Iterable[tuple[Fragments, Homes]], tolerance: Tolerance | None = None) -> Regions:
    """Join fragments into whole regions, with the same result as tracing the whole label map at once.

    Args:
        parts: Fragments with the regions and groups that they belong to, as found by
            `terraseam.tiles.regions.seams.merge_seams`. All fragments of a region must be among them; any number of
            regions, in any order.
        tolerance: Tolerance for simplifying rings, for which fragments must have the corners near them; None to not
            simplify.

    Returns:
        The regions in order of their first pixels.

    Raises:
        ValueError: If the fragment with the first pixel of a region is missing.
    """
    pairs = [pair for pair in parts if len(pair[0])]
    if not pairs:
        return Regions.empty()
    fragments = Fragments.concatenate([pair[0] for pair in pairs])
    pieces = fragments.parts
    homes = Homes.concatenate([pair[1] for pair in pairs])
    first, region = np.unique(homes.regions, axis=0, return_inverse=True)
    region = region.reshape(-1)
    _check_first(pieces.first, first, region)
    vertices, walked_offsets, owners = _relink(pieces, np.repeat(region, np.diff(pieces.region_offsets)))
    walked, walked_marks = pieces.coords[vertices], pieces.marks[vertices]
    coords, marks, ring_offsets = canonical_rings(walked, walked_marks, walked_offsets, owners)
    labels = np.zeros(len(first), dtype=np.int64)
    labels[region] = pieces.labels
    groups = np.zeros_like(first)
    groups[region] = homes.groups
    pixels, score_sum = np.zeros((2, len(first)), dtype=np.int64)
    np.add.at(pixels, region, pieces.pixels)
    np.add.at(score_sum, region, pieces.score_sum)
    rings = np.bincount(owners, minlength=len(first))
    region_offsets = np.concatenate([[0], np.cumsum(rings)]).astype(np.int64)
    regions = Regions(coords, marks, ring_offsets, region_offsets, labels, first, pixels, score_sum, groups)
    return simplify(regions, fragments.corners, tolerance) if tolerance else regions


def _check_first(pieces: np.ndarray, regions: np.ndarray, region: np.ndarray) -> None:
    """Check that every region has a fragment that starts at its first pixel."""
    starts = (pieces == regions[region]).all(axis=1)
    missing = np.setdiff1d(np.arange(len(regions)), region[starts])
    if missing.size:
        row, col = regions[missing[0]]
        raise ValueError(f"the first fragment of the region at row {row}, column {col} is missing")


@dataclass(frozen=True, slots=True, eq=False)
class _Arcs:
    """Parts of rings between two nodes; each field has the shape ``(arcs,)`` or ``(arcs, 2)``.

    Attributes:
        start: Index of the first vertex among all vertices.
        length: Number of edges.
        ring: The ring it is cut from.
        region: The region it belongs to.
        leaves: Direction of the first edge.
        arrives: Direction of the last edge.
        begin: First vertex ``(x, y)``.
        end: Last vertex ``(x, y)``.
        loop: True for a whole ring without nodes.
    """

    start: np.ndarray
    length: np.ndarray
    ring: np.ndarray
    region: np.ndarray
    leaves: np.ndarray
    arrives: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    loop: np.ndarray


def _relink(pieces: Regions, ring_region: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Link the rings of fragments into whole rings: indices of their vertices, ring offsets, region of each ring."""
    coords, ring_offsets = pieces.coords, pieces.ring_offsets
    arcs = _cut(coords, (pieces.marks & RELINK) != 0, ring_offsets, ring_region)
    inside = _cancelling(arcs)
    successor = _successors(arcs, np.flatnonzero(~inside & ~arcs.loop))
    table = np.stack([arcs.start, arcs.length, arcs.ring, successor], axis=1)
    vertices, offsets, heads = _follow(table, inside, ring_offsets)
    return vertices, offsets, arcs.region[heads]


def _cut(coords: np.ndarray, nodes: np.ndarray, ring_offsets: np.ndarray, ring_region: np.ndarray) -> _Arcs:
    """Cut rings at their nodes."""
    start, end, length, ring = _cut_rings(nodes, ring_offsets).T
    opening = coords[start + 1] - coords[start]
    before = np.where(end == ring_offsets[ring], ring_offsets[ring + 1] - 1, end) - 1
    closing = coords[end] - coords[before]
    return _Arcs(
        start,
        length,
        ring,
        ring_region[ring],
        _direction(opening),
        _direction(closing),
        coords[start].astype(np.int64),
        coords[end].astype(np.int64),
        ~nodes[start],
    )


def _direction(steps: np.ndarray) -> np.ndarray:
    """Encode the direction of steps: 0 = east, 1 = south, 2 = west, 3 = north."""
    x, y = steps.T
    return np.where(x > 0, 0, np.where(y > 0, 1, np.where(x < 0, 2, 3)))


def _cancelling(arcs: _Arcs) -> np.ndarray:
    """Return whether each arc is a single pixel edge that another arc of its region runs along in reverse."""
    low = np.minimum(arcs.begin, arcs.end)
    step = np.flatnonzero((arcs.length == 1) & (np.abs(arcs.end - arcs.begin).sum(axis=1) == 1))
    edge = _corner_key(arcs, low)[step] * 2 + (arcs.leaves[step] & 1)
    _, inverse, count = np.unique(edge, return_inverse=True, return_counts=True)
    inside = np.zeros(len(arcs.start), dtype=bool)
    inside[step] = count[inverse] == 2
    return inside


def _successors(arcs: _Arcs, chosen: np.ndarray) -> np.ndarray:
    """Return the arc that follows each of the `chosen` arcs; the others follow themselves. Shape ``(arcs,)``."""
    begin, end = _corner_key(arcs, arcs.begin)[chosen], _corner_key(arcs, arcs.end)[chosen]
    order = np.argsort(begin, kind="stable")
    place = np.searchsorted(begin[order], end)
    candidate = order[place]
    second = order[np.minimum(place + 1, len(order) - 1)] if len(order) else order
    turns_left = arcs.leaves[chosen][second] == (arcs.arrives[chosen] + 3) % 4
    candidate = np.where((begin[second] == end) & turns_left, second, candidate)
    successor = np.arange(len(arcs.start))
    successor[chosen] = chosen[candidate]
    return successor


def _corner_key(arcs: _Arcs, corners: np.ndarray) -> np.ndarray:
    """Return one integer for each pair of a region and a corner ``(x, y)``."""
    origin = np.minimum(arcs.begin, arcs.end).min(axis=0)
    width, height = np.maximum(arcs.begin, arcs.end).max(axis=0) - origin + 1
    x, y = (corners - origin).T
    return (arcs.region * height + y) * width + x


@njit(cache=True, nogil=True)
def _cut_rings(nodes, ring_offsets):  # type: ignore[no-untyped-def]
    """Return rows ``(first vertex, last vertex, edges, ring)``, one for each arc; rings without nodes stay whole."""
    rings = len(ring_offsets) - 1
    arcs = np.empty((nodes.sum() + rings, 4), np.int64)
    n = 0
    for ring in range(rings):
        first, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        begin = n
        for i in range(first, last):
            if nodes[i]:
                arcs[n, 0], arcs[n, 3] = i, ring
                n += 1
        if n == begin:
            arcs[n, 0], arcs[n, 3] = first, ring
            n += 1
        for k in range(begin, n):
            end = arcs[k + 1, 0] if k + 1 < n else arcs[begin, 0]
            arcs[k, 1] = end
            arcs[k, 2] = end - arcs[k, 0] if end > arcs[k, 0] else end - arcs[k, 0] + last - first
    return arcs[:n]


@njit(cache=True, nogil=True)
def _follow(arcs, used, ring_offsets):  # type: ignore[no-untyped-def]
    """Follow arcs ``(first vertex, edges, ring, successor)`` into closed rings; those in `used` are left out.

    Returns:
        Indices of the vertices of closed rings, their offsets, and the arc that each ring starts with.
    """
    used = used.copy()
    vertices = np.empty(arcs[:, 1].sum() + len(arcs), np.int64)
    offsets = np.zeros(len(arcs) + 1, np.int64)
    heads = np.empty(len(arcs), np.int64)
    n = rings = 0
    for head in range(len(arcs)):
        if used[head]:
            continue
        begin = n
        arc = head
        while not used[arc]:
            used[arc] = True
            first, last = ring_offsets[arcs[arc, 2]], ring_offsets[arcs[arc, 2] + 1] - 1
            for k in range(arcs[arc, 0], arcs[arc, 0] + arcs[arc, 1]):
                vertices[n] = k if k < last else k - last + first
                n += 1
            arc = arcs[arc, 3]
        vertices[n] = vertices[begin]
        n += 1
        heads[rings] = head
        rings += 1
        offsets[rings] = n
    return vertices[:n], offsets[: rings + 1], heads[:rings]
