"""Instances as seen in single tiles: clipped to the raster, and marked as whole or cut off by the tile's edge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window

OPEN_SIDE = 1 << 30
"""The room of instances that no edge of the tile's view inside the raster can cut off, in pixels."""

EDGE = 4
"""Distance from the edge of a tile's view within which masks are not trusted, in pixels."""

EDGE_SHARE = 16
"""Divisor of a mask's own extent, within which it is not trusted either: networks draw large masks coarsely."""

LEAST_INSIDE = 3
"""Beyond the raster's edges a chip shows its mirror image. An instance with less than this fraction (1 / n) of its
height or width inside is a mirror image whose mask extends over the edge; an instance on the edge itself is detected
together with its image, so half of it lies inside."""


class TileDetections(Protocol):
    """An instance as detected on one chip; see `terraseam.models.detection.instances.ChipInstance`."""

    row: int
    col: int
    mask: np.ndarray
    label: int
    score: float


class Ref(NamedTuple):
    """Identifier of an instance in one tile: row and column of the tile, and its number there."""

    tile_row: int
    tile_col: int
    number: int

    @property
    def tile(self) -> tuple[int, int]:
        """Row and column of the tile."""
        return self.tile_row, self.tile_col


@dataclass(frozen=True, slots=True, eq=False)
class TileInstance:
    """One instance as seen in one tile.

    Attributes:
        ref: Its identifier.
        window: Its bounding rectangle, in pixels of the raster; it lies inside the raster.
        mask: Its pixels, bool, with the shape of `window`.
        label: Its class.
        score: Confidence of the network, 1 to 255.
        room: Distance to the nearest edge of the tile's view inside the raster, in pixels; `OPEN_SIDE` if there is
            none.
    """

    ref: Ref
    window: Window
    mask: np.ndarray
    label: int
    score: int
    room: int

    @property
    def whole(self) -> bool:
        """Whether the tile contains all of it: it keeps clear of the edges of the tile's view."""
        return self.room >= max(EDGE, max(self.window.shape) // EDGE_SHARE)

    def pixels(self) -> int:
        """Return the number of its pixels."""
        return int(np.count_nonzero(self.mask))


def view_of(lattice: Lattice, tile: tuple[int, int]) -> Window:
    """Return the part of the raster that a tile sees: its read window, clipped to the raster."""
    view = lattice.read_window(*tile).intersection(lattice.raster)
    if view is None:
        raise ValueError(f"tile {tile} does not meet the raster")
    return view


def tile_instances(
    detections: Iterable[TileDetections], lattice: Lattice, tile: tuple[int, int], valid: np.ndarray
) -> list[TileInstance]:
    """Return the instances detected on a tile's chip that the tile answers for.

    A tile answers for instances with a pixel in its core; those that lie only in its halo are seen better by another
    tile.

    Args:
        detections: Detections on the tile's chip.
        lattice: The tiles of the raster.
        tile: Row and column of the tile.
        valid: Validity of the chip, bool, with the shape of the tile's read window.

    Raises:
        ValueError: If a mask extends beyond the chip.
    """
    read, view, core = lattice.read_window(*tile), view_of(lattice, tile), lattice.core_window(*tile)
    instances = []
    for number, detection in enumerate(detections):
        window = Window(read.row_off + detection.row, read.col_off + detection.col, *detection.mask.shape)
        on_chip = valid[window.within(read)]
        clipped = _tight(window, detection.mask & on_chip, view)
        if clipped is None or _is_mirror_image(window, lattice.raster):
            continue
        window, mask = clipped
        in_core = window.intersection(core)
        if in_core is None or not mask[in_core.within(window)].any():
            continue
        score = min(255, max(1, round(255 * float(detection.score))))
        ref = Ref(*tile, number)
        instances.append(
            TileInstance(ref, window, mask, int(detection.label), score, _room(window, view, lattice))
        )
    return instances


def _is_mirror_image(window: Window, raster: Window) -> bool:
    """Check whether too little of a bounding rectangle lies inside the raster for an instance of the raster."""
    inside = window.intersection(raster)
    if inside is None:
        return True
    return LEAST_INSIDE * inside.height < window.height or LEAST_INSIDE * inside.width < window.width


def _tight(window: Window, mask: np.ndarray, view: Window) -> tuple[Window, np.ndarray] | None:
    """Clip a mask to a view, cropped to its bounding rectangle; None if no pixel is left."""
    inside = window.intersection(view)
    return None if inside is None else tighten(inside, mask[inside.within(window)])


def tighten(window: Window, mask: np.ndarray) -> tuple[Window, np.ndarray] | None:
    """Crop a mask to its bounding rectangle; None if it has no pixel."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    row, col = int(rows[0]), int(cols[0])
    height, width = int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col
    tight = Window(window.row_off + row, window.col_off + col, height, width)
    return tight, np.ascontiguousarray(mask[row : row + height, col : col + width])


def _room(window: Window, view: Window, lattice: Lattice) -> int:
    """Return the distance from a window to the nearest edge of a view inside the raster, in pixels."""
    rooms = (
        window.row_off - view.row_off if view.row_off else OPEN_SIDE,
        view.row_end - window.row_end if view.row_end < lattice.height else OPEN_SIDE,
        window.col_off - view.col_off if view.col_off else OPEN_SIDE,
        view.col_end - window.col_end if view.col_end < lattice.width else OPEN_SIDE,
    )
    return min(rooms)


@dataclass(frozen=True, slots=True, eq=False)
class SheetInstances:
    """The instances of a sheet as stored: those of its tiles, and the validity of its pixels.

    Attributes:
        valid: Bool, shape ``(height, width)`` of the sheet.
        instances: The instances of its tiles, in order.
        full_tiles: Number of tiles on which the network reached its maximum number of detections.
    """

    valid: np.ndarray
    instances: tuple[TileInstance, ...]
    full_tiles: int = 0

    def by_tile(self) -> dict[tuple[int, int], list[TileInstance]]:
        """Group the instances by tile."""
        tiles: dict[tuple[int, int], list[TileInstance]] = {}
        for instance in self.instances:
            tiles.setdefault(instance.ref.tile, []).append(instance)
        return tiles

    def to_bytes(self) -> bytes:
        """Serialize to bytes, uncompressed: a header of counts, a table, and the masks' bits."""
        rows = [
            (
                *instance.ref,
                instance.window.row_off,
                instance.window.col_off,
                *instance.window.shape,
                instance.label,
                instance.score,
                instance.room,
            )
            for instance in self.instances
        ]
        table = np.array(rows, "<i4").reshape(len(rows), _COLUMNS)
        head = np.array([*self.valid.shape, len(rows), self.full_tiles], "<i4")
        bits = [np.packbits(self.valid), *(np.packbits(instance.mask) for instance in self.instances)]
        return b"".join([head.tobytes(), table.tobytes(), *(part.tobytes() for part in bits)])

    @staticmethod
    def from_bytes(data: bytes) -> SheetInstances:
        """Deserialize the bytes of `to_bytes`.

        Raises:
            ValueError: If the bytes are truncated.
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
