"""Keep polygons valid as written: rounding, or lines that only just touch, can make them intersect themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from terraseam.tiles.features.decimals import MOST
from terraseam.tiles.features.outlines import Outlines, rings_of
from terraseam.tiles.regions.regions import Regions, ragged_take

Parts = list[list[np.ndarray]]
"""Rings of the polygons that make up a feature, shells first."""


def doubtful_groups(regions: Regions, groups: np.ndarray, cut: Sequence[int] = ()) -> np.ndarray:
    """Find the groups of regions that may be invalid when they are written.

    All others are single regions along pixel edges, whose lines lie a pixel apart or meet in a corner.

    Args:
        regions: The regions.
        groups: First region of each group and the end of the last, shape ``(groups + 1,)``.
        cut: Regions that are cut at the antimeridian or a pole.

    Returns:
        Indices of the groups, shape ``(n,)``.
    """
    if not len(regions):
        return np.zeros(0, np.int64)
    slanted = np.append((np.diff(regions.coords, axis=0) != 0).all(axis=1), False)
    slanted[regions.ring_offsets[1:] - 1] = False
    doubtful = np.logical_or.reduceat(slanted, regions.ring_offsets[regions.region_offsets[:-1]])
    doubtful[list(cut)] = True
    return np.flatnonzero(np.logical_or.reduceat(doubtful, groups[:-1]) | (np.diff(groups) > 1))


def repaired_features(
    regions: Regions, groups: np.ndarray, outlines: Outlines, selected: np.ndarray | None = None
) -> dict[int, Parts]:
    """Repair the features whose outlines are invalid after rounding.

    Args:
        regions: The regions.
        groups: First region of each feature and the end of the last, shape ``(features + 1,)``.
        outlines: The outlines of the regions.
        selected: Indices of the features that are written; None for all.

    Returns:
        The repaired parts of invalid features, by their index.
    """
    doubtful = doubtful_groups(regions, groups, list(outlines.cut))
    doubtful = doubtful if selected is None else np.intersect1d(doubtful, selected)
    shapes = _multipolygons(outlines, *ragged_take(groups, doubtful))
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    return {int(doubtful[i]): _repaired(shapes[i], outlines.decimals) for i in wrong}


def grouped_polygons(
    coords: np.ndarray, ring_offsets: np.ndarray, region_offsets: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Return MultiPolygons of the polygons of each group: object array of shape ``(groups,)``.

    They are built at once: combining polygons afterwards would copy them, and a group may have millions.

    Args:
        coords: Vertices of all rings, float64, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        region_offsets: First ring of each polygon and the end of the last, shape ``(polygons + 1,)``.
        groups: First polygon of each group and the end of the last, shape ``(groups + 1,)``.
    """
    if len(groups) < 2:
        return np.empty(0, dtype=object)
    offsets = ring_offsets, region_offsets, groups
    return shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, coords, offsets).astype(object)


def valid_shapes(shapes: np.ndarray) -> np.ndarray:
    """Repair polygons and MultiPolygons that intersect themselves; return valid ones unchanged."""
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    if not len(wrong):
        return shapes
    shapes = shapes.copy()
    for i in wrong:
        polygons = _areas_of(shapely.make_valid(shapes[i], method="structure", keep_collapsed=False))
        if len(polygons):
            alone = len(polygons) == 1 and shapes[i].geom_type == "Polygon"
            shapes[i] = polygons[0] if alone else shapely.multipolygons(polygons)
    return shapes


def _multipolygons(outlines: Outlines, chosen: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Build MultiPolygons of groups of chosen outlines, by group offsets: object array of shape ``(groups,)``."""
    if not len(chosen):
        return np.empty(0, dtype=object)
    rings, region_offsets = ragged_take(outlines.region_offsets, chosen)
    vertices, ring_offsets = ragged_take(outlines.ring_offsets, rings)
    coords = outlines.lonlat[vertices].astype(np.float64)
    cut = np.flatnonzero(np.isin(chosen, list(outlines.cut)))
    if not len(cut):
        return grouped_polygons(coords, ring_offsets, region_offsets, groups)
    kind = shapely.GeometryType.POLYGON
    shapes = shapely.from_ragged_array(kind, coords, (ring_offsets, region_offsets)).astype(object)
    for place in cut:
        shapes[place] = _shape_of(outlines.cut[int(chosen[place])])
    parts, owners = shapely.get_parts(shapes, return_index=True)
    return shapely.multipolygons(
        parts, indices=np.repeat(np.arange(len(groups) - 1), np.diff(groups))[owners]
    )


def _shape_of(parts: Parts) -> shapely.MultiPolygon:
    return shapely.multipolygons([shapely.Polygon(shell, holes) for shell, *holes in parts])


def _repaired(shape: shapely.MultiPolygon, decimals: int) -> Parts:
    """Return parts that are valid after rounding; of a shape that vanishes at `decimals`, with more decimals."""
    whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    for places in range(decimals, MOST + 1):
        polygons = _areas_of(shapely.set_precision(whole, 10.0**-places))
        parts = rings_of(shapely.orient_polygons(polygons).tolist(), places)
        if parts and shapely.is_valid(_shape_of(parts)):
            return sorted(parts, key=lambda part: part[0].min(axis=0).tolist())
    return rings_of(shapely.get_parts(shape).tolist(), decimals)


def _areas_of(geometry: shapely.Geometry) -> np.ndarray:
    """Return the polygons of a geometry, without the lines and points that it fell apart into."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)]
