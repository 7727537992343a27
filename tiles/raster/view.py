"""The window of a chip: a rectangle of a raster, at any scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.grid.window import Window


@dataclass(frozen=True, slots=True)
class View:
    """Position of a chip on a raster, and the size of its pixels.

    Attributes:
        row: Top edge, in pixels of the raster; may lie outside it.
        col: Left edge, in pixels of the raster.
        row_step: Height of a chip's pixel, in pixels of the raster.
        col_step: Width of a chip's pixel, in pixels of the raster.
        height: Height of the chip, in its own pixels.
        width: Width of the chip, in its own pixels.
    """

    row: float
    col: float
    row_step: float
    col_step: float
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a chip has 1 px or more on each side, got {self.height} x {self.width} px")
        if not (0 < self.row_step < math.inf and 0 < self.col_step < math.inf):
            raise ValueError(f"a chip's pixel has a size, got {self.row_step} x {self.col_step} px")

    @property
    def row_end(self) -> float:
        """Bottom edge, in pixels of the raster."""
        return self.row + self.height * self.row_step

    @property
    def col_end(self) -> float:
        """Right edge, in pixels of the raster."""
        return self.col + self.width * self.col_step

    @property
    def window(self) -> Window:
        """The whole pixels of the raster that it intersects."""
        row, col = math.floor(self.row), math.floor(self.col)
        return Window(row, col, math.ceil(self.row_end) - row, math.ceil(self.col_end) - col)

    @property
    def rows(self) -> np.ndarray:
        """Centres of its rows, in pixels of the raster, float64 ``(height,)``."""
        return self.row + (np.arange(self.height) + 0.5) * self.row_step

    @property
    def cols(self) -> np.ndarray:
        """Centres of its columns, in pixels of the raster, float64 ``(width,)``."""
        return self.col + (np.arange(self.width) + 0.5) * self.col_step
