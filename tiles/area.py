"""Areas and lengths on the WGS 84 ellipsoid of rings in longitude and latitude."""

from __future__ import annotations

import numpy as np

_SEMI_MAJOR_M = 6378137.0
_FLATTENING = 1 / 298.257223563
_SEMI_MINOR_M = _SEMI_MAJOR_M * (1 - _FLATTENING)
_ECCENTRICITY = np.sqrt(_FLATTENING * (2 - _FLATTENING))
_LONG = 1e-3
_GAUSS_PLACES = (0.5 - np.sqrt(0.15), 0.5, 0.5 + np.sqrt(0.15))
_GAUSS_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


def ring_areas(lonlat: np.ndarray, ring_offsets: np.ndarray, poles: np.ndarray) -> np.ndarray:
    """Area of each ring in square metres: positive where it runs counter-clockwise.

    Edges are straight in longitude and latitude, as GeoJSON defines them, not geodesics: the two agree for
    short edges, but an edge along a parallel stays on it here, as it does on a raster in degrees. The area
    under an edge is Simpson's rule over the exact area between a latitude and the equator.

    Args:
        lonlat: Vertices of closed rings in degrees, longitudes without jumps, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        poles: For rings round a pole its latitude, 90 or -90; 0 for the others. Shape ``(rings,)``.
    """
    if len(ring_offsets) < 2:
        return np.zeros(0)
    lon, lat = np.radians(lonlat).T
    first = ring_offsets[:-1]
    reference = _area_from_equator(np.where(poles == 0, lat[first], np.radians(poles)))
    under = _area_from_equator(lat)
    middle = _area_from_equator((lat[1:] + lat[:-1]) / 2)
    mean = (under[:-1] + 4 * middle + under[1:]) / 6 - np.repeat(reference, np.diff(ring_offsets))[:-1]
    strips = np.append(np.diff(lon) * mean, 0.0)
    strips[ring_offsets[1:] - 1] = 0.0
    return -np.add.reduceat(strips, first)


def ring_lengths(lonlat: np.ndarray, ring_offsets: np.ndarray) -> np.ndarray:
    """Length of each ring in metres, along edges that are straight in longitude and latitude.

    By Gauss' rule, of the length of a step on the ellipsoid at its latitude: with one point an edge, and three where an
    edge spans more than a thousandth of a radian of latitude (6 km) or longitude.

    Args:
        lonlat: Vertices of closed rings in degrees, longitudes without jumps, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
    """
    if len(ring_offsets) < 2:
        return np.zeros(0)
    lon, lat = np.radians(lonlat).T
    lon_step, lat_step = np.diff(lon), np.diff(lat)
    lengths = np.append(_steps(lat[:-1] + lat_step / 2, lon_step, lat_step), 0.0)
    long = np.flatnonzero((np.abs(lat_step) > _LONG) | (np.abs(lon_step) > _LONG))
    lengths[long] = sum(
        weight * _steps(lat[long] + place * lat_step[long], lon_step[long], lat_step[long])
        for place, weight in zip(_GAUSS_PLACES, _GAUSS_WEIGHTS, strict=True)
    )
    lengths[ring_offsets[1:] - 1] = 0.0
    return np.add.reduceat(lengths, ring_offsets[:-1])


def _steps(lat: np.ndarray, lon_step: np.ndarray, lat_step: np.ndarray) -> np.ndarray:
    """Metres of steps of longitude and latitude at latitudes, all in radians."""
    shrink = 1 / np.sqrt(1 - (_ECCENTRICITY * np.sin(lat)) ** 2)
    north = _SEMI_MAJOR_M * (1 - _ECCENTRICITY**2) * shrink**3 * lat_step
    return np.hypot(north, _SEMI_MAJOR_M * shrink * np.cos(lat) * lon_step)


def _area_from_equator(lat: np.ndarray) -> np.ndarray:
    """Area between the equator and latitudes (radians), square metres for each radian of longitude."""
    sine = np.sin(lat)
    stretched = _ECCENTRICITY * sine
    return _SEMI_MINOR_M**2 / 2 * (sine / (1 - stretched**2) + np.arctanh(stretched) / _ECCENTRICITY)
