"""Choose a plane in which polygons are compared if there is no raster grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyproj
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.read import PolygonFile

PIXELS = 1 << 16
"""Longest side of the plane, in its pixels; reprojected edges are densified to a tenth of one."""
_FINEST_M = 0.01


def plane_of(files: Sequence[PolygonFile]) -> Georef | None:
    """Return an equal-area grid that covers the polygons of some files; None if they have none.

    The projection is Lambert azimuthal equal-area, centred on the polygons, so that ratios of areas are true.
    """
    points = [_lonlat(file) for file in files if len(file.polygons)]
    if not points:
        return None
    lonlat = np.concatenate(points)
    lonlat = lonlat[np.isfinite(lonlat).all(axis=1)]
    if not len(lonlat):
        return None
    lon, lat = _middle(lonlat)
    crs = f"+proj=laea +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m +type=crs"
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    xy = np.stack(transformer.transform(*lonlat.T), axis=1)
    xy = xy[np.isfinite(xy).all(axis=1)]
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = 0.02 * float((high - low).max()) + 1.0
    low, high = low - margin, high + margin
    step = max(_FINEST_M, float((high - low).max()) / PIXELS)
    width, height = (int(size) + 1 for size in (high - low) / step)
    return Georef(crs, (step, 0.0, float(low[0]), 0.0, -step, float(high[1])), height, width)


def _lonlat(file: PolygonFile) -> np.ndarray:
    """Return the corners of the bounds of polygons as longitude and latitude, shape ``(n, 2)``."""
    left, bottom, right, top = shapely.bounds(file.polygons).T
    x, y = np.concatenate([left, right, left, right]), np.concatenate([bottom, top, top, bottom])
    transformer = pyproj.Transformer.from_crs(file.crs, "OGC:CRS84", always_xy=True)
    return np.stack(transformer.transform(x, y), axis=1)


def _middle(lonlat: np.ndarray) -> tuple[float, float]:
    """Return the mean direction of points on the Earth, which may lie across the antimeridian."""
    lon, lat = np.radians(lonlat).T
    x, y, z = (np.cos(lat) * np.cos(lon)).mean(), (np.cos(lat) * np.sin(lon)).mean(), np.sin(lat).mean()
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))
