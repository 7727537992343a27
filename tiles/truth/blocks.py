"""Split a raster evenly into blocks, some of which are held out for validation instead of single chips."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import shapely

from terraseam.tiles.grid.mirror import folded
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View


@dataclass(frozen=True, slots=True)
class Blocks:
    """A selection of the blocks that a raster is divided into; their heights and widths differ by a pixel at most.

    Attributes:
        height: Height of the raster, in pixels.
        width: Width of the raster, in pixels.
        chosen: Whether each block is selected, bool ``(rows, columns)``.
    """

    height: int
    width: int
    chosen: np.ndarray

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view has its centre in a selected block, bool ``(height, width)``.

        Beyond its edges, the raster is mirrored together with its blocks.
        """
        rows, cols = (
            folded(np.floor(centres).astype(np.int64), size) * count // size
            for centres, size, count in zip(
                (view.rows, view.cols), (self.height, self.width), self.chosen.shape, strict=True
            )
        )
        # Take whole rows at once: indexing single pixels, as with `np.ix_`, is 70 times slower.
        return self.chosen[:, cols].take(rows, axis=0)

    def boxes(self) -> np.ndarray:
        """Return the selected blocks as polygons in pixels ``(col, row)``, object ``(n,)``."""
        rows, cols = np.nonzero(self.chosen)
        down, across = (
            -(-np.arange(count + 1) * size // count)
            for size, count in zip((self.height, self.width), self.chosen.shape, strict=True)
        )
        return np.asarray(shapely.box(across[cols], down[rows], across[cols + 1], down[rows + 1]), object)

    @property
    def share(self) -> float:
        """Share of the blocks that are selected."""
        return float(self.chosen.mean())


def choose_blocks(
    georef: Georef, side: int, share: float, seed: int, name: str, parts: np.ndarray | None = None
) -> Blocks:
    """Choose blocks of a raster for validation.

    The blocks are ordered by a hash of seed, raster and position. In this order, each is taken that brings the area
    taken so far nearer to `share`; at least one is, and never all: the same ones in every run, whatever other rasters
    there are.

    Args:
        georef: The raster.
        side: Largest side of a block, in pixels; the raster is divided into as few as this allows.
        share: Share of the area of the blocks, above 0 and below 1.
        seed: Seed of the selection.
        name: The raster's name.
        parts: Disjoint polygons, in its pixels ``(col, row)``, whose area in the blocks counts; None for all of it.

    Raises:
        ValueError: If there are fewer than two blocks to choose from.
    """
    rows, cols = math.ceil(georef.height / side), math.ceil(georef.width / side)
    every = Blocks(georef.height, georef.width, np.ones((rows, cols), bool))
    boxes = every.boxes()
    areas = shapely.area(boxes)
    if parts is not None:
        part, met = shapely.STRtree(boxes).query(parts)
        areas = np.bincount(met, shapely.area(shapely.intersection(boxes[met], parts[part])), len(boxes))
    possible = np.flatnonzero(areas > 0)
    if len(possible) < 2:
        raise ValueError(
            f"{name} has {georef.height} x {georef.width} px, no more than one block of {side} px; "
            "choose smaller blocks, or split by raster"
        )
    order = sorted(
        possible.tolist(),
        key=lambda place: hashlib.sha256(f"{seed}/{name}/{place}".encode()).digest(),
    )
    wanted, taken = share * areas.sum(), 0.0
    chosen = np.zeros(rows * cols, bool)
    for place in order:
        if abs(taken + areas[place] - wanted) < abs(taken - wanted) and chosen.sum() < len(order) - 1:
            chosen[place] = True
            taken += areas[place]
    if not chosen.any():
        chosen[min(order, key=lambda place: abs(areas[place] - wanted))] = True
    return replace(every, chosen=chosen.reshape(rows, cols))
