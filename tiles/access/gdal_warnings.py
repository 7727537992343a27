"""Catch warnings that mean lost pixels, tags or metadata, which GDAL and rasterio only log before they continue."""

from __future__ import annotations

import ast
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import rasterio

WARNED_BY = ("rasterio._base", "rasterio._env", "rasterio._err")
"""The loggers that receive GDAL's messages, and rasterio's on its results, in the opening or reading thread."""
LOST_TAGS = "IO error during reading of"
"""libtiff's message on tags beyond the end of the file: nodata, masks and georeferencing would be lost with them."""
JPEG_DAMAGE = "Corrupt JPEG data"
"""libjpeg's message on any damage, where it makes up the pixels."""
UNDECODED = "Failed to decode metadata item"
"""rasterio's message on metadata that is not UTF-8, which it then leaves out."""

_thread = threading.local()


class _Ear(logging.Filter):
    """Filter that diverts messages to the listeners of the current thread and passes all others on."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        for phrases, heard in reversed(getattr(_thread, "listeners", ())):
            phrase = next((phrase for phrase in phrases if phrase in message), None)
            if phrase is not None:
                heard.append(message[message.index(phrase) :])
                return False
        above = logging.getLogger(record.name).parent
        return above is None or record.levelno >= above.getEffectiveLevel()


for _name in WARNED_BY:
    logging.getLogger(_name).addFilter(_Ear())
    logging.getLogger(_name).setLevel(logging.WARNING if _name == "rasterio._base" else logging.DEBUG)


@contextlib.contextmanager
def collected_warnings(*phrases: str, heard: list[str] | None = None) -> Iterator[list[str]]:
    """Collect GDAL's messages of this thread within the block, each from a phrase on, instead of logging them.

    Args:
        phrases: Phrases to look for in messages.
        heard: List that each message is appended to as it arrives; None for a new list.
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
    """Raise an error if rasters opened within the block have lost tags.

    Raises:
        rasterio.errors.RasterioIOError: After the block, if tags were lost.
    """
    with collected_warnings(LOST_TAGS) as lost:
        yield
    if lost:
        raise rasterio.errors.RasterioIOError(f"{lost[0].partition(';')[0]} failed")


def tags_of(dataset: Any, band: int = 0, *, ns: str | None = None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the metadata of a raster, or of one of its bands.

    Returns:
        The items, and the names of those whose text is not UTF-8.
    """
    with collected_warnings(UNDECODED) as undecoded:
        tags: dict[str, str] = dataset.tags(band, ns=ns)
    items = (ast.literal_eval(message.partition("item=")[2]) for message in undecoded)
    return tags, tuple(item.partition(b"=")[0].decode("utf-8", "replace") for item in items)
