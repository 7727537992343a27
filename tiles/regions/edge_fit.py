"""Fit the fewest straight edges to the outline of a ring, by dynamic programming.

An outline is a chain of points that may be cut at some of them, its candidates. Of all ways to cut it, the one with
the lowest total cost is chosen: the squared distances of points from the edges' lines, plus a price per edge. The
line of an edge lies along one of a few given directions or, for a higher price, along any. So an outline gets as many
edges as it supports (the fewest for a given error: Perez and Vidal, 1994,
https://doi.org/10.1016/0167-8655(94)90002-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.outline_chains import TRIMMED, Chain, moments

WINDOW = 64
"""Maximum number of candidates that an edge may span; longer ones are fitted in parts, which are merged."""

JOG_PX = 2.0
"""Minimum distance between parallel edges that follow each other; closer ones are one edge."""

LEAST_SINE = 0.17
"""Lines at a smaller angle do not form a corner."""

_ALONG = 0.6
_CORNERS_REACH, _CORNER_PX, _FAR_PRICE = 1.5, 0.5, 100.0
_HOPELESS = 2.0
_SHORTEST_PX = 2.0
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits and prices of edges.

    Attributes:
        reach: Largest distance of a line from its outline, in pixels.
        aligned: Price of an edge along a given direction, in squared pixels summed over points.
        free: Price of an edge along any other direction.
        short: Added to the latter, divided by the length of the edge in pixels: a short edge hardly defines a
            direction.
    """

    reach: float
    aligned: float
    free: float
    short: float

    def __post_init__(self) -> None:
        if not (self.reach > 0 and min(self.aligned, self.free, self.short) >= 0):
            raise ValueError(f"reach must be more than 0 and prices 0 or more, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class FittedEdges:
    """Edges of a ring, in order.

    Attributes:
        kinds: Index of the direction of each; the number of directions if it follows none, shape ``(edges,)``.
        lines: Lines ``(a, b, c)`` with ``a x + b y = c`` and an outward unit vector ``(a, b)``.
        starts: Candidates at which they start, shape ``(edges,)``.
        cuts: Points at which they start, shape ``(edges, 2)``.
        limits: The largest `c` for which each line stays within its room.
    """

    kinds: np.ndarray
    lines: np.ndarray
    starts: np.ndarray
    cuts: np.ndarray
    limits: np.ndarray


def fit_edges(chain: Chain, directions: np.ndarray, bounds: Bounds) -> FittedEdges | None:
    """Split a chain into edges.

    Args:
        chain: The chain; it is cut at its first point.
        directions: Angles that edges may run along, in radians, shape ``(directions,)``.
        bounds: Limits and prices of edges.

    Returns:
        Its edges; None if none satisfy the bounds.
    """
    normals = np.stack([np.sin(directions), -np.cos(directions)], axis=1)
    limits = np.array([bounds.reach, bounds.aligned, bounds.free, bounds.short])
    sums = moments(chain.points)
    room = np.minimum(chain.room, bounds.reach)
    kinds, lines, starts = _cut(chain.points, sums, (chain.candidates, chain.held, room), normals, limits)
    if not len(kinds):
        return None
    places = chain.points[chain.candidates]
    ends = [
        (places[first : last + 1] @ line[:2] + chain.room[first : last + 1]).min()
        for line, (first, last) in zip(lines, pairwise([*starts, len(places) - 1]), strict=True)
    ]
    return FittedEdges(kinds, lines, starts, places[starts], np.array(ends))


@njit(cache=True, nogil=True)
def _line(sums, first, last, direction, kind, normals):  # type: ignore[no-untyped-def]
    """Fit a line to points: ``a, b, c``, the sum of squares, and the total weight."""
    trim = min(TRIMMED, (last - first) // 4)
    part = sums[max(last - trim, first + trim + 1)] - sums[first + trim]
    weight = part[0]
    mx, my = part[1] / weight, part[2] / weight
    xx, xy, yy = part[3] - weight * mx * mx, part[4] - weight * mx * my, part[5] - weight * my * my
    if kind < len(normals):
        a, b = normals[kind, 0], normals[kind, 1]
    elif last - first < 4:
        a, b = direction[1], -direction[0]
    else:
        angle = np.arctan2(2 * xy, xx - yy) / 2
        a, b = np.sin(angle), -np.cos(angle)
    # Counter-clockwise, the outside is to the right of the path.
    if a * direction[1] - b * direction[0] < 0:
        a, b = -a, -b
    off = max(a * a * xx + 2 * a * b * xy + b * b * yy, 0.0)
    return a, b, a * mx + b * my, off, weight


@njit(cache=True, nogil=True)
def _shift(points, candidates, room, span, line):  # type: ignore[no-untyped-def]
    """Return how far a line must be moved inward, and how far the outline then lies outside it."""
    shift, shrunk = 0.0, 0.0
    for q in range(span[0], span[1] + 1):
        point = points[candidates[q]]
        off = line[0] * point[0] + line[1] * point[1] - line[2]
        shift, shrunk = max(shift, -off - room[q]), max(shrunk, off)
    return shift, shrunk + shift


@njit(cache=True, nogil=True)
def _joint(before, after, cut, aligned):  # type: ignore[no-untyped-def]
    """Return the price of a transition from one line to the next at a point with some room."""
    point, room = cut
    sine = before[0] * after[1] - before[1] * after[0]
    cosine = before[0] * after[0] + before[1] * after[1]
    here = before[2] - before[0] * point[0] - before[1] * point[1]
    there = after[2] - after[0] * point[0] - after[1] * point[1]
    if abs(sine) < LEAST_SINE:
        if abs(here - cosine * there) < JOG_PX:
            return 0.0 if cosine > 0 else np.inf
        return aligned
    x = (here * after[1] - there * before[1]) / sine
    y = (there * before[0] - here * after[0]) / sine
    far = max(np.hypot(x, y) - _CORNERS_REACH * max(room, 0.0) - _CORNER_PX, 0.0)
    return _FAR_PRICE * far * far


@njit(cache=True, nogil=True)
def _cut(points, sums, cuts, normals, limits):  # type: ignore[no-untyped-def]
    """Return kinds, lines and first candidates of the edges."""
    candidates, held, room = cuts
    count, kinds = len(candidates) - 1, len(normals) + 1
    costs = np.full((count + 1, kinds), np.inf)
    costs[0, 0] = 0.0
    lines = np.zeros((count + 1, kinds, 3))
    origins = np.zeros((count + 1, kinds, 2), np.int64)
    for j in range(1, count + 1):
        for i in range(j - 1, max(j - WINDOW, 0) - 1, -1):
            if i < j - 1 and (held[i] or held[j - 1]):
                break
            off = 0.0
            for kind in range(kinds - 1 if held[i] else 0, kinds):
                price, off, line = _edge(points, sums, cuts, normals, limits, (i, j, kind))
                if price < np.inf:
                    cut = points[candidates[i]], room[i]
                    _enter((costs, lines, origins), (i, j, kind), (price, line), cut, limits)
            # The last kind is the best-fitting line.
            if off > _HOPELESS * limits[0]:
                break
    return _traced_back(costs, lines, origins)


@njit(cache=True, nogil=True)
def _edge(points, sums, cuts, normals, limits, where):  # type: ignore[no-untyped-def]
    """Return the price of an edge between two candidates, its distance from the outline, and its line."""
    candidates, held, room = cuts
    i, j, kind = where
    first, last = candidates[i], candidates[j]
    chord = points[last] - points[first]
    length = max(np.hypot(chord[0], chord[1]), _LEAST)
    direction = chord / length
    a, b, c, square, weight = _line(sums, first, last, direction, kind, normals)
    shift, off = _shift(points, candidates, room, (i, j), (a, b, c))
    line = (a, b, c - shift)
    if a * direction[1] - b * direction[0] < _ALONG or off > limits[0]:
        return np.inf, off, line
    if held[i]:
        return 0.0, off, line
    own = limits[1] if kind < len(normals) else limits[2] + limits[3] / max(length, _SHORTEST_PX)
    return own + square + weight * shift * shift, off, line


@njit(cache=True, nogil=True)
def _enter(table, where, edge, cut, limits):  # type: ignore[no-untyped-def]
    """Record an edge after its best predecessor, if nothing better has been found."""
    costs, lines, origins = table
    i, j, kind = where
    price, line = edge
    for k in range(costs.shape[1]):
        total = costs[i, k] + price
        if total < costs[j, kind] and i > 0:
            total += _joint(lines[i, k], line, cut, limits[1])
        if total < costs[j, kind]:
            costs[j, kind] = total
            lines[j, kind, 0], lines[j, kind, 1], lines[j, kind, 2] = line
            origins[j, kind, 0], origins[j, kind, 1] = i, k


@njit(cache=True, nogil=True)
def _traced_back(costs, lines, origins):  # type: ignore[no-untyped-def]
    """Return the edges that lead to the end at the lowest price."""
    end = len(costs) - 1
    kind = int(np.argmin(costs[end]))
    edge_kinds = np.empty(end, np.int64)
    edge_lines = np.empty((end, 3))
    starts = np.empty(end, np.int64)
    n = end
    if not np.isfinite(costs[end, kind]):
        return edge_kinds[:0], edge_lines[:0], starts[:0]
    while end:
        n -= 1
        edge_kinds[n] = kind
        edge_lines[n] = lines[end, kind]
        i, k = origins[end, kind]
        starts[n] = i
        end, kind = i, k
    return edge_kinds[n:], edge_lines[n:], starts[n:]
