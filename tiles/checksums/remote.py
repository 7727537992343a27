"""Read files on servers so that GDAL requests each block once and then reads it from its cache."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator

from rasterio.env import ensure_env_with_credentials

from terraseam.tiles.access.gdal_library import (
    close_file,
    file_size,
    forget_answers,
    open_file,
    read_file,
    thread_settings,
)
from terraseam.tiles.access.sources import gdal_name

MOST_HELD = 8 << 20
"""Maximum number of bytes requested at once and held while they are verified. GDAL's cache is several times as large,
so that it need not request them again; see ``CPL_VSIL_CURL_CACHE_SIZE`` in `pipeline`.
"""
FROM_CACHE = {"GDAL_HTTP_MULTIRANGE": "SERIAL", "CPL_VSIL_CURL_NON_CACHED": ""}
"""Without these, verified blocks would be requested again: multi-range requests bypass GDAL's cache, and when GDAL
opens a source of a virtual raster, it also closes it once and drops its cached blocks.
"""
_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
_SERVERS = ("/vsicurl/", "/vsis3/", "/vsigs/", "/vsiaz/")


def is_on_server(name: str) -> bool:
    """Check whether a GDAL name is that of a file on a server or in a bucket."""
    return name.startswith(_SERVERS)


class RemoteBytes:
    """A file on a server, kept open while a raster is read from it.

    GDAL drops its cached blocks of a file when the file is closed.

    Args:
        path: Its address or GDAL name.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._handle = _open(path)
        self.close = weakref.finalize(self, close_file, self._handle)
        self.size = file_size(self._handle)
        self._start, self._held = 0, b""

    def read_at(self, offset: int, size: int) -> bytes:
        """Read some bytes; fewer if the file ends before.

        Raises:
            OSError: If its server does not respond.
        """
        start = offset - self._start
        if start >= 0 and start + size <= len(self._held):
            return self._held[start : start + size]
        length = max(0, min(size, self.size - offset))
        content = read_file(self._handle, offset, length)
        if len(content) < length:
            raise OSError("its server does not respond")
        return content

    @contextlib.contextmanager
    def holding(self, offset: int, size: int) -> Iterator[bool]:
        """Prefetch bytes that are read within the block, in one request.

        Yields:
            Whether they were; False if they are so many that they would be requested twice.
        """
        if size > MOST_HELD:
            yield False
            return
        self._held, self._start = self.read_at(offset, size), offset
        try:
            yield True
        finally:
            self._held = b""


@ensure_env_with_credentials
def _open(path: str) -> int:
    try:
        with thread_settings(_ALONE):
            return open_file(gdal_name(path))
    except OSError:
        forget_answers()  # Otherwise GDAL would remember the file as missing.
        raise
