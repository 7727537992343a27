"""Cut regions along a fixed lattice of the raster, so that none is larger than a cell."""

from __future__ import annotations

import numpy as np

from tiles.stitch import NODATA

LABEL = 255
"""The bits of a code that are its label."""


def cut_into_cells(labels: np.ndarray, offset: tuple[int, int], side: int) -> np.ndarray:
    """Codes that are equal where pixels have one label and lie in one cell, or in cells that do not touch.

    Args:
        labels: uint8, shape ``(height, width)``; nodata keeps its value.
        offset: First pixel ``(row, col)`` of the map in the raster.
        side: Side of a cell, in pixels, counted from the raster's corner.

    Returns:
        The label in the lower byte, above it whether row and column of the cell are odd; uint16.
    """
    height, width = labels.shape
    rows, cols = offset[0] + np.arange(height), offset[1] + np.arange(width)
    odd = 2 * (rows // side & 1)[:, None] + (cols // side & 1)
    return np.where(labels == NODATA, NODATA, labels + (LABEL + 1) * odd).astype(np.uint16)
