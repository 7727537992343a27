"""Corners where the borders between pixels of different labels turn or meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.regions.rings import densify

_NONE = np.zeros((0, 2), np.int32)
_LEAST_CELL = 16
_AROUND = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)])


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Pixel corners, indexed by row.

    Attributes:
        x: Columns, sorted by row and then column, int32, shape ``(corners,)``.
        row_offsets: First corner of each row from `top` on and the end of the last one, int64, shape ``(rows + 1,)``.
        top: The first row.
    """

    x: np.ndarray
    row_offsets: np.ndarray
    top: int

    @staticmethod
    def of(points: np.ndarray = _NONE) -> Corners:
        """Build the corners at `points` ``(x, y)``, integers of shape ``(n, 2)``, which may contain duplicates."""
        if not len(points):
            return Corners(np.zeros(0, np.int32), np.zeros(1, np.int64), 0)
        (left, top), (right, _) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        width = right - left + 1
        # One integer per corner: sorting rows of pairs takes ten times as long.
        keys = np.unique((points[:, 1].astype(np.int64) - top) * width + (points[:, 0] - left))
        rows, cols = np.divmod(keys, width)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows))]).astype(np.int64)
        return Corners((cols + left).astype(np.int32), offsets, top)

    def near(self, coords: np.ndarray, ring_offsets: np.ndarray, reach: int) -> Corners:
        """Return the corners within about `reach` pixels, along both axes, of rings along pixel edges.

        Args:
            coords: Vertices ``(x, y)`` of closed rings, integers, shape ``(vertices, 2)``.
            ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
            reach: Distance, in pixels; corners up to three times as far away may be included.
        """
        cell = max(reach, _LEAST_CELL)
        points = self.points()
        if not len(points) or not len(coords):
            return Corners.of()
        on_rings = np.unique(densify(coords, ring_offsets, cell)[0] // cell, axis=0)
        around = (on_rings[:, None] + _AROUND).reshape(-1, 2)
        low = np.minimum(around.min(axis=0), (points // cell).min(axis=0))
        width = max(int(around[:, 0].max()), int(points[:, 0].max()) // cell) - low[0] + 1
        keys, near_keys = (((at - low).astype(np.int64) @ [1, width]) for at in (points // cell, around))
        return Corners.of(points[np.isin(keys, near_keys)])

    def transposed(self) -> Corners:
        """Return the same corners with rows and columns swapped."""
        return Corners.of(self.points()[:, ::-1])

    @staticmethod
    def union(parts: Sequence[Corners]) -> Corners:
        """Return the union of several sets of corners."""
        return Corners.of(np.concatenate([_NONE, *(part.points() for part in parts)]))

    def points(self) -> np.ndarray:
        """Return the corners ``(x, y)``, int32, shape ``(corners, 2)``."""
        rows = np.arange(self.top, self.top + len(self.row_offsets) - 1)
        return np.stack([self.x, np.repeat(rows, np.diff(self.row_offsets))], axis=1).astype(np.int32)


def find_corners(labels: np.ndarray, offset: tuple[int, int]) -> Corners:
    """Find the corners of a label map, except on its edge, where borders do not simply go straight on.

    Args:
        labels: Labels or codes, shape ``(height, width)``.
        offset: First pixel ``(row, col)`` of the map in the raster.
    """
    x, row_offsets = _find(labels)
    row, col = offset
    return Corners(x + np.int32(col), row_offsets, row + 1)


@njit(cache=True, nogil=True)
def _find(labels):  # type: ignore[no-untyped-def]
    """Return the columns of corners row by row from row 1 on, and their offsets."""
    height, width = labels.shape
    x = np.empty(1 << 12, np.int32)
    offsets = np.zeros(max(height, 1), np.int64)
    n = 0
    for row in range(1, height):
        above, below = labels[row - 1], labels[row]
        for col in range(1, width):
            same_left, same_right = above[col - 1] == below[col - 1], above[col] == below[col]
            same_above, same_below = above[col - 1] == above[col], below[col - 1] == below[col]
            # No border, or a straight horizontal or vertical one.
            if (same_above and same_below) or (same_left and same_right):
                continue
            if n == len(x):
                x = np.concatenate((x, np.empty_like(x)))
            x[n] = col
            n += 1
        offsets[row] = n
    return x[:n], offsets
