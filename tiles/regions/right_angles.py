"""Build rings with right angles where their outlines support them.

Works in a plane with pixels of area 1. Long straight parts of an outline show the directions of a building, which may
have two pairs of them; `edge_fit` describes the outline by the fewest edges, which are cheaper along these directions
than along others; neighbouring edges are then made to meet.
"""

from __future__ import annotations

import numpy as np

from terraseam.tiles.regions.edge_fit import JOG_PX, LEAST_SINE, Bounds, FittedEdges, fit_edges
from terraseam.tiles.regions.outline_chains import Chain, moments, thinned, trimmed

ROUGH_PX = 1.5
"""Largest distance of an outline from the straight parts that show its directions, in pixels."""

SECOND_PX = 12.0
"""Minimum length of an edge that shows a second pair of directions, in pixels."""

SECOND_SHARE = 0.15
"""Minimum share of an outline along a second pair of directions."""

NEAR_DEGREES = 8.0
"""Minimum angle between the first and a second pair of directions, in degrees."""

_REFINED = 3
_AGREES = np.cos(4 * np.radians(15))


def main_direction(chain: Chain) -> float:
    """Return the direction that most of an outline runs along or across, from 0 to a quarter turn, in radians."""
    points = chain.points
    places = thinned(points, np.array([0, len(points) - 1]), ROUGH_PX)
    lengths = np.hypot(*np.diff(points[places], axis=0).T)
    # Long parts define a direction best: the variance of a fitted slope falls with the third power of their length.
    return _mean_direction(_slopes(points, places), lengths**3)[0]


def _slopes(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Fit lines to parts of a chain, and return their angles in radians."""
    firsts, lasts = trimmed(places[:-1], places[1:])
    sums = moments(points)
    weight, x, y, xx, xy, yy = (sums[lasts] - sums[firsts]).T
    xx, xy, yy = xx - x * x / weight, xy - x * y / weight, yy - y * y / weight
    return np.arctan2(2 * xy, xx - yy) / 2


def _mean_direction(slopes: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of most slopes, modulo quarter turns, and whether each is near it."""
    turns = np.exp(4j * slopes)
    mean = turns[np.argmax(weights)]
    near = np.ones(len(turns), bool)
    for _ in range(_REFINED):
        # Ignore parts that are oblique to these directions.
        near = (turns * np.exp(-1j * np.angle(mean))).real > _AGREES
        mean = (weights * turns * near).sum()
    return float(np.angle(mean) / 4 % (np.pi / 2)), near


def directions_of(chain: Chain, bounds: Bounds) -> np.ndarray:
    """Return the directions of a building's edges in radians: two, or four if it has two orientations."""
    first = main_direction(chain)
    own = np.array([first, first + np.pi / 2])
    edges = best_edges(chain, own, bounds)
    if edges is None:
        return own
    lengths = _lengths(edges)
    free = (edges.kinds == len(own)) & (lengths >= SECOND_PX)
    if not free.any():
        return own
    slopes = np.arctan2(edges.lines[free, 0], -edges.lines[free, 1])
    second, near = _mean_direction(slopes, lengths[free] ** 3)
    apart = abs((second - first + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    if (
        near.sum() < 2
        or lengths[free][near].sum() < SECOND_SHARE * lengths.sum()
        or apart < np.radians(NEAR_DEGREES)
    ):
        return own
    return np.concatenate([own, [second, second + np.pi / 2]])


def best_edges(chain: Chain, directions: np.ndarray, bounds: Bounds) -> FittedEdges | None:
    """Fit edges to a closed chain, cut at the best point."""
    edges = fit_edges(chain, directions, bounds)
    if edges is None or len(edges.kinds) < 3:
        return edges
    # The chain was cut at its arbitrary first point: cut it again at one that was chosen.
    return fit_edges(chain.rolled(int(edges.starts[len(edges.starts) // 2])), directions, bounds)


def ring_of(edges: FittedEdges) -> np.ndarray | None:
    """Build the ring of fitted edges.

    Returns:
        Vertices of a closed ring, shape ``(vertices, 2)``; None if there are fewer than three.
    """
    lines, cuts = _merged(edges)
    corners: list[np.ndarray] = []
    for i in range(len(lines)):
        corners += _joint(lines[i - 1], lines[i], cuts[i])
    return np.array([*corners, corners[0]]) if len(corners) >= 3 else None


def _merged(edges: FittedEdges) -> tuple[np.ndarray, np.ndarray]:
    """Merge neighbouring edges on nearly the same line; return lines and cuts."""
    lines, lengths, limits = edges.lines.copy(), _lengths(edges), edges.limits.copy()
    chosen: list[int] = []
    for i in range(len(lines)):
        if chosen and _same(lines[chosen[-1]], lines[i]):
            _merge(lines, lengths, limits, (chosen[-1], i))
        else:
            chosen.append(i)
    if len(chosen) > 1 and _same(lines[chosen[-1]], lines[chosen[0]]):
        _merge(lines, lengths, limits, (chosen[-1], chosen[0]))
        chosen = chosen[1:]
    return lines[chosen], edges.cuts[chosen]


def _lengths(edges: FittedEdges) -> np.ndarray:
    return np.hypot(*np.diff(np.concatenate([edges.cuts, edges.cuts[:1]]), axis=0).T)


def _same(line: np.ndarray, other: np.ndarray) -> bool:
    """Check whether two lines have the same direction and nearly the same position."""
    sine, cosine = line[0] * other[1] - line[1] * other[0], line[:2] @ other[:2]
    return bool(abs(sine) < 1e-9 and cosine > 0 and abs(line[2] - other[2]) < JOG_PX)


def _merge(lines: np.ndarray, lengths: np.ndarray, limits: np.ndarray, pair: tuple[int, int]) -> None:
    """Move the first of two lines to the mean position of both, as far out as both have room."""
    own = list(pair)
    limits[pair[0]] = limits[own].min()
    lines[pair[0], 2] = min(np.average(lines[own, 2], weights=lengths[own]), limits[pair[0]])
    lengths[pair[0]] = lengths[own].sum()


def _joint(before: np.ndarray, after: np.ndarray, cut: np.ndarray) -> list[np.ndarray]:
    """Return the vertices between two edges: their intersection, or a step if they are parallel."""
    sine = before[0] * after[1] - before[1] * after[0]
    if abs(sine) < LEAST_SINE:
        ends = [cut + (line[2] - line[:2] @ cut) * line[:2] for line in (before, after)]
        return [(ends[0] + ends[1]) / 2] if np.hypot(*(ends[1] - ends[0])) < 1 else ends
    x = (before[2] * after[1] - after[2] * before[1]) / sine
    y = (before[0] * after[2] - after[0] * before[2]) / sine
    return [np.array([x, y])]
