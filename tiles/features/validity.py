"""Undo regularization where polygons would be invalid as written: in the raster's CRS, or in rounded degrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely

from terraseam.tiles.features.outlines import outline
from terraseam.tiles.raster.georef import Georef, reaches_off_the_earth
from terraseam.tiles.raster.ground import Ground
from terraseam.tiles.raster.limb import onto_limb
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.regularize import Regularized


def keep_valid(squared: Regularized, shown: Regions, groups: np.ndarray, ground: Ground) -> Regularized:
    """Undo regularization that would make a feature invalid.

    Regions are regularized one by one, so those of one feature may overlap, and edges that are very close may meet
    when coordinates are rounded. First only the regions in conflict are restored, then, if needed, all of the
    feature.

    Args:
        squared: The regularized regions.
        shown: The same regions before regularization.
        groups: First region of each feature and the end of the last, shape ``(groups + 1,)``.
        ground: The surface that the raster lies on.
    """
    owner = np.repeat(np.arange(len(groups) - 1), np.diff(groups))
    squared = _taken_back(squared, shown, _off_the_earth(squared.regions, ground))
    for conflicting_only in (True, False):
        if not squared.changed.any():
            break
        written = _as_written(squared.regions, ground)
        bad = np.flatnonzero(np.isin(owner, _invalid_groups(written, owner)))
        if conflicting_only and bad.size:
            bad = bad[_in_conflict([shapes[bad] for shapes in written], owner[bad])]
        squared = _taken_back(squared, shown, bad)
    return squared


def _off_the_earth(regions: Regions, ground: Ground) -> np.ndarray:
    """Return the regions with vertices too far off the Earth to be snapped to its limb."""
    if not (isinstance(ground, Georef) and len(regions) and reaches_off_the_earth(ground)):
        return np.zeros(0, np.int64)
    lost = np.isnan(ground.lonlat_or_nan(regions.coords)[:, 0])
    lost[lost] = np.isnan(onto_limb(regions.coords[lost], ground.lonlat_or_nan)[:, 0])
    of_ring = np.logical_or.reduceat(lost, regions.ring_offsets[:-1])
    return np.flatnonzero(np.logical_or.reduceat(of_ring, regions.region_offsets[:-1]))


def _as_written(regions: Regions, ground: Ground) -> list[np.ndarray]:
    """Return regions as written, polygons or multipolygons of shape ``(regions,)``: on the map, and as text."""
    outlines = outline(regions, ground)
    offsets = outlines.ring_offsets, outlines.region_offsets
    texts = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, outlines.lonlat.astype(np.float64), offsets
    )
    for region in outlines.cut:
        texts[region] = shapely.MultiPolygon(
            [shapely.Polygon(shell, holes) for shell, *holes in outlines.parts(region)]
        )
    return [shapely.transform(regions.polygons(), ground.to_map), texts]


def _invalid_groups(written: list[np.ndarray], owner: np.ndarray) -> np.ndarray:
    """Return the groups that are invalid in one of the forms."""
    invalid = np.zeros(owner.max(initial=-1) + 1, bool)
    for shapes in written:
        invalid |= ~shapely.is_valid(_together(shapes, owner))
    return np.flatnonzero(invalid)


def _together(shapes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Combine all shapes of each owner into one multipolygon."""
    parts, place = shapely.get_parts(shapes, return_index=True)
    return shapely.multipolygons(parts, indices=owner[place])


def _in_conflict(written: list[np.ndarray], owner: np.ndarray) -> np.ndarray:
    """Return whether each shape is invalid, or makes its group invalid together with another; bool."""
    conflicts = np.zeros(len(owner), bool)
    for shapes in written:
        conflicts |= ~shapely.is_valid(shapes)
        first, second = shapely.STRtree(shapes).query(shapes, predicate=None)
        near = (first < second) & (owner[first] == owner[second])
        first, second = first[near], second[near]
        pairs = np.stack([first, second], axis=1).ravel()
        both = _together(shapes[pairs], np.repeat(np.arange(len(first)), 2)) if len(first) else shapes[:0]
        wrong = ~shapely.is_valid(both)
        conflicts[first[wrong]] = conflicts[second[wrong]] = True
    return conflicts


def _taken_back(squared: Regularized, shown: Regions, regions: np.ndarray) -> Regularized:
    """Restore some regions to their form before regularization."""
    if not squared.changed[regions].any():
        return squared
    count = len(shown)
    place = np.arange(count)
    place[regions] += count
    both = Regions.concatenate([squared.regions, replace(shown, coords=shown.coords.astype(np.float64))])
    changed, change = squared.changed.copy(), squared.area_change.copy()
    changed[regions], change[regions] = False, 0.0
    return Regularized(both.take(place), changed, change)
