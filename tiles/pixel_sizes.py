"""How large single pixels of a raster are, as the sieve counts them."""

from __future__ import annotations

from functools import partial

import numpy as np

from tiles.area import ring_areas
from tiles.georef import Georef
from tiles.sieve import LARGE, PixelSizes


def pixel_sizes(georef: Georef, least_m2: float) -> PixelSizes:
    """Sizes of a raster's pixels, where regions of `least_m2` square metres have the size `LARGE`.

    Raises:
        ValueError: If `least_m2` is not more than 0.
    """
    if not least_m2 > 0:
        raise ValueError(f"regions must be larger than 0 m2 to be large, got {least_m2}")
    return partial(_sizes, georef, least_m2)


def _sizes(georef: Georef, least_m2: float, pixels: np.ndarray) -> np.ndarray:
    units = np.rint(pixel_areas(georef, pixels) / least_m2 * LARGE)
    return np.clip(units, 1, LARGE).astype(np.int64)


def pixel_areas(georef: Georef, pixels: np.ndarray) -> np.ndarray:
    """Areas on the ellipsoid, in square metres, of pixels ``(row, col)``; shape ``(n,)``."""
    ring = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    corners = (pixels[:, None, ::-1] + ring).reshape(-1, 2)
    lonlat = georef.to_lonlat(corners).reshape(-1, len(ring), 2)
    turns = np.rint((lonlat[..., 0] - lonlat[:, :1, 0]) / 360)
    lonlat[..., 0] -= 360 * turns
    offsets = np.arange(len(pixels) + 1) * len(ring)
    return np.abs(ring_areas(lonlat.reshape(-1, 2), offsets, np.zeros(len(pixels))))
