"""The part of a raster whose ground truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.vectors.burn import PolygonEdges, burn, edges_of
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile, polygonal

_TRIES = 32


@dataclass(frozen=True, eq=False)
class TrustedArea:
    """An area of interest on a raster.

    Attributes:
        polygons: Its polygons in pixels of the raster ``(col, row)``, object ``(n,)``; they may touch and overlap.
    """

    polygons: np.ndarray

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view has its centre in the area, bool ``(height, width)``."""
        drawn = np.zeros((view.height, view.width), np.uint8)
        burn(self._edges, self._edges.intersecting(view), np.ones(self._edges.count, np.uint8), view, drawn)
        return drawn > 0

    def clip(self, polygons: np.ndarray) -> np.ndarray:
        """Clip polygons to the area; return None for those outside it."""
        clipped = np.full(len(polygons), None, object)
        whole = shapely.contains_properly(self._union, polygons)
        clipped[whole] = polygons[whole]
        for number in np.flatnonzero(~whole & shapely.intersects(self._union, polygons)):
            clipped[number] = polygonal(shapely.intersection(polygons[number], self._union))
        return clipped

    def parts_on(self, georef: Georef) -> np.ndarray:
        """Return the disjoint parts of the area on a raster, polygons in its pixels, object ``(parts,)``."""
        on_raster = polygonal(
            shapely.intersection(self._union, shapely.box(0, 0, georef.width, georef.height))
        )
        return shapely.get_parts(np.array([] if on_raster is None else [on_raster], object))

    @cached_property
    def _edges(self) -> PolygonEdges:
        return edges_of(self.polygons)

    @cached_property
    def _union(self) -> shapely.Geometry:
        union = shapely.union_all(self.polygons)
        shapely.prepare(union)
        return union


def area_of(file: PolygonFile, georef: Georef) -> TrustedArea:
    """Transform the polygons of a file to an area of a raster."""
    return TrustedArea(polygons_to_pixels(file, georef).polygons)


def random_point(polygon: shapely.Geometry, box: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return a random point ``(row, col)`` of a polygon.

    Args:
        polygon: A polygon or multipolygon in pixels ``(col, row)``.
        box: Bounds ``(col0, row0, col1, row1)`` that the point must lie in.
        rng: Source of random numbers.
    """
    tries = box[:2] + rng.random((_TRIES, 2)) * (box[2:] - box[:2])
    inside = np.flatnonzero(shapely.contains_xy(polygon, tries))
    if inside.size:
        col, row = tries[inside[0]]
    else:
        visible = shapely.intersection(polygon, shapely.box(*box))
        col, row = shapely.get_coordinates(shapely.point_on_surface(visible))[0]
    return float(row), float(col)
