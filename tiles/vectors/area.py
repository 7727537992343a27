"""The part of a raster whose ground truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.vectors.burn import PolygonEdges, burn, edges_of
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile


@dataclass(frozen=True)
class TrustedArea:
    """An area of interest on a raster.

    Attributes:
        edges: Edges of its polygons, in pixels of the raster.
    """

    edges: PolygonEdges

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view has its centre in the area, bool ``(height, width)``."""
        drawn = np.zeros((view.height, view.width), np.uint8)
        burn(self.edges, self.edges.intersecting(view), np.ones(self.edges.count, np.uint8), view, drawn)
        return drawn > 0


def area_of(file: PolygonFile, georef: Georef) -> TrustedArea:
    """Transform the polygons of a file to an area of a raster; they may touch and overlap."""
    return TrustedArea(edges_of(polygons_to_pixels(file, georef).polygons))
