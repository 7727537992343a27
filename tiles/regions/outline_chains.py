"""Convert rings to chains of points between pixels, so that slanted sides have no steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit

FINE_PX = 0.75
"""Largest distance of an outline from the line between two successive candidates, in pixels."""

TRIMMED = 3
"""Number of points at both ends of a part that are ignored in fitting its line."""

HELD_PX = 4
"""Minimum length of edges along the raster's edge or nodata that are kept, in pixels."""

ROUND_PX, ROUND_SHARE = 0.3, 0.018
"""Largest RMS distance of a round outline from an ellipse: pixels, plus a share of its radius."""

NOT_SQUARE = 0.07
"""Upper limit of that distance as a share of the radius: for a square it is 0.1."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The outline of a ring.

    Attributes:
        points: Points about a pixel apart, the first repeated at the end, shape ``(points + 1, 2)``; the region lies
            to the left of the path, with y up.
        candidates: Indices of points where it may be cut, ascending, from 0 to the number of points, int64.
        held: Whether the part between a candidate and the next must be its own edge, bool.
        room: Largest distance of lines outside each candidate, in pixels.
    """

    points: np.ndarray
    candidates: np.ndarray
    held: np.ndarray
    room: np.ndarray

    def rolled(self, candidate: int) -> Chain:
        """Return the same chain starting at another candidate."""
        start = int(self.candidates[candidate])
        count = len(self.points) - 1
        points = np.concatenate([self.points[start:-1], self.points[: start + 1]])
        places = np.append(np.sort((self.candidates[:-1] - start) % count), count)
        room = np.roll(self.room[:-1], -candidate)
        return Chain(points, places, np.roll(self.held, -candidate), np.append(room, room[0]))

    def pushed(self, places: np.ndarray, room: np.ndarray) -> Chain:
        """Return the same chain with less room at some points, which become candidates; held parts are unchanged.

        Args:
            places: Indices of points, shape ``(n,)``.
            room: Largest distance of lines outside them, in pixels; lines must lie inside where it is negative.
        """
        at = np.searchsorted(self.candidates, places, side="right") - 1
        free = ~self.held[at]
        places, room = places[free], room[free]
        candidates = np.union1d(self.candidates, places)
        held, allowed = np.zeros(len(candidates) - 1, bool), np.full(len(candidates), np.inf)
        old = np.searchsorted(candidates, self.candidates)
        held[old[:-1]] = self.held
        allowed[old] = self.room
        np.minimum.at(allowed, np.searchsorted(candidates, places), room)
        allowed[[0, -1]] = min(allowed[0], allowed[-1])
        return Chain(self.points, candidates, held, allowed)


def outline_chain(ring: np.ndarray, pinned: np.ndarray, plane: np.ndarray, *, backward: bool) -> Chain:
    """Build the outline of a ring: the midpoints of its steps from pixel to pixel.

    Args:
        ring: Vertices of a closed ring, in pixels, shape ``(vertices, 2)``.
        pinned: Whether each lies at nodata or at the raster's edge; edges between two such vertices are held.
        plane: Matrix from steps in pixels to steps in the plane, shape ``(2, 2)``.
        backward: Whether to reverse the direction.
    """
    if backward:
        ring, pinned = ring[::-1], pinned[::-1]
    steps = np.diff(ring, axis=0)
    counts = np.maximum(np.ceil(np.abs(steps).max(axis=1)), 1).astype(np.int64)
    ends = np.cumsum(counts)
    within = np.arange(ends[-1]) - np.repeat(ends - counts, counts) + 0.5
    shares = within / np.repeat(counts, counts)
    points = (
        np.repeat(ring[:-1], counts, axis=0) + np.repeat(steps, counts, axis=0) * shares[:, None]
    ) @ plane
    held = pinned[:-1] & pinned[1:] & (counts >= HELD_PX) & (steps == 0).any(axis=1)
    firsts, lasts = (ends - counts)[held], ends[held] - 1
    start = int(firsts[0]) if len(firsts) else _farthest(points, points.mean(axis=0))
    points = np.roll(points, -start, axis=0)
    fixed = (np.concatenate([firsts, lasts]) - start) % len(points)
    places = thinned(np.concatenate([points, points[:1]]), np.append(fixed, [0, len(points)]), FINE_PX)
    is_held = np.isin(places[:-1], (firsts - start) % len(points))
    return Chain(
        np.concatenate([points, points[:1]]), places, is_held, np.full(len(places), np.inf, np.float64)
    )


def _farthest(points: np.ndarray, place: np.ndarray) -> int:
    return int(np.argmax(np.hypot(*(points - place).T)))


def thinned(points: np.ndarray, fixed: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the indices of the points that the Douglas-Peucker algorithm keeps of a closed chain.

    Args:
        points: Points, the first repeated at the end, shape ``(points, 2)``.
        fixed: Indices that are always kept, including the first and the last.
        tolerance: Largest distance of a point from the line between kept points.
    """
    keep = np.zeros(len(points), np.bool_)
    keep[fixed] = True
    keep[_farthest(points, points[0])] = True
    _thin(points, keep, tolerance)
    return np.flatnonzero(keep)


@njit(cache=True, nogil=True)
def _thin(points, keep, tolerance):  # type: ignore[no-untyped-def]
    """Mark the points to keep between those already marked."""
    stack = [(0, 0)]
    begin = 0
    for i in range(1, len(points)):
        if keep[i]:
            stack.append((begin, i))
            begin = i
    while stack:
        first, last = stack.pop()
        chord = points[last] - points[first]
        square = chord[0] * chord[0] + chord[1] * chord[1]
        worst, far = first, tolerance
        for i in range(first + 1, last):
            x, y = points[i, 0] - points[first, 0], points[i, 1] - points[first, 1]
            share = (x * chord[0] + y * chord[1]) / square if square > 0 else 0.0
            share = min(max(share, 0.0), 1.0)
            off = np.hypot(x - share * chord[0], y - share * chord[1])
            if off > far:
                worst, far = i, off
        if worst > first:
            keep[worst] = True
            stack.append((first, worst))
            stack.append((worst, last))


def trimmed(firsts: np.ndarray, lasts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of parts without their outer points, which lie on rounded corners rather than on a line."""
    trim = np.minimum(TRIMMED, (lasts - firsts) // 4)
    return firsts + trim, np.maximum(lasts - trim, firsts + trim + 1)


def moments(points: np.ndarray) -> np.ndarray:
    """Compute running sums over a closed chain: weight, x, y, xx, xy, yy of its points; shape ``(points, 6)``.

    A point weighs half the distance to both its neighbours; the repeated last point is left out.
    """
    x, y = points[:-1].T
    steps = np.hypot(*np.diff(points, axis=0).T)
    weights = (steps + np.roll(steps, 1)) / 2
    columns = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1) * weights[:, None]
    return np.concatenate([np.zeros((1, 6)), np.cumsum(columns, axis=0)])


def is_round(chain: Chain) -> bool:
    """Check whether an outline is that of a circle or an ellipse."""
    points = chain.points[:-1] - chain.points[:-1].mean(axis=0)
    values, vectors = np.linalg.eigh(points.T @ points / len(points))
    if values[0] < 1:
        return False
    radii = np.hypot(*((points @ vectors) / np.sqrt(2 * values)).T)
    radius = np.sqrt(2) * (values[0] * values[1]) ** 0.25
    off = radius * (radii - radii.mean()).std()
    return bool(off <= min(ROUND_PX + ROUND_SHARE * radius, NOT_SQUARE * radius))
