"""Transform polygons of any CRS to pixel coordinates of a raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from terraseam.tiles.features.poles import pole_positions
from terraseam.tiles.raster.earth import pieces_on_earth
from terraseam.tiles.raster.georef import Georef, reaches_off_the_earth
from terraseam.tiles.vectors.projection import Lines, PixelTransform, densified
from terraseam.tiles.vectors.read import PolygonFile, mended, polygonal

_LATTICE = 33
_COPIES = (-2, -1, 0, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class PixelPolygons:
    """Polygons in pixel coordinates of a raster.

    Attributes:
        polygons: Those that overlap the raster, in pixels ``(col, row)``, object ``(n,)``.
        numbers: Their indices in the file, ascending, int64 ``(n,)``.
        outside: Number of polygons that do not overlap the raster.
        lost: Number of polygons that cannot be transformed to the CRS of the raster.
    """

    polygons: np.ndarray
    numbers: np.ndarray
    outside: int
    lost: int


def polygons_to_pixels(file: PolygonFile, georef: Georef) -> PixelPolygons:
    """Transform the polygons of a file to pixel coordinates of a raster.

    Edges are straight in the CRS of the file; where that of the raster differs, they are bisected until the drawn
    edge lies within 0.1 px of the straight one, wherever it is near the raster. Polygons larger than the raster and
    its surroundings (its own size on each side) are clipped to them first. In a CRS that is periodic around the
    Earth, polygons whole turns away are also found.

    Args:
        file: The polygons.
        georef: The raster.
    """
    transform = PixelTransform(file.crs, georef)
    numbers, polygons = np.arange(len(file.polygons)), file.polygons
    over_the_limb = transform.from_degrees and reaches_off_the_earth(georef)
    region = None if over_the_limb else _surroundings(transform)
    if region is not None:
        numbers = _near(polygons, region)
        polygons = _cut(polygons[numbers], region)
    elif over_the_limb:
        polygons = _clip_to_earth(polygons, transform)
    in_pixels, lost = _on_raster(polygons, transform)
    raster = shapely.box(0, 0, georef.width, georef.height)
    shapely.prepare(raster)
    touching = np.flatnonzero(shapely.intersects(raster, in_pixels) & ~shapely.touches(raster, in_pixels))
    outside = len(file.polygons) - lost - len(touching)
    return PixelPolygons(in_pixels[touching], numbers[touching].astype(np.int64), outside, lost)


def parts_of(path: str, georef: Georef, boxes: np.ndarray) -> PolygonFile:
    """Return parts of a raster as polygons in its CRS.

    Args:
        path: The raster.
        georef: Its georeferencing.
        boxes: Polygons in its pixels ``(col, row)``, object ``(n,)``.
    """
    return PolygonFile(path, georef.crs, shapely.transform(boxes, georef.to_map), (None,) * len(boxes))


def footprint(path: str, georef: Georef) -> PolygonFile:
    """Return the outline of a raster, or of its part on the Earth, as one polygon or several; none if it has none."""
    return parts_of(path, georef, np.array(pieces_on_earth(georef), object))


def _surroundings(transform: PixelTransform) -> shapely.Geometry | None:
    """Return the area within a raster's size of it, in the CRS of the file; None if it cannot be determined.

    Longitudes are included whole turns away as well.
    """
    georef = transform.georef
    size = np.array([georef.width, georef.height], np.float64)
    lattice = np.stack(np.meshgrid(*[np.linspace(-1, 2, _LATTICE)] * 2), axis=-1).reshape(-1, 2) * size
    positions = transform.back(lattice)
    if not np.isfinite(positions).all():
        return None
    low, high = positions.min(axis=0), positions.max(axis=0)
    low, high = low - (high - low) / (_LATTICE - 1), high + (high - low) / (_LATTICE - 1)
    if not transform.from_degrees:
        return shapely.box(*low, *high)
    poles = pole_positions(georef)
    holds_pole = bool(((poles >= -size) & (poles <= 2 * size)).all(axis=1).any())
    if holds_pole or high[0] - low[0] > 180:
        low[0], high[0] = min(low[0], -180.0), max(high[0], 180.0)
    if holds_pole:
        low[1], high[1] = (-90.0, high[1]) if low[1] + high[1] < 0 else (low[1], 90.0)
    shifts = [np.array([turn * 360.0, 0.0]) for turn in _COPIES]
    return shapely.union_all([shapely.box(*(low + shift), *(high + shift)) for shift in shifts])


def _clip_to_earth(polygons: np.ndarray, transform: PixelTransform) -> np.ndarray:
    """Clip polygons in degrees that reach beyond the limb of the Earth to the part of the raster on it."""
    pieces = pieces_on_earth(transform.georef)
    if not pieces:
        return polygons
    lonlat = _in_degrees(pieces, transform.georef)
    polygons = polygons.copy()
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    hidden = np.unique(owner[~np.isfinite(transform.to_map(points)).all(axis=1)])
    hidden = np.union1d(hidden, np.flatnonzero(shapely.intersects(polygons, lonlat.boundary)))
    for number in hidden:
        # Polygons that are hidden completely are kept, to be counted as lost.
        polygons[number] = polygonal(shapely.intersection(polygons[number], lonlat)) or polygons[number]
    return polygons


def _in_degrees(pieces: Sequence[shapely.Polygon], georef: Georef) -> shapely.Geometry:
    from terraseam.tiles.features.outlines import outline as lay_on_the_earth
    from terraseam.tiles.regions.regions import Regions

    laid = lay_on_the_earth(Regions.of_shells(pieces), georef)
    parts = [shapely.Polygon(shell, holes) for n in range(len(pieces)) for shell, *holes in laid.parts(n)]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _near(polygons: np.ndarray, region: shapely.Geometry) -> np.ndarray:
    """Return indices of the polygons whose bounds intersect a region of boxes."""
    left, bottom, right, top = shapely.bounds(polygons).reshape(-1, 4).T
    near = np.zeros(len(polygons), bool)
    for part in shapely.get_parts(region):
        x0, y0, x1, y1 = part.bounds
        near |= (left <= x1) & (right >= x0) & (bottom <= y1) & (top >= y0)
    return np.flatnonzero(near)


def _cut(polygons: np.ndarray, region: shapely.Geometry) -> np.ndarray:
    """Clip the polygons larger than a box of a region to the region; None where nothing is left."""
    first = shapely.bounds(shapely.get_parts(region)[0])
    sides = shapely.bounds(polygons).reshape(-1, 4)
    large = ((sides[:, 2:] - sides[:, :2]) > (first[2:] - first[:2])).any(axis=1)
    if not large.any():
        return polygons
    polygons = polygons.copy()
    for number in np.flatnonzero(large):
        polygons[number] = polygonal(shapely.intersection(polygons[number], region))
    return polygons


def _on_raster(polygons: np.ndarray, transform: PixelTransform) -> tuple[np.ndarray, int]:
    """Return polygons in pixels, None for those that are lost, and the number of those without a place in the CRS."""
    parts, owner = shapely.get_parts(polygons, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    lines = densified(Lines(points, ring), transform)
    pixels, broken = transform.rings(lines)
    bad = np.zeros(len(parts), bool)
    bad[part[broken]] = True
    lost = len(np.setdiff1d(owner[bad], owner[~bad]))
    good = ~bad[part[lines.ring]]
    in_pixels = np.full(len(polygons), None, object)
    if not good.any():
        return in_pixels, lost
    good_rings, ring_number = np.unique(lines.ring[good], return_inverse=True)
    drawn = shapely.linearrings(pixels[good], indices=ring_number)
    good_parts, part_number = np.unique(part[good_rings], return_inverse=True)
    shapes = shapely.polygons(drawn, indices=part_number)
    shapes, owners = _copies(shapes, owner[good_parts], transform)
    for owned, group in _groups(shapes, owners):
        in_pixels[owned] = group[0] if len(group) == 1 else shapely.MultiPolygon(list(group))
    for number in np.flatnonzero(~shapely.is_valid(in_pixels) & ~shapely.is_missing(in_pixels)):
        in_pixels[number] = mended(in_pixels[number])
    return in_pixels, lost


def _copies(
    shapes: np.ndarray, owners: np.ndarray, transform: PixelTransform
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts that overlap the raster, repeated for each turn around the Earth at which they do."""
    turn = transform.turn_px
    if turn is None:
        return shapes, owners
    low, high = shapely.bounds(shapes).reshape(-1, 2, 2).transpose(1, 0, 2)
    size = np.array([transform.georef.width, transform.georef.height])
    copies, whose = [], []
    for times in _COPIES:
        shift = times * turn
        meets = ((low + shift < size) & (high + shift > 0)).all(axis=1)
        copies.append(shapely.transform(shapes[meets], lambda xy, by=shift: xy + by))
        whose.append(owners[meets])
    order = np.argsort(np.concatenate(whose), kind="stable")
    return np.concatenate(copies)[order], np.concatenate(whose)[order]


def _groups(shapes: np.ndarray, owners: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Group the parts of each polygon; `owners` is ascending."""
    if not len(owners):
        return []
    numbers, starts = np.unique(owners, return_index=True)
    return list(zip(numbers.tolist(), np.split(shapes, starts[1:]), strict=True))
