"""The surface that pixels lie on: the Earth, or only their own lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from terraseam.tiles.raster.georef import Georef


@dataclass(frozen=True, slots=True)
class PixelPlane:
    """A raster without georeferencing: positions are columns and rows, lengths and areas are in pixels.

    Its CRS is an engineering CRS, so that files that name it are not taken for longitudes and latitudes.

    Attributes:
        height: Raster height, in pixels.
        width: Raster width, in pixels.
    """

    area_attribute: ClassVar[str] = "area_px"
    length_attribute: ClassVar[str] = "perimeter_px"
    crs: ClassVar[str] = (
        'ENGCRS["pixels",EDATUM["corner of the first pixel"],CS[Cartesian,2],AXIS["column (x)",east],AXIS["row (y)",south],'
        'LENGTHUNIT["pixel",1]]'
    )
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a raster has 1 px or more on each side, got {self.height} x {self.width} px")

    def to_map(self, xy_px: np.ndarray) -> np.ndarray:
        """Return pixel positions ``(col, row)`` unchanged, float64, shape ``(n, 2)``."""
        return np.asarray(xy_px, dtype=np.float64)

    def ground_steps(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return pixels to the right and up of a step of one column and of one row."""
        return (1.0, 0.0), (0.0, -1.0)


Ground = Georef | PixelPlane
"""The surface on which the polygons of a raster are measured."""
