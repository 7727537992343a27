"""The fewest straight edges that tell the outline of a ring, by dynamic programming.

An outline is a chain of points that may be cut at some of them, its candidates. Of all ways to cut it, the one is chosen for
which the sum over its edges is least: squared distances of points from the edge's line, and a price for each edge. The line
of an edge lies along one of a few given directions or, for a higher price, along any. So an outline gets as many edges as
it supports (the least count for a given error: Perez and Vidal, 1994, https://doi.org/10.1016/0167-8655(94)90002-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.outline_chains import TRIMMED, Chain, moments

WINDOW = 64
"""How many candidates an edge may pass; a longer one is made of several, which are merged."""

JOG_PX = 2.0
"""The least distance between two edges side by side in one direction; nearer ones are one edge."""

LEAST_SINE = 0.17
"""Lines that differ by less have no corner."""

_ALONG = 0.6
_CORNERS_REACH, _CORNER_PX, _FAR_PRICE = 1.5, 0.5, 100.0
_HOPELESS = 2.0
_SHORTEST_PX = 2.0
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Bounds:
    """What edges may do, and what they cost.

    Attributes:
        reach: How far a line may lie from its outline, in pixels.
        aligned: Price of an edge along a given direction, in squared pixels summed over points.
        free: Price of an edge along any other.
        short: What is added to the latter, over the length of the edge in pixels: a short one hardly shows its direction.
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
    """Edges of a ring in their order.

    Attributes:
        kinds: Which of the directions each runs along; their number where it runs along none, shape ``(edges,)``.
        lines: Lines ``(a, b, c)`` with ``a x + b y = c`` and ``(a, b)`` a unit vector that points outward.
        starts: Candidates at which they begin, shape ``(edges,)``.
        cuts: Points at which they begin, shape ``(edges, 2)``.
        limits: The largest `c` for which each line lies nowhere farther outside than there is room.
    """

    kinds: np.ndarray
    lines: np.ndarray
    starts: np.ndarray
    cuts: np.ndarray
    limits: np.ndarray


def fit_edges(chain: Chain, directions: np.ndarray, bounds: Bounds) -> FittedEdges | None:
    """Cut a chain into edges.

    Args:
        chain: The chain; it is cut at its first point.
        directions: Angles that edges may run along, in radians, shape ``(directions,)``.
        bounds: What an edge may do.

    Returns:
        Its edges; None where there are none within the bounds.
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
def _line(sums, first, last, way, kind, normals):  # type: ignore[no-untyped-def]
    """The line nearest to some points: ``a, b, c``, the sum of squares, and their weight."""
    trim = min(TRIMMED, (last - first) // 4)
    part = sums[max(last - trim, first + trim + 1)] - sums[first + trim]
    weight = part[0]
    mx, my = part[1] / weight, part[2] / weight
    xx, xy, yy = part[3] - weight * mx * mx, part[4] - weight * mx * my, part[5] - weight * my * my
    if kind < len(normals):
        a, b = normals[kind, 0], normals[kind, 1]
    elif last - first < 4:
        a, b = way[1], -way[0]
    else:
        angle = np.arctan2(2 * xy, xx - yy) / 2
        a, b = np.sin(angle), -np.cos(angle)
    # Counter-clockwise, what lies outside is to the right of the way.
    if a * way[1] - b * way[0] < 0:
        a, b = -a, -b
    off = max(a * a * xx + 2 * a * b * xy + b * b * yy, 0.0)
    return a, b, a * mx + b * my, off, weight


@njit(cache=True, nogil=True)
def _shift(points, candidates, room, span, line):  # type: ignore[no-untyped-def]
    """How far a line must be moved inward, and how far the outline then lies outside it."""
    shift, shrunk = 0.0, 0.0
    for q in range(span[0], span[1] + 1):
        point = points[candidates[q]]
        off = line[0] * point[0] + line[1] * point[1] - line[2]
        shift, shrunk = max(shift, -off - room[q]), max(shrunk, off)
    return shift, shrunk + shift


@njit(cache=True, nogil=True)
def _joint(before, after, cut, aligned):  # type: ignore[no-untyped-def]
    """The price of going over from a line to the next at a point with some room."""
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
    """Kinds, lines and first candidates of the edges."""
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
            # The last kind is the line that lies nearest.
            if off > _HOPELESS * limits[0]:
                break
    return _traced_back(costs, lines, origins)


@njit(cache=True, nogil=True)
def _edge(points, sums, cuts, normals, limits, where):  # type: ignore[no-untyped-def]
    """The price of an edge between two candidates, how far the outline leaves it, and its line."""
    candidates, held, room = cuts
    i, j, kind = where
    first, last = candidates[i], candidates[j]
    chord = points[last] - points[first]
    length = max(np.hypot(chord[0], chord[1]), _LEAST)
    way = chord / length
    a, b, c, square, weight = _line(sums, first, last, way, kind, normals)
    shift, off = _shift(points, candidates, room, (i, j), (a, b, c))
    line = (a, b, c - shift)
    if a * way[1] - b * way[0] < _ALONG or off > limits[0]:
        return np.inf, off, line
    if held[i]:
        return 0.0, off, line
    own = limits[1] if kind < len(normals) else limits[2] + limits[3] / max(length, _SHORTEST_PX)
    return own + square + weight * shift * shift, off, line


@njit(cache=True, nogil=True)
def _enter(table, where, edge, cut, limits):  # type: ignore[no-untyped-def]
    """Enter an edge behind the best that it can follow, if nothing better has been found."""
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
    """The edges that lead to the end at the least price."""
    end = len(costs) - 1
    kind = int(np.argmin(costs[end]))
    found_kinds = np.empty(end, np.int64)
    found_lines = np.empty((end, 3))
    starts = np.empty(end, np.int64)
    n = end
    if not np.isfinite(costs[end, kind]):
        return found_kinds[:0], found_lines[:0], starts[:0]
    while end:
        n -= 1
        found_kinds[n] = kind
        found_lines[n] = lines[end, kind]
        i, k = origins[end, kind]
        starts[n] = i
        end, kind = i, k
    return found_kinds[n:], found_lines[n:], starts[n:]
