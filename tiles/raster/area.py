"""Areas and lengths of rings in longitude and latitude on the WGS 84 ellipsoid."""

from __future__ import annotations

import math

import numpy as np

from terraseam.tiles.compiled import njit

_SEMI_MAJOR_M = 6378137.0
_FLATTENING = 1 / 298.257223563
_SEMI_MINOR_M = _SEMI_MAJOR_M * (1 - _FLATTENING)
_HALF_SQUARE = _SEMI_MINOR_M**2 / 2
_ECCENTRICITY = math.sqrt(_FLATTENING * (2 - _FLATTENING))
_LONG = 1e-3
_GAUSS = ((0.5 - math.sqrt(0.15), 5 / 18), (0.5, 8 / 18), (0.5 + math.sqrt(0.15), 5 / 18))


def ring_areas(lonlat: np.ndarray, ring_offsets: np.ndarray, poles: np.ndarray) -> np.ndarray:
    """Compute the area of each ring in square metres: positive if it runs counter-clockwise.

    Edges are straight in longitude and latitude, as in GeoJSON, not geodesics: the two agree for short edges, but an
    edge along a parallel stays on it here, as it does on a raster in degrees. The area under an edge is integrated by
    Simpson's rule from the exact area between a latitude and the equator.

    Args:
        lonlat: Vertices of closed rings in degrees, longitudes without jumps, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        poles: Latitude of the pole for rings around one, 90 or -90; 0 for the others. Shape ``(rings,)``.
    """
    if len(ring_offsets) < 2:
        return np.zeros(0)
    return -np.add.reduceat(_strips(lonlat, ring_offsets, poles), ring_offsets[:-1])


def ring_lengths(lonlat: np.ndarray, ring_offsets: np.ndarray) -> np.ndarray:
    """Compute the length of each ring in metres, along edges that are straight in longitude and latitude.

    Lengths are integrated on the ellipsoid by Gaussian quadrature with one point per edge, and three where an edge
    spans more than a thousandth of a radian of latitude (6 km) or longitude.

    Args:
        lonlat: Vertices of closed rings in degrees, longitudes without jumps, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
    """
    if len(ring_offsets) < 2:
        return np.zeros(0)
    return np.add.reduceat(_edge_lengths(lonlat, ring_offsets), ring_offsets[:-1])


@njit(cache=True, nogil=True)
def _strips(lonlat, ring_offsets, poles):  # type: ignore[no-untyped-def]
    """Compute the area between each edge and its ring's first latitude or pole, stored at the edge's first vertex."""
    strips = np.zeros(len(lonlat))
    for ring in range(len(ring_offsets) - 1):
        first, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        lon, lat = math.radians(lonlat[first, 0]), math.radians(lonlat[first, 1])
        under = _area_from_equator(lat)
        reference = _area_from_equator(math.radians(poles[ring])) if poles[ring] else under
        for i in range(first, last):
            next_lon, next_lat = math.radians(lonlat[i + 1, 0]), math.radians(lonlat[i + 1, 1])
            middle, next_under = _area_from_equator((next_lat + lat) / 2), _area_from_equator(next_lat)
            strips[i] = (next_lon - lon) * ((under + 4 * middle + next_under) / 6 - reference)
            lon, lat, under = next_lon, next_lat, next_under
    return strips


@njit(cache=True, nogil=True)
def _area_from_equator(lat):  # type: ignore[no-untyped-def]
    """Compute the area between the equator and a latitude (radians), in square metres per radian of longitude."""
    sine = math.sin(lat)
    stretched = _ECCENTRICITY * sine
    return _HALF_SQUARE * (sine / (1 - stretched * stretched) + math.atanh(stretched) / _ECCENTRICITY)


@njit(cache=True, nogil=True)
def _edge_lengths(lonlat, ring_offsets):  # type: ignore[no-untyped-def]
    """Compute the length of each edge in metres, stored at its first vertex."""
    lengths = np.zeros(len(lonlat))
    for ring in range(len(ring_offsets) - 1):
        first, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        lon, lat = math.radians(lonlat[first, 0]), math.radians(lonlat[first, 1])
        for i in range(first, last):
            next_lon, next_lat = math.radians(lonlat[i + 1, 0]), math.radians(lonlat[i + 1, 1])
            lon_step, lat_step = next_lon - lon, next_lat - lat
            if abs(lat_step) > _LONG or abs(lon_step) > _LONG:
                for place, weight in _GAUSS:
                    lengths[i] += weight * _step(lat + place * lat_step, lon_step, lat_step)
            else:
                lengths[i] = _step(lat + lat_step / 2, lon_step, lat_step)
            lon, lat = next_lon, next_lat
    return lengths


@njit(cache=True, nogil=True)
def _step(lat, lon_step, lat_step):  # type: ignore[no-untyped-def]
    """Compute the length in metres of a step in longitude and latitude at a latitude, all in radians."""
    stretched = _ECCENTRICITY * math.sin(lat)
    shrink = 1 / (1 - stretched * stretched)
    radius = _SEMI_MAJOR_M * math.sqrt(shrink)
    north, east = (1 - _ECCENTRICITY**2) * shrink * lat_step, math.cos(lat) * lon_step
    return radius * math.sqrt(north * north + east * east)
