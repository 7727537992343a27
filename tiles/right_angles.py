"""Rings with right angles where their outlines support them.

Works in a plane in which a pixel has the area 1. A ring is cut into pieces that are nearly straight; each piece becomes
an edge along one of the two directions of the building, at the mean place of its outline, or stays slanted where it is
long and clearly so. Edges too short to be seen are taken out, and neighbouring edges are made to meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely

ROUGH_PX = 1.5
"""How far an outline may leave a straight piece."""

ALIGNED = 0.55
"""How much of an outline must agree on two directions: 1 for a rectangle, 0 for a circle."""

SLANTED_DEGREES = 20.0
"""Pieces farther than this from both directions are slanted, if they are long."""

SLANTED_PX = 8.0
"""The least length of a slanted edge."""

SHORT_PX = 2.0
"""Edges shorter than this are taken out."""

FLAT, STEEP, SLANT = 0, 1, 2
_REFINED = 3
_AGREES = np.cos(4 * np.radians(15))


@dataclass(slots=True)
class Edge:
    """An edge of a ring, in a plane that is turned so that the building stands upright.

    Attributes:
        kind: `FLAT` (along x), `STEEP` (along y) or `SLANT`.
        start: Where its outline begins.
        end: Where it ends.
        place: The y of a flat edge, the x of a steep one.
        weight: Length of its outline.
    """

    kind: int
    start: np.ndarray
    end: np.ndarray
    place: float
    weight: float


def main_direction(ring: np.ndarray) -> tuple[float, float]:
    """The direction that most of a ring runs along or across, and how much of it agrees.

    Args:
        ring: Vertices of a closed ring, shape ``(vertices, 2)``.

    Returns:
        An angle from 0 to a quarter turn, in radians, and a share from 0 to 1.
    """
    pieces = _pieces(ring)
    lengths = np.array([np.hypot(*(piece[-1] - piece[0])) for piece in pieces])
    turns = np.exp(4j * np.array([_slope(piece) for piece in pieces]))
    # Long pieces know their direction best: the error of a fitted slope falls with the third power of their length.
    weights = lengths**3
    mean = (weights * turns).sum()
    for _ in range(_REFINED):
        # What is slanted to these directions says nothing of them.
        near = (turns * np.exp(-1j * np.angle(mean))).real > _AGREES
        mean = (weights * turns * near).sum() if near.any() else mean
    share = (lengths * (turns * np.exp(-1j * np.angle(mean))).real).sum() / lengths.sum()
    return float(np.angle(mean) / 4 % (np.pi / 2)), float(max(share, 0.0))


def _slope(piece: np.ndarray) -> float:
    """The angle of the line that lies nearest to the outline of a piece, in radians."""
    steps = np.hypot(*np.diff(piece, axis=0).T)
    middles = (piece[1:] + piece[:-1]) / 2
    x, y = (middles - np.average(middles, axis=0, weights=steps)).T
    # Steps are spread along their own length, too.
    (dx, dy), twelfth = np.diff(piece, axis=0).T, steps / 12
    xx, yy = (steps * x * x + twelfth * dx * dx).sum(), (steps * y * y + twelfth * dy * dy).sum()
    xy = (steps * x * y + twelfth * dx * dy).sum()
    return float(np.arctan2(2 * xy, xx - yy) / 2)


def rough_vertices(ring: np.ndarray) -> np.ndarray:
    """Places of the vertices that are left of a closed ring when its outline is made of nearly straight pieces."""
    open_ring = ring[:-1]
    far = int(np.argmax(np.hypot(*(open_ring - open_ring[0]).T)))
    keep = {0, far, len(open_ring)}
    pieces = [(0, far), (far, len(open_ring))]
    while pieces:
        first, last = pieces.pop()
        if last - first < 2:
            continue
        off = _off_the_line(ring[first + 1 : last], ring[first], ring[last])
        worst = int(np.argmax(off))
        if off[worst] > ROUGH_PX:
            middle = first + 1 + worst
            keep.add(middle)
            pieces += [(first, middle), (middle, last)]
    return np.array(sorted(keep))


def squared_ring(ring: np.ndarray, direction: float) -> np.ndarray | None:
    """A ring with edges along and across a direction, and slanted ones where the outline has long ones.

    Args:
        ring: Vertices of a closed ring, shape ``(vertices, 2)``.
        direction: The direction, in radians.

    Returns:
        Vertices of a closed ring; None where there is none with four edges or more.
    """
    turn = _turned(-direction)
    upright = ring @ turn.T
    edges = _merged([_edge(piece) for piece in _pieces(upright)])
    while len(edges) > 4:
        lengths = [_length(edges, i) for i in range(len(edges))]
        shortest = int(np.argmin(lengths))
        if lengths[shortest] >= SHORT_PX:
            break
        edges = _merged(edges[:shortest] + edges[shortest + 1 :])
    if len(edges) < 4:
        return None
    corners = [_corner(edges[i - 1], edges[i]) for i in range(len(edges))]
    if any(corner is None for corner in corners):
        return None
    closed = np.array([*corners, corners[0]])
    return closed @ turn


def _pieces(ring: np.ndarray) -> list[np.ndarray]:
    """The nearly straight pieces of a ring, from a corner of it on."""
    places = rough_vertices(ring)
    pieces = [ring[a : b + 1] for a, b in pairwise(places.tolist())]
    # The first vertex need not be a corner: what is straight across it is one piece.
    joined = np.concatenate([pieces[-1], pieces[0][1:]])
    if len(pieces) > 3 and _off_the_line(joined, joined[0], joined[-1]).max() <= ROUGH_PX:
        pieces = [joined, *pieces[1:-1]]
    return pieces


def _edge(piece: np.ndarray) -> Edge:
    start, end = piece[0], piece[-1]
    way = end - start
    length = float(np.hypot(*way))
    angle = np.degrees(np.arctan2(abs(way[1]), abs(way[0])))
    slanted = min(angle, 90 - angle) > SLANTED_DEGREES and length >= SLANTED_PX
    kind = SLANT if slanted else STEEP if angle > 45 else FLAT
    steps = np.hypot(*np.diff(piece, axis=0).T)
    middles = (piece[1:] + piece[:-1]) / 2
    axis = 0 if kind == STEEP else 1
    return Edge(kind, start, end, float(np.average(middles[:, axis], weights=steps)), float(steps.sum()))


def _merged(edges: list[Edge]) -> list[Edge]:
    """Edges of which no two neighbours run in one direction: they are one, or a step lies between them."""
    found: list[Edge] = []
    for edge in edges:
        _append(found, edge)
    while len(found) > 1 and found[0].kind == found[-1].kind != SLANT:
        last = found.pop()
        rest, found = found, [last]
        for edge in rest:
            _append(found, edge)
        if found[0].kind == found[-1].kind and abs(found[0].place - found[-1].place) >= SHORT_PX:
            found.append(_step(found[-1], found[0]))
    return found


def _append(found: list[Edge], edge: Edge) -> None:
    """Add an edge behind others."""
    before = found[-1] if found else None
    if before is None or before.kind != edge.kind or edge.kind == SLANT:
        found.append(edge)
    elif abs(before.place - edge.place) >= SHORT_PX:
        found += [_step(before, edge), edge]
    else:
        weight = before.weight + edge.weight
        place = (before.place * before.weight + edge.place * edge.weight) / weight
        found[-1] = Edge(edge.kind, before.start, edge.end, place, weight)


def _step(before: Edge, after: Edge) -> Edge:
    """The edge between two that run side by side."""
    kind = STEEP if before.kind == FLAT else FLAT
    place = before.end[0 if kind == STEEP else 1]
    return Edge(kind, before.end, after.start, float(place), abs(before.place - after.place))


def _length(edges: list[Edge], i: int) -> float:
    """How long an edge will be between its neighbours."""
    start, end = _corner(edges[i - 1], edges[i]), _corner(edges[i], edges[(i + 1) % len(edges)])
    return float(np.hypot(*(end - start))) if start is not None and end is not None else 0.0


def _corner(one: Edge, other: Edge) -> np.ndarray | None:
    """Where two edges meet; None where they run side by side."""
    (a, b, c), (d, e, f) = _line(one), _line(other)
    determinant = a * e - b * d
    if abs(determinant) < 1e-6:
        return None
    return np.array([(c * e - b * f) / determinant, (a * f - c * d) / determinant])


def _line(edge: Edge) -> tuple[float, float, float]:
    """A line as ``a x + b y = c``, with ``a`` and ``b`` of length 1."""
    if edge.kind == FLAT:
        return 0.0, 1.0, edge.place
    if edge.kind == STEEP:
        return 1.0, 0.0, edge.place
    x, y = (edge.end - edge.start) / np.hypot(*(edge.end - edge.start))
    middle = (edge.start + edge.end) / 2
    return float(-y), float(x), float(-y * middle[0] + x * middle[1])


def _off_the_line(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distances of points from a piece of a line."""
    line = shapely.linestrings(np.array([start, end]))
    return np.asarray(shapely.distance(shapely.points(points), line))


def _turned(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
