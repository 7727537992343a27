"""Read tags of TIFFs and BigTIFFs: where the values of their directories lie in the file."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Size in bytes of TIFF's field types, and the `struct` code of integers of each size."""

_MOST_DIRECTORIES = 4096
_MOST_ENTRIES = 0xFFFF


class Bytes(Protocol):
    """A file with random access to its bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes; fewer if the file ends before."""


class NotTiffError(ValueError):
    """Raised when bytes are not laid out as a TIFF."""


class LocalBytes:
    """A file on this machine, open while it is verified."""

    def __init__(self, path: str) -> None:
        self._number = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._number).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes; fewer if the file ends before."""
        try:
            return os.pread(self._number, size, offset)
        except OverflowError:
            return b""

    def holding(self, offset: int, size: int) -> AbstractContextManager[bool]:  # noqa: ARG002 - as `RemoteBytes`
        """Prefetch bytes that are read within the block; see `terraseam.tiles.checksums.remote.RemoteBytes`."""
        return nullcontext(True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._number)


@contextmanager
def local_bytes(path: str) -> Iterator[LocalBytes]:
    """Open a file on this machine within the block."""
    file = LocalBytes(path)
    try:
        yield file
    finally:
        file.close()


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of numbers that a directory refers to in the file.

    Attributes:
        offset: Position in the file, in bytes.
        code: Byte order and type, for `struct`.
        size: Size of each, in bytes.
        count: Number of values.
    """

    offset: int
    code: str
    size: int
    count: int

    def some(self, file: Bytes, first: int, count: int) -> tuple[int, ...]:
        """Read `count` of the numbers, from index `first` on; fewer if there are not as many."""
        count = max(0, min(count, self.count - first))
        data = file.read_at(self.offset + first * self.size, count * self.size)
        if len(data) < count * self.size:
            raise NotTiffError("a directory lies outside the file")
        return struct.unpack(f"{self.code[0]}{count}{self.code[1]}", data)

    def data(self, file: Bytes) -> bytes:
        """Read all of the numbers as bytes."""
        return file.read_at(self.offset, self.count * self.size)


def read_tags(file: Bytes) -> Iterator[dict[int, Numbers]]:
    """Yield the values of each directory by their tags, those of the main image first.

    Raises:
        NotTiffError: If the file is not a TIFF, or a directory cannot be read.
    """
    head = file.read_at(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise NotTiffError("the file is not a TIFF")
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        raise NotTiffError("the file is not a TIFF")
    big = version == 43
    at = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])[0]
    visited: set[int] = set()
    while at and at not in visited and len(visited) < _MOST_DIRECTORIES:
        visited.add(at)
        tags, at = _directory(file, order, big, at)
        yield tags


def _directory(file: Bytes, order: str, big: bool, at: int) -> tuple[dict[int, Numbers], int]:
    """Read the values of one directory by their tags, and the offset of the next one; 0 if there is none."""
    lead, entry, word = (8, 20, "Q") if big else (2, 12, "I")
    place = struct.calcsize(f"<{word}")
    count = _unpack(f"{order}{'Q' if big else 'H'}", file.read_at(at, lead))
    if count > _MOST_ENTRIES:
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
        tags[tag] = Numbers(offset, order + _CODES[size], size, number)
    return tags, _unpack(f"{order}{word}", data[count * entry :])


def _unpack(code: str, data: bytes) -> int:
    try:
        return int(struct.unpack(code, data)[0])
    except struct.error as error:
        raise NotTiffError("a directory lies outside the file") from error
