"""Rasterize polygons to a view: a pixel belongs to the polygon that contains its centre."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from terraseam.tiles.compiled import njit
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.view import View


@dataclass(frozen=True, slots=True, eq=False)
class PolygonEdges:
    """The edges of polygons, with a spatial index.

    Attributes:
        lines: Ends ``(col0, row0, col1, row1)`` of every edge, in pixels of the raster, float64 ``(edges, 4)``.
        first: First edge of each polygon and the end of the last one, int64 ``(polygons + 1,)``.
        boxes: Bounds ``(col0, row0, col1, row1)`` of each polygon, float64 ``(polygons, 4)``.
        tree: Spatial index of the boxes.
    """

    lines: np.ndarray
    first: np.ndarray
    boxes: np.ndarray
    tree: shapely.STRtree

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(self.boxes)

    def intersecting(self, view: View) -> np.ndarray:
        """Return indices of the polygons whose bounds intersect a view, ascending, int64 ``(n,)``."""
        box = shapely.box(view.col, view.row, view.col_end, view.row_end)
        return np.sort(self.tree.query(box)).astype(np.int64)


def edges_of(polygons: np.ndarray) -> PolygonEdges:
    """Split polygons into their edges.

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
    return PolygonEdges(np.ascontiguousarray(lines), first, boxes, shapely.STRtree(shapely.box(*boxes.T)))


def burn(edges: PolygonEdges, numbers: np.ndarray, values: np.ndarray, view: View, drawn: np.ndarray) -> None:
    """Rasterize polygons into an array, later ones on top of earlier ones.

    A centre on an edge belongs to the polygon right of it, or below if the edge is horizontal: where polygons share
    an edge, each pixel belongs to exactly one.

    Args:
        edges: Edges of the polygons.
        numbers: Indices of the polygons to draw, in this order, int64 ``(n,)``.
        values: Value to write for each of all polygons, ``(polygons,)``.
        view: The view that `drawn` covers.
        drawn: The array to draw on, ``(view.height, view.width)``.
    """
    lines, first = _in_view(edges, numbers, view)
    _burn(lines, first, pixel_boxes(edges.boxes[numbers], view), numbers, values, drawn)


def masks(edges: PolygonEdges, numbers: np.ndarray, view: View) -> list[tuple[int, int, np.ndarray]]:
    """Rasterize each polygon into its own array.

    Args:
        edges: Edges of the polygons.
        numbers: Indices of the polygons to draw, int64 ``(n,)``.
        view: The view to draw on.

    Returns:
        For each, the first row and column in the view and its pixels there, bool ``(height, width)``: a rectangle
        that contains all of them, empty if there are none.
    """
    lines, first = _in_view(edges, numbers, view)
    low, high = np.hsplit(pixel_boxes(edges.boxes[numbers], view), 2)
    low, high = np.clip(low, 0, [view.height, view.width]), np.clip(high, 0, [view.height, view.width])
    drawn = []
    for place, ((row, col), (height, width)) in enumerate(
        zip(low.tolist(), np.maximum(high - low, 0).tolist(), strict=True)
    ):
        mask = np.zeros((height, width), bool)
        _fill(lines[first[place] : first[place + 1]], row, col, mask)
        drawn.append((row, col, mask))
    return drawn


def covered(edges: PolygonEdges, window: Window) -> np.ndarray:
    """Return whether each pixel of a window has its centre in any of the polygons, bool ``(height, width)``.

    Only whole-pixel offsets are added to coordinates, so that windows of any size agree to the pixel.

    Args:
        edges: Edges of the polygons.
        window: Pixels of the raster; it may extend beyond its edges.
    """
    view = View(window.row_off, window.col_off, 1, 1, window.height, window.width)
    numbers = edges.intersecting(view)
    lines, first = _level_with(edges.lines, edges.first, numbers, window.row_off, window.row_end)
    boxes = np.clip(pixel_boxes(edges.boxes[numbers], view), 0, [*window.shape] * 2)
    inside = np.zeros(window.shape, bool)
    for place, (row0, col0, row1, col1) in enumerate(boxes.tolist()):
        drawn = np.zeros((row1 - row0, col1 - col0), bool)
        if drawn.size:
            corner = window.row_off + row0, window.col_off + col0
            _fill(lines[first[place] : first[place + 1]], *corner, drawn)
            inside[row0:row1, col0:col1] |= drawn
    return inside


def _in_view(edges: PolygonEdges, numbers: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of polygons in the rows of a view, in its pixels, with offsets as `PolygonEdges.first`."""
    lines, first = _level_with(edges.lines, edges.first, numbers, view.row, view.row_end)
    corner = np.array([view.col, view.row] * 2)
    return (lines - corner) / np.array([view.col_step, view.row_step] * 2), first


def pixel_boxes(boxes: np.ndarray, view: View) -> np.ndarray:
    """Return the largest pixel ranges that polygons can cover in a view, int64 ``(polygons, 4)``.

    Each is row0, col0, row1, col1, half-open, and may lie outside the view.

    Args:
        boxes: Bounds ``(col0, row0, col1, row1)`` in pixels of the raster, ``(polygons, 4)``.
        view: The view that they are drawn on.
    """
    col0, row0, col1, row1 = boxes.T
    ends = (row0 - view.row) / view.row_step, (col0 - view.col) / view.col_step
    others = (row1 - view.row) / view.row_step, (col1 - view.col) / view.col_step
    return np.ceil(np.stack([*ends, *others], axis=1) - 0.5).astype(np.int64)


@njit(cache=True, nogil=True)
def _level_with(
    lines: np.ndarray, first: np.ndarray, numbers: np.ndarray, top: float, bottom: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of polygons that reach into some rows, with their offsets as in `PolygonEdges.first`."""
    most = 0
    for number in numbers:
        most += first[number + 1] - first[number]
    chosen, begins = np.empty(most, np.int64), np.zeros(len(numbers) + 1, np.int64)
    count = 0
    for place, number in enumerate(numbers):
        for edge in range(first[number], first[number + 1]):
            row0, row1 = lines[edge, 1], lines[edge, 3]
            if max(row0, row1) > top and min(row0, row1) < bottom and row0 != row1:
                chosen[count] = edge
                count += 1
        begins[place + 1] = count
    return lines[chosen[:count]], begins


@njit(cache=True, nogil=True)
def _burn(
    lines: np.ndarray,
    first: np.ndarray,
    boxes: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    drawn: np.ndarray,
) -> None:
    """Draw the polygons of `numbers`, whose lines and pixel boxes are in pixels of `drawn`."""
    odd = np.zeros(drawn.shape, np.bool_)
    for place, number in enumerate(numbers):
        box = boxes[place]
        row0, col0 = max(0, box[0]), max(0, box[1])
        row1, col1 = min(drawn.shape[0], box[2]), min(drawn.shape[1], box[3])
        if row0 >= row1 or col0 >= col1:
            continue
        here = odd[row0:row1, col0:col1]
        _fill(lines[first[place] : first[place + 1]], row0, col0, here)
        for row in range(row1 - row0):
            for col in range(col1 - col0):
                if here[row, col]:
                    drawn[row0 + row, col0 + col] = values[number]
        here[:] = False


@njit(cache=True, nogil=True)
def _fill(lines: np.ndarray, row0: int, col0: int, inside: np.ndarray) -> None:
    """Set the pixels that lie in a polygon in an array of False."""
    _cross(lines, row0, col0, inside)
    for row in range(inside.shape[0]):
        for col in range(1, inside.shape[1]):
            inside[row, col] ^= inside[row, col - 1]


@njit(cache=True, nogil=True)
def _cross(lines: np.ndarray, row0: int, col0: int, odd: np.ndarray) -> None:
    """Flip the pixel right of each edge, in each row that it crosses.

    A pixel lies inside if it and those left of it were flipped an odd number of times in all.
    """
    height, width = odd.shape
    for edge in range(len(lines)):
        x0, y0, x1, y1 = lines[edge]
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if y1 <= row0 or y0 >= row0 + height:
            continue
        begin, end = max(row0, math.ceil(y0 - 0.5)), min(row0 + height, math.ceil(y1 - 0.5))
        for row in range(begin, end):
            crossing = np.ceil(x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0) - 0.5) - col0
            if crossing < width:
                col = max(0, int(crossing))
                odd[row - row0, col] = not odd[row - row0, col]
