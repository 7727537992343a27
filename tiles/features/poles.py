"""Rings near the poles, where longitudes converge."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from terraseam.tiles.raster.georef import Georef, from_lonlat_to_map

_NEAR_POLE_PX = 2.5
_PIECES_NEAR_POLE = 64
_ON_POLE_PX = 1e-6


def pole_positions(georef: Georef) -> np.ndarray:
    """Return pixel positions ``(col, row)`` of the poles that are points, not lines, in the raster's CRS.

    Returns:
        Shape ``(poles, 2)``, 0 to 2 poles.
    """
    positions, elsewhere = georef.to_pixels(_poles_on_map(georef.crs)).reshape(2, 2, 2)
    with np.errstate(invalid="ignore"):
        is_point = np.abs(positions - elsewhere).max(axis=1) < _ON_POLE_PX
    return positions[is_point]


@lru_cache(maxsize=64)
def _poles_on_map(crs: str) -> np.ndarray:
    """Return map coordinates of both poles, on the meridians 0 and 90 degrees east, shape ``(4, 2)``."""
    lonlat = np.array([[0.0, -90.0], [0.0, 90.0], [90.0, -90.0], [90.0, 90.0]])
    return from_lonlat_to_map(crs, lonlat)


def refine_near_poles(
    coords: np.ndarray, ring_offsets: np.ndarray, georef: Georef
) -> tuple[np.ndarray, np.ndarray]:
    """Split edges around a pole into pieces of a fraction of a pixel, and where they pass over it.

    This close to a pole, an edge as long as a pixel does not follow its chord. Positions are binary fractions, so
    that they are exact and the same from both sides. A vertex on a pole has an arbitrary longitude of the CRS: from
    such a near neighbour, every way to it is short enough.
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
    step = np.diff(coords, axis=0, append=coords[-1:])[edge]
    coords, ring_offsets = coords[edge] + share[:, None] * step, place[ring_offsets]
    for pole in poles:
        start, end = coords[:-1] - pole, coords[1:] - pole
        across = (start * end < 0) & (np.abs(start[:, ::-1]) < _ON_POLE_PX)
        crossed = np.flatnonzero(across.any(axis=1) & (np.abs(end - start).max(axis=1) <= 1)) + 1
        crossed = np.setdiff1d(crossed, ring_offsets)
        coords = np.insert(coords, crossed, pole, axis=0)
        ring_offsets = ring_offsets + np.searchsorted(crossed, ring_offsets)
    return coords, ring_offsets


def go_over_limb_poles(
    coords: np.ndarray, ring_offsets: np.ndarray, lonlat: np.ndarray, georef: Georef
) -> tuple[np.ndarray, np.ndarray]:
    """Lead rings around poles on the limb, where all longitudes meet in one point of the raster's CRS.

    Such a ring passes the pole off the Earth, where there are no positions between: on the Earth it follows a
    meridian to the pole, changes longitude there, and returns along another meridian.

    Args:
        coords: Pixel positions of closed rings that were split near the poles, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last.
        lonlat: Their longitudes and latitudes, same shape.
        georef: The raster.

    Returns:
        Longitudes and latitudes with the added vertices, and ring offsets.
    """
    for pole in pole_positions(georef):
        directions = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
        around = georef.lonlat_or_nan(pole + directions / 2)
        known = np.isfinite(around[:, 0])
        if known.all() or not known.any():
            continue
        inward = directions[known.argmax()] if known.sum() == 1 else directions[known].mean(axis=0)
        aside = np.array([inward[1], -inward[0]])
        # Half a pixel inward, a quarter to one side, none, and a quarter to the other.
        shares = np.array([[-0.25], [0.0], [0.25]])
        inside = georef.to_lonlat(pole + inward / 2 + shares * aside)
        from_pole = coords - pole
        across = np.sign(from_pole @ aside)
        beyond = (from_pole @ inward <= 0) & (np.abs(from_pole).max(axis=1) < _NEAR_POLE_PX)
        passes = beyond[:-1] & beyond[1:] & (across[:-1] != across[1:])
        passes[ring_offsets[1:-1] - 1] = False
        at = np.flatnonzero(passes)
        passage = np.stack([across[at], np.zeros(len(at)), across[at + 1]], axis=1).astype(np.int64) + 1
        longitudes = np.concatenate([lonlat[at, :1], inside[passage, 0], lonlat[at + 1, :1]], axis=1)
        added = np.stack([longitudes, np.full(longitudes.shape, math.copysign(90.0, inside[1, 1]))], axis=2)
        count = longitudes.shape[1]
        lonlat = np.insert(lonlat, np.repeat(at + 1, count), added.reshape(-1, 2), axis=0)
        coords = np.insert(coords, np.repeat(at + 1, count), coords[np.repeat(at, count)], axis=0)
        ring_offsets = ring_offsets + count * np.searchsorted(at + 1, ring_offsets)
    return lonlat, ring_offsets
