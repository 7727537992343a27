"""Georeferencing of a raster: its CRS, transform and shape as one value."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pyproj

from terraseam.tiles.raster.limb import onto_limb
from terraseam.tiles.raster.turn import turn_of


class OffEarthError(ValueError):
    """Raised for a pixel that is not on the Earth."""


LONLAT = "EPSG:4326"
_local = threading.local()

_LEADS_BACK_PX, _LEADS_BACK = 1e-2, 0.1
"""Tolerated round-trip error of map coordinates, in pixels, and in units of the CRS."""

_KNOWN_GRIDS = 4096
"""Number of rasters whose measures on the ground are cached, so that a job of many measures each once."""

_ALONG_A_SIDE = 65
"""Number of positions along each side of a raster that are tested for lying on the Earth."""

_SIDES = (33, 257, 1025)
"""Numbers of rows and columns of positions that are searched for one on the Earth, in turn until one is found."""


@dataclass(frozen=True, slots=True)
class Georef:
    """CRS, transform and shape of one raster.

    Pixel positions are ``(col, row)``: (0, 0) is the corner of the first pixel, (0.5, 0.5) its centre.

    Attributes:
        crs: WKT or authority string such as ``EPSG:32633``.
        transform: ``(a, b, c, d, e, f)`` in rasterio's order and in units of the CRS:
            ``x = a*col + b*row + c``, ``y = d*col + e*row + f``.
        height: Raster height, in pixels.
        width: Raster width, in pixels.
    """

    area_attribute: ClassVar[str] = "area_m2"
    length_attribute: ClassVar[str] = "perimeter_m"
    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a raster has 1 px or more on each side, got {self.height} x {self.width} px")
        if len(self.transform) != 6 or not all(math.isfinite(v) for v in self.transform):
            raise ValueError(f"transform must be six finite numbers (a, b, c, d, e, f), got {self.transform}")
        object.__setattr__(self, "transform", tuple(float(v) for v in self.transform))
        if self._determinant() == 0:
            raise ValueError(f"transform maps every pixel onto one line or point: {self.transform}")
        _is_geographic(self.crs)  # raises ValueError if it is neither geographic nor projected

    def to_map(self, xy_px: np.ndarray) -> np.ndarray:
        """Compute map coordinates of pixel positions.

        Args:
            xy_px: Pixel positions ``(col, row)``, shape ``(n, 2)``.

        Returns:
            Map coordinates ``(x, y)`` in units of the CRS, float64, shape ``(n, 2)``.
        """
        a, b, c, d, e, f = self.transform
        col, row = np.asarray(xy_px, dtype=np.float64).T
        return np.stack([col * a + row * b + c, col * d + row * e + f], axis=1)

    def to_pixels(self, xy_map: np.ndarray) -> np.ndarray:
        """Compute pixel positions ``(col, row)`` of map coordinates, both of shape ``(n, 2)``."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(xy_map, dtype=np.float64).T
        x, y = x - c, y - f
        with np.errstate(invalid="ignore"):
            return np.stack([e * x - b * y, a * y - d * x], axis=1) / self._determinant()

    def to_lonlat(self, xy_px: np.ndarray) -> np.ndarray:
        """Compute longitude and latitude (WGS 84, longitude first, as OGC:CRS84) of pixel positions.

        Longitudes outside -180..180 (rasters of 0..360, or across the antimeridian) are wrapped into it; -180 and 180
        are both kept. Latitudes marginally beyond a pole are clipped to it. Positions less than `limb.REACH_PX`
        pixels off the Earth, such as corners of its outermost pixels, are snapped to its limb.

        Args:
            xy_px: Pixel positions ``(col, row)``, shape ``(n, 2)``.

        Returns:
            Degrees ``(longitude, latitude)``, float64, shape ``(n, 2)``.

        Raises:
            OffEarthError: If a position lies farther off the Earth.
        """
        lonlat = self.lonlat_or_nan(xy_px)
        unknown = np.flatnonzero(np.isnan(lonlat[:, 0]))
        if unknown.size:
            lonlat[unknown] = onto_limb(np.asarray(xy_px, np.float64)[unknown], self.lonlat_or_nan)
            unknown = unknown[np.isnan(lonlat[unknown, 0])]
        if unknown.size:
            col, row = np.asarray(xy_px)[unknown[0]]
            raise OffEarthError(
                f"column {col:g}, row {row:g} of the raster lies outside the area of its CRS; mark such pixels as nodata"
            )
        return lonlat

    def lonlat_or_nan(self, xy_px: np.ndarray) -> np.ndarray:
        """Compute longitudes and latitudes as `to_lonlat`, with NaN for positions off the Earth.

        These include positions whose longitude and latitude do not project back to them.
        """
        x, y = self.to_map(xy_px).T
        lon, lat = _transformer(self.crs).transform(x, y)
        unknown = ~(np.isfinite(lon) & np.isfinite(lat))
        if reaches_off_the_earth(self):
            unknown |= self._leads_elsewhere(x, y, (lon, lat))
        beyond = np.abs(lon) > 180
        if beyond.any():
            with np.errstate(invalid="ignore"):
                lon[beyond] = np.mod(lon[beyond] + 180, 360) - 180
        lonlat = np.stack([lon, np.clip(lat, -90, 90)], axis=1)
        lonlat[unknown] = np.nan
        return lonlat

    def _leads_elsewhere(
        self, x: np.ndarray, y: np.ndarray, lonlat: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Return whether longitudes and latitudes project back to other map coordinates than their own; bool."""
        with np.errstate(invalid="ignore"):
            back_x, back_y = _transformer(self.crs).transform(*lonlat, direction="INVERSE")
            off_x, off_y = back_x - x, back_y - y
            turn = turn_of(self.crs)
            off_x -= turn * np.rint(off_x / turn) if turn else 0.0
            pixel = math.sqrt(abs(self._determinant()))
            return np.asarray(~(np.hypot(off_x, off_y) < max(_LEADS_BACK_PX * pixel, _LEADS_BACK)))

    def from_lonlat(self, lonlat: np.ndarray) -> np.ndarray:
        """Compute pixel positions ``(col, row)`` of longitudes and latitudes, both of shape ``(n, 2)``.

        In a geographic CRS the longitude may be shifted by a full turn.
        """
        return self.to_pixels(from_lonlat_to_map(self.crs, lonlat))

    def check_latitudes(self) -> None:
        """Check that a raster in degrees does not reach beyond a pole by more than a pixel.

        Raises:
            ValueError: If it does; the message names the latitude.
        """
        if not _is_geographic(self.crs):
            return
        corners = np.array([[0, 0], [self.width, 0], [0, self.height], [self.width, self.height]])
        latitudes = self.to_map(corners)[:, 1]
        farthest = latitudes[np.abs(latitudes).argmax()]
        if abs(farthest) > 90 + abs(self.transform[3]) + abs(self.transform[4]):
            raise ValueError(f"it reaches latitude {farthest:g}; check the CRS and the geotransform")

    def gsd(self) -> float:
        """Return the ground sample distance: metres per pixel on the WGS 84 ellipsoid, at the `middle` of the raster.

        It is the geometric mean of both pixel axes, each measured half a pixel to either side: true metres on the
        ground even if the units of the CRS are degrees or distorted (EPSG:3857).

        Raises:
            OffEarthError: If no part of the raster is on the Earth.
        """
        return math.sqrt(math.hypot(*self.ground_steps()[0]) * math.hypot(*self.ground_steps()[1]))

    def ground_steps(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return metres on the ground, to the east and to the north, of a step of one column and of one row.

        They are measured on the WGS 84 ellipsoid, half a pixel to either side of the `middle` of the raster.

        Raises:
            OffEarthError: If no part of the raster is on the Earth.
        """
        return _ground_steps(self)

    def middle(self) -> tuple[float, float]:
        """Return the pixel position ``(col, row)`` of the centre or, if that is off the Earth, of the part on it.

        Raises:
            OffEarthError: If no part of the raster is on the Earth.
        """
        return _middle(self)

    @property
    def mirrored(self) -> bool:
        """Whether the raster shows the ground mirrored, as one with south up does."""
        return self._determinant() > 0

    def _determinant(self) -> float:
        a, b, _, d, e, _ = self.transform
        return a * e - b * d


@lru_cache(_KNOWN_GRIDS)
def _ground_steps(georef: Georef) -> tuple[tuple[float, float], tuple[float, float]]:
    col, row = georef.middle()
    ends = np.array([[col - 0.5, row], [col, row - 0.5], [col + 0.5, row], [col, row + 0.5]])
    lon, lat = georef.to_lonlat(ends).T
    azimuth, _, metres = pyproj.Geod(ellps="WGS84").inv(lon[:2], lat[:2], lon[2:], lat[2:])
    east, north = metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))
    return (float(east[0]), float(north[0])), (float(east[1]), float(north[1]))


@lru_cache(_KNOWN_GRIDS)
def _middle(georef: Georef) -> tuple[float, float]:
    centre = georef.width / 2, georef.height / 2
    if np.isfinite(georef.lonlat_or_nan(np.array([centre]))).all():
        return centre
    for side in _SIDES:
        cols, rows = (
            (np.arange(min(side, size)) + 0.5) * size / min(side, size)
            for size in (georef.width, georef.height)
        )
        places = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)
        places = places[np.isfinite(georef.lonlat_or_nan(places)[:, 0])]
        around = places[:, None] + np.array([[-0.5, 0], [0, -0.5], [0.5, 0], [0, 0.5]])
        on = np.isfinite(georef.lonlat_or_nan(around.reshape(-1, 2))[:, 0]).reshape(-1, 4).all(axis=1)
        places = places[on] if on.any() else places
        if len(places):
            nearest = np.hypot(*(places - places.mean(axis=0)).T).argmin()
            return float(places[nearest, 0]), float(places[nearest, 1])
    col, row = centre
    raise OffEarthError(
        f"no part of it lies on the Earth: its centre, column {col:g}, row {row:g}, is outside the area of its CRS, as are "
        "all others; check the CRS and the geotransform"
    )


def from_lonlat_to_map(crs: str, lonlat: np.ndarray) -> np.ndarray:
    """Return map coordinates ``(x, y)`` of longitudes and latitudes, both of shape ``(n, 2)``."""
    lon, lat = np.asarray(lonlat, dtype=np.float64).T
    x, y = _transformer(crs).transform(lon, lat, direction="INVERSE")
    return np.stack([x, y], axis=1)


@lru_cache(_KNOWN_GRIDS)
def reaches_off_the_earth(georef: Georef) -> bool:
    """Check whether some of the edge of a raster is off the Earth, or does not round-trip to itself.

    The area of a CRS that shows the Earth is convex: a raster with all corners on the Earth lies on it completely.
    """
    if _is_geographic(georef.crs):
        return False
    share = np.linspace(0, 1, _ALONG_A_SIDE)
    zeros, ones = np.zeros_like(share), np.ones_like(share)
    sides = [(share, zeros), (share, ones), (zeros, share), (ones, share)]
    rim = np.concatenate([np.stack(side, axis=1) for side in sides]) * [georef.width, georef.height]
    x, y = georef.to_map(rim).T
    lonlat = _transformer(georef.crs).transform(x, y)
    return bool(georef._leads_elsewhere(x, y, lonlat).any())


@lru_cache(_KNOWN_GRIDS)
def _is_geographic(text: str) -> bool:
    """Check whether a CRS is geographic rather than projected.

    Raises:
        ValueError: If it is neither, or PROJ does not know it.
    """
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise ValueError(f"{text[:60]!r} is not a CRS that PROJ knows") from error
    if not (crs.is_geographic or crs.is_projected):
        raise ValueError(
            f"CRS {crs.name!r} is neither geographic nor projected: the raster has no place on Earth"
        )
    return bool(crs.is_geographic)


def _transformer(crs: str) -> pyproj.Transformer:
    """Return the transformer from `crs` to longitude and latitude, one per thread (PROJ is not thread-safe)."""
    cache = _local.__dict__.setdefault("transformers", {})
    if crs not in cache:
        cache[crs] = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
    return cache[crs]
