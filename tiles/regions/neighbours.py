"""Pixels along the borders of regions, so that no region is moved over its neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from terraseam.tiles.labels.cells import TOLD_APART
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.regions import Regions


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """Regions along pixel edges, and the border pixels near them.

    Attributes:
        regions: Whole regions.
        borders: The pixels on the border of these and of all other regions near them, each as its upper left corner.
    """

    regions: Regions
    borders: Corners = field(default_factory=Corners.of)


def border_pixels(labels: np.ndarray, offset: tuple[int, int], keep: np.ndarray) -> Corners:
    """Find the pixels of regions that lie on a border, as their upper left corners.

    Args:
        labels: Labels or codes, shape ``(height, width)``; the outermost pixels are never included.
        offset: First pixel ``(row, col)`` of the map in the raster.
        keep: Labels or codes that become regions, bool, shape ``(codes,)``; the others and nodata do not count.
    """
    inner = labels[1:-1, 1:-1]
    unlike = inner != labels[:-2, 1:-1]
    for other in (labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:]):
        unlike |= inner != other
    keep_by_code = np.tile(keep, TOLD_APART)
    rows, cols = np.nonzero(unlike & keep_by_code[inner])
    return Corners.of(np.stack([cols + offset[1] + 1, rows + offset[0] + 1], axis=1).astype(np.int32))
