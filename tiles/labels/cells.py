"""Cut regions along a fixed lattice of the raster, so that none is larger than a cell."""

from __future__ import annotations

import numpy as np

from terraseam.tiles.labels.stitch import NODATA

TOLD_APART = 4
"""Number of kinds of cells; 8-connected neighbours are of different kinds."""


def cut_into_cells(labels: np.ndarray, offset: tuple[int, int], side: int, span: int = 256) -> np.ndarray:
    """Compute codes that are equal where pixels have the same label in the same cell, or in cells that do not touch.

    Args:
        labels: Labels or codes below `span`, shape ``(height, width)``; nodata keeps its value.
        offset: First pixel ``(row, col)`` of the map in the raster.
        side: Side of a cell, in pixels, counted from the raster's corner.
        span: Number of possible labels.

    Returns:
        The label plus a multiple of `span` that encodes the parity of the cell's row and column; uint16, or uint32
        where that is too narrow.
    """
    height, width = labels.shape
    rows, cols = offset[0] + np.arange(height), offset[1] + np.arange(width)
    odd = 2 * (rows // side & 1)[:, None] + (cols // side & 1)
    wide = np.uint16 if TOLD_APART * span <= 1 << 16 else np.uint32
    return np.where(labels == NODATA, NODATA, labels + (span * odd).astype(wide)).astype(wide)
