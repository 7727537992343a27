"""Write files whose checksums are wrong, although decoders return every pixel unchanged."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import rasterio


def break_checksum(path: Path, row: int = 0, col: int = 0, band: int = 1) -> Path:
    """Make a DEFLATE block of a TIFF unpack to one byte more than its pixels, followed by a wrong Adler-32.

    The pixels must be compressed badly, so that there is room.
    """
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band))
            for what in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    packed = bytearray(zlib.compress(zlib.decompress(content[offset : offset + size]) + bytes(1), 9))
    packed[-1] ^= 0xFF
    assert len(packed) <= size, "the block was packed too well"
    content[offset : offset + len(packed)] = packed
    path.write_bytes(content)
    return path


def plain_pixels(height: int, width: int, bands: int = 3) -> np.ndarray:
    """Return pixels that can be compressed badly and well."""
    rng = np.random.default_rng(height)
    coarse = rng.integers(1, 200, (height // 8 + 1, width // 8 + 1, bands)).repeat(8, 0).repeat(8, 1)
    return (coarse[:height, :width] + rng.integers(0, 3, (height, width, bands))).astype(np.uint8)


def break_streams(path: Path, height: int, width: int) -> Path:
    """Corrupt the Adler-32 of every zlib stream that holds only the 0 and 255 of a mask, in bits or bytes."""
    content, found = path.read_bytes(), 0
    sizes = {height * width, height * -(-width // 8)}
    at = content.find(b"\x78")
    while at >= 0:
        stream = zlib.decompressobj()
        try:
            unpacked = len(stream.decompress(content[at:]))
        except zlib.error:
            unpacked = 0
        if stream.eof and unpacked in sizes:
            flip(path, len(content) - len(stream.unused_data) - 1)
            found += 1
        at = content.find(b"\x78", at + 1)
    assert found, f"{path} holds no stream of a mask"
    return path


def flip(path: Path, at: int) -> Path:
    """Flip the bits of one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    return path


def overwrite_block(path: Path) -> Path:
    """Overwrite the beginning of a block of a compressed raster with zeros."""
    with rasterio.open(path) as opened:
        at = int(opened.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    return path
