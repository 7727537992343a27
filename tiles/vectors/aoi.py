"""Area of interest on a raster: a pixel belongs to it if its centre does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import tighten, view_of
from terraseam.tiles.instances.resolve import ResolvedInstance
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile

if TYPE_CHECKING:
    from terraseam.tiles.vectors.burn import PolygonEdges

INSET = 0.25
"""Windows are shrunk by this many pixels on each side before they are tested: less than half a pixel, so that no
centre is missed, and more than the error of edges drawn in another CRS, so that an area along a seam meets only one
side."""


FEW = 4096
"""Largest window, in pixels, whose centres are tested one by one."""


@dataclass(frozen=True, eq=False)
class AreaOfInterest:
    """The polygons of an area of interest on one raster; they may touch and overlap.

    Attributes:
        polygons: Those that overlap the raster, in its pixels ``(col, row)``, object ``(n,)``.
        lost: Number of polygons that cannot be transformed to the CRS of the raster.
    """

    polygons: np.ndarray
    lost: int = 0

    def mask(self, window: Window) -> np.ndarray:
        """Return whether each pixel of a window has its centre in the area, bool ``(height, width)``.

        A centre on an edge belongs to the side right of the edge, or below it if it is horizontal. Windows of any
        size agree on every pixel.
        """
        from terraseam.tiles.vectors.burn import covered  # compiled code, not needed for planning

        return covered(self._edges, window)

    def digest(self) -> str:
        """Hash the polygons, whatever their order."""
        shapes = sorted(shapely.to_wkb(self.polygons, byte_order=1).tolist())
        return hashlib.sha256(b"".join(shapes)).hexdigest()

    def meets(self, windows: Sequence[Window]) -> np.ndarray:
        """Return whether each window overlaps the area, bool ``(windows,)``; True for all that have a pixel in it."""
        corners = [(w.col_off, w.row_off, w.col_end, w.row_end) for w in windows]
        left, top, right, bottom = np.array(corners, np.float64).reshape(-1, 4).T
        tree = shapely.STRtree(shapely.box(left + INSET, top + INSET, right - INSET, bottom - INSET))
        met = np.zeros(len(windows), bool)
        if len(self.polygons):
            met[tree.query(self.polygons, predicate="intersects")[1]] = True
        return met

    def holds_pixel(self, window: Window) -> bool:
        """Check whether any pixel of a window has its centre in the area, or on its border."""
        open_windows = [window]
        while open_windows:
            window = open_windows.pop()
            if window.pixels <= FEW:
                if self._has_centre(window):
                    return True
                continue
            parts = quarters(window)
            open_windows += [part for part, met in zip(parts, self.meets(parts).tolist(), strict=True) if met]
        return False

    def _has_centre(self, window: Window) -> bool:
        cols, rows = np.meshgrid(
            np.arange(window.col_off, window.col_end) + 0.5, np.arange(window.row_off, window.row_end) + 0.5
        )
        near = shapely.STRtree(self.polygons).query(
            shapely.box(window.col_off, window.row_off, window.col_end, window.row_end)
        )
        return any(shapely.intersects_xy(polygon, cols, rows).any() for polygon in self.polygons[near])

    @cached_property
    def _edges(self) -> PolygonEdges:
        from terraseam.tiles.vectors.burn import edges_of

        return edges_of(self.polygons)


def quarters(window: Window) -> list[Window]:
    """Split a window into four parts, or into two if it is one pixel high or wide."""
    rows, cols = ([(0, size // 2), (size // 2, size - size // 2)] for size in window.shape)
    return [
        Window(window.row_off + row, window.col_off + col, height, width)
        for row, height in rows
        for col, width in cols
        if height and width
    ]


def area_on(file: PolygonFile, georef: Georef) -> AreaOfInterest:
    """Transform the polygons of a file to a raster; edges are straight in the CRS of the file."""
    in_pixels = polygons_to_pixels(file, georef)
    return AreaOfInterest(in_pixels.polygons, in_pixels.lost)


def sheets_in(area: AreaOfInterest, lattice: Lattice) -> list[tuple[int, int]]:
    """Return the sheets that overlap an area of interest, row by row."""
    sheets = list(lattice.sheets())
    met = area.meets([lattice.sheet_window(*sheet) for sheet in sheets])
    return [sheet for sheet, inside in zip(sheets, met.tolist(), strict=True) if inside]


def tiles_that_see(area: AreaOfInterest, lattice: Lattice) -> list[tuple[int, int]]:
    """Return the tiles whose view, core and halo, overlaps an area of interest, row by row."""
    rows, cols = lattice.shape
    tiles = [(row, col) for row in range(rows) for col in range(cols)]
    met = area.meets([view_of(lattice, tile) for tile in tiles])
    return [tile for tile, inside in zip(tiles, met.tolist(), strict=True) if inside]


def sheets_that_see(area: AreaOfInterest, lattice: Lattice) -> list[tuple[int, int]]:
    """Return the sheets of the tiles whose view overlaps an area of interest, row by row."""
    return sorted({lattice.sheet_of(tile) for tile in tiles_that_see(area, lattice)})


class PixelArea(Protocol):
    """A set of pixels of a raster."""

    def mask(self, window: Window) -> np.ndarray:
        """Return whether each pixel of a window belongs to it, bool ``(height, width)``."""


def clip_instance(instance: ResolvedInstance, area: PixelArea) -> ResolvedInstance | None:
    """Clip an instance to an area; None if nothing is left."""
    cores = instance.cores or (None,) * len(instance.parts)
    clipped = []
    for core, (window, mask) in zip(cores, instance.parts, strict=True):
        part = tighten(window, mask & area.mask(window))
        if part is not None:
            clipped.append((core, part))
    if not clipped:
        return None
    left = tuple(core for core, _ in clipped if core is not None)
    return replace(instance, parts=tuple(part for _, part in clipped), cores=left)
