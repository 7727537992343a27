"""Resample a raster to a grid of another pixel size: averaged where pixels get larger, interpolated where smaller.

GDAL's warped views are not used: their pixels depend on the requested window, and they ignore masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from terraseam.tiles.grid.block_reads import Samples, read_in_blocks
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef

LARGEST_BLOCK = 256
"""Largest side of the blocks in which new pixels are computed, in new pixels."""

MOST_READ = 2048
"""Largest side of the window that is read for one block, in old pixels, unless a single new pixel covers more."""

LEAST_MEASURED = 0.5
"""Share of a new pixel that must be valid for it to be valid."""


@dataclass(frozen=True)
class Regrid:
    """A grid of another pixel size over a raster: the same origin and axes, pixels `step` times as high and as wide.

    Attributes:
        old: The raster.
        step: Side of a new pixel, in old pixels.
    """

    old: Georef
    step: float

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ValueError(f"a new pixel has a side, got {self.step} px")

    @cached_property
    def new(self) -> Georef:
        """The new grid: the pixels whose centre lies on the raster, at least one on each side."""
        a, b, c, d, e, f = self.old.transform
        step = self.step
        height, width = (max(1, math.ceil(side / step - 0.5)) for side in (self.old.height, self.old.width))
        return replace(
            self.old, transform=(a * step, b * step, c, d * step, e * step, f), height=height, width=width
        )

    @property
    def block(self) -> int:
        """Side of a block, in new pixels: a power of two."""
        fitting = max(1, min(LARGEST_BLOCK, math.floor(MOST_READ / self.step)))
        return 1 << (fitting.bit_length() - 1)

    def read(self, window: Window, read_old: Callable[[Window], Samples]) -> Samples:
        """Read the samples of a window of the new grid, float32 whatever the type of the raster.

        They are computed in blocks of one lattice over the whole grid, so that a pixel is the same in any window.

        Args:
            window: Inside the new grid.
            read_old: Reads the samples of a window of the raster.
        """
        shape = self.new.height, self.new.width
        return read_in_blocks(window, shape, self.block, lambda block: self._block(block, read_old))

    def _block(self, block: Window, read_old: Callable[[Window], Samples]) -> Samples:
        row0, row1 = self._covered(block.row_off, block.row_end, self.old.height)
        col0, col1 = self._covered(block.col_off, block.col_end, self.old.width)
        pixels, measured = read_old(Window(row0, col0, row1 - row0, col1 - col0))
        rows = block.row_off * self.step - row0, self.step, block.height
        cols = block.col_off * self.step - col0, self.step, block.width
        return resampled(pixels, measured, rows, cols)

    def _covered(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Return the range of old pixels along an axis that new ones are computed from."""
        margin = 0 if self.step > 1 else 1
        first = math.floor(start * self.step) - margin
        last = math.ceil(stop * self.step) + margin
        return min(max(0, first), size - 1), min(size, max(last, 1))


def resampled(
    pixels: np.ndarray,
    measured: np.ndarray | None,
    rows: tuple[float, float, int],
    cols: tuple[float, float, int],
) -> Samples:
    """Resample to another grid, float32, as chips are in training; see `terraseam.tiles.raster.resample.resample`.

    Samples that are not valid are left out, separately for each band.
    """
    from terraseam.tiles.raster.resample import resample  # compiled code, not needed for planning

    pixels = pixels.astype(np.float32)
    if measured is None:
        return resample(pixels, np.ones(pixels.shape[:2], bool), rows, cols)[0], None
    means, knowns = [], []
    for band in range(pixels.shape[2]):
        mean, known = resample(pixels[..., band : band + 1], measured[..., band], rows, cols, LEAST_MEASURED)
        means.append(mean)
        knowns.append(known)
    return np.concatenate(means, axis=-1), np.stack(knowns, axis=-1)
