"""Stitch the tiles of a sheet into one label map with scores.

`crop` keeps each tile's core. `blend` averages the scores of neighbouring tiles across the lines between their cores,
with integer weights that sum to one everywhere, so that results depend neither on order nor on sheets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window, hull

NODATA = 255
"""The label of pixels that are not valid."""

UNIT = 256
"""Sum of all tiles' weights at a pixel, along one axis."""

FULL_SCORE = 65535
"""The integer that represents a score of 1 during blending."""

ROWS_AT_ONCE = 32
"""Rows that are labelled at once, few enough for a processor's cache."""

StitchMethod = Literal["crop", "blend"]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The labels and scores of a sheet, as stored.

    Attributes:
        labels: uint8, shape ``(height, width)``; `NODATA` where not valid.
        scores: uint8, same shape: the score of the label, 255 for 1; 0 where not valid.
    """

    labels: np.ndarray
    scores: np.ndarray


class Stitcher(Protocol):
    """Stitcher of the tiles of one sheet, in any order."""

    def needs(self, tile: tuple[int, int], valid: np.ndarray) -> bool:
        """Check whether a tile can change a valid pixel of the sheet; `valid` covers the sheet."""

    def add(self, tile: tuple[int, int], logits: np.ndarray) -> None:
        """Add the logits of a tile's read window, shape ``(height, width, classes)``."""

    def label_map(self, valid: np.ndarray) -> LabelMap:
        """Return the sheet's labels and scores; `valid` covers the sheet."""


def stitcher(method: StitchMethod, lattice: Lattice, sheet: tuple[int, int], classes: int) -> Stitcher:
    """Create the stitcher of a method for one sheet."""
    if method == "crop":
        return CropStitcher(lattice, sheet)
    return BlendStitcher(lattice, sheet, classes)


def stitch_ring(method: StitchMethod) -> int:
    """Return how many tiles of neighbouring sheets a sheet needs on each side."""
    return 0 if method == "crop" else 1


class CropStitcher:
    """Stitcher that keeps the core of each tile: exact for networks with a finite receptive field."""

    def __init__(self, lattice: Lattice, sheet: tuple[int, int]) -> None:
        self._lattice = lattice
        self._window = lattice.sheet_window(*sheet)
        self._labels = np.full(self._window.shape, NODATA, np.uint8)
        self._scores = np.zeros(self._window.shape, np.uint8)

    def needs(self, tile: tuple[int, int], valid: np.ndarray) -> bool:
        """Check whether the tile's core has a valid pixel."""
        return bool(valid[self._lattice.core_window(*tile).within(self._window)].any())

    def add(self, tile: tuple[int, int], logits: np.ndarray) -> None:
        """Store labels and scores of the tile's core."""
        core = self._lattice.core_window(*tile)
        answer = logits[core.within(self._lattice.read_window(*tile))]
        target = core.within(self._window)
        self._labels[target], self._scores[target] = labels_and_scores(answer)

    def label_map(self, valid: np.ndarray) -> LabelMap:
        """Return labels and scores of the sheet, with nodata where it is not valid."""
        return masked(self._labels, self._scores, valid)


class BlendStitcher:
    """Stitcher that averages the scores of neighbouring tiles around the lines between their cores."""

    def __init__(self, lattice: Lattice, sheet: tuple[int, int], classes: int) -> None:
        self._lattice = lattice
        self._window = lattice.sheet_window(*sheet)
        self._sums = np.zeros((*self._window.shape, classes), np.uint32)

    def needs(self, tile: tuple[int, int], valid: np.ndarray) -> bool:
        """Check whether the tile has weight at a valid pixel of the sheet."""
        zone = self._zone(tile)
        return zone is not None and bool(valid[zone.within(self._window)].any())

    def add(self, tile: tuple[int, int], logits: np.ndarray) -> None:
        """Add the tile's weighted scores."""
        zone = self._zone(tile)
        if zone is None:
            return
        read = self._lattice.read_window(*tile)
        scores = np.rint(softmax(logits[zone.within(read)]) * np.float32(FULL_SCORE)).astype(np.uint32)
        rows, cols = blend_weights(self._lattice, tile)
        inside = zone.within(read)
        weights = rows[inside[0], None] * cols[None, inside[1]]
        self._sums[zone.within(self._window)] += scores * weights[..., None]

    def label_map(self, valid: np.ndarray) -> LabelMap:
        """Return labels and scores of the sheet, with nodata where it is not valid."""
        labels = self._sums.argmax(-1).astype(np.uint8)
        best = np.take_along_axis(self._sums, labels[..., None].astype(np.intp), -1)[..., 0]
        scores = (best.astype(np.uint64) * 255 + UNIT**2 * FULL_SCORE // 2) // (UNIT**2 * FULL_SCORE)
        return masked(labels, scores.astype(np.uint8), valid)

    def _zone(self, tile: tuple[int, int]) -> Window | None:
        """Return the pixels of the sheet at which the tile has weight."""
        return blend_zone(self._lattice, tile).intersection(self._window)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute scores from logits, along the last axis, as float32."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def labels_and_scores(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best class of each pixel (the first of equals) and its score, both uint8.

    Args:
        logits: Shape ``(height, width, classes)``, float32.
    """
    shape = logits.shape[:-1]
    labels, scores = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    for start in range(0, len(logits), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        _label_rows(np.ascontiguousarray(np.moveaxis(logits[rows], -1, 0)), labels[rows], scores[rows])
    return labels, scores


def _label_rows(logits: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
    """Write the labels and scores of some rows; `logits` has the shape ``(classes, rows, width)``."""
    best = logits[0].copy()
    labels[:] = 0
    for label, other in enumerate(logits[1:], 1):
        # Copying where a mask is true takes numpy ten times as long; later labels are larger.
        np.maximum(labels, (other > best).view(np.uint8) * np.uint8(label), out=labels)
        np.maximum(best, other, out=best)
    total = np.zeros(best.shape, np.float32)
    for each in logits:
        total += np.exp(each - best)
    scores[:] = np.rint(np.float32(255) / total)


def masked(labels: np.ndarray, scores: np.ndarray, valid: np.ndarray) -> LabelMap:
    """Build a label map with nodata where it is not valid."""
    if valid.all():
        return LabelMap(labels, scores)
    return LabelMap(
        np.where(valid, labels, np.uint8(NODATA)),
        np.where(valid, scores, np.uint8(0)),
    )


def blend_reach(lattice: Lattice) -> tuple[int, int]:
    """Return how far tiles blend across a line between cores, in pixels: between rows, between columns."""
    halo = lattice.halo
    half = lattice.core // 2
    return min(halo.top, halo.bottom, half), min(halo.left, halo.right, half)


def blend_zone(lattice: Lattice, tile: tuple[int, int]) -> Window:
    """Return the pixels of the raster at which a tile may have weight."""
    down, across = blend_reach(lattice)
    core = lattice.core_window(*tile)
    corner = Window(core.row_off - down, core.col_off - across, 1, 1)
    opposite = Window(core.row_end + down - 1, core.col_end + across - 1, 1, 1)
    zone = hull(corner, opposite).intersection(lattice.raster)
    if zone is None:
        raise ValueError(f"tile {tile} does not meet the raster")
    return zone


def blend_weights(lattice: Lattice, tile: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Compute a tile's weights along the rows and the columns of its read window, uint32, 0 to `UNIT`."""
    down, across = blend_reach(lattice)
    rows, cols = lattice.shape
    halo = lattice.halo
    return (
        axis_weights(lattice.core, (halo.top, halo.bottom), down, (tile[0] == 0, tile[0] == rows - 1)),
        axis_weights(lattice.core, (halo.left, halo.right), across, (tile[1] == 0, tile[1] == cols - 1)),
    )


def axis_weights(core: int, halo: tuple[int, int], reach: int, edge: tuple[bool, bool]) -> np.ndarray:
    """Compute weights along one axis of a read window.

    They rise from 0 to `UNIT` within `reach` pixels of the line between two cores, so that the weights of the two
    tiles sum to `UNIT` at each pixel; towards the raster's edge, where there is no other tile, they stay at `UNIT`.

    Args:
        core: Side of a core.
        halo: Context before and after the core.
        reach: Pixels on each side of the line in which both tiles have weight.
        edge: Whether the raster ends before and after this tile.
    """
    before, behind = halo
    position = np.arange(-before, core + behind)
    weights = np.full(position.shape, UNIT, np.int64)
    if not edge[0]:
        weights = np.minimum(weights, _ramp(position, reach))
    if not edge[1]:
        weights = np.minimum(weights, UNIT - _ramp(position - core, reach))
    return weights.astype(np.uint32)


def _ramp(offset: np.ndarray, reach: int) -> np.ndarray:
    """Compute a ramp from 0 to `UNIT` across a line; `offset` counts pixels from the first one after it."""
    if reach == 0:
        return np.where(offset >= 0, UNIT, 0)
    steps = np.clip(offset + reach, 0, 2 * reach - 1)
    rising = ((2 * steps + 1) * UNIT + 2 * reach) // (4 * reach)
    return np.where(offset < -reach, 0, np.where(offset >= reach, UNIT, rising))
