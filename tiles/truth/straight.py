"""Edges that are straight in one CRS are drawn in another with as many corners as they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from terraseam.tiles.truth.way import Way

TOLERANCE_PX = 0.1
"""How far a drawn edge may lie from the straight edge in the CRS of its file."""
_SAMPLED_TOLERANCE_PX = 0.75 * TOLERANCE_PX
_LONGEST_DEG = 60.0
_MOST_HALVINGS = 20


class Lines(NamedTuple):
    """Closed rings.

    Attributes:
        points: Their points, the first of each also its last, float64 ``(points, 2)``.
        ring: Number of the ring of each point, rising, ``(points,)``.
    """

    points: np.ndarray
    ring: np.ndarray


def densified(lines: Lines, way: Way) -> Lines:
    """Halve edges until they follow the straight edge in the CRS of the file within 0.1 px, near the raster.

    Both sides of an edge that two polygons share are halved at the same points. Edges of a file in degrees
    are halved down to 60 degrees, so that it is known which way round the Earth they go.
    """
    points, ring = lines
    if not len(points) or (way.straight and not way.from_degrees):
        return lines
    open_edges = np.flatnonzero(ring[1:] == ring[:-1])
    for _ in range(_MOST_HALVINGS):
        start, end = points[open_edges], points[open_edges + 1]
        halved = open_edges[_too_long(start, end, way) | (not way.straight and _off(start, end, way))]
        if not halved.size:
            break
        points = np.insert(points, halved + 1, (points[halved] + points[halved + 1]) / 2, axis=0)
        ring = np.insert(ring, halved + 1, ring[halved])
        moved = halved + np.arange(halved.size)
        open_edges = np.sort(np.concatenate([moved, moved + 1]))
    return Lines(points, ring)


def _too_long(start: np.ndarray, end: np.ndarray, way: Way) -> np.ndarray:
    if not way.from_degrees:
        return np.zeros(len(start), bool)
    return np.abs(end - start).max(axis=1, initial=0) > _LONGEST_DEG


def _off(start: np.ndarray, end: np.ndarray, way: Way) -> np.ndarray:
    """Which edges leave their chord by too much, measured across it at a quarter, half and three quarters."""
    middle = (start + end) / 2
    samples = np.stack([start, (start + middle) / 2, middle, (middle + end) / 2, end], axis=1)
    placed = way.to_map(samples.reshape(-1, 2)).reshape(samples.shape)
    known = np.isfinite(placed).all(axis=(1, 2))
    placed = np.where(known[:, None, None], placed, 0.0)
    ways = way.offsets_px(placed - placed[:, :1])
    chord = ways[:, -1:]
    length = np.hypot(chord[..., 0], chord[..., 1])
    across = np.abs(chord[..., 0] * ways[..., 1] - chord[..., 1] * ways[..., 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(length > 1e-9, across / length, np.hypot(ways[..., 0], ways[..., 1]))[:, 1:4].max(
            axis=1
        )
    near = way.near(way.georef.to_pixels(placed[:, 0])[:, None] + ways)
    return known & near & (off > _SAMPLED_TOLERANCE_PX)
