"""Read windows that are assembled from the blocks of one lattice, so that a pixel is the same in any window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from terraseam.tiles.grid.window import Window

VRT_BLOCK = 512
"""Side of the blocks in which virtual rasters are read, in pixels."""

Samples = tuple[np.ndarray, np.ndarray | None]
"""Pixels ``(height, width, bands)``, and their validity, bool of the same shape; None if all are valid."""


def read_in_blocks(
    window: Window, shape: tuple[int, int], side: int, read_block: Callable[[Window], Samples]
) -> Samples:
    """Read the samples of a window, block by block.

    Args:
        window: Inside the grid.
        shape: Height and width of the grid, in pixels.
        side: Side of a block; those of the last row and column may be smaller.
        read_block: Reads a whole block.
    """
    parts = [(block, read_block(block)) for block in blocks_under(window, shape, side)]
    first = parts[0][1][0]
    pixels = np.empty((*window.shape, first.shape[2]), first.dtype)
    measured = np.ones(pixels.shape, bool)
    for block, (part, known) in parts:
        shared = block.intersection(window)
        if shared is not None:
            pixels[shared.within(window)] = part[shared.within(block)]
            measured[shared.within(window)] = True if known is None else known[shared.within(block)]
    return pixels, None if measured.all() else measured


def read_samples(dataset: Any, window: Window, read: Callable[[Window], Samples]) -> Samples:
    """Read a window of an open raster so that its samples do not depend on the window.

    Args:
        dataset: The raster.
        window: Inside it.
        read: Reads the samples of a window with GDAL. Where GDAL warps or averages the sources of a virtual raster,
            its pixels depend on the window, so virtual rasters are read in whole blocks.
    """
    if dataset.driver == "VRT":
        return read_in_blocks(window, dataset.shape, VRT_BLOCK, read)
    return read(window)


def blocks_under(window: Window, shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Yield the blocks that intersect a window inside a grid, row by row."""
    for row in range(window.row_off // side * side, window.row_end, side):
        for col in range(window.col_off // side * side, window.col_end, side):
            yield Window(row, col, min(side, shape[0] - row), min(side, shape[1] - col))
