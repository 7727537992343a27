"""Rings in longitude and latitude: dense enough to follow the raster, and continuous at the antimeridian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from terraseam.tiles.features.poles import go_over_limb_poles, pole_positions, refine_near_poles
from terraseam.tiles.raster.georef import Georef, reaches_off_the_earth
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.rings import densify

TOLERANCE_PX = 0.1
_SAMPLED_TOLERANCE_PX = 0.75 * TOLERANCE_PX
_MAX_LON_SPAN = 120.0
_SAMPLES, _NEAR_THE_LIMB = 9, 33
"""Numbers of rows and columns at which edges are sampled; edges bend most at the limb of the Earth."""


@dataclass(frozen=True, slots=True, eq=False)
class LonLatRings:
    """Rings of regions in degrees.

    Attributes:
        lonlat: Vertices ``(longitude, latitude)``, float64, shape ``(vertices, 2)``. Longitudes of a ring are
            continuous from its first vertex on, so they may leave -180..180.
        ring_offsets: First vertex of each ring and the end of the last, int64, shape ``(rings + 1,)``.
        turns: Number of eastward turns of each ring around the Earth: 1 or -1 if it encloses a pole, else 0; int64,
            shape ``(rings,)``.
        at_limb: Whether each ring was snapped to the limb of the Earth, and may therefore be invalid; bool.
    """

    lonlat: np.ndarray
    ring_offsets: np.ndarray
    turns: np.ndarray
    at_limb: np.ndarray


def lonlat_rings(regions: Regions, georef: Georef) -> LonLatRings:
    """Transform the rings of `regions` to longitude and latitude, within 0.1 px of the pixel edges.

    Raises:
        ValueError: If a vertex lies outside the area of the raster's CRS.
    """
    coords, ring_offsets = densify(regions.coords, regions.ring_offsets, densify_step(georef))
    coords, ring_offsets = refine_near_poles(coords, ring_offsets, georef)
    lonlat, at_limb = georef.to_lonlat(coords), np.zeros(len(ring_offsets) - 1, bool)
    if reaches_off_the_earth(georef):
        off = np.isnan(georef.lonlat_or_nan(coords)[:, 0])
        at_limb = np.logical_or.reduceat(off, ring_offsets[:-1])
        lonlat, ring_offsets = go_over_limb_poles(coords, ring_offsets, lonlat, georef)
    jumps = -np.rint(np.diff(lonlat[:, 0], prepend=lonlat[:1, 0]) / 360).astype(np.int64)
    jumps[ring_offsets[:-1]] = 0
    turns = np.add.reduceat(jumps, ring_offsets[:-1])
    if jumps.any():
        turned = np.cumsum(jumps)
        turned -= np.repeat(turned[ring_offsets[:-1]], np.diff(ring_offsets))
        lonlat[:, 0] += 360.0 * turned
    return LonLatRings(lonlat, ring_offsets, turns, at_limb)


@lru_cache(maxsize=64)
def densify_step(georef: Georef) -> int:
    """Return the longest lattice step, a power of two in pixels, at which edges stay within 0.1 px of the truth.

    Between two vertices, a GeoJSON edge is straight in longitude and latitude, while the edge of a pixel is straight
    in the raster's CRS. Their distance is measured all over the raster, at right angles to the edge. Steps also stay
    below a third of the way around the Earth. If the raster contains a pole, the step is 1 px.
    """
    step = 1 << (max(georef.height, georef.width) - 1).bit_length()
    while step > 1 and not _follows(georef, step):
        step //= 2
    return step


def _follows(georef: Georef, step: int) -> bool:
    """Check whether edges of `step` px stay close to their chords, on samples from the whole raster."""
    width, height = min(step, georef.width), min(step, georef.height)
    poles = pole_positions(georef)
    count = _NEAR_THE_LIMB if reaches_off_the_earth(georef) else _SAMPLES
    rows, cols = _spread(georef.height, poles[:, 1], count), _spread(georef.width, poles[:, 0], count)
    col0 = _spread(georef.width - width, poles[:, 0] - width / 2, count)
    row0 = _spread(georef.height - height, poles[:, 1] - height / 2, count)
    chords = ((_grid(col0, rows), np.array([width, 0.0])), (_grid(cols, row0), np.array([0.0, height])))
    return all(_off_the_chord(georef, starts, edge) <= _SAMPLED_TOLERANCE_PX for starts, edge in chords)


def _spread(length: float, extra: np.ndarray, count: int) -> np.ndarray:
    """Return `count` positions from 0 to `length`, and those in `extra`, clipped to that range."""
    return np.unique(np.concatenate([np.linspace(0, length, count), np.clip(extra, 0, length)]))


def _grid(cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)


def _off_the_chord(georef: Georef, starts: np.ndarray, edge: np.ndarray) -> float:
    """Return the largest deviation of lon/lat chords from pixel edges, in pixels at right angles to the edge.

    Args:
        georef: The raster.
        starts: Pixel positions of the edges' starts, shape ``(edges, 2)``.
        edge: Vector from start to end ``(cols, rows)``, one of them 0.

    Returns:
        Pixels; infinite if a chord spans too many degrees of longitude or the measurement fails.
    """
    line = starts + np.linspace(0, 1, 9)[:, None, None] * edge
    half = np.sign(edge) / 2
    shifts = np.stack([np.zeros(2), half, -half, half[::-1], -half[::-1]])
    moved = line + shifts[:, None, None]
    truth, *around = georef.lonlat_or_nan(moved.reshape(-1, 2)).reshape(moved.shape)
    known = np.isfinite(np.stack([truth, *around])).all(axis=(0, 3))
    first, last = known.argmax(axis=0), len(known) - 1 - known[::-1].argmax(axis=0)
    # For edges that leave the Earth, take the chord of the part on it.
    on_earth = known.any(axis=0) & (last - first >= 2)
    known, first, last = known[:, on_earth], first[on_earth], last[on_earth]
    truth, forward, backward, left, right = (points[:, on_earth] for points in (truth, *around))
    place, edges = np.arange(len(known))[:, None], np.arange(truth.shape[1])
    start, end = truth[first, edges], truth[last, edges]
    share = ((place - first) / np.maximum(last - first, 1))[..., None]
    within = (place >= first) & (place <= last)
    off = _short_way(start + share * _short_way(end - start) - truth)
    along, across = _short_way(forward - backward), _short_way(left - right)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.abs(_cross(along, off) / _cross(along, across))
    span = np.nansum(np.abs(_short_way(np.diff(truth, axis=0)))[..., 0], axis=0)
    pixels[:, span > _MAX_LON_SPAN] = np.inf
    return float(np.nan_to_num(pixels, nan=np.inf)[within].max(initial=0.0))


def _short_way(degrees: np.ndarray) -> np.ndarray:
    """Wrap differences of longitude and latitude so that the longitude is the short way around."""
    degrees[..., 0] -= 360 * np.rint(degrees[..., 0] / 360)
    return degrees


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
