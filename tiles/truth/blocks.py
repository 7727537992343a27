"""Split a raster into square blocks, some of which are held out for validation instead of single chips."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import shapely

from terraseam.tiles.grid.mirror import folded
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View


@dataclass(frozen=True, slots=True)
class Blocks:
    """A selection of the blocks that a raster is divided into.

    Attributes:
        height: Height of the raster, in pixels.
        width: Width of the raster, in pixels.
        side: Side of a block, in pixels of the raster.
        chosen: Whether each block is selected, bool ``(rows, columns)``.
    """

    height: int
    width: int
    side: int
    chosen: np.ndarray

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view has its centre in a selected block, bool ``(height, width)``.

        Beyond its edges, the raster is mirrored together with its blocks.
        """
        rows, cols = (
            folded(np.floor(centres).astype(np.int64), size) // self.side
            for centres, size in ((view.rows, self.height), (view.cols, self.width))
        )
        # Take whole rows at once: indexing single pixels, as with `np.ix_`, is 70 times slower.
        return self.chosen[:, cols].take(rows, axis=0)

    def boxes(self) -> np.ndarray:
        """Return the selected blocks as polygons in pixels ``(col, row)``, object ``(n,)``."""
        rows, cols = np.nonzero(self.chosen)
        ends = [
            (np.minimum(at * self.side, size) for at in (line, line + 1))
            for line, size in ((cols, self.width), (rows, self.height))
        ]
        (left, right), (top, bottom) = ends
        return np.asarray(shapely.box(left, top, right, bottom), object)

    @property
    def share(self) -> float:
        """Share of the blocks that are selected."""
        return float(self.chosen.mean())


def choose_blocks(georef: Georef, side: int, share: float, seed: int, name: str) -> Blocks:
    """Choose blocks of a raster for validation.

    The blocks are ordered by a hash of seed, raster and position, and the first `share` of them are taken, at least
    one and never all: the same ones in every run, whatever other rasters there are.

    Args:
        georef: The raster.
        side: Side of a block, in pixels.
        share: Share of the blocks, above 0 and below 1.
        seed: Seed of the selection.
        name: The raster's name.

    Raises:
        ValueError: If the raster has room for only one block.
    """
    rows, cols = math.ceil(georef.height / side), math.ceil(georef.width / side)
    if rows * cols < 2:
        raise ValueError(
            f"{name} has {georef.height} x {georef.width} px, no more than one block of {side} px; "
            "choose smaller blocks, or split by raster"
        )
    order = sorted(
        range(rows * cols),
        key=lambda place: hashlib.sha256(f"{seed}/{name}/{place}".encode()).digest(),
    )
    chosen = np.zeros(rows * cols, bool)
    chosen[order[: min(rows * cols - 1, max(1, round(share * rows * cols)))]] = True
    return Blocks(georef.height, georef.width, side, chosen.reshape(rows, cols))
