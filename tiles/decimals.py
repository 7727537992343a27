"""How many decimals degrees need, so that the corners of pixels stay where they are."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tiles.georef import Georef
from tiles.poles import pole_positions

LEAST = 7
"""Decimals of the degrees of ordinary rasters: steps of a centimetre."""

MOST = 12
"""Beyond these float64 has no room beside the degrees."""

_TOLERANCE_PX = 0.1
_NEAR_POLE_PX = 3.0
_SAMPLES = 5


@lru_cache(maxsize=64)
def decimals(georef: Georef) -> int:
    """Return the decimals of degrees at which rounding moves nothing by more than a tenth of a pixel, 7 to 12.

    The narrowest pixel of the raster counts, of samples from all over it: in EPSG:3857 pixels get narrower with the
    latitude.
    """
    step = math.sqrt(2) * tolerance_degrees(georef)
    return min(max(math.ceil(-math.log10(step)), LEAST), MOST)


@lru_cache(maxsize=64)
def tolerance_degrees(georef: Georef) -> float:
    """Return a tenth of the width of the narrowest pixel in any direction, in degrees; 1 where no pixel has a place."""
    positions = _positions(georef)
    shifts = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    ahead, behind, below, above = (georef.lonlat_or_nan(positions + shift) for shift in shifts)
    steps = np.stack([ahead - behind, below - above], axis=1)
    steps[..., 0] -= 360 * np.rint(steps[..., 0] / 360)
    steps = steps[np.isfinite(steps).all(axis=(1, 2))]
    widths = np.linalg.svd(steps, compute_uv=False)[:, 1] if len(steps) else np.zeros(0)
    return _TOLERANCE_PX * float(widths.min(initial=1 / _TOLERANCE_PX, where=widths > 0))


def _positions(georef: Georef) -> np.ndarray:
    """Positions all over a raster but for those next to a pole, where degrees of longitude say nothing of lengths."""
    cols, rows = (np.linspace(0, side, _SAMPLES) for side in (georef.width, georef.height))
    spread = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)
    poles = pole_positions(georef)
    if not len(poles):
        return spread
    near = (np.abs(spread[:, None] - poles).max(axis=2) < _NEAR_POLE_PX).any(axis=1)
    return np.concatenate([spread[~near], poles + _NEAR_POLE_PX, poles - _NEAR_POLE_PX])
