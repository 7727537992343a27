"""Windows: whole-pixel rectangles of a raster, half-open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A whole-pixel rectangle, half-open; it may extend beyond the raster's edges.

    Attributes:
        row_off: First row, in pixels; negative above the raster.
        col_off: First column, in pixels; negative left of the raster.
        height: Number of rows.
        width: Number of columns.
    """

    row_off: int
    col_off: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a window has at least one pixel, got {self.height} x {self.width}")

    @property
    def row_end(self) -> int:
        """The row after the last one."""
        return self.row_off + self.height

    @property
    def col_end(self) -> int:
        """The column after the last one."""
        return self.col_off + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in numpy's order."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def intersection(self, other: Window) -> Window | None:
        """Return the pixels that two windows share, or None if there are none."""
        row0, col0 = max(self.row_off, other.row_off), max(self.col_off, other.col_off)
        row1, col1 = min(self.row_end, other.row_end), min(self.col_end, other.col_end)
        if row0 >= row1 or col0 >= col1:
            return None
        return Window(row0, col0, row1 - row0, col1 - col0)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices of this window in an array that holds the pixels of `outer`.

        Raises:
            ValueError: If this window is not inside `outer`.
        """
        inside = self.row_off >= outer.row_off and self.col_off >= outer.col_off
        if not inside or self.row_end > outer.row_end or self.col_end > outer.col_end:
            raise ValueError(f"{self} is not inside {outer}")
        return (
            slice(self.row_off - outer.row_off, self.row_end - outer.row_off),
            slice(self.col_off - outer.col_off, self.col_end - outer.col_off),
        )

    def __str__(self) -> str:
        return f"rows {self.row_off}-{self.row_end - 1}, columns {self.col_off}-{self.col_end - 1}"


def hull(first: Window, last: Window) -> Window:
    """Return the smallest window that contains two windows."""
    row0, col0 = min(first.row_off, last.row_off), min(first.col_off, last.col_off)
    row1, col1 = max(first.row_end, last.row_end), max(first.col_end, last.col_end)
    return Window(row0, col0, row1 - row0, col1 - col0)
