"""Checksums of compressed streams: DEFLATE's Adler-32, those of ZSTD frames and of xz."""

from __future__ import annotations

import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zstandard

PIECE = 1 << 20
"""Bytes that are unpacked at once, so that memory does not grow with a block."""

ZSTD_PIECE = 1 << 12
"""Bytes of a ZSTD frame that are unpacked at once; they may become 32,000 times as many."""

MOST_TIMES = 16
"""How many times as much as its pixels take a block may unpack to before it is no block."""

Fault = str | None
"""What is wrong with a stream, in words; None where nothing is known to be."""


def deflate_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Look for damage of a zlib stream.

    Args:
        pieces: Its bytes.
        size: Bytes that its pixels take.
    """
    stream = zlib.decompressobj()

    def unpack(piece: bytes) -> Iterator[int]:
        while piece and not stream.eof:
            yield len(stream.decompress(piece, PIECE))
            piece = stream.unconsumed_tail

    return _fault(stream, unpack, pieces, size)


def xz_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Look for damage of an xz stream, which ends with an index; see `deflate_fault`."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def unpack(piece: bytes) -> Iterator[int]:
        yield len(stream.decompress(piece, PIECE))
        while not stream.eof and not stream.needs_input:
            yield len(stream.decompress(b"", PIECE))

    return _fault(stream, unpack, pieces, size)


def zstd_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Look for damage of a ZSTD frame that holds a checksum or the size of its content; see `deflate_fault`.

    Frames of libtiff hold neither: of those nothing is known.
    """
    stream = zstandard.ZstdDecompressor().decompressobj()

    def unpack(piece: bytes) -> Iterator[int]:
        for at in range(0, len(piece), ZSTD_PIECE):
            if stream.eof:
                return
            yield len(stream.decompress(piece[at : at + ZSTD_PIECE]))

    rest = iter(pieces)
    first = next(rest, b"")
    try:
        frame = zstandard.get_frame_parameters(first)
    except zstandard.ZstdError as error:
        return f"it is damaged: {error}"
    if not frame.has_checksum and frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        return None
    return _fault(stream, unpack, itertools.chain([first], rest), size)


def _fault(
    stream: Any, unpack: Callable[[bytes], Iterator[int]], pieces: Iterable[bytes], size: int
) -> Fault:
    """Unpack a stream to its end, behind which decompressors compare its checksum."""
    total = 0
    try:
        for piece in pieces:
            for unpacked in unpack(piece):
                total += unpacked
                if total > MOST_TIMES * size + PIECE:
                    return "it unpacks to far more than its pixels"
            if stream.eof:
                return None
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        words = str(error)
        wrong = "data check" in words or "checksum" in words
        return "its checksum is wrong" if wrong else f"it is damaged: {words}"
    return "it ends before its checksum"
