"""Blocks of TIFFs: where they lie in the file, and whether those of a window are as they were written."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tiles.checksums.streams import PIECE, Fault, deflate_fault, xz_fault, zstd_fault
from tiles.window import Window

FAULTS: Mapping[int, Callable[[Iterable[bytes], int], Fault]] = {
    8: deflate_fault,
    32946: deflate_fault,
    34925: xz_fault,
    50000: zstd_fault,
}
"""What looks for damage of a block, by TIFF's number of its compression."""

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Bytes of the types that numbers have in TIFFs, and how `struct` calls numbers of so many bytes."""

_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_REDUCED, _MASK = 1, 4
_MOST_DIRECTORIES = 4096
_MOST_NUMBERS = 4096
"""Numbers of blocks that are read at once."""


class Bytes(Protocol):
    """A file whose bytes can be read anywhere."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes; fewer where the file ends before."""


class NotTiffError(ValueError):
    """Bytes are not laid out as those of a TIFF."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Numbers of a directory, which lie somewhere in the file.

    Attributes:
        offset: Where, in bytes.
        code: Byte order and type, for `struct`.
        size: Bytes of each.
        count: How many.
    """

    offset: int
    code: str
    size: int
    count: int

    def some(self, file: Bytes, first: int, count: int) -> tuple[int, ...]:
        """Read some of them."""
        count = max(0, min(count, self.count - first))
        data = file.read_at(self.offset + first * self.size, count * self.size)
        if len(data) < count * self.size:
            raise NotTiffError("a directory lies outside the file")
        return struct.unpack(f"{self.code[0]}{count}{self.code[1]}", data)


class NumberSet:
    """Numbers from 0 on, in about a bit each."""

    def __init__(self) -> None:
        self._words: dict[int, int] = {}

    def has(self, number: int) -> bool:
        """Whether a number is among them."""
        return self._words.get(number >> 8, 0) >> (number & 255) & 1 == 1

    def add(self, number: int) -> None:
        """Add a number."""
        self._words[number >> 8] = self._words.get(number >> 8, 0) | 1 << (number & 255)


@dataclass(frozen=True)
class Directory:
    """The blocks of one picture in a TIFF.

    Attributes:
        shape: Height and width, in pixels.
        block: Height and width of a block, in pixels.
        planes: Planes that bands lie in, one each or all in one.
        bits: Bits of a pixel in one plane.
        compression: TIFF's number of it.
        subfile: What it is: a reduced picture, a mask.
        offsets: Where blocks lie.
        counts: How many bytes they have.
        verified: Blocks that were found as they were written.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    planes: int
    bits: int
    compression: int
    subfile: int
    offsets: _Numbers
    counts: _Numbers
    verified: NumberSet = field(default_factory=NumberSet)

    @property
    def is_mask(self) -> bool:
        """Whether it says where the main picture is valid."""
        return self.subfile & _MASK != 0 and not self.is_reduced

    @property
    def is_reduced(self) -> bool:
        """Whether it is a smaller picture of the same."""
        return self.subfile & _REDUCED != 0

    def verify(self, file: Bytes, window: Window, bands: Iterable[int]) -> str | None:
        """Look for damage of the blocks that meet a window, each once.

        Args:
            file: The file.
            window: Inside the picture.
            bands: Bands that are read, numbered from 1.

        Returns:
            Which block is damaged, and how; None where none is known to be.
        """
        look = FAULTS.get(self.compression)
        if look is None:
            return None
        planes = sorted({min(band, self.planes) - 1 for band in bands})
        for run in self._runs(window, planes):
            numbers = [number for number in run if not self.verified.has(number)]
            if not numbers:
                continue
            first, count = numbers[0], numbers[-1] + 1 - numbers[0]
            offsets, sizes = self.offsets.some(file, first, count), self.counts.some(file, first, count)
            for number in numbers:
                offset, size = offsets[number - first], sizes[number - first]
                fault = look(_pieces(file, offset, size), self._block_size) if offset and size else None
                if fault is not None:
                    return f"{self._place(number)} is not as it was written: {fault}"
                self.verified.add(number)
        return None

    @property
    def _block_size(self) -> int:
        height, width = self.block
        return height * ((width * self.bits + 7) // 8)

    @property
    def _blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-self.shape[0] // self.block[0]), -(-self.shape[1] // self.block[1])

    def _place(self, number: int) -> str:
        """Say which block that is."""
        down, across = self._blocks
        plane, row, col = number // (down * across), number // across % down, number % across
        band = f" of band {plane + 1}" if self.planes > 1 else ""
        return f"the block at row {row * self.block[0]}, column {col * self.block[1]}{band}"

    def _runs(self, window: Window, planes: Iterable[int]) -> Iterator[range]:
        """Yield the blocks under a window, those that are consecutive together."""
        (height, width), (down, across) = self.block, self._blocks
        rows = range(window.row_off // height, min(down, -(-window.row_end // height)))
        cols = range(window.col_off // width, min(across, -(-window.col_end // width)))
        # Strips, and whole rows of blocks, lie behind each other.
        long = max(1, _MOST_NUMBERS // across) if len(cols) == across else 1
        for plane in planes:
            for row in rows[::long]:
                count = min(long, rows.stop - row)
                first = (plane * down + row) * across + cols.start
                yield range(first, first + (count - 1) * across + len(cols))


def _pieces(file: Bytes, offset: int, count: int) -> Iterator[bytes]:
    """The bytes of a block, some at once."""
    for at in range(0, count, PIECE):
        yield file.read_at(offset + at, min(PIECE, count - at))


def read_directories(file: Bytes) -> list[Directory]:
    """Read the directories of a TIFF or BigTIFF, the main picture first.

    Raises:
        NotTiffError: If it is none, or its directories cannot be read.
    """
    head = file.read_at(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise NotTiffError("the file is no TIFF")
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        raise NotTiffError("the file is no TIFF")
    big = version == 43
    at = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])[0]
    found: list[Directory] = []
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(at)
        tags, at = _tags(file, order, big, at)
        directory = _directory(file, tags)
        if directory is not None:
            found.append(directory)
    return found


def _tags(file: Bytes, order: str, big: bool, at: int) -> tuple[dict[int, _Numbers], int]:
    """The numbers of one directory by their tags, and where the next one lies; 0 where none does."""
    lead, entry, word = (8, 20, "Q") if big else (2, 12, "I")
    place = struct.calcsize(f"<{word}")
    count = _unpack(f"{order}{'Q' if big else 'H'}", file.read_at(at, lead))
    if count > 0xFFFF:
        raise NotTiffError("a directory has too many entries")
    data = file.read_at(at + lead, count * entry + place)
    tags = {}
    for start in range(0, count * entry, entry):
        fields = data[start : start + entry]
        if len(fields) < entry:
            raise NotTiffError("a directory lies outside the file")
        tag, kind, number = struct.unpack(f"{order}HH{word}", fields[: 4 + place])
        size = _SIZES.get(kind)
        if size is None:
            continue
        inside = number * size <= place
        offset = at + lead + start + 4 + place if inside else _unpack(f"{order}{word}", fields[4 + place :])
        tags[tag] = _Numbers(offset, order + _CODES[size], size, number)
    return tags, _unpack(f"{order}{word}", data[count * entry :])


def _unpack(code: str, data: bytes) -> int:
    try:
        return int(struct.unpack(code, data)[0])
    except struct.error as error:
        raise NotTiffError("a directory lies outside the file") from error


def _directory(file: Bytes, tags: Mapping[int, _Numbers]) -> Directory | None:
    """The blocks of one directory; None where it has none."""

    def one(tag: int, default: int) -> int:
        return tags[tag].some(file, 0, 1)[0] if tag in tags else default

    tiled = _TILE_OFFSETS in tags
    offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
    height, width = one(_LENGTH, 0), one(_WIDTH, 0)
    if offsets not in tags or counts not in tags or not height or not width:
        return None
    block = (
        (one(_TILE_LENGTH, 0), one(_TILE_WIDTH, 0))
        if tiled
        else (min(height, one(_ROWS_PER_STRIP, height)), width)
    )
    if not block[0] or not block[1]:
        return None
    samples = one(_SAMPLES, 1)
    apart = one(_PLANAR, 1) == 2
    return Directory(
        (height, width),
        block,
        samples if apart else 1,
        one(_BITS, 1) * (1 if apart else samples),
        one(_COMPRESSION, 1),
        one(_SUBFILE, 0),
        tags[offsets],
        tags[counts],
    )
