"""Polygons are drawn on a view: a pixel belongs to the polygon that its centre lies in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numba import njit

from tiles.truth.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The edges of polygons.

    Attributes:
        lines: Ends ``(col0, row0, col1, row1)`` of every edge, in pixels of the raster, float64 ``(edges, 4)``.
        first: First edge of each polygon and the end of the last, int64 ``(polygons + 1,)``.
        boxes: Bounds ``(col0, row0, col1, row1)`` of each polygon, float64 ``(polygons, 4)``.
        tree: The same boxes, to be searched.
    """

    lines: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    tree: shapely.STRtree

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(self.boxes)

    def seen(self, view: View) -> np.ndarray:
        """Numbers of the polygons whose bounds meet a view, in rising order, int64 ``(n,)``."""
        box = shapely.box(view.col, view.row, view.col_end, view.row_end)
        return np.sort(self.tree.query(box)).astype(np.int64)


def edges_of(polygons: np.ndarray) -> Edges:
    """Take polygons apart.

    Args:
        polygons: Polygons and multipolygons in pixels of the raster ``(col, row)``, object ``(polygons,)``.
    """
    polygons = np.asarray(polygons, object).reshape(-1)
    parts, part_of = shapely.get_parts(polygons, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    points, point_of = shapely.get_coordinates(rings, return_index=True)
    same = point_of[1:] == point_of[:-1]
    lines = np.concatenate([points[:-1], points[1:]], axis=1)[same]
    owner = part_of[ring_of[point_of[:-1][same]]] if len(points) else np.zeros(0, np.int64)
    first = np.searchsorted(owner, np.arange(len(polygons) + 1)).astype(np.int64)
    boxes = shapely.bounds(polygons).reshape(-1, 4)
    return Edges(np.ascontiguousarray(lines), first, boxes, shapely.STRtree(shapely.box(*boxes.T)))


def burn(edges: Edges, numbers: np.ndarray, values: np.ndarray, view: View, drawn: np.ndarray) -> None:
    """Draw polygons on an array, later ones on top of earlier ones.

    A centre that lies on an edge belongs to what is right of it, or below where the edge is level: of polygons
    that share an edge each pixel has one.

    Args:
        edges: Edges of the polygons.
        numbers: Which are drawn, in this order, int64 ``(n,)``.
        values: What is written for each of all polygons, ``(polygons,)``.
        view: Which pixels `drawn` has.
        drawn: Where they are drawn, ``(view.height, view.width)``.
    """
    place = np.array([view.row, view.col, view.row_step, view.col_step])
    _burn(edges.lines, edges.first, edges.boxes, numbers, values, place, drawn)


def pixel_boxes(boxes: np.ndarray, view: View) -> np.ndarray:
    """Pixels of a view that polygons can have at most, int64 ``(polygons, 4)``: row0, col0, row1, col1, half-open.

    They may lie outside the view.

    Args:
        boxes: Bounds ``(col0, row0, col1, row1)`` in pixels of the raster, ``(polygons, 4)``.
        view: Where they are drawn.
    """
    col0, row0, col1, row1 = boxes.T
    ends = (row0 - view.row) / view.row_step, (col0 - view.col) / view.col_step
    others = (row1 - view.row) / view.row_step, (col1 - view.col) / view.col_step
    return np.ceil(np.stack([*ends, *others], axis=1) - 0.5).astype(np.int64)


@njit(cache=True, nogil=True)
def _burn(
    lines: np.ndarray,
    first: np.ndarray,
    boxes: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    place: np.ndarray,
    drawn: np.ndarray,
) -> None:
    height, width = drawn.shape
    row_off, col_off, row_step, col_step = place[0], place[1], place[2], place[3]
    odd = np.zeros((height, width), np.bool_)
    for number in numbers:
        left, right = (boxes[number, 0] - col_off) / col_step, (boxes[number, 2] - col_off) / col_step
        top, bottom = (boxes[number, 1] - row_off) / row_step, (boxes[number, 3] - row_off) / row_step
        if not (left < width and right > 0 and top < height and bottom > 0):
            continue
        row0, row1 = max(0, int(np.ceil(top - 0.5))), min(height, int(np.ceil(bottom - 0.5)))
        col0, col1 = max(0, int(np.ceil(left - 0.5))), min(width, int(np.ceil(right - 0.5)))
        # Every edge turns over the side of what lies right of it; what was turned an odd number of times is inside.
        for edge in range(first[number], first[number + 1]):
            x0, y0 = (lines[edge, 0] - col_off) / col_step, (lines[edge, 1] - row_off) / row_step
            x1, y1 = (lines[edge, 2] - col_off) / col_step, (lines[edge, 3] - row_off) / row_step
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            if y1 <= row0 or y0 >= row1:
                continue
            begin, end = max(row0, int(np.ceil(y0 - 0.5))), min(row1, int(np.ceil(y1 - 0.5)))
            for row in range(begin, end):
                crossing = np.ceil(x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0) - 0.5)
                if crossing < col1:
                    col = max(col0, int(crossing))
                    odd[row, col] = not odd[row, col]
        for row in range(row0, row1):
            inside = False
            for col in range(col0, col1):
                if odd[row, col]:
                    inside = not inside
                    odd[row, col] = False
                if inside:
                    drawn[row, col] = values[number]
