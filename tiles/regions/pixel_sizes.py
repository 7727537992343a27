"""Sizes of single pixels of a raster, in the units of the sieve."""

from __future__ import annotations

from functools import partial

import numpy as np

from terraseam.tiles.raster.area import ring_areas
from terraseam.tiles.raster.ground import Ground, PixelPlane
from terraseam.tiles.regions.sieve import LARGE, PixelSizes

AT_ONCE = 1 << 15
"""Number of pixels whose corners are in memory at once."""


def pixel_sizes(ground: Ground, least_m2: float) -> PixelSizes:
    """Return a function for pixel sizes, scaled so that `least_m2` (pixels on a plane) corresponds to `LARGE`.

    Raises:
        ValueError: If `least_m2` is not more than 0.
    """
    if not least_m2 > 0:
        raise ValueError(f"regions must be larger than 0 m2 to be large, got {least_m2}")
    return partial(_sizes, ground, least_m2)


def _sizes(ground: Ground, least_m2: float, pixels: np.ndarray) -> np.ndarray:
    sizes = np.empty(len(pixels), np.int64)
    for start in range(0, len(pixels), AT_ONCE):
        areas = pixel_areas(ground, pixels[start : start + AT_ONCE])
        sizes[start : start + AT_ONCE] = np.clip(np.rint(areas / least_m2 * LARGE), 1, LARGE)
    return sizes


def pixel_areas(ground: Ground, pixels: np.ndarray) -> np.ndarray:
    """Compute areas of pixels ``(row, col)`` on the ellipsoid, in square metres; 1 on a plane. Shape ``(n,)``."""
    if isinstance(ground, PixelPlane):
        return np.ones(len(pixels))
    ring = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    corners = (pixels[:, None, ::-1] + ring).reshape(-1, 2)
    lonlat = ground.to_lonlat(corners).reshape(-1, len(ring), 2)
    turns = np.rint((lonlat[..., 0] - lonlat[:, :1, 0]) / 360)
    lonlat[..., 0] -= 360 * turns
    offsets = np.arange(len(pixels) + 1) * len(ring)
    return np.abs(ring_areas(lonlat.reshape(-1, 2), offsets, np.zeros(len(pixels))))
