"""Calls into the GDAL library that rasterio has loaded, for what it offers no function of its own."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import rasterio._env


@functools.cache
def _library() -> Any:
    """The library: symbols are looked for in all that rasterio's own module is linked with."""
    library = ctypes.CDLL(rasterio._env.__file__)
    texts = [ctypes.c_char_p] * 3
    library.CPLGetThreadLocalConfigOption.argtypes = texts[:2]
    library.CPLGetThreadLocalConfigOption.restype = ctypes.c_char_p
    library.CPLSetThreadLocalConfigOption.argtypes = texts[:2]
    library.CPLSetThreadLocalConfigOption.restype = None
    library.VSISetPathSpecificOption.argtypes = texts
    library.VSISetPathSpecificOption.restype = None
    library.VSICurlClearCache.argtypes = []
    library.VSICurlClearCache.restype = None
    return library


@contextlib.contextmanager
def thread_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Set options of GDAL's for this thread alone within the block; those of ``rasterio.Env`` may be of the process."""
    library = _library()
    names = [name.encode() for name in settings]
    before = [library.CPLGetThreadLocalConfigOption(name, None) for name in names]
    for name, value in zip(names, settings.values(), strict=True):
        library.CPLSetThreadLocalConfigOption(name, value.encode())
    try:
        yield
    finally:
        for name, was in zip(names, before, strict=True):
            library.CPLSetThreadLocalConfigOption(name, was)


def set_below(prefix: str, option: str, value: str) -> None:
    """Set an option of GDAL's for all files whose names begin alike, in the whole process."""
    _library().VSISetPathSpecificOption(prefix.encode(), option.encode(), value.encode())


def forget_answers() -> None:
    """Forget what servers have said: GDAL remembers that a file is not there, also where a server only failed."""
    _library().VSICurlClearCache()
