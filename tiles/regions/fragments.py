"""Fragments of regions that were cut by a seam, in a form compact enough to send to where they are joined."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from terraseam.tiles.arrays import ArraysError
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.regions import Regions

_HEADER = struct.Struct("<5q")


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Parts of regions on one sheet.

    Attributes:
        parts: The fragments; their rings are not in canonical form yet and have a vertex at every pixel corner along
            a seam. ``marks`` have `RELINK` on seams, and where two fragments of equal label meet diagonally.
            ``first``, ``pixels`` and ``score_sum`` are those of the fragment, and each is a group by itself.
        corners: Corners of the label map near their rings, if these will be simplified.
        borders: Border pixels near them, see `terraseam.tiles.regions.neighbours`, if they will be regularized.
    """

    parts: Regions
    corners: Corners = field(default_factory=Corners.of)
    borders: Corners = field(default_factory=Corners.of)

    def __len__(self) -> int:
        return len(self.parts)

    def take(self, indices: np.ndarray, reach: int = 0, near: int = 0) -> Fragments:
        """Return the fragments at `indices` (integers, shape ``(n,)``), in that order.

        They keep the corners within `reach` pixels, and the border pixels within `near`; none where that is 0.
        """
        parts = self.parts.take(indices)
        corners = self.corners.near(parts.coords, parts.ring_offsets, reach) if reach else Corners.of()
        borders = self.borders.near(parts.coords, parts.ring_offsets, near) if near else Corners.of()
        return Fragments(parts, corners, borders)

    @staticmethod
    def concatenate(pieces: Sequence[Fragments]) -> Fragments:
        """Concatenate fragments."""
        parts = Regions.concatenate([piece.parts for piece in pieces])
        corners, borders = (
            Corners.union([piece.corners for piece in pieces]),
            Corners.union([piece.borders for piece in pieces]),
        )
        return Fragments(parts, corners, borders)

    def to_bytes(self) -> bytes:
        """Serialize compactly: steps between vertices instead of positions, compressed."""
        parts = self.parts
        steps, corner_steps = _steps(parts.coords), _steps(self.corners.points())
        border_steps = _steps(self.borders.points())
        arrays = (
            np.diff(parts.region_offsets).astype("<i8"),
            np.diff(parts.ring_offsets).astype("<i8"),
            parts.first.astype("<i8"),
            parts.pixels.astype("<i8"),
            parts.score_sum.astype("<i8"),
            parts.labels.astype("<i8"),
            steps,
            corner_steps,
            border_steps,
            parts.marks,
        )
        header = _HEADER.pack(
            len(self),
            len(parts.ring_offsets) - 1,
            len(parts.coords),
            corner_steps.shape[1],
            border_steps.shape[1],
        )
        return header + zlib.compress(b"".join(array.tobytes() for array in arrays), level=1)

    @staticmethod
    def from_bytes(packed: bytes) -> Fragments:
        """Deserialize the fragments that `to_bytes` packed.

        Raises:
            ArraysError: If they are damaged.
        """
        try:
            return Fragments._unpacked(packed)
        except (struct.error, zlib.error, ValueError) as error:
            raise ArraysError(f"the fragments are damaged ({error})") from error

    @staticmethod
    def _unpacked(packed: bytes) -> Fragments:
        count, rings, vertices, corners, borders = _HEADER.unpack_from(packed)
        stream = zlib.decompressobj()
        body = memoryview(stream.decompress(memoryview(packed)[_HEADER.size :]))
        if not stream.eof or stream.unused_data:
            raise ValueError("they do not end where they should")
        # 8 bytes per region and ring, 40 more per region, 9 per vertex, 8 per corner.
        size = 48 * count + 8 * rings + 9 * vertices + 8 * (corners + borders)
        if min(count, rings, vertices, corners, borders) < 0 or len(body) != size:
            raise ValueError(f"{len(body)} bytes instead of {size}")

        def read(items: int, dtype: str) -> np.ndarray:
            nonlocal body
            array = np.frombuffer(body, dtype=dtype, count=items)
            body = body[array.nbytes :]
            return array.astype(array.dtype.newbyteorder("="))

        def read_offsets(items: int, total: int) -> np.ndarray:
            lengths = read(items, "<i8")
            if (lengths < 0).any() or (lengths > total).any():
                raise ValueError(f"a length that is not within 0 to {total}")
            return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

        region_offsets, ring_offsets = read_offsets(count, rings), read_offsets(rings, vertices)
        first, pixels, score_sum, labels = (
            read(2 * count, "<i8").reshape(-1, 2),
            *(read(count, "<i8") for _ in range(3)),
        )
        coords, corner_points, border_points = (
            np.cumsum(read(2 * points, "<i4").reshape(2, points).T, axis=0, dtype=np.int32)
            for points in (vertices, corners, borders)
        )
        marks = read(vertices, "u1")
        parts = Regions(coords, marks, ring_offsets, region_offsets, labels, first, pixels, score_sum, first)
        return Fragments(parts, Corners.of(corner_points), Corners.of(border_points))


def _steps(points: np.ndarray) -> np.ndarray:
    """Return the steps from point to point, x and then y, int32, shape ``(2, points)``."""
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int32)).T.astype("<i4", order="C")
