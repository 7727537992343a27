"""Read a raster and its ground truth as chips at any scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.earth import OnEarth
from terraseam.tiles.raster.georef import Georef, reaches_off_the_earth
from terraseam.tiles.raster.resample import resample
from terraseam.tiles.raster.source import RasterSource
from terraseam.tiles.raster.view import View

IGNORED = 255
"""Label of pixels of unknown class: training and metrics leave them out."""

_FINE_PX = 2.0
"""Size of a view's pixels, in pixels of the raster, above which each is tested on its own for lying on the Earth:
testing all pixels of the raster beneath would take longer."""


class Truth(Protocol):
    """Ground truth of a raster, rasterized to any view of it."""

    def labels(self, view: View) -> np.ndarray:
        """Return the labels of a view, uint8 ``(height, width)``, `IGNORED` where there are none."""


class Inside(Protocol):
    """A part of a raster."""

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view lies in it, bool ``(height, width)``."""


@dataclass(frozen=True, slots=True)
class LabelledChip:
    """A chip and its ground truth.

    Attributes:
        pixels: Shape ``(height, width, bands)``, float32, in units of the raster; the fill value where not valid.
        labels: Shape ``(height, width)``, uint8; `IGNORED` where unknown or not valid, and off the Earth.
    """

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A raster, its ground truth, and the part of it that may be used.

    Attributes:
        name: Its name in messages and records.
        source: Reads its pixels.
        georef: Its CRS, transform and shape.
        truth: Its ground truth.
        area: Where the truth is known; None for everywhere.
        hidden: Where pixels and labels are withheld, such as validation blocks; None if nowhere.
        blind: Whether pixels outside `area` are withheld, too. Detectors need this: they learn from everything they
            see, and would learn instances without outlines as background.
    """

    name: str
    source: RasterSource
    georef: Georef
    truth: Truth
    area: Inside | None = None
    hidden: Inside | None = None
    blind: bool = False

    def without(self, part: Inside) -> Scene:
        """Return the scene with another part withheld, such as some blocks."""
        return replace(self, hidden=part if self.hidden is None else Either((self.hidden, part)))

    def chip(self, view: View, labels: np.ndarray | None = None) -> LabelledChip:
        """Read a chip; beyond the raster's edges its pixels are mirrored and its labels ignored.

        Args:
            view: Its position and scale on the raster.
            labels: The result of `labels` for it, if already known; it is modified.

        Raises:
            RasterReadError: If the raster cannot be read there.
        """
        margin = 0 if min(view.row_step, view.col_step) >= 1 else 1
        inner = view.window
        window = Window(
            inner.row_off - margin,
            inner.col_off - margin,
            inner.height + 2 * margin,
            inner.width + 2 * margin,
        )
        read = self.source.read(window)
        valid = read.valid
        if self.hidden is not None:
            # Mask before resampling: chip pixels that overlap a hidden block then show only the rest of what they
            # cover.
            valid = valid & ~self._hidden_pixels(window)
        pixels, known = resample(
            read.pixels,
            valid,
            (view.row - window.row_off, view.row_step, view.height),
            (view.col - window.col_off, view.col_step, view.width),
        )
        labels = self.labels(view) if labels is None else labels
        labels[~known] = IGNORED
        # Pixels are not hidden merely because their labels are unknown.
        visible = known & self._trusted(view) if self.blind else known
        pixels[~visible] = np.asarray(self.source.fill, np.float32)
        return LabelledChip(pixels, labels)

    def _hidden_pixels(self, window: Window) -> np.ndarray:
        """Return whether each pixel of a window is withheld, mirrored beyond the raster's edges as its pixels are."""
        rows = mirror_index(window.row_off, window.row_end, self.georef.height)
        cols = mirror_index(window.col_off, window.col_end, self.georef.width)
        row, col = rows.min(), cols.min()
        on_raster = View(row, col, 1, 1, rows.max() + 1 - row, cols.max() + 1 - col)
        assert self.hidden is not None
        return self.hidden.inside(on_raster)[:, cols - col].take(rows - row, axis=0)

    def labels(self, view: View) -> np.ndarray:
        """Return the labels of a view as far as they are known without its pixels, uint8 ``(height, width)``."""
        labels = self.truth.labels(view).copy()
        labels[~(self._trusted(view) & on_ground(view, self.georef))] = IGNORED
        return labels

    def _trusted(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view lies on the raster where its truth can be trusted."""
        trusted = on_raster(view, self.georef)
        for part, expected in ((self.area, True), (self.hidden, False)):
            if part is not None:
                trusted &= part.inside(view) == expected
        return trusted


def on_raster(view: View, georef: Georef) -> np.ndarray:
    """Return whether each pixel of a view has its centre on a raster, bool ``(height, width)``."""
    rows = (view.rows >= 0) & (view.rows < georef.height)
    cols = (view.cols >= 0) & (view.cols < georef.width)
    return rows[:, None] & cols[None]


def on_ground(view: View, georef: Georef) -> np.ndarray:
    """Return whether each pixel of a view has its centre in a raster pixel on the Earth, bool ``(height, width)``."""
    on = on_raster(view, georef)
    if not reaches_off_the_earth(georef):
        return on
    if max(view.row_step, view.col_step) <= _FINE_PX:
        return nearest(view, georef, OnEarth(georef).mask) == 1
    cols, rows = np.meshgrid(np.floor(view.cols) + 0.5, np.floor(view.rows) + 0.5)
    lonlat = georef.lonlat_or_nan(np.stack([cols.ravel(), rows.ravel()], axis=1))
    return on & np.isfinite(lonlat[:, 0]).reshape(on.shape)


def nearest(view: View, georef: Georef, read: Callable[[Window], np.ndarray]) -> np.ndarray:
    """Return the label of the raster pixel that contains each pixel centre of a view, uint8.

    Args:
        view: The view; pixels beyond the raster's edges are `IGNORED`.
        georef: The raster.
        read: Reads the labels of a window of it.
    """
    drawn = np.full((view.height, view.width), IGNORED, np.uint8)
    rows, cols = np.floor(view.rows).astype(np.int64), np.floor(view.cols).astype(np.int64)
    down = np.flatnonzero((rows >= 0) & (rows < georef.height))
    across = np.flatnonzero((cols >= 0) & (cols < georef.width))
    if not (down.size and across.size):
        return drawn
    rows, cols = rows[down], cols[across]
    row, col = int(rows[0]), int(cols[0])
    labels = read(Window(row, col, int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col))
    drawn[np.ix_(down, across)] = labels[np.ix_(rows - row, cols - col)]
    return drawn


@dataclass(frozen=True)
class Within:
    """The intersection of several parts of a raster."""

    parts: tuple[Inside, ...]

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view lies in all parts, bool ``(height, width)``."""
        return np.logical_and.reduce([part.inside(view) for part in self.parts])


@dataclass(frozen=True)
class Either:
    """The union of several parts of a raster."""

    parts: tuple[Inside, ...]

    def inside(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view lies in any part, bool ``(height, width)``."""
        return np.logical_or.reduce([part.inside(view) for part in self.parts])


def turned(arrays: Sequence[np.ndarray], symmetry: int) -> list[np.ndarray]:
    """Apply one of the eight symmetries of the square, 0 to 7, to arrays ``(height, width, ...)``."""
    return [
        np.ascontiguousarray(np.rot90(array[:, ::-1] if symmetry >= 4 else array, symmetry % 4))
        for array in arrays
    ]


def turned_corner(row: int, col: int, shape: tuple[int, int], side: int, symmetry: int) -> tuple[int, int]:
    """Return the first pixel of a mask after its square chip is turned as by `turned`.

    Args:
        row: First row of the mask.
        col: First column of the mask.
        shape: Height and width of the mask before the turn.
        side: Side of the chip.
        symmetry: 0 to 7.
    """
    height, width = shape
    if symmetry >= 4:
        col = side - col - width
    for _ in range(symmetry % 4):
        row, col, height, width = side - col - width, row, width, height
    return row, col
