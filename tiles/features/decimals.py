"""Number of decimals that degrees need so that pixel corners keep their positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from terraseam.tiles.features.poles import pole_positions
from terraseam.tiles.raster.georef import Georef

LEAST = 7
"""Decimals of degrees for ordinary rasters: steps of a centimetre."""

MOST = 12
"""The most decimals of degrees that float64 can hold."""

_TOLERANCE_PX = 0.1
_NEAR_POLE_PX = 3.0
_SAMPLES = 5


@lru_cache(maxsize=64)
def decimals(georef: Georef) -> int:
    """Return the number of decimals at which rounding degrees moves nothing by over a tenth of a pixel, 7 to 12.

    The narrowest of pixels sampled all over the raster counts: in EPSG:3857, pixels get narrower with latitude.
    """
    step = math.sqrt(2) * tolerance_degrees(georef)
    return min(max(math.ceil(-math.log10(step)), LEAST), MOST)


@lru_cache(maxsize=64)
def tolerance_degrees(georef: Georef) -> float:
    """Return a tenth of the width of the narrowest pixel in degrees; 1 if no pixel is on the Earth."""
    return _TOLERANCE_PX * min(narrowest_pixel(georef), 1 / _TOLERANCE_PX)


def narrowest_pixel(georef: Georef, project: Callable[[np.ndarray], np.ndarray] | None = None) -> float:
    """Return the width of the narrowest of pixels sampled all over a raster, in any direction.

    Args:
        georef: The raster.
        project: Projects longitudes and latitudes to map coordinates, both of shape ``(n, 2)``; None for degrees.

    Returns:
        Width in map units or degrees; infinite if no pixel is on the Earth.
    """
    positions = _positions(georef)
    shifts = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    ends = np.stack([georef.lonlat_or_nan(positions + shift) for shift in shifts])
    ends[1::2, :, 0] += 360 * np.rint((ends[::2, :, 0] - ends[1::2, :, 0]) / 360)
    if project is not None:
        ends = project(ends.reshape(-1, 2)).reshape(ends.shape)
    ends = ends[:, np.isfinite(ends).all(axis=(0, 2))]
    steps = np.stack([ends[0] - ends[1], ends[2] - ends[3]], axis=1)
    widths = np.linalg.svd(steps, compute_uv=False)[:, 1] if len(steps) else np.zeros(0)
    return float(widths.min(initial=math.inf, where=widths > 0))


def _positions(georef: Georef) -> np.ndarray:
    """Return positions all over a raster, except next to poles, where longitudes have no definite length."""
    cols, rows = (np.linspace(0, side, _SAMPLES) for side in (georef.width, georef.height))
    spread = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)
    poles = pole_positions(georef)
    if not len(poles):
        return spread
    near = (np.abs(spread[:, None] - poles).max(axis=2) < _NEAR_POLE_PX).any(axis=1)
    return np.concatenate([spread[~near], poles + _NEAR_POLE_PX, poles - _NEAR_POLE_PX])
