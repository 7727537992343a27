"""Instances as single tiles see them: clipped to the raster, and known to be whole or cut by the tile's view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window

OPEN_SIDE = 1 << 30
"""The room of instances that lie beside no line behind which the raster goes on, in pixels."""

EDGE = 4
"""Masks are not trusted this close to the edge of a tile's view, in pixels."""

EDGE_SHARE = 16
"""Nor within this part of their own extent: a network draws large masks coarsely."""

LEAST_INSIDE = 3
"""Beyond the raster's edges a chip shows its mirror image. What lies inside with less than one part of this many of
its height or width is the mirror image of something, whose mask strayed over the edge; a thing on the edge itself and
its image are found as one, half of which lies inside."""


class TileDetections(Protocol):
    """What a network found on one chip; `terraseam.models.detection.instances.ChipInstance` says it in full."""

    row: int
    col: int
    mask: np.ndarray
    label: int
    score: float


class Ref(NamedTuple):
    """Names an instance of one tile: row and column of the tile, and its number there."""

    tile_row: int
    tile_col: int
    number: int

    @property
    def tile(self) -> tuple[int, int]:
        """Row and column of the tile."""
        return self.tile_row, self.tile_col


@dataclass(frozen=True, slots=True, eq=False)
class TileInstance:
    """One thing as one tile sees it.

    Attributes:
        ref: Its name.
        window: Its bounding rectangle, in pixels of the raster; it lies inside the raster.
        mask: Its pixels, bool, with the shape of `window`.
        label: Its class.
        score: How sure the network is, 1 to 255.
        room: Pixels between it and the nearest edge of the tile's view behind which the raster goes on;
            `OPEN_SIDE` where there is none.
    """

    ref: Ref
    window: Window
    mask: np.ndarray
    label: int
    score: int
    room: int

    @property
    def whole(self) -> bool:
        """Whether the tile saw all of it: it keeps clear of the edges of the tile's view."""
        return self.room >= max(EDGE, max(self.window.shape) // EDGE_SHARE)

    def pixels(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.mask))


def view_of(lattice: Lattice, tile: tuple[int, int]) -> Window:
    """What a tile sees of the raster: its read window, without what hangs over the raster's edges."""
    view = lattice.read_window(*tile).intersection(lattice.raster)
    if view is None:
        raise ValueError(f"tile {tile} does not meet the raster")
    return view


def tile_instances(
    found: Iterable[TileDetections], lattice: Lattice, tile: tuple[int, int], valid: np.ndarray
) -> list[TileInstance]:
    """What a tile has to say: the things found on its chip that it answers for.

    A tile answers for what has a pixel in its core; whatever lies in its halo alone, another tile sees better.

    Args:
        found: Things found on the tile's chip.
        lattice: The tiles of the raster.
        tile: Row and column of the tile.
        valid: Where the chip was measured, bool, with the shape of the tile's read window.

    Raises:
        ValueError: If a mask hangs over the chip.
    """
    read, view, core = lattice.read_window(*tile), view_of(lattice, tile), lattice.core_window(*tile)
    kept = []
    for number, thing in enumerate(found):
        window = Window(read.row_off + thing.row, read.col_off + thing.col, *thing.mask.shape)
        on_chip = valid[window.within(read)]
        clipped = _tight(window, thing.mask & on_chip, view)
        if clipped is None or _is_mirror_image(window, lattice.raster):
            continue
        window, mask = clipped
        in_core = window.intersection(core)
        if in_core is None or not mask[in_core.within(window)].any():
            continue
        score = min(255, max(1, round(255 * float(thing.score))))
        ref = Ref(*tile, number)
        kept.append(TileInstance(ref, window, mask, int(thing.label), score, _room(window, view, lattice)))
    return kept


def _is_mirror_image(window: Window, raster: Window) -> bool:
    """Whether too little of a bounding rectangle lies inside the raster for it to be a thing of the raster."""
    inside = window.intersection(raster)
    if inside is None:
        return True
    return LEAST_INSIDE * inside.height < window.height or LEAST_INSIDE * inside.width < window.width


def _tight(window: Window, mask: np.ndarray, view: Window) -> tuple[Window, np.ndarray] | None:
    """The part of a mask inside a view, in its bounding rectangle; None where there is no pixel."""
    inside = window.intersection(view)
    return None if inside is None else tighten(inside, mask[inside.within(window)])


def tighten(window: Window, mask: np.ndarray) -> tuple[Window, np.ndarray] | None:
    """A mask in its bounding rectangle; None where it has no pixel."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    row, col = int(rows[0]), int(cols[0])
    height, width = int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col
    tight = Window(window.row_off + row, window.col_off + col, height, width)
    return tight, np.ascontiguousarray(mask[row : row + height, col : col + width])


def _room(window: Window, view: Window, lattice: Lattice) -> int:
    """Pixels between a window and the nearest edge of a view behind which the raster goes on."""
    rooms = (
        window.row_off - view.row_off if view.row_off else OPEN_SIDE,
        view.row_end - window.row_end if view.row_end < lattice.height else OPEN_SIDE,
        window.col_off - view.col_off if view.col_off else OPEN_SIDE,
        view.col_end - window.col_end if view.col_end < lattice.width else OPEN_SIDE,
    )
    return min(rooms)


@dataclass(frozen=True, slots=True, eq=False)
class SheetInstances:
    """What the store keeps of a sheet: what its tiles found, and where the sheet was measured.

    Attributes:
        valid: Bool, shape ``(height, width)`` of the sheet.
        instances: The instances of its tiles, in order.
        full_tiles: Tiles on which the network had no room for more.
    """

    valid: np.ndarray
    instances: tuple[TileInstance, ...]
    full_tiles: int = 0

    def by_tile(self) -> dict[tuple[int, int], list[TileInstance]]:
        """The instances of each tile that has any."""
        tiles: dict[tuple[int, int], list[TileInstance]] = {}
        for instance in self.instances:
            tiles.setdefault(instance.ref.tile, []).append(instance)
        return tiles

    def to_bytes(self) -> bytes:
        """Everything as bytes, not compressed: a head of counts, a table, and the masks' bits."""
        rows = [
            (
                *one.ref,
                one.window.row_off,
                one.window.col_off,
                *one.window.shape,
                one.label,
                one.score,
                one.room,
            )
            for one in self.instances
        ]
        table = np.array(rows, "<i4").reshape(len(rows), _COLUMNS)
        head = np.array([*self.valid.shape, len(rows), self.full_tiles], "<i4")
        bits = [np.packbits(self.valid), *(np.packbits(one.mask) for one in self.instances)]
        return b"".join([head.tobytes(), table.tobytes(), *(part.tobytes() for part in bits)])

    @staticmethod
    def from_bytes(data: bytes) -> SheetInstances:
        """What `to_bytes` made bytes of.

        Raises:
            ValueError: If the bytes end too early.
        """
        height, width, count, full_tiles = np.frombuffer(data, "<i4", _HEAD).tolist()
        table = np.frombuffer(data, "<i4", count * _COLUMNS, offset=4 * _HEAD).reshape(count, _COLUMNS)
        place = 4 * _HEAD + table.nbytes

        def read_mask(shape: tuple[int, int]) -> np.ndarray:
            nonlocal place
            pixels = shape[0] * shape[1]
            packed = np.frombuffer(data, np.uint8, (pixels + 7) // 8, offset=place)
            place += packed.nbytes
            return np.unpackbits(packed, count=pixels).astype(bool).reshape(shape)

        valid = read_mask((height, width))
        instances = []
        for row in table.tolist():
            window = Window(*row[3:7])
            instances.append(TileInstance(Ref(*row[:3]), window, read_mask(window.shape), *row[7:]))
        return SheetInstances(valid, tuple(instances), full_tiles)


_HEAD, _COLUMNS = 4, 10
