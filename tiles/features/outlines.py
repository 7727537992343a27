"""Outlines of regions for GeoJSON, on the Earth or in pixels, with their areas and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import shapely

from terraseam.tiles.features.dateline import cut_at_antimeridian, polygons_of, sound
from terraseam.tiles.features.decimals import LEAST, decimals, tolerance_degrees
from terraseam.tiles.features.lonlat import lonlat_rings
from terraseam.tiles.raster.area import ring_areas, ring_lengths
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.ground import Ground, PixelPlane
from terraseam.tiles.regions.regions import Regions, ragged_join, ragged_runs, ragged_take

_OVERHANG_DEGREES = 1e-6
"""Overhang of longitudes beyond 180 degrees that is not cut off there, unless a tenth of a pixel is less."""
_PIXEL_DECIMALS = 4
_BATCH = 1 << 15
"""Vertices that are transformed at once: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Outlines of regions in degrees, rounded; or in pixels, columns for longitudes and rows for latitudes.

    Attributes:
        lonlat: Vertices ``(longitude, latitude)`` of all rings, shells counter-clockwise and holes clockwise with y
            up; float64, or int32 for whole pixels; shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, int64, shape ``(rings + 1,)``.
        region_offsets: First ring of each region and the end of the last, int64, shape ``(regions + 1,)``.
        areas_m2: Area of each region on the WGS 84 ellipsoid, before rounding, shape ``(regions,)``; or in pixels.
        perimeters_m: Total length of the rings of each region there, before rounding, shape ``(regions,)``.
        bounds: West, south, east, north of each region; west exceeds east if a region crosses the antimeridian. Shape
            ``(regions, 4)``.
        cut: Parts of regions that cross the antimeridian or contain a pole, which replace their rings.
        decimals: Number of decimals that vertices are rounded to.
        in_pixels: Whether coordinates are in pixels.
    """

    lonlat: np.ndarray
    ring_offsets: np.ndarray
    region_offsets: np.ndarray
    areas_m2: np.ndarray
    perimeters_m: np.ndarray
    bounds: np.ndarray
    cut: Mapping[int, list[list[np.ndarray]]]
    decimals: int = LEAST
    in_pixels: bool = False

    def parts(self, region: int) -> list[list[np.ndarray]]:
        """Return the rings of the polygons of a region, shell first, each of shape ``(vertices, 2)``."""
        if region in self.cut:
            return self.cut[region]
        offsets = self.ring_offsets[self.region_offsets[region] : self.region_offsets[region + 1] + 1]
        return [[self.lonlat[start:end] for start, end in pairwise(offsets.tolist())]]


def outline(regions: Regions, ground: Ground) -> Outlines:
    """Transform the outlines of regions to the Earth, or to the plane of their pixels.

    Raises:
        ValueError: If a vertex lies outside the area of the raster's CRS.
    """
    if not len(regions):
        return _joined([], LEAST)
    if isinstance(ground, PixelPlane):
        return _outline_in_pixels(regions)
    runs = ragged_runs(regions.ring_offsets[regions.region_offsets], _BATCH)
    return _joined([_outline(regions.run(*run), ground) for run in runs], decimals(ground))


def _joined(parts: list[Outlines], places: int) -> Outlines:
    """Concatenate outlines."""
    ends = np.cumsum([0, *(len(part.bounds) for part in parts)]).tolist()
    return Outlines(
        np.concatenate([np.zeros((0, 2)), *(part.lonlat for part in parts)]),
        ragged_join([np.zeros(1, np.int64), *(part.ring_offsets for part in parts)]),
        ragged_join([np.zeros(1, np.int64), *(part.region_offsets for part in parts)]),
        np.concatenate([np.zeros(0), *(part.areas_m2 for part in parts)]),
        np.concatenate([np.zeros(0), *(part.perimeters_m for part in parts)]),
        np.concatenate([np.zeros((0, 4)), *(part.bounds for part in parts)]),
        {start + i: cut for start, part in zip(ends, parts, strict=False) for i, cut in part.cut.items()},
        places,
    )


def _outline(regions: Regions, ground: Georef) -> Outlines:
    """Compute the outlines of one or more regions."""
    rings, places = lonlat_rings(regions, ground), decimals(ground)
    overhang = min(_OVERHANG_DEGREES, tolerance_degrees(ground))
    offsets, shells = rings.ring_offsets, regions.region_offsets[:-1]
    poles = _enclosed_poles(rings.turns, shells, ground.mirrored)
    areas = ring_areas(rings.lonlat, offsets, poles)
    lonlat = _round(_align(rings.lonlat, offsets, regions.region_offsets, overhang), places)
    bounds = _bounds(lonlat, offsets)[shells]
    crossing = (bounds[:, 2] > 180 + overhang) | (poles[shells] != 0)
    cut = {}
    for i in np.flatnonzero(crossing).tolist():
        own = np.arange(regions.region_offsets[i], regions.region_offsets[i + 1])
        solids = [lonlat[span] for span in _spans(offsets, regions.region_offsets[i : i + 2])]
        cut[i], bounds[i] = _cut(solids, poles[own], bounds[i], (places, overhang))
    at_limb = np.logical_or.reduceat(rings.at_limb, shells)
    for i in np.flatnonzero(at_limb & ~crossing).tolist():
        solids = [lonlat[span] for span in _spans(offsets, regions.region_offsets[i : i + 2])]
        if not shapely.is_valid(shapely.Polygon(solids[0], solids[1:])):
            cut[i], bounds[i] = _mended(solids, bounds[i], places)
    lonlat[:, 0] = np.clip(lonlat[:, 0], -180, 180)
    backward = np.repeat(areas[shells] < 0, np.diff(regions.region_offsets))
    bounds[:, ::2] = np.clip(bounds[:, ::2], -180, 180)
    return Outlines(
        lonlat[_reversing(offsets, backward)],
        offsets,
        regions.region_offsets,
        _net_areas(np.abs(areas), regions.region_offsets),
        np.add.reduceat(ring_lengths(rings.lonlat, offsets), shells),
        _round(bounds, places),
        cut,
        places,
    )


def _outline_in_pixels(regions: Regions) -> Outlines:
    """Return outlines of regions in pixels, unchanged. With y up, shells run counter-clockwise, as readers expect."""
    coords, offsets = regions.coords, regions.ring_offsets
    if coords.dtype.kind == "f":
        coords = np.round(coords, _PIXEL_DECIMALS) + 0.0
    lengths = np.append(np.hypot(*np.diff(regions.coords, axis=0).T), 0.0)
    lengths[offsets[1:] - 1] = 0.0
    shells = regions.region_offsets[:-1]
    return Outlines(
        coords,
        offsets,
        regions.region_offsets,
        _net_areas(_areas_in_pixels(regions), regions.region_offsets),
        np.add.reduceat(np.add.reduceat(lengths, offsets[:-1]), shells),
        _bounds(coords, offsets)[shells],
        {},
        _PIXEL_DECIMALS,
        in_pixels=True,
    )


def _areas_in_pixels(regions: Regions) -> np.ndarray:
    """Compute the area of each ring in pixels, shape ``(rings,)``."""
    first = np.repeat(regions.coords[regions.ring_offsets[:-1]], np.diff(regions.ring_offsets), axis=0)
    x, y = (regions.coords - first).astype(np.float64).T
    twice = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
    return np.abs(np.add.reduceat(twice, regions.ring_offsets[:-1])) / 2


def fill_small_holes(
    regions: Regions, ground: Ground, least_m2: float, groups: np.ndarray
) -> tuple[Regions, np.ndarray]:
    """Fill holes that are smaller than a number of square metres, or pixels.

    Args:
        regions: The regions.
        ground: The surface that they lie on.
        least_m2: Area of the smallest holes that are kept.
        groups: First region of each feature and the end of the last, shape ``(groups + 1,)``.

    Returns:
        The regions without these holes, and whether each region lies outside all holes filled in its feature, bool,
        shape ``(regions,)``: the others are covered.
    """
    free = np.ones(len(regions), bool)
    if least_m2 <= 0 or len(regions.ring_offsets) - 1 == len(regions):
        return regions, free
    shells = regions.region_offsets[:-1]
    if isinstance(ground, PixelPlane):
        areas = _areas_in_pixels(regions)
    else:
        rings = lonlat_rings(regions, ground)
        areas = ring_areas(
            rings.lonlat, rings.ring_offsets, _enclosed_poles(rings.turns, shells, ground.mirrored)
        )
    stays = np.abs(areas) >= least_m2
    stays[shells] = True
    if len(groups) - 1 < len(regions):
        free = ~_in_holes(regions, np.flatnonzero(~stays), groups)
    vertices, ring_offsets = ragged_take(regions.ring_offsets, np.flatnonzero(stays))
    filled = replace(
        regions,
        coords=regions.coords[vertices],
        marks=regions.marks[vertices],
        ring_offsets=ring_offsets,
        region_offsets=np.concatenate([[0], np.cumsum(stays)])[regions.region_offsets],
    )
    return filled, free


def _in_holes(regions: Regions, holes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return whether each region lies in one of `holes` (ring indices) of its group; bool, shape ``(regions,)``."""
    sizes = np.diff(groups)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    of_hole = owner[np.searchsorted(regions.region_offsets, holes, side="right") - 1]
    holes, of_hole = holes[sizes[of_hole] > 1], of_hole[sizes[of_hole] > 1]
    inside = np.zeros(len(regions), bool)
    if len(holes):
        vertices, offsets = ragged_take(regions.ring_offsets, holes)
        solids = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            regions.coords[vertices].astype(np.float64),
            (offsets, np.arange(len(offsets))),
        )
        alone = np.flatnonzero(sizes[owner] > 1)
        centres = shapely.points(regions.first[alone, ::-1] + 0.5)
        point, hole = shapely.STRtree(solids).query(centres, predicate="within")
        inside[alone[point[owner[alone[point]] == of_hole[hole]]]] = True
    return inside


def _enclosed_poles(turns: np.ndarray, shells: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return the latitude of the pole inside each ring, its holes filled; 0 without one. Shape ``(rings,)``.

    A region lies to the right of its rings on the ground, or to the left on a mirrored raster: going eastwards, south
    is to the right. The inside of a hole lies on the other side.
    """
    poles = 90 * turns if mirrored else -90 * turns
    is_shell = np.zeros(len(turns), dtype=bool)
    is_shell[shells] = True
    return np.where(is_shell, poles, -poles)


def _align(
    lonlat: np.ndarray, ring_offsets: np.ndarray, region_offsets: np.ndarray, overhang: float
) -> np.ndarray:
    """Shift rings by full turns: shells start in -180..180, holes lie in their shells."""
    west = np.minimum.reduceat(lonlat[:, 0], ring_offsets[:-1])
    shell_west = west[region_offsets[:-1]]
    shell_west = shell_west - 360 * np.floor((shell_west + 180 + overhang) / 360)
    shell_west = np.repeat(shell_west, np.diff(region_offsets))
    turns = np.floor((west - shell_west + overhang) / 360)
    lon = lonlat[:, 0] - 360 * np.repeat(turns, np.diff(ring_offsets))
    return np.stack([lon, lonlat[:, 1]], axis=1)


def _bounds(lonlat: np.ndarray, ring_offsets: np.ndarray) -> np.ndarray:
    """Compute west, south, east and north of each ring, shape ``(rings, 4)``."""
    first = ring_offsets[:-1]
    low, high = np.minimum.reduceat(lonlat, first), np.maximum.reduceat(lonlat, first)
    return np.concatenate([low, high], axis=1)


def _spans(ring_offsets: np.ndarray, rings: np.ndarray) -> list[slice]:
    """Return the slices of the vertices of each ring in the range `rings`."""
    return [slice(*span) for span in pairwise(ring_offsets[rings[0] : rings[1] + 1].tolist())]


def _cut(
    rings: list[np.ndarray], poles: np.ndarray, bounds: np.ndarray, rounding: tuple[int, float]
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Cut a polygon at the antimeridian or a pole into parts, with bounds; `rounding` is decimals and overhang."""
    places, overhang = rounding
    polygons = cut_at_antimeridian(rings, poles.tolist(), places)
    _, south, _, north = shapely.total_bounds(polygons)
    west, _, east, _ = bounds
    if poles[0] or east - west >= 360 - overhang:
        west, east = -180, 180
    elif east > 180 + overhang:
        east -= 360
    return rings_of(polygons, places), np.array([west, south, east, north])


def _mended(
    rings: list[np.ndarray], bounds: np.ndarray, places: int
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Return valid parts of a self-intersecting polygon, and their bounds; unchanged if it has no area."""
    shell, *holes = [np.clip(ring, (-180, -90), (180, 90)) for ring in rings]
    mended = polygons_of(sound(shapely.Polygon(shell, holes)))
    return (rings_of(mended, places), shapely.total_bounds(mended)) if mended else ([[shell, *holes]], bounds)


def rings_of(polygons: Sequence[shapely.Polygon], places: int) -> list[list[np.ndarray]]:
    """Return the rings of polygons, shells first, rounded to a number of decimals."""
    return [
        [_round(shapely.get_coordinates(ring), places) for ring in (polygon.exterior, *polygon.interiors)]
        for polygon in polygons
    ]


def _reversing(ring_offsets: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Return positions of all vertices, with rings in `backward` (bool, shape ``(rings,)``) reversed."""
    lengths = np.diff(ring_offsets)
    places = np.arange(ring_offsets[-1])
    mirrored = np.repeat(ring_offsets[:-1] + ring_offsets[1:] - 1, lengths) - places
    return np.where(np.repeat(backward, lengths), mirrored, places)


def _net_areas(ring_areas_m2: np.ndarray, region_offsets: np.ndarray) -> np.ndarray:
    """Return the areas of shells minus those of their holes."""
    signed = -ring_areas_m2
    signed[region_offsets[:-1]] *= -1
    return np.add.reduceat(signed, region_offsets[:-1])


def _round(degrees: np.ndarray, places: int) -> np.ndarray:
    """Round to a number of decimals, without negative zeros."""
    return np.round(degrees, places) + 0.0
