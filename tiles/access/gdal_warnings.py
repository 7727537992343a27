"""Warnings that mean lost pixels, tags or metadata: GDAL and rasterio only log them, and go on with what they have."""

from __future__ import annotations

import ast
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import rasterio

WARNED_BY = ("rasterio._base", "rasterio._env", "rasterio._err")
"""The loggers that get GDAL's messages, and those on what it has answered, in the thread that opens or reads."""
LOST_TAGS = "IO error during reading of"
"""What libtiff says of tags behind the end of what it gets: nodata, masks and places would be lost with them."""
JPEG_DAMAGE = "Corrupt JPEG data"
"""What libjpeg says of all damage, for which it makes pixels up."""
UNDECODED = "Failed to decode metadata item"
"""What rasterio says of metadata that is not UTF-8, before it leaves them out."""

_thread = threading.local()


class _Ear(logging.Filter):
    """Keeps messages for the thread that listens for them; all others go where they went before."""

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        for phrases, heard in reversed(getattr(_thread, "listeners", ())):
            phrase = next((phrase for phrase in phrases if phrase in words), None)
            if phrase is not None:
                heard.append(words[words.index(phrase) :])
                return False
        above = logging.getLogger(record.name).parent
        return above is None or record.levelno >= above.getEffectiveLevel()


for _name in WARNED_BY:
    logging.getLogger(_name).addFilter(_Ear())
    logging.getLogger(_name).setLevel(logging.WARNING if _name == "rasterio._base" else logging.DEBUG)


@contextlib.contextmanager
def collected_warnings(*phrases: str, heard: list[str] | None = None) -> Iterator[list[str]]:
    """Collect what GDAL says in this thread within the block, from one of some phrases on; it is logged no more.

    Args:
        phrases: What it says.
        heard: Takes each message when it comes; None for a new list.
    """
    before = getattr(_thread, "listeners", ())
    heard = [] if heard is None else heard
    _thread.listeners = (*before, (phrases, heard))
    try:
        yield heard
    finally:
        _thread.listeners = before


@contextlib.contextmanager
def all_tags() -> Iterator[None]:
    """Open rasters within the block, with all of their tags.

    Raises:
        rasterio.errors.RasterioIOError: Behind the block, if tags were lost.
    """
    with collected_warnings(LOST_TAGS) as lost:
        yield
    if lost:
        raise rasterio.errors.RasterioIOError(f"{lost[0].partition(';')[0]} failed")


def tags_of(dataset: Any, band: int = 0, *, ns: str | None = None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read metadata of a raster, or of one of its bands.

    Returns:
        The items, and the names of those whose text is not UTF-8.
    """
    with collected_warnings(UNDECODED) as undecoded:
        tags: dict[str, str] = dataset.tags(band, ns=ns)
    items = (ast.literal_eval(words.partition("item=")[2]) for words in undecoded)
    return tags, tuple(item.partition(b"=")[0].decode("utf-8", "replace") for item in items)
