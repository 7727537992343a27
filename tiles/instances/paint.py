"""Paint instances into a label map: the highest-scoring one lies on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.resolve import Part, ResolvedInstance
from terraseam.tiles.labels.stitch import LabelMap, masked


class Patch(NamedTuple):
    """The part of one instance on a sheet.

    Attributes:
        rank: Patches of higher rank lie on top: by score, then the instance whose first pixel comes first.
        label: Class of the instance.
        window: Bounding rectangle of its pixels on the sheet, in pixels of the raster.
        bits: Its pixels there, as `numpy.packbits` packs them row by row.
        ref: Identifier of the instance: its first view.
        pixels: Number of pixels of the whole instance.
        bounds: Bounding rectangle of the whole instance.
    """

    rank: tuple[int, int, int]
    label: int
    window: Window
    bits: bytes
    ref: Ref
    pixels: int
    bounds: Window

    def mask(self) -> np.ndarray:
        """Return its pixels, bool, with the shape of `window`."""
        packed = np.frombuffer(self.bits, np.uint8)
        return np.unpackbits(packed, count=self.window.pixels).astype(bool).reshape(self.window.shape)


def patches(instance: ResolvedInstance, side: int) -> Iterator[tuple[tuple[int, int], Patch]]:
    """Split an instance at the seams between sheets.

    Args:
        instance: The instance.
        side: Side of a sheet, in pixels.

    Yields:
        Row and column of a sheet, and the part of the instance on it.
    """
    first = min(_first_pixel(part) for part in instance.parts)
    rank = (instance.score, -first[0], -first[1])
    whole = instance.ref, instance.pixels, instance.bounds
    for window, mask in instance.parts:
        for row in range(window.row_off // side, (window.row_end - 1) // side + 1):
            for col in range(window.col_off // side, (window.col_end - 1) // side + 1):
                shared = window.intersection(Window(row * side, col * side, side, side))
                if shared is None:
                    continue
                piece = mask[shared.within(window)]
                if piece.any():
                    yield (
                        (row, col),
                        Patch(rank, instance.label, shared, np.packbits(piece).tobytes(), *whole),
                    )


def _first_pixel(part: Part) -> tuple[int, int]:
    """Return the first pixel ``(row, col)`` of a part whose window is its bounding rectangle."""
    window, mask = part
    return window.row_off, window.col_off + int(mask[0].argmax())


def paint(sheet: Window, pieces: Iterable[Patch], valid: np.ndarray, background: int) -> LabelMap:
    """Paint the label map of a sheet: the class of the topmost instance, otherwise the background.

    Args:
        sheet: The pixels of the sheet.
        pieces: The parts of instances on it, in any order.
        valid: Validity of its pixels, bool, with the shape of `sheet`.
        background: Label of pixels that belong to no instance; their score is 0.
    """
    labels = np.full(sheet.shape, background, np.uint8)
    scores = np.zeros(sheet.shape, np.uint8)
    for piece in sorted(pieces):
        target, mask = piece.window.within(sheet), piece.mask()
        labels[target][mask] = piece.label
        scores[target][mask] = piece.rank[0]
    return masked(labels, scores, valid)
