"""Lattice of tiles over a raster, and the sheets that group its cores.

A tile is a core and the halo read around it. Cores have one size and partition the raster; those of the last row and
column may be cut off by its edge. Read windows start on multiples of the network's stride, and all have one shape,
except that those of cores cut off by the edge may be cut as well. So the prediction for a pixel depends only on the
lattice. A sheet is a square of whole cores: it groups the work and never affects results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terraseam.tiles.grid.window import Window, hull


@dataclass(frozen=True, slots=True)
class Halo:
    """Context read around a core, in pixels, for each side."""

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if min(self.sides) < 0:
            raise ValueError(f"a halo has 0 px or more on each side, got {self.sides}")

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Top, bottom, left and right."""
        return self.top, self.bottom, self.left, self.right

    def rounded_up(self, stride: int) -> Halo:
        """Return the smallest halo of whole strides that contains this one."""
        return Halo(*(-(-side // stride) * stride for side in self.sides))

    def covers(self, other: Halo) -> bool:
        """Check whether no side of this halo is smaller than the same side of `other`."""
        return all(mine >= theirs for mine, theirs in zip(self.sides, other.sides, strict=True))

    def __str__(self) -> str:
        if len(set(self.sides)) == 1:
            return f"{self.top} px"
        return f"{self.top}/{self.bottom}/{self.left}/{self.right} px (top/bottom/left/right)"


@dataclass(frozen=True, slots=True)
class Lattice:
    """The tiles of one raster, and its sheets.

    Attributes:
        height: Raster height, in pixels.
        width: Raster width, in pixels.
        core: Side of a core, in pixels.
        halo: Context read around each core.
        sheet_cores: Cores along one side of a sheet.
        cut: Step, in pixels, to which the sides of cores cut off by the raster's edge are rounded up for reading; None
            to read around them as around whole cores.
    """

    height: int
    width: int
    core: int
    halo: Halo
    sheet_cores: int
    cut: int | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width", "core", "sheet_cores", *(["cut"] if self.cut is not None else [])):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")

    @property
    def raster(self) -> Window:
        """The whole raster."""
        return Window(0, 0, self.height, self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cores."""
        return -(-self.height // self.core), -(-self.width // self.core)

    @property
    def sheet_shape(self) -> tuple[int, int]:
        """Rows and columns of sheets."""
        rows, cols = self.shape
        return -(-rows // self.sheet_cores), -(-cols // self.sheet_cores)

    @property
    def chip_shape(self) -> tuple[int, int]:
        """Height and width of the largest read window, in pixels; without `cut`, of every one."""
        return self.read_window(0, 0).shape

    @property
    def sheet_side(self) -> int:
        """Side of a sheet, in pixels; those of the last row and column may be smaller."""
        return self.sheet_cores * self.core

    def sheet_of(self, tile: tuple[int, int]) -> tuple[int, int]:
        """Return the row and column of the sheet that a tile belongs to."""
        return tile[0] // self.sheet_cores, tile[1] // self.sheet_cores

    def core_window(self, row: int, col: int) -> Window:
        """Return the pixels that tile (`row`, `col`) answers for."""
        self._check(row, col, self.shape, "tile")
        row_off, col_off = row * self.core, col * self.core
        height, width = min(self.core, self.height - row_off), min(self.core, self.width - col_off)
        return Window(row_off, col_off, height, width)

    def read_window(self, row: int, col: int) -> Window:
        """Return the pixels that tile (`row`, `col`) is computed from; they may extend beyond the raster."""
        self._check(row, col, self.shape, "tile")
        halo = self.halo
        top, left = row * self.core - halo.top, col * self.core - halo.left
        height = self._read_side(self.height, row, 1) + halo.top + halo.bottom
        width = self._read_side(self.width, col, 1) + halo.left + halo.right
        return Window(top, left, height, width)

    def read_windows(self, tiles: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Window]:
        """Return the read window of each of some tiles, in their order."""
        return {tile: self.read_window(*tile) for tile in tiles}

    @property
    def computed_pixels(self) -> int:
        """Number of pixels that the network computes: those of the read windows of all tiles."""
        return self._computed_pixels(0, 0, *self.shape)

    def sheet_computed_pixels(self, row: int, col: int) -> int:
        """Return the number of pixels that the network computes for a sheet."""
        self._check(row, col, self.sheet_shape, "sheet")
        rows, cols = self.shape
        count = self.sheet_cores
        first_row, first_col = row * count, col * count
        return self._computed_pixels(
            first_row, first_col, min(count, rows - first_row), min(count, cols - first_col)
        )

    def _computed_pixels(self, row: int, col: int, rows: int, cols: int) -> int:
        """Return the number of pixels in the read windows of `rows` by `cols` tiles, the first of them at (`row`, `col`)."""
        halo = self.halo
        heights = self._read_side(self.height, row, rows) + rows * (halo.top + halo.bottom)
        return heights * (self._read_side(self.width, col, cols) + cols * (halo.left + halo.right))

    def _read_side(self, side: int, first: int, count: int) -> int:
        """Return the pixels, without halos, that `count` tiles from the `first` one read along a side of the raster."""
        if self.cut is None:
            return count * self.core
        before = (count - 1) * self.core
        last = side - first * self.core - before
        return before + min(self.core, -(-last // self.cut) * self.cut)

    def sheets(self) -> Iterator[tuple[int, int]]:
        """Return an iterator over the rows and columns of all sheets, row by row."""
        rows, cols = self.sheet_shape
        return ((row, col) for row in range(rows) for col in range(cols))

    def sheet_window(self, row: int, col: int) -> Window:
        """Return the pixels of sheet (`row`, `col`)."""
        self._check(row, col, self.sheet_shape, "sheet")
        side = self.sheet_side
        row_off, col_off = row * side, col * side
        return Window(row_off, col_off, min(side, self.height - row_off), min(side, self.width - col_off))

    def sheet_tiles(self, row: int, col: int, ring: int = 0) -> list[tuple[int, int]]:
        """Return the tiles of a sheet, row by row.

        Args:
            row: Sheet row.
            col: Sheet column.
            ring: Tiles of neighbouring sheets to add on each side: 1 where tiles are blended.
        """
        self._check(row, col, self.sheet_shape, "sheet")
        rows, cols = self.shape
        count = self.sheet_cores
        return [
            (r, c)
            for r in range(max(0, row * count - ring), min(rows, (row + 1) * count + ring))
            for c in range(max(0, col * count - ring), min(cols, (col + 1) * count + ring))
        ]

    def sheet_read_window(self, row: int, col: int, ring: int = 0) -> Window:
        """Return the smallest window that contains the read windows of a sheet's tiles."""
        tiles = self.sheet_tiles(row, col, ring)
        return hull(self.read_window(*tiles[0]), self.read_window(*tiles[-1]))

    @staticmethod
    def _check(row: int, col: int, shape: tuple[int, int], what: str) -> None:
        if not (0 <= row < shape[0] and 0 <= col < shape[1]):
            raise ValueError(
                f"{what} ({row}, {col}) is outside the {shape[0]} x {shape[1]} {what}s of the raster"
            )
