"""Where regions lie beside others, so that none is moved over its neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from terraseam.tiles.labels.cells import TOLD_APART
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.trace import SheetTrace


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """Regions along pixel edges, and what lies near them.

    Attributes:
        regions: Whole regions.
        borders: The pixels of these and of all other regions near them that lie beside something else, each as the
            corner at its upper left.
    """

    regions: Regions
    borders: Corners = field(default_factory=Corners.of)


def see_neighbours(
    trace: SheetTrace, labels: np.ndarray, offset: tuple[int, int], keep: np.ndarray, reach: int
) -> SheetTrace:
    """Give what was traced on a sheet the border pixels that lie near it.

    Args:
        trace: What was traced.
        labels: Label map of the sheet and of more than `reach` pixels around it, or its codes, as
            `terraseam.tiles.regions.trace` takes them; shape ``(height, width)``; nodata where the raster ends.
        offset: First pixel ``(row, col)`` of that map in the raster.
        keep: Labels or codes that become regions, bool, shape ``(codes,)``.
        reach: How far around regions to look, in columns or rows.
    """
    borders = border_pixels(labels, offset, keep)
    closed, parts = trace.closed, trace.fragments.parts
    fragments = Fragments(
        parts, trace.fragments.corners, borders.near(parts.coords, parts.ring_offsets, reach)
    )
    return replace(
        trace, fragments=fragments, borders=borders.near(closed.coords, closed.ring_offsets, reach)
    )


def border_pixels(labels: np.ndarray, offset: tuple[int, int], keep: np.ndarray) -> Corners:
    """The pixels of regions that lie beside something else, as the corners at their upper left.

    Args:
        labels: Labels or codes, shape ``(height, width)``; of the outermost pixels nothing is found.
        offset: First pixel ``(row, col)`` of the map in the raster.
        keep: Labels or codes that become regions, bool, shape ``(codes,)``; the others and nodata are nothing.
    """
    inner = labels[1:-1, 1:-1]
    unlike = inner != labels[:-2, 1:-1]
    for other in (labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:]):
        unlike |= inner != other
    kept = np.tile(keep, TOLD_APART)
    rows, cols = np.nonzero(unlike & kept[inner])
    return Corners.of(np.stack([cols + offset[1] + 1, rows + offset[0] + 1], axis=1).astype(np.int32))
