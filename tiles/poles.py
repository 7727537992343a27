"""Rings that come near the poles, where longitude means little."""

from __future__ import annotations

import numpy as np

from tiles.georef import Georef

_NEAR_POLE_PX = 2.5
_PIECES_NEAR_POLE = 64
_ON_POLE_PX = 1e-6


def pole_positions(georef: Georef) -> np.ndarray:
    """Pixel positions ``(col, row)`` of the poles that are points in the raster's CRS, not lines.

    Returns:
        Shape ``(poles, 2)``, 0 to 2 poles.
    """
    positions = georef.from_lonlat(np.array([[0.0, -90.0], [0.0, 90.0]]))
    elsewhere = georef.from_lonlat(np.array([[90.0, -90.0], [90.0, 90.0]]))
    with np.errstate(invalid="ignore"):
        is_point = np.abs(positions - elsewhere).max(axis=1) < _ON_POLE_PX
    return positions[is_point]


def refine_near_poles(
    coords: np.ndarray, ring_offsets: np.ndarray, georef: Georef
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the edges around a pole into pieces of a fraction of a pixel, and where they run over it.

    Nearer to a pole than this no edge of a whole pixel follows its chord. Positions are binary fractions, so
    that they are exact and the same from both sides. A vertex on a pole has whatever longitude the CRS gives
    it: from a neighbour so near, every way to it is short enough.
    """
    poles, size = pole_positions(georef), np.array([georef.width, georef.height])
    poles = poles[((poles > -_NEAR_POLE_PX) & (poles < size + _NEAR_POLE_PX)).all(axis=1)]
    if not len(poles):
        return coords, ring_offsets
    middle = (coords[:-1] + coords[1:]) / 2
    near = (np.abs(middle[:, None] - poles).max(axis=2) < _NEAR_POLE_PX).any(axis=1)
    near[ring_offsets[1:-1] - 1] = False
    if not near.any():
        return coords, ring_offsets
    counts = np.append(np.where(near, _PIECES_NEAR_POLE, 1), 1)
    place = np.concatenate([[0], np.cumsum(counts)])
    edge = np.repeat(np.arange(len(counts)), counts)
    share = (np.arange(place[-1]) - place[edge]) / _PIECES_NEAR_POLE
    way = np.diff(coords, axis=0, append=coords[-1:])[edge]
    coords, ring_offsets = coords[edge] + share[:, None] * way, place[ring_offsets]
    for pole in poles:
        start, end = coords[:-1] - pole, coords[1:] - pole
        across = (start * end < 0) & (np.abs(start[:, ::-1]) < _ON_POLE_PX)
        crossed = np.flatnonzero(across.any(axis=1) & (np.abs(end - start).max(axis=1) <= 1)) + 1
        crossed = np.setdiff1d(crossed, ring_offsets)
        coords = np.insert(coords, crossed, pole, axis=0)
        ring_offsets = ring_offsets + np.searchsorted(crossed, ring_offsets)
    return coords, ring_offsets
