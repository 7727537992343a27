"""Tags of a TIFF that could not be read, of which GDAL only warns: nodata, masks and places would be lost with them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import rasterio

WARNED_BY = ("rasterio._env", "rasterio._err")
"""The loggers that get GDAL's warnings, in the thread that opens."""
LOST = "IO error during reading of"
"""What libtiff says of tags that lie behind the end of what it gets."""

_heard = threading.local()


class _Ear(logging.Filter):
    """Keeps warnings of lost tags for the thread that opens; all others go where they went before."""

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        lost: list[str] | None = getattr(_heard, "lost", None)
        if lost is None or LOST not in words:
            return True
        lost.append(words[words.index(LOST) :])
        return False


for _name in WARNED_BY:
    logging.getLogger(_name).addFilter(_Ear())


@contextlib.contextmanager
def all_tags() -> Iterator[None]:
    """A block in which rasters are opened.

    Raises:
        rasterio.errors.RasterioIOError: Behind the block, if tags were lost.
    """
    _heard.lost = []
    try:
        yield
        lost = _heard.lost
    finally:
        _heard.lost = None
    if lost:
        raise rasterio.errors.RasterioIOError(f"{lost[0].partition(';')[0]} failed")
