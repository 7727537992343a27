"""Locate the blocks of TIFFs in the file, and verify those of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from terraseam.tiles.access.tiff import Bytes, Numbers, read_tags
from terraseam.tiles.checksums.remote import MOST_HELD
from terraseam.tiles.checksums.streams import PIECE, Fault, deflate_fault, xz_fault, zstd_fault
from terraseam.tiles.grid.window import Window

FAULTS: Mapping[int, Callable[[Iterable[bytes], int], Fault]] = {
    8: deflate_fault,
    32946: deflate_fault,
    34925: xz_fault,
    50000: zstd_fault,
}
"""Functions that check a block for damage, by TIFF compression code."""

_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_REDUCED, _MASK = 1, 4
_MOST_NUMBERS = 4096
"""Maximum number of blocks whose offsets are read at once."""
_GAP = 16 << 10
"""Maximum gap between two blocks, in bytes, that is read along rather than split into two requests."""


class BlockBytes(Bytes, Protocol):
    """A file whose blocks are verified.

    Attributes:
        size: Size of the file, in bytes.
    """

    size: int

    def holding(self, offset: int, size: int) -> AbstractContextManager[bool]:
        """Prefetch bytes that are read within the block, if they are not too many; see `RemoteBytes`."""


class Block(NamedTuple):
    """A block of an image: its number, and where its bytes lie in the file."""

    number: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the byte after its last one."""
        return self.offset + self.size


class NumberSet:
    """A set of integers from 0 on, at about one bit each."""

    def __init__(self) -> None:
        self._words: dict[int, int] = {}

    def has(self, number: int) -> bool:
        """Check whether a number is in the set."""
        return self._words.get(number >> 8, 0) >> (number & 255) & 1 == 1

    def add(self, number: int) -> None:
        """Add a number to the set."""
        self._words[number >> 8] = self._words.get(number >> 8, 0) | 1 << (number & 255)


@dataclass(frozen=True)
class Directory:
    """The blocks of one image in a TIFF.

    Attributes:
        shape: Height and width, in pixels.
        block: Height and width of a block, in pixels.
        planes: Number of planes: one per band, or one for all bands.
        bits: Bits of a pixel in one plane.
        compression: TIFF compression code.
        subfile: TIFF's subfile flags: reduced image, mask.
        offsets: Offsets of blocks in the file.
        counts: Sizes of blocks, in bytes.
        verified: Blocks that have been verified.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    planes: int
    bits: int
    compression: int
    subfile: int
    offsets: Numbers
    counts: Numbers
    verified: NumberSet = field(default_factory=NumberSet)

    @property
    def is_checked(self) -> bool:
        """Whether its blocks may carry a supported checksum."""
        return self.compression in FAULTS

    @property
    def is_mask(self) -> bool:
        """Whether it is the validity mask of the main image."""
        return self.subfile & _MASK != 0 and not self.is_reduced

    @property
    def is_reduced(self) -> bool:
        """Whether it is an overview."""
        return self.subfile & _REDUCED != 0

    def verify(self, file: BlockBytes, window: Window, bands: Iterable[int]) -> str | None:
        """Check the blocks that intersect a window for damage, each once.

        Args:
            file: The file.
            window: Inside the image.
            bands: Bands that are read, numbered from 1.

        Returns:
            A description of the damaged block; None if none is known to be.
        """
        find_fault = FAULTS.get(self.compression)
        if find_fault is None:
            return None
        planes = sorted({min(band, self.planes) - 1 for band in bands})
        for run in self._runs(window, planes):
            for blocks in _adjacent(self._unverified(file, run)):
                first, last = blocks[0], blocks[-1]
                with file.holding(first.offset, last.end - first.offset) as ready:
                    for block in blocks if ready else ():
                        fault = find_fault(_pieces(file, block.offset, block.size), self._block_size)
                        if fault is not None:
                            return f"{self._place(block.number)} is corrupt: {fault}"
                        self.verified.add(block.number)
        return None

    def _unverified(self, file: Bytes, run: range) -> list[Block]:
        """Return the blocks with some numbers that are in the file and have not been verified."""
        numbers = [number for number in run if not self.verified.has(number)]
        if not numbers:
            return []
        first, count = numbers[0], numbers[-1] + 1 - numbers[0]
        offsets, sizes = self.offsets.some(file, first, count), self.counts.some(file, first, count)
        blocks = [Block(number, offsets[number - first], sizes[number - first]) for number in numbers]
        return [block for block in blocks if block.offset and block.size]

    @property
    def _block_size(self) -> int:
        height, width = self.block
        return height * ((width * self.bits + 7) // 8)

    @property
    def _blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-self.shape[0] // self.block[0]), -(-self.shape[1] // self.block[1])

    def _place(self, number: int) -> str:
        """Return a description of where a block lies."""
        down, across = self._blocks
        plane, row, col = number // (down * across), number // across % down, number % across
        band = f" of band {plane + 1}" if self.planes > 1 else ""
        return f"the block at row {row * self.block[0]}, column {col * self.block[1]}{band}"

    def _runs(self, window: Window, planes: Iterable[int]) -> Iterator[range]:
        """Yield the numbers of the blocks under a window, consecutive ones together."""
        (height, width), (down, across) = self.block, self._blocks
        rows = range(window.row_off // height, min(down, -(-window.row_end // height)))
        cols = range(window.col_off // width, min(across, -(-window.col_end // width)))
        # Strips and whole rows of blocks are numbered consecutively.
        long = max(1, _MOST_NUMBERS // across) if len(cols) == across else 1
        for plane in planes:
            for row in rows[::long]:
                count = min(long, rows.stop - row)
                first = (plane * down + row) * across + cols.start
                yield range(first, first + (count - 1) * across + len(cols))


def _pieces(file: Bytes, offset: int, count: int) -> Iterator[bytes]:
    """Yield the bytes of a block in pieces."""
    for at in range(0, count, PIECE):
        yield file.read_at(offset + at, min(PIECE, count - at))


def _adjacent(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Group blocks that follow each other in the file, as many as can be held at once."""
    group: list[Block] = []
    for block in blocks:
        if group and not (
            group[-1].end <= block.offset <= group[-1].end + _GAP and block.end - group[0].offset <= MOST_HELD
        ):
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def read_directories(file: Bytes) -> list[Directory]:
    """Read the block layout of each image in a TIFF, the main image first.

    Raises:
        NotTiffError: If it is not a TIFF, or its directories cannot be read.
    """
    directories = (_directory(file, tags) for tags in read_tags(file))
    return [directory for directory in directories if directory is not None]


def _directory(file: Bytes, tags: Mapping[int, Numbers]) -> Directory | None:
    """Read the block layout of one directory; None if it has none."""

    def value_of(tag: int, default: int) -> int:
        return tags[tag].some(file, 0, 1)[0] if tag in tags else default

    tiled = _TILE_OFFSETS in tags
    offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
    height, width = value_of(_LENGTH, 0), value_of(_WIDTH, 0)
    if offsets not in tags or counts not in tags or not height or not width:
        return None
    block = (
        (value_of(_TILE_LENGTH, 0), value_of(_TILE_WIDTH, 0))
        if tiled
        else (min(height, value_of(_ROWS_PER_STRIP, height)), width)
    )
    if not block[0] or not block[1]:
        return None
    samples = value_of(_SAMPLES, 1)
    apart = value_of(_PLANAR, 1) == 2
    return Directory(
        (height, width),
        block,
        samples if apart else 1,
        value_of(_BITS, 1) * (1 if apart else samples),
        value_of(_COMPRESSION, 1),
        value_of(_SUBFILE, 0),
        tags[offsets],
        tags[counts],
    )
