"""The limb of the Earth in CRSs that show it as a whole: snap positions off the Earth to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

REACH_PX = 4.0
"""Largest distance of positions off the Earth that are snapped, in pixels: corners of its outermost pixels, and
vertices moved by regularization."""

_RADII = (0.75, 1.5, REACH_PX)
_DIRECTIONS = 32
_HALVINGS = 40

LonLatOrNan = Callable[[np.ndarray], np.ndarray]
"""Longitudes and latitudes of pixel positions, both of shape ``(n, 2)``; NaN off the Earth."""


def onto_limb(xy_px: np.ndarray, lonlat: LonLatOrNan) -> np.ndarray:
    """Compute longitudes and latitudes of the positions on the limb nearest to positions off the Earth.

    The result for a position depends on nothing else, so that regions that share a vertex still share it.

    Args:
        xy_px: Pixel positions off the Earth, shape ``(n, 2)``.
        lonlat: Computes longitudes and latitudes of pixel positions.

    Returns:
        Degrees, shape ``(n, 2)``; NaN if no position within `REACH_PX` pixels is on the Earth.
    """
    inward = _inward(xy_px, lonlat)
    limb_lonlat = np.full(xy_px.shape, np.nan)
    chosen = np.flatnonzero(np.isfinite(inward[:, 0]))
    off, on = xy_px[chosen], inward[chosen]
    for _ in range(_HALVINGS):
        middle = (off + on) / 2
        known = np.isfinite(lonlat(middle))[:, :1]
        off, on = np.where(known, off, middle), np.where(known, middle, on)
    limb_lonlat[chosen] = lonlat(on)
    return limb_lonlat


def _inward(xy_px: np.ndarray, lonlat: LonLatOrNan) -> np.ndarray:
    """Return a position on the Earth near each position, straight inward if possible; NaN if there is none."""
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    positions = np.full(xy_px.shape, np.nan)
    for radius in _RADII:
        left = np.flatnonzero(np.isnan(positions[:, 0]))
        around = xy_px[left, None] + radius * directions
        known = np.isfinite(lonlat(around.reshape(-1, 2))[:, 0]).reshape(around.shape[:2])
        mean = (known[..., None] * directions).sum(axis=1)
        length = np.hypot(*mean.T)[:, None]
        inward = xy_px[left] + radius * np.divide(mean, length, out=np.zeros_like(mean), where=length > 1e-6)
        straight = np.isfinite(lonlat(inward)[:, 0])
        first = around[np.arange(len(left)), known.argmax(axis=1)]
        reachable = known.any(axis=1)
        positions[left[reachable]] = np.where(straight[:, None], inward, first)[reachable]
    return positions
