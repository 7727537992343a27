"""Determine which part of a raster lies on the Earth: as a polygon, and pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import rasterio.features
import shapely

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef, OffEarthError, reaches_off_the_earth

_RAYS = 1440
_HALVINGS = 48
_POSITIONS = 33
_ALONG = 4096
"""Number of positions along an outline that are tested for lying on the Earth."""

_SQUARES = 512
"""Number of squares along each side of a window when its part on the Earth is assembled from squares."""

_STEP_PX = 4
"""Squares of this width with all corners on the Earth count as on it: gaps between the lobes of interrupted
projections that they miss are narrow enough for positions in them to be snapped to the limb."""

_INSIDE_PX = 0.01
"""Distance that outlines keep inside the limb, in pixels: on it, rounded positions may not project back."""


def on_earth(georef: Georef, window: Window | None = None) -> shapely.Polygon | None:
    """Return the part of a raster, or of a window of it, on the Earth, in pixels ``(col, row)``; None if none is.

    If it has several pieces, as in interrupted projections, the largest is returned.
    """
    return max(pieces_on_earth(georef, window), key=lambda piece: piece.area, default=None)


def pieces_on_earth(georef: Georef, window: Window | None = None) -> tuple[shapely.Polygon, ...]:
    """Return the pieces of a raster, or of a window of it, on the Earth, in pixels ``(col, row)``, without holes.

    If all of it is on the Earth, this is a rectangle. Otherwise rays from a position on the Earth are followed to the
    limb, which is convex in CRSs that show the Earth in one piece; in others, squares on the Earth are merged.
    """
    return _pieces(georef, window or Window(0, 0, georef.height, georef.width))


@lru_cache(maxsize=256)
def _pieces(georef: Georef, window: Window) -> tuple[shapely.Polygon, ...]:
    box = shapely.box(window.col_off, window.row_off, window.col_end, window.row_end)
    if not reaches_off_the_earth(georef):
        return (box,)
    centre = _position_in(georef, window)
    if centre is None:
        return ()
    corners = shapely.get_coordinates(box)[:4]
    # Include rays to the corners, so that these are not cut off.
    angles = np.arctan2(*(corners - centre).T[::-1])
    angles = np.unique(np.concatenate([angles, 2 * np.pi * np.arange(_RAYS) / _RAYS - np.pi]))
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    low, high = corners.min(axis=0), corners.max(axis=0)
    with np.errstate(divide="ignore"):
        length = np.where(
            directions > 0,
            (high - centre) / directions,
            np.where(directions < 0, (low - centre) / directions, np.inf),
        )
    far = np.clip(centre + length.min(axis=1)[:, None] * directions, low, high)
    near = np.broadcast_to(centre, far.shape)
    lit = np.isfinite(georef.lonlat_or_nan(far)[:, :1])
    ends = far
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        known = np.isfinite(georef.lonlat_or_nan(middle)[:, :1])
        near, far = np.where(known, middle, near), np.where(known, far, middle)
    polygon = shapely.Polygon(np.where(lit, ends, near - _INSIDE_PX * directions))
    if not (polygon.is_valid and polygon.area > 0):
        return ()
    return (polygon,) if _stays_on_earth(polygon, georef) else _squares(georef, window)


def _stays_on_earth(outline: shapely.Polygon, georef: Georef) -> bool:
    """Check whether all of an outline lies on the Earth, or next to it."""
    along = shapely.get_coordinates(shapely.segmentize(outline.exterior, outline.length / _ALONG))
    try:
        georef.to_lonlat(along)
    except OffEarthError:
        return False
    return True


def _squares(georef: Georef, window: Window) -> tuple[shapely.Polygon, ...]:
    """Merge the squares of a window whose corners are all on the Earth."""
    rows, cols = (np.linspace(0, size, _SQUARES + 1) for size in window.shape)
    positions = np.stack(np.meshgrid(window.col_off + cols, window.row_off + rows), axis=-1).reshape(-1, 2)
    known = np.isfinite(georef.lonlat_or_nan(positions)[:, 0]).reshape(len(rows), len(cols))
    square = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
    step = np.array([window.width, window.height]) / _SQUARES
    start = np.array([window.col_off, window.row_off])
    return tuple(
        shapely.Polygon(start + step * np.array(shape["coordinates"][0]))
        for shape, _ in rasterio.features.shapes(square.astype(np.uint8), square)
    )


def _position_in(georef: Georef, window: Window) -> np.ndarray | None:
    """Return a position on the Earth in the middle of those in a window."""
    if window.shape == (georef.height, georef.width):
        try:
            return np.array(georef.middle())
        except OffEarthError:
            return None
    share = (np.arange(_POSITIONS) + 0.5) / _POSITIONS
    cols, rows = np.meshgrid(window.col_off + share * window.width, window.row_off + share * window.height)
    positions = np.stack([cols.ravel(), rows.ravel()], axis=1)
    positions = positions[np.isfinite(georef.lonlat_or_nan(positions)[:, 0])]
    if not len(positions):
        return None
    return np.asarray(positions[np.hypot(*(positions - positions.mean(axis=0)).T).argmin()])


def find_off_earth(georef: Georef, window: Window, measured: np.ndarray) -> np.ndarray:
    """Find the valid pixels of a window whose centre is off the Earth; gaps narrower than 4 px do not count.

    The result for a pixel depends only on its position in the raster, not on the window.

    Args:
        georef: The raster.
        window: Pixels of it; it may extend beyond its edges.
        measured: Validity of the pixels, bool, shape ``(height, width)``.

    Returns:
        Bool, same shape.
    """
    off = np.zeros(window.shape, bool)
    if not reaches_off_the_earth(georef) or not measured.any():
        return off
    rows, cols = np.nonzero(measured & ~_amid_the_earth(georef, window))
    centres = np.stack([cols + window.col_off + 0.5, rows + window.row_off + 0.5], axis=1)
    off[rows, cols] = np.isnan(georef.lonlat_or_nan(centres)[:, 0])
    return off


def _amid_the_earth(georef: Georef, window: Window) -> np.ndarray:
    """Return whether each pixel lies in a square of the raster, `_STEP_PX` wide, with all corners on the Earth."""
    (top, bottom), (left, right) = (
        (start // _STEP_PX, -(-end // _STEP_PX))
        for start, end in ((window.row_off, window.row_end), (window.col_off, window.col_end))
    )
    cols, rows = np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1))
    positions = _STEP_PX * np.stack([cols.ravel(), rows.ravel()], axis=1).astype(np.float64)
    known = np.isfinite(georef.lonlat_or_nan(positions)[:, 0]).reshape(cols.shape)
    square = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
    pixels = square.repeat(_STEP_PX, axis=0).repeat(_STEP_PX, axis=1)
    row, col = window.row_off - _STEP_PX * top, window.col_off - _STEP_PX * left
    return pixels[row : row + window.height, col : col + window.width]


@dataclass(frozen=True)
class OnEarth:
    """The pixels of a raster whose centre is on the Earth."""

    georef: Georef

    def mask(self, window: Window) -> np.ndarray:
        """Return whether each pixel of a window belongs to it, bool ``(height, width)``."""
        return ~find_off_earth(self.georef, window, np.ones(window.shape, bool))
