"""Things become a label map: the surest thing lies on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.resolve import Part, ResolvedInstance
from terraseam.tiles.labels.stitch import LabelMap, masked


class Patch(NamedTuple):
    """What a sheet shows of one thing.

    Attributes:
        rank: Patches of greater rank lie on top: score, and for equal scores the thing that begins first.
        label: Class of the thing.
        window: Bounding rectangle of its pixels on the sheet, in pixels of the raster.
        bits: Its pixels there, as `numpy.packbits` packs them row by row.
        ref: Name of the thing: its first view.
        pixels: Number of pixels of the whole thing.
        bounds: Bounding rectangle of the whole thing.
    """

    rank: tuple[int, int, int]
    label: int
    window: Window
    bits: bytes
    ref: Ref
    pixels: int
    bounds: Window

    def mask(self) -> np.ndarray:
        """Its pixels, bool, with the shape of `window`."""
        packed = np.frombuffer(self.bits, np.uint8)
        return np.unpackbits(packed, count=self.window.pixels).astype(bool).reshape(self.window.shape)


def patches(thing: ResolvedInstance, side: int) -> Iterator[tuple[tuple[int, int], Patch]]:
    """Cut a thing at the lines between sheets.

    Args:
        thing: The thing.
        side: Side of a sheet, in pixels.

    Yields:
        Row and column of a sheet, and what it shows of the thing.
    """
    first = min(_first_pixel(part) for part in thing.parts)
    rank = (thing.score, -first[0], -first[1])
    whole = thing.ref, thing.pixels, thing.bounds
    for window, mask in thing.parts:
        for row in range(window.row_off // side, (window.row_end - 1) // side + 1):
            for col in range(window.col_off // side, (window.col_end - 1) // side + 1):
                shared = window.intersection(Window(row * side, col * side, side, side))
                if shared is None:
                    continue
                piece = mask[shared.within(window)]
                if piece.any():
                    yield (row, col), Patch(rank, thing.label, shared, np.packbits(piece).tobytes(), *whole)


def _first_pixel(part: Part) -> tuple[int, int]:
    """First pixel ``(row, col)`` of a part whose window is its bounding rectangle."""
    window, mask = part
    return window.row_off, window.col_off + int(mask[0].argmax())


def paint(sheet: Window, pieces: Iterable[Patch], valid: np.ndarray, background: int) -> LabelMap:
    """The label map of a sheet: the class of the topmost thing, else the background.

    Args:
        sheet: The pixels of the sheet.
        pieces: What it shows of things, in any order.
        valid: Where it was measured, bool, with the shape of `sheet`.
        background: Label of pixels that belong to no thing; their score is 0.
    """
    labels = np.full(sheet.shape, background, np.uint8)
    scores = np.zeros(sheet.shape, np.uint8)
    for piece in sorted(pieces):
        target, mask = piece.window.within(sheet), piece.mask()
        labels[target][mask] = piece.label
        scores[target][mask] = piece.rank[0]
    return masked(labels, scores, valid)
