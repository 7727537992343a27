"""Verify the checksums of compressed streams: DEFLATE's Adler-32 and those of ZSTD frames and xz."""

from __future__ import annotations

import itertools
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zstandard

PIECE = 1 << 20
"""Bytes that are decompressed at once, so that memory does not grow with the block."""

ZSTD_PIECE = 1 << 12
"""Bytes of a ZSTD frame that are decompressed at once; they may expand 32,000-fold."""

MOST_TIMES = 16
"""How many times the size of its pixels a block may decompress to before it counts as damaged."""

Fault = str | None
"""A description of what is wrong with a stream; None if nothing is known to be."""


def deflate_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Check a zlib stream for damage.

    Args:
        pieces: Its bytes.
        size: Size of its pixels, in bytes.
    """
    stream = zlib.decompressobj()

    def unpack(piece: bytes) -> Iterator[int]:
        while piece and not stream.eof:
            yield len(stream.decompress(piece, PIECE))
            piece = stream.unconsumed_tail

    return _fault(stream, unpack, pieces, size)


def xz_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Check an xz stream, which ends with an index, for damage; see `deflate_fault`."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def unpack(piece: bytes) -> Iterator[int]:
        yield len(stream.decompress(piece, PIECE))
        while not stream.eof and not stream.needs_input:
            yield len(stream.decompress(b"", PIECE))

    return _fault(stream, unpack, pieces, size)


def zstd_fault(pieces: Iterable[bytes], size: int) -> Fault:
    """Check a ZSTD frame that holds a checksum or its content size for damage; see `deflate_fault`.

    Frames written by libtiff hold neither, so that nothing is known of them.
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
    """Decompress a stream to its end, where decompressors compare its checksum."""
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
        message = str(error)
        wrong = "data check" in message or "checksum" in message
        return "its checksum is wrong" if wrong else f"it is damaged: {message}"
    return "it ends before its checksum"
