"""Verify the chunks of PNGs, each of which carries a CRC-32."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from terraseam.tiles.checksums.streams import PIECE

if TYPE_CHECKING:
    from terraseam.tiles.access.tiff import Bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""The chunks that determine pixels; damage in others, such as texts and times, is ignored."""


def png_fault(file: Bytes) -> str | None:
    """Check a PNG for a chunk whose checksum is wrong.

    Returns:
        A description of the damaged chunk; None if all are intact.
    """
    at = len(SIGNATURE)
    while True:
        head = file.read_at(at, 8)
        if len(head) < 8:
            return "the file ends before its last chunk"
        size, kind = struct.unpack(">I4s", head)
        if kind not in PIXELS:
            at += size + 12
            continue
        checksum = zlib.crc32(kind)
        for start in range(0, size, PIECE):
            piece = file.read_at(at + 8 + start, min(PIECE, size - start))
            if not piece:
                return f"the chunk at byte {at} ends before its checksum"
            checksum = zlib.crc32(piece, checksum)
        if file.read_at(at + 8 + size, 4) != struct.pack(">I", checksum):
            return f"the chunk at byte {at} is corrupt: its checksum is wrong"
        if kind == b"IEND":
            return None
        at += size + 12
