"""Calls into the GDAL libraries that rasterio and pyogrio have loaded, for what they offer no functions of their own."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import rasterio._env

IN_THIS_THREAD = {"VRT_NUM_THREADS": "1", "GTI_NUM_THREADS": "1"}
"""Settings by which GDAL reads in the thread that asks it to: threads of its own know nothing of settings of that one."""
BUCKETS = ("s3", "gs", "az", "adls", "oss", "swift")


@functools.cache
def _library(module: ModuleType = rasterio._env) -> Any:
    """The library: symbols are looked for in all that a module of rasterio's or pyogrio's is linked with."""
    library = ctypes.CDLL(module.__file__)
    texts = [ctypes.c_char_p] * 3
    library.CPLGetThreadLocalConfigOption.argtypes = texts[:2]
    library.CPLGetThreadLocalConfigOption.restype = ctypes.c_char_p
    library.CPLSetThreadLocalConfigOption.argtypes = texts[:2]
    library.CPLSetThreadLocalConfigOption.restype = None
    library.VSISetPathSpecificOption.argtypes = texts
    library.VSISetPathSpecificOption.restype = None
    library.VSICurlClearCache.argtypes = []
    library.VSICurlClearCache.restype = None
    library.VSIFOpenL.argtypes = texts[:2]
    library.VSIFOpenL.restype = ctypes.c_void_p
    library.VSIFSeekL.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
    library.VSIFTellL.argtypes = [ctypes.c_void_p]
    library.VSIFTellL.restype = ctypes.c_uint64
    library.VSIFReadL.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    library.VSIFReadL.restype = ctypes.c_size_t
    library.VSIFCloseL.argtypes = [ctypes.c_void_p]
    return library


@contextlib.contextmanager
def thread_settings(settings: Mapping[str, str], module: ModuleType = rasterio._env) -> Iterator[None]:
    """Set options of GDAL's for this thread alone within the block; those of ``rasterio.Env`` may be of the process.

    Args:
        settings: The options.
        module: A module that is linked with the library; pyogrio has one of its own.
    """
    library = _library(module)
    names = [name.encode() for name in settings]
    before = [library.CPLGetThreadLocalConfigOption(name, None) for name in names]
    for name, value in zip(names, settings.values(), strict=True):
        library.CPLSetThreadLocalConfigOption(name, value.encode())
    try:
        yield
    finally:
        for name, was in zip(names, before, strict=True):
            library.CPLSetThreadLocalConfigOption(name, was)


@contextlib.contextmanager
def proxied(proxy: str | None, module: ModuleType = rasterio._env) -> Iterator[None]:
    """Let GDAL ask servers through a proxy within the block, in this thread; buckets are asked without one.

    Args:
        proxy: Its address; None for none.
        module: See `thread_settings`.
    """
    if proxy is None:
        yield
        return
    _ask_buckets_directly(module)
    with thread_settings({"GDAL_HTTP_PROXY": proxy, **IN_THIS_THREAD}, module):
        yield


@functools.cache
def _ask_buckets_directly(module: ModuleType) -> None:
    for name in BUCKETS:
        for prefix in (f"/vsi{name}/", f"/vsi{name}_streaming/"):
            set_below(prefix, "GDAL_HTTP_PROXY", "", module)


def set_below(prefix: str, option: str, value: str, module: ModuleType = rasterio._env) -> None:
    """Set an option of GDAL's for all files whose names begin alike, in the whole process; it outranks a thread's."""
    _library(module).VSISetPathSpecificOption(prefix.encode(), option.encode(), value.encode())


def forget_answers() -> None:
    """Forget what servers have said: GDAL remembers that a file is not there, also where a server only failed."""
    _library().VSICurlClearCache()


def open_file(name: str) -> int:
    """Open a file for reading as GDAL does, by what GDAL calls it.

    Raises:
        OSError: If it cannot be opened.
    """
    handle = _library().VSIFOpenL(name.encode(), b"rb")
    if not handle:
        raise OSError(f"{name} cannot be opened")
    return int(handle)


def file_size(handle: int) -> int:
    """Return how many bytes an open file has."""
    library = _library()
    library.VSIFSeekL(handle, 0, os.SEEK_END)
    return int(library.VSIFTellL(handle))


def read_file(handle: int, offset: int, size: int) -> bytes:
    """Read some bytes of an open file; fewer where it ends before, or a request fails."""
    library, buffer = _library(), bytearray(size)
    library.VSIFSeekL(handle, offset, os.SEEK_SET)
    count = library.VSIFReadL((ctypes.c_char * size).from_buffer(buffer), 1, size, handle) if size else 0
    return bytes(memoryview(buffer)[:count])


def close_file(handle: int) -> None:
    """Close a file."""
    _library().VSIFCloseL(handle)


def forbid_proj_network(module: ModuleType) -> None:
    """Let PROJ ask no server from the library of a module, for good; one that rasterio reads with, too, stays as it is.

    GDAL opens the grids of a pipeline that stands where a CRS should, as soon as it reads the text.
    """
    own, rasterios = (
        ctypes.cast(_library(one).OSRSetPROJEnableNetwork, ctypes.c_void_p) for one in (module, rasterio._env)
    )
    if own.value != rasterios.value:
        _library(module).OSRSetPROJEnableNetwork(0)
