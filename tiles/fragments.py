"""Pieces of regions that were cut by a seam, in a form small enough to be sent to where they are joined."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tiles.regions import Regions, ragged_take

_HEADER = struct.Struct("<3q")


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Pieces of regions as one sheet sees them. Pickles compactly.

    Attributes:
        parts: The pieces; their rings are not in canonical form yet and have a vertex at every pixel step
            along a seam. ``first``, ``pixels`` and ``score_sum`` are those of the piece.
        nodes: True at vertices where the way may change once the pieces are joined: on seams, and where two
            pieces of equal label meet diagonally. Bool, shape ``(vertices,)``.
    """

    parts: Regions
    nodes: np.ndarray

    def __post_init__(self) -> None:
        if len(self.nodes) != len(self.parts.coords):
            raise ValueError(f"{len(self.nodes)} node flags for {len(self.parts.coords)} vertices")

    def __len__(self) -> int:
        return len(self.parts)

    def take(self, indices: np.ndarray) -> Fragments:
        """The fragments at `indices` (integers, shape ``(n,)``), in that order."""
        rings, _ = ragged_take(self.parts.region_offsets, indices)
        vertices, _ = ragged_take(self.parts.ring_offsets, rings)
        return Fragments(self.parts.take(indices), self.nodes[vertices])

    @staticmethod
    def concatenate(pieces: Sequence[Fragments]) -> Fragments:
        """All fragments of `pieces`, one after the other."""
        nodes = [piece.nodes for piece in pieces] or [np.zeros(0, dtype=bool)]
        return Fragments(Regions.concatenate([piece.parts for piece in pieces]), np.concatenate(nodes))

    def to_bytes(self) -> bytes:
        """A compact form: steps between vertices instead of positions, compressed."""
        parts = self.parts
        steps = np.diff(parts.coords, axis=0, prepend=np.zeros((1, 2), dtype=np.int32))
        arrays = (
            np.diff(parts.region_offsets).astype("<i8"),
            np.diff(parts.ring_offsets).astype("<i8"),
            parts.first.astype("<i8"),
            parts.pixels.astype("<i8"),
            parts.score_sum.astype("<i8"),
            np.ascontiguousarray(steps.T).astype("<i4"),
            parts.labels,
            np.packbits(self.nodes),
        )
        header = _HEADER.pack(len(self), len(parts.ring_offsets) - 1, len(parts.coords))
        return header + zlib.compress(b"".join(array.tobytes() for array in arrays), level=1)

    @staticmethod
    def from_bytes(packed: bytes) -> Fragments:
        """The fragments that `to_bytes` packed."""
        count, rings, vertices = _HEADER.unpack_from(packed)
        body = memoryview(zlib.decompress(memoryview(packed)[_HEADER.size :]))

        def read(items: int, dtype: str) -> np.ndarray:
            nonlocal body
            array = np.frombuffer(body, dtype=dtype, count=items)
            body = body[array.nbytes :]
            return array.astype(array.dtype.newbyteorder("="))

        region_offsets = np.concatenate([[0], np.cumsum(read(count, "<i8"))]).astype(np.int64)
        ring_offsets = np.concatenate([[0], np.cumsum(read(rings, "<i8"))]).astype(np.int64)
        first, pixels, score_sum = (
            read(2 * count, "<i8").reshape(-1, 2),
            read(count, "<i8"),
            read(count, "<i8"),
        )
        steps = read(2 * vertices, "<i4").reshape(2, vertices).T
        labels = read(count, "u1")
        nodes = np.unpackbits(read((vertices + 7) // 8, "u1"), count=vertices).astype(bool)
        coords = np.cumsum(steps, axis=0, dtype=np.int32)
        parts = Regions(coords, ring_offsets, region_offsets, labels, first, pixels, score_sum)
        return Fragments(parts, nodes)

    def __reduce__(self) -> tuple[Callable[[bytes], Fragments], tuple[bytes]]:
        return Fragments.from_bytes, (self.to_bytes(),)
