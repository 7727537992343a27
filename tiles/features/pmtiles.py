"""PMTiles archives, version 3 (https://github.com/protomaps/PMTiles/tree/main/spec/v3): map tiles in one file."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

_HEADER = struct.Struct("<7sB11QBBBBBBiiiiBii")
_VERSION, _GZIP, _MVT, _CLUSTERED = 3, 2, 1, 1
_ROOT_ROOM = 16_384 - _HEADER.size
"""Largest size of the root directory in bytes, so that readers get it with their first request."""
_LEAF = 4096
"""Number of entries of the smallest leaf directories."""
_DEGREES = 1e7


class Tile(NamedTuple):
    """A map tile: column and row count from the northwest."""

    zoom: int
    column: int
    row: int

    @property
    def number(self) -> int:
        """Its number in an archive: by zoom level, then along a Hilbert curve."""
        column, row, along = self.column, self.row, 0
        side = 1 << self.zoom
        half = side >> 1
        while half:
            right, below = bool(column & half), bool(row & half)
            along += half * half * ((3 * right) ^ below)
            if not below:
                if right:
                    column, row = side - 1 - column, side - 1 - row
                column, row = row, column
            half >>= 1
        return (4**self.zoom - 1) // 3 + along


class Entry(NamedTuple):
    """Directory entry of a tile, or of a run of tiles with the same content; a run of 0 marks a leaf directory."""

    number: int
    offset: int
    length: int
    run: int


@dataclass(frozen=True, slots=True)
class MapView:
    """The initial view of a map.

    Attributes:
        bounds: West, south, east and north of all tiles' content, in degrees; west never exceeds east.
        centre: Longitude and latitude.
        zoom: The zoom level.
    """

    bounds: tuple[float, float, float, float]
    centre: tuple[float, float]
    zoom: int


class Archive:
    """Writer of an archive of vector tiles, which must be added in order of their numbers.

    Args:
        data: A temporary file for the tiles' content until the archive is finished.
    """

    def __init__(self, data: Path) -> None:
        self._path = data
        self._file = data.open("wb")
        self._size = self._tiles = 0
        self._entries: list[Entry] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self.zooms: list[int] = []

    def add(self, tile: Tile, content: bytes) -> None:
        """Add a gzip-compressed tile; content that occurred before is not stored again."""
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest not in self._places:
            self._places[digest] = (self._size, len(content))
            self._size += self._file.write(content)
        offset, length = self._places[digest]
        self._tiles += 1
        number, last = tile.number, self._entries[-1] if self._entries else None
        if last is not None and number < last.number + last.run:
            raise ValueError(f"{tile} comes after a tile that lies behind it in the archive")
        if last is not None and last.offset == offset and last.number + last.run == number:
            self._entries[-1] = last._replace(run=last.run + 1)
        else:
            self._entries.append(Entry(number, offset, length, 1))
        if tile.zoom not in self.zooms:
            self.zooms.append(tile.zoom)

    def finish(self, path: Path, view: MapView, metadata: Mapping[str, Any]) -> None:
        """Write the archive, which must contain a tile."""
        self._file.close()
        root, leaves = _directories(self._entries)
        packed_metadata = _packed(json.dumps(metadata, ensure_ascii=False).encode())
        with path.open("wb") as archive:
            archive.write(self._header(view, (len(root), len(packed_metadata), len(leaves))))
            for part in (root, packed_metadata, leaves):
                archive.write(part)
            with self._path.open("rb") as data:
                shutil.copyfileobj(data, archive)

    def _header(self, view: MapView, sizes: tuple[int, int, int]) -> bytes:
        parts, start = list[int](), _HEADER.size
        for size in (*sizes, self._size):
            parts += [start, size]
            start += size
        west, south, east, north, *centre = (
            round(degrees * _DEGREES) for degrees in (*view.bounds, *view.centre)
        )
        counts = (self._tiles, len(self._entries), len(self._places))
        kinds = (_CLUSTERED, _GZIP, _GZIP, _MVT, self.zooms[0], self.zooms[-1])
        return _HEADER.pack(
            b"PMTiles", _VERSION, *parts, *counts, *kinds, west, south, east, north, view.zoom, *centre
        )


def _directories(entries: Sequence[Entry]) -> tuple[bytes, bytes]:
    """Build the root directory, and leaf directories if there are too many entries for it."""
    root, size = _directory(entries), _LEAF
    if len(root) <= _ROOT_ROOM:
        return root, b""
    while True:
        leaves = [_directory(entries[i : i + size]) for i in range(0, len(entries), size)]
        named, start = list[Entry](), 0
        for i, leaf in enumerate(leaves):
            named.append(Entry(entries[i * size].number, start, len(leaf), 0))
            start += len(leaf)
        root = _directory(named)
        if len(root) <= _ROOT_ROOM:
            return root, b"".join(leaves)
        size *= 2


def _directory(entries: Sequence[Entry]) -> bytes:
    numbers = [0, *(entry.number for entry in entries)]
    values = [len(entries), *(after - before for before, after in pairwise(numbers))]
    values += [entry.run for entry in entries]
    values += [entry.length for entry in entries]
    end = None
    for entry in entries:
        values.append(0 if entry.offset == end else entry.offset + 1)
        end = entry.offset + entry.length
    return _packed(_varints(values))


def _varints(values: Iterable[int]) -> bytes:
    written = bytearray()
    for value in values:
        rest = value
        while rest > 127:
            written.append(rest & 127 | 128)
            rest >>= 7
        written.append(rest)
    return bytes(written)


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
