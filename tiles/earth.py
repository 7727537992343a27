"""What of a raster lies on the Earth, as a polygon."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely

from tiles.georef import Georef, OffEarthError, reaches_off_the_earth
from tiles.window import Window

_RAYS = 1440
_HALVINGS = 48
_PLACES = 33
_INSIDE_PX = 0.01
"""How far inside the limb outlines stay: on it, places lead back to none once they are rounded."""


def on_earth(georef: Georef, window: Window | None = None) -> shapely.Polygon | None:
    """Return what of a raster, or of a window of it, lies on the Earth, in pixels ``(col, row)``; None for nothing.

    Where all of it does, that is a rectangle. Else rays from a place on the Earth are followed to the limb, which bulges
    outward in CRSs that show the Earth in one piece.
    """
    window = window or Window(0, 0, georef.height, georef.width)
    return _on_earth(georef, window)


@lru_cache(maxsize=256)
def _on_earth(georef: Georef, window: Window) -> shapely.Polygon | None:
    box = shapely.box(window.col_off, window.row_off, window.col_end, window.row_end)
    if not reaches_off_the_earth(georef):
        return box
    centre = _place_in(georef, window)
    if centre is None:
        return None
    corners = shapely.get_coordinates(box)[:4]
    # Rays to the corners are among them, so that they are cut off nowhere.
    angles = np.arctan2(*(corners - centre).T[::-1])
    angles = np.unique(np.concatenate([angles, 2 * np.pi * np.arange(_RAYS) / _RAYS - np.pi]))
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    low, high = corners.min(axis=0), corners.max(axis=0)
    with np.errstate(divide="ignore"):
        length = np.where(ways > 0, (high - centre) / ways, np.where(ways < 0, (low - centre) / ways, np.inf))
    far = np.clip(centre + length.min(axis=1)[:, None] * ways, low, high)
    near = np.broadcast_to(centre, far.shape)
    lit = np.isfinite(georef.lonlat_or_nan(far)[:, :1])
    ends = far
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        known = np.isfinite(georef.lonlat_or_nan(middle)[:, :1])
        near, far = np.where(known, middle, near), np.where(known, far, middle)
    found = shapely.Polygon(np.where(lit, ends, near - _INSIDE_PX * ways))
    return found if found.is_valid and found.area > 0 else None


def _place_in(georef: Georef, window: Window) -> np.ndarray | None:
    """A place on the Earth in the middle of those in a window."""
    if window.shape == (georef.height, georef.width):
        try:
            return np.array(georef.middle())
        except OffEarthError:
            return None
    share = (np.arange(_PLACES) + 0.5) / _PLACES
    cols, rows = np.meshgrid(window.col_off + share * window.width, window.row_off + share * window.height)
    places = np.stack([cols.ravel(), rows.ravel()], axis=1)
    places = places[np.isfinite(georef.lonlat_or_nan(places)[:, 0])]
    if not len(places):
        return None
    return np.asarray(places[np.hypot(*(places - places.mean(axis=0)).T).argmin()])
