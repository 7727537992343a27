"""Clip polygons to the area in which they are compared."""

from __future__ import annotations

import numpy as np
import shapely

from terraseam.tiles.vectors.read import polygonal


def clip(polygons: np.ndarray, region: shapely.Geometry, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Clip polygons to a region.

    Args:
        polygons: Valid polygons, object ``(n,)``.
        region: A valid polygon or multipolygon in the same plane.
        least: Area below which the remainder of a cut polygon is dropped.

    Returns:
        The polygons that overlap the region, and their indices.
    """
    shapely.prepare(region)
    inside = shapely.covers(region, polygons)
    cut = polygons.copy()
    for number in np.flatnonzero(~inside):
        cut[number] = polygonal(shapely.intersection(polygons[number], region))
    areas = np.nan_to_num(shapely.area(cut))
    indices = np.flatnonzero((areas > 0) & (inside | (areas >= least)))
    return cut[indices], indices
