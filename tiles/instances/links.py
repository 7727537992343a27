"""Link instances of different tiles that are views of the same object.

Two views are compared where both tiles have information: a view that keeps clear of its tile's edges has it for every
pixel, one that is cut off only for the pixels of its tile. Bounding boxes alone never decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window, hull
from terraseam.tiles.instances.instances import Ref, TileInstance, view_of

LEAST_AGREEMENT = 0.5
"""Minimum share of pixels on which two views must agree, of those in the mask of either."""


LEAST_NOTED = 0.1
"""Agreement below which pairs are ignored."""


class Link(NamedTuple):
    """Two instances of different tiles that share pixels.

    Attributes:
        first: The instance of the first of the two tiles, row by row.
        second: The other one.
        agreement: Agreement of their masks, see `agreement`, `LEAST_NOTED` to 1.
        matched: Whether they are each other's best match, and agree on `LEAST_AGREEMENT` or more.
        whole: Whether the first, and whether the second, is whole.
    """

    first: Ref
    second: Ref
    agreement: float
    matched: bool
    whole: tuple[bool, bool]


def agreement(ours: TileInstance, theirs: TileInstance, views: tuple[Window, Window]) -> float:
    """Compute how well two instances agree on the pixels of which both tiles have information, 0 to 1.

    It is the intersection over union of the two masks, except that outlines one pixel apart still agree: otherwise
    small instances that tiles draw a pixel differently would not be linked.

    Args:
        ours: An instance of one tile.
        theirs: An instance of another tile.
        views: Views of the two tiles, in this order.
    """
    if ours.window.intersection(theirs.window) is None:
        return 0.0
    frame = hull(ours.window, theirs.window)
    frame = Window(frame.row_off - 1, frame.col_off - 1, frame.height + 2, frame.width + 2)
    mine = _draw_mask(ours, frame, None if theirs.whole else views[1])
    other = _draw_mask(theirs, frame, None if ours.whole else views[0])
    if not (mine & other).any():
        return 0.0
    agreed = np.count_nonzero(mine & _grown(other)) + np.count_nonzero(other & _grown(mine))
    claimed = np.count_nonzero(mine) + np.count_nonzero(other)
    return int(agreed) / (2 * int(claimed) - int(agreed))


def _draw_mask(instance: TileInstance, frame: Window, view: Window | None) -> np.ndarray:
    """Draw the mask of an instance on a frame around it, clipped to a view."""
    canvas = np.zeros(frame.shape, bool)
    shared = instance.window if view is None else instance.window.intersection(view)
    if shared is not None:
        canvas[shared.within(frame)] = instance.mask[shared.within(instance.window)]
    return canvas


def _grown(mask: np.ndarray) -> np.ndarray:
    """Dilate a mask by the four neighbours of its pixels; its border pixels must be False."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def link_tiles(
    ours: Sequence[TileInstance], theirs: Sequence[TileInstance], views: tuple[Window, Window]
) -> Iterator[Link]:
    """Compare the instances of two tiles, class by class.

    Args:
        ours: Instances of the tile that comes first, row by row.
        theirs: Instances of the other tile.
        views: Views of the two tiles, in this order.
    """
    if not ours or not theirs:
        return
    table = np.zeros((len(ours), len(theirs)))
    for i, j in _comparable(ours, theirs):
        table[i, j] = agreement(ours[i], theirs[j], views)
    best, best_of_theirs = table.argmax(axis=1), table.argmax(axis=0)
    for i, j in zip(*(place.tolist() for place in np.nonzero(table >= LEAST_NOTED)), strict=True):
        mutual = best[i] == j and best_of_theirs[j] == i
        share = float(table[i, j])
        whole = (ours[i].whole, theirs[j].whole)
        yield Link(ours[i].ref, theirs[j].ref, share, bool(mutual and share >= LEAST_AGREEMENT), whole)


def _comparable(ours: Sequence[TileInstance], theirs: Sequence[TileInstance]) -> list[tuple[int, int]]:
    """Return pairs of the same class whose bounding rectangles overlap."""
    (row0, col0, row1, col1, label), others = _table(ours)[:, :, None], _table(theirs)[:, None, :]
    meet = (row0 < others[2]) & (others[0] < row1) & (col0 < others[3]) & (others[1] < col1)
    return [(i, j) for i, j in np.argwhere(meet & (label == others[4])).tolist()]


def _table(instances: Sequence[TileInstance]) -> np.ndarray:
    """Return first row and column, end row and column, and class of each instance, shape ``(5, instances)``."""
    rows = [
        (
            instance.window.row_off,
            instance.window.col_off,
            instance.window.row_end,
            instance.window.col_end,
            instance.label,
        )
        for instance in instances
    ]
    return np.array(rows, np.int64).T


def later_neighbours(lattice: Lattice, tile: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the later tiles, row by row, whose views overlap that of a tile."""
    height, width = lattice.chip_shape
    down, across = (height - 1) // lattice.core, (width - 1) // lattice.core
    rows, cols = lattice.shape
    row, col = tile
    return [
        (r, c)
        for r in range(row, min(rows, row + down + 1))
        for c in range(max(0, col - across), min(cols, col + across + 1))
        if (r, c) > tile
    ]


def link_sheet(
    tiles: Sequence[tuple[int, int]],
    instances: Mapping[tuple[int, int], Sequence[TileInstance]],
    lattice: Lattice,
) -> list[Link]:
    """Return all links of the tiles of one sheet with later tiles, in this sheet and others.

    Every pair of tiles belongs to the sheet of the first, so that links do not depend on how tiles are grouped.

    Args:
        tiles: The tiles of the sheet.
        instances: Instances by tile, of this sheet and its neighbours.
        lattice: The tiles of the raster.
    """
    links: list[Link] = []
    for tile in tiles:
        if not instances.get(tile):
            continue
        for other in later_neighbours(lattice, tile):
            if instances.get(other):
                views = view_of(lattice, tile), view_of(lattice, other)
                links.extend(link_tiles(instances[tile], instances[other], views))
    return links
