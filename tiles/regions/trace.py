"""Trace the regions of one sheet of a label map along the cracks between its pixels.

Regions that do not continue in a neighbouring sheet are traced completely. The others stay open: their rings get a
vertex at every pixel corner along a seam, so that `terraseam.tiles.regions.close` can remove the edges that two
sheets share. The sheet is traced with a one-pixel frame of its neighbours' pixels. So all four pixels around every
corner are known, wherever the raster was cut: where three or more cracks meet, the corner is a node of every ring
through it, and neighbours share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.labels.cells import TOLD_APART
from terraseam.tiles.labels.components import Components, find_components
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.regions.contacts import find_groups, no_groups
from terraseam.tiles.regions.corners import Corners, find_corners
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.regions import NODE, PINNED, RELINK, Regions, ragged_take
from terraseam.tiles.regions.rings import canonical_rings
from terraseam.tiles.regions.seams import SeamSummary, crossing_lines, sides, summarize_seams
from terraseam.tiles.regions.simplify import simplify
from terraseam.tiles.regions.tolerance import Tolerance

RUN_PX = 1 << 19
"""Approximate number of pixels of the regions that are traced at once."""

_PX_OF_A_REGION = 32
"""Fixed memory cost of a region, in pixels."""

# Directions are 0 = east, 1 = south, 2 = west, 3 = north; the region lies to the right of the path.
STEP_X = np.array([1, 0, -1, 0])
STEP_Y = np.array([0, 1, 0, -1])
# Pixels ahead of a corner (x, y), as offsets from (y, x) in an array with a one-pixel frame.
RIGHT_ROW = np.array([1, 1, 0, 0])
RIGHT_COL = np.array([1, 0, 0, 1])
LEFT_ROW = np.array([0, 1, 1, 0])
LEFT_COL = np.array([1, 1, 0, 0])


@dataclass(frozen=True, slots=True, eq=False)
class SheetTrace:
    """The regions traced on one sheet.

    Attributes:
        closed: Regions that continue in no neighbouring sheet, complete.
        fragments: The fragments of those that do.
        summary: Summary of the fragments for neighbouring sheets.
        borders: Border pixels near the closed regions, if they will be regularized.
    """

    closed: Regions
    fragments: Fragments
    summary: SeamSummary
    borders: Corners = field(default_factory=Corners.of)

    def decoded(self, table: np.ndarray) -> SheetTrace:
        """Return the same trace with labels instead of codes; `table` is that of `CodedLabels`."""
        closed = replace(self.closed, labels=table[self.closed.labels])
        return SheetTrace(closed, *decoded(self.fragments, self.summary, table))


def decoded(fragments: Fragments, summary: SeamSummary, table: np.ndarray) -> tuple[Fragments, SeamSummary]:
    """Replace codes by labels, which other sheets understand; `table` is that of `CodedLabels`."""
    cells, codes = np.divmod(summary.labels.astype(np.int64), len(table))
    parts = replace(fragments.parts, labels=table[fragments.parts.labels])
    return replace(fragments, parts=parts), replace(summary, labels=TOLD_APART * table[codes] + cells)


def frame(labels: np.ndarray) -> np.ndarray:
    """Pad a whole label map with a one-pixel frame of nodata."""
    return np.pad(labels, 1, constant_values=NODATA)


@dataclass(frozen=True, slots=True, eq=False)
class SheetRegions:
    """The regions of one sheet, numbered but not traced yet: they are traced a few at a time, to save memory.

    Attributes:
        components: The regions.
        framed: Their label map or codes, with a one-pixel frame.
        offset: First pixel ``(row, col)`` of the sheet in the raster.
        span: Upper bound of the codes in each kind of cell.
        crossings: Where regions continue beyond the sides, see `terraseam.tiles.regions.seams.crossing_lines`.
        is_open: Whether each region, from 0, does so, or is in a group with one that does; bool.
        leader: The first region of each region's group, from 0.
    """

    components: Components
    framed: np.ndarray
    offset: tuple[int, int]
    span: int
    crossings: tuple[np.ndarray, ...]
    is_open: np.ndarray
    leader: np.ndarray

    def closed(self) -> np.ndarray:
        """Return the regions that continue in no neighbouring sheet, from 0."""
        return np.flatnonzero(~self.is_open)

    def closed_runs(self, most: int = RUN_PX) -> Iterator[np.ndarray]:
        """Yield closed regions in runs of about equally many pixels, groups together, in order of first pixels."""
        closed = self.closed()
        if np.array_equal(self.leader[closed], closed):
            order, owner = closed, closed
        else:
            order = closed[np.argsort(self.leader[closed], kind="stable")]
            owner = self.leader[order]
        weights = np.cumsum(self.components.pixels[order] + _PX_OF_A_REGION)
        # Start a run at each group whose first region falls into another run than that of the previous group.
        begins = np.flatnonzero(np.diff(owner, prepend=-1))
        run = (weights[begins] - 1) // most
        starts = begins[np.diff(run, prepend=-1) != 0]
        yield from (order[slice(*span)] for span in pairwise([*starts.tolist(), len(order)]))


def number_regions(
    framed: np.ndarray,
    scores: np.ndarray,
    offset: tuple[int, int],
    keep: np.ndarray,
    *,
    by_corners: bool = False,
) -> SheetRegions:
    """Find the 4-connected regions of one sheet; see `trace_sheet`."""
    _check_maps(framed, scores, keep)
    keep_by_code = np.tile(keep, TOLD_APART)
    components = find_components(framed[1:-1, 1:-1], scores, keep_by_code)
    crossings = crossing_lines(framed, keep_by_code)
    numbers = components.numbers[1:-1, 1:-1]
    goes_on = np.zeros(len(components.pixels) + 1, dtype=bool)
    for line, crossing in zip(sides(numbers), crossings, strict=True):
        goes_on[line[crossing]] = True
    groups = find_groups(components, framed) if by_corners else no_groups(components)
    is_open = groups.of_any(goes_on[1:] | groups.outside)
    return SheetRegions(components, framed, offset, len(keep), crossings, is_open, groups.leader)


def trace_open(sheet: SheetRegions) -> tuple[Fragments, SeamSummary]:
    """Trace the regions that continue in neighbouring sheets.

    Returns:
        The fragments, and their summary for neighbouring sheets.
    """
    is_open, components = sheet.is_open, sheet.components
    chosen = np.flatnonzero(is_open)
    fragments = Fragments(_trace_components(sheet, chosen))
    numbers = np.concatenate([[-1], np.where(is_open, np.cumsum(is_open) - 1, -1)]).astype(np.int32)
    codes = sheet.framed[1:-1, 1:-1][tuple(components.first[chosen].T)]
    groups = components.first[sheet.leader[chosen]] + np.array(sheet.offset)
    lines = [numbers[line] for line in sides(components.numbers[1:-1, 1:-1])]
    return fragments, summarize_seams(lines, codes, fragments.parts.first, groups)


def trace_closed(sheet: SheetRegions, chosen: np.ndarray) -> Regions:
    """Trace some of the closed regions, in whole groups, in order of their numbers; see `closed_runs`."""
    chosen = np.sort(chosen)
    groups = sheet.components.first[sheet.leader[chosen]] + np.array(sheet.offset)
    return _finish(replace(_trace_components(sheet, chosen), groups=groups))


def trace_sheet(
    framed: np.ndarray,
    scores: np.ndarray,
    offset: tuple[int, int],
    keep: np.ndarray,
    *,
    by_corners: bool = False,
) -> SheetTrace:
    """Trace the 4-connected regions of one sheet, all at once.

    Args:
        framed: Label map of the sheet with a one-pixel frame, or its codes from `terraseam.tiles.labels.label_codes`,
            possibly cut by `terraseam.tiles.labels.cells`; uint8, uint16 or uint32, shape
            ``(height + 2, width + 2)``; nodata beyond the raster.
        scores: Score of each pixel of the sheet, uint8, shape ``(height, width)``.
        offset: First pixel ``(row, col)`` of the sheet in the raster.
        keep: Labels or codes to trace, bool, shape ``(codes,)``, 256 or more; the others and nodata are ignored.
        by_corners: Whether regions of one label that touch at a corner are one group, which then stays open as a
            whole.

    Raises:
        ValueError: If the arrays do not have these shapes and types.
    """
    sheet = number_regions(framed, scores, offset, keep, by_corners=by_corners)
    return SheetTrace(trace_closed(sheet, sheet.closed()), *trace_open(sheet))


def simplify_sheet(
    trace: SheetTrace, labels: np.ndarray, offset: tuple[int, int], tolerance: Tolerance
) -> SheetTrace:
    """Simplify closed regions, and add the corners to fragments that they need to be simplified later.

    Args:
        trace: The regions traced on a sheet.
        labels: Label map of the sheet and of ``tolerance.reach + 1`` pixels around it, or its codes; shape
            ``(height, width)``; nodata beyond the raster.
        offset: First pixel ``(row, col)`` of that map in the raster.
        tolerance: Largest distance of a vertex from the line that replaces it.
    """
    corners = find_corners(labels, offset)
    parts = trace.fragments.parts
    near = corners.near(parts.coords, parts.ring_offsets, tolerance.reach)
    fragments = replace(trace.fragments, corners=near)
    return replace(trace, closed=simplify(trace.closed, corners, tolerance), fragments=fragments)


def _check_maps(framed: np.ndarray, scores: np.ndarray, keep: np.ndarray) -> None:
    if framed.ndim != 2 or framed.dtype not in (np.uint8, np.uint16, np.uint32):
        raise ValueError(
            f"labels must be uint8, uint16 or uint32 (height + 2, width + 2), got {framed.dtype} {framed.shape}"
        )
    shape = (framed.shape[0] - 2, framed.shape[1] - 2)
    if scores.shape != shape or scores.dtype != np.uint8:
        raise ValueError(f"scores must be uint8 {shape}, got {scores.dtype} {scores.shape}")
    if keep.ndim != 1 or len(keep) < 256 or keep.dtype != np.bool_:
        raise ValueError(f"keep must be bool, 256 or more, got {keep.dtype} {keep.shape}")
    if framed.dtype != np.uint8 and framed.max(initial=0) >= TOLD_APART * len(keep):
        raise ValueError(f"codes must be below {TOLD_APART} times {len(keep)}, got {framed.max()}")


def _trace_components(sheet: SheetRegions, chosen: np.ndarray) -> Regions:
    """Trace the rings of some components (from 0, ascending), in their raw form, in order of components."""
    components, framed = sheet.components, sheet.framed
    first = components.first[chosen]
    labels = framed[first[:, 0] + 1, first[:, 1] + 1].astype(np.int64) % sheet.span
    rim_x = np.zeros(framed.shape[1] - 1, dtype=bool)
    rim_y = np.zeros(framed.shape[0] - 1, dtype=bool)
    # A side is a seam if a region continues beyond it.
    rim_y[0], rim_y[-1], rim_x[0], rim_x[-1] = (bool(line.any()) for line in sheet.crossings)
    # Other components are not traced.
    is_chosen = np.zeros(len(components.pixels) + 1, bool)
    is_chosen[chosen + 1] = True
    rows = (int(first[0, 0]), int(components.last[chosen].max()) + 1) if len(chosen) else (0, 0)
    walked, ring_offsets, owners = _trace_rings(components.numbers, framed, (rim_x, rim_y), is_chosen, rows)
    order = np.argsort(owners, kind="stable")
    vertices, ring_offsets = ragged_take(ring_offsets, order)
    walked = walked[vertices]
    place = np.searchsorted(chosen, owners - 1)
    rings = np.bincount(place, minlength=len(chosen))
    row, col = sheet.offset
    first = first + np.array([row, col])
    return Regions(
        walked[:, :2] + np.array([col, row], dtype=np.int32),
        walked[:, 2].astype(np.uint8),
        ring_offsets,
        np.concatenate([[0], np.cumsum(rings)]).astype(np.int64),
        labels,
        first,
        components.pixels[chosen],
        components.score_sum[chosen],
        first,
    )


def _finish(parts: Regions) -> Regions:
    """Convert the rings of whole regions to canonical form."""
    owners = np.repeat(np.arange(len(parts)), np.diff(parts.region_offsets))
    coords, marks, ring_offsets = canonical_rings(parts.coords, parts.marks, parts.ring_offsets, owners)
    return replace(parts, coords=coords, marks=marks, ring_offsets=ring_offsets)


@njit(cache=True, nogil=True)
def _trace_rings(numbers, framed, rims, selected, rows):  # type: ignore[no-untyped-def]
    """Trace every ring of the wanted components once, each from the first of its top edges in row-major order.

    Returns:
        Vertices ``(x, y, marks)`` of all rings, their offsets, and the component of each ring.
    """
    height, width = numbers.shape[0] - 2, numbers.shape[1] - 2
    rim_x, rim_y = rims
    visited = np.zeros((height, width), np.bool_)
    walked = np.empty((1 << 12, 3), np.int32)
    offsets = np.zeros(1 << 10, np.int64)
    owners = np.zeros(1 << 10, np.int32)
    n = rings = 0
    for row in range(rows[0], rows[1]):
        here, above, visited_row = numbers[row + 1, 1:-1], numbers[row, 1:-1], visited[row]
        col = _next_start(here, above, visited_row, selected, 0)
        while col < width:
            if rings + 1 == len(offsets):
                offsets = np.concatenate((offsets, np.zeros_like(offsets)))
                owners = np.concatenate((owners, np.zeros_like(owners)))
            walked, n = _walk((numbers, framed, rim_x, rim_y), (col, row), visited, walked, n)
            owners[rings] = here[col]
            rings += 1
            offsets[rings] = n
            col = _next_start(here, above, visited_row, selected, col + 1)
    return walked[:n], offsets[: rings + 1], owners[:rings]


@njit(cache=True, nogil=True)
def _next_start(here, above, visited, selected, col):  # type: ignore[no-untyped-def]
    """Return the next pixel of a row, from `col` on, whose top edge no ring has passed yet; else the row's length.

    This is a separate function because it is ten times slower inside the loop that grows arrays.
    """
    while col < len(here) and (here[col] == above[col] or visited[col] or not selected[here[col]]):
        col += 1
    return col


@njit(cache=True, nogil=True)
def _walk(sheet, start, visited, walked, n):  # type: ignore[no-untyped-def]
    """Append one ring to `walked` from vertex `n` on; return `walked`, possibly reallocated, and its new end."""
    numbers, framed, rim_x, rim_y = sheet
    x, y = start
    own = numbers[y + 1, x + 1], framed[y + 1, x + 1]
    begin = n
    direction, last, mark = 0, -1, _corner_mark(framed, x, y)
    while True:
        if rim_x[x] or rim_y[y]:
            mark |= RELINK
        if direction != last or mark & (NODE | RELINK):
            if n + 2 > len(walked):
                walked = np.concatenate((walked, np.empty_like(walked)))
            walked[n, 0], walked[n, 1], walked[n, 2] = x, y, mark
            n += 1
        if direction == 0:
            visited[y, x] = True
        last = direction
        x += STEP_X[direction]
        y += STEP_Y[direction]
        mark = _corner_mark(framed, x, y)
        direction, saddle = _turn(numbers, framed, own, (x, y), direction)
        if saddle:
            mark |= RELINK
        if direction == 0 and x == start[0] and y == start[1]:
            break
    walked[begin, 2] |= mark
    walked[n] = walked[begin]
    return walked, n + 1


@njit(cache=True, nogil=True)
def _corner_mark(framed, x, y):  # type: ignore[no-untyped-def]
    """Return the marks of a corner from the four pixels around it."""
    above_left, above_right = framed[y, x], framed[y, x + 1]
    below_left, below_right = framed[y + 1, x], framed[y + 1, x + 1]
    cracks = int(above_left != above_right) + int(below_left != below_right)
    cracks += int(above_left != below_left) + int(above_right != below_right)
    mark = NODE if cracks > 2 else 0
    if NODATA in (above_left, above_right, below_left, below_right):
        mark |= PINNED
    return mark


@njit(cache=True, nogil=True)
def _turn(numbers, framed, own, corner, direction):  # type: ignore[no-untyped-def]
    """Return the direction to continue in from a corner, and whether another fragment of equal label lies across it.

    Where the region meets itself diagonally, the path turns left, around the pixels between: rings never touch
    themselves. Where it meets another component of its label, both may be one region in the whole raster.
    """
    x, y = corner
    number, label = own
    left_row, left_col = y + LEFT_ROW[direction], x + LEFT_COL[direction]
    if numbers[left_row, left_col] == number:
        return (direction + 3) & 3, False
    if numbers[y + RIGHT_ROW[direction], x + RIGHT_COL[direction]] == number:
        return direction, False
    return (direction + 1) & 3, framed[left_row, left_col] == label
