"""Call functions of the GDAL libraries loaded by rasterio and pyogrio that neither of them exposes."""

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
"""Settings that make GDAL read in the calling thread: its own threads do not inherit thread-local settings."""
BUCKETS = ("s3", "gs", "az", "adls", "oss", "swift")


@functools.cache
def _library(module: ModuleType = rasterio._env) -> Any:
    """Load the library that a module of rasterio's or pyogrio's is linked with."""
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
    """Set GDAL options for this thread only within the block; those of ``rasterio.Env`` may apply to the process.

    Args:
        settings: The options.
        module: A module linked with the library; pyogrio ships its own.
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
    """Make GDAL send requests through a proxy within the block, in this thread; buckets are accessed without one.

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
    """Set a GDAL option for all file names with a prefix, in the whole process; it overrides a thread's."""
    _library(module).VSISetPathSpecificOption(prefix.encode(), option.encode(), value.encode())


def forget_answers() -> None:
    """Clear GDAL's cache of server answers, in which a failed request also counts as a missing file."""
    _library().VSICurlClearCache()


def open_file(name: str) -> int:
    """Open a file for reading by its GDAL name, and return its handle.

    Raises:
        OSError: If it cannot be opened.
    """
    handle = _library().VSIFOpenL(name.encode(), b"rb")
    if not handle:
        raise OSError(f"{name} cannot be opened")
    return int(handle)


def file_size(handle: int) -> int:
    """Return the size of an open file, in bytes."""
    library = _library()
    library.VSIFSeekL(handle, 0, os.SEEK_END)
    return int(library.VSIFTellL(handle))


def read_file(handle: int, offset: int, size: int) -> bytes:
    """Read `size` bytes of an open file; fewer if it ends before, or if a request fails."""
    library, buffer = _library(), bytearray(size)
    library.VSIFSeekL(handle, offset, os.SEEK_SET)
    count = library.VSIFReadL((ctypes.c_char * size).from_buffer(buffer), 1, size, handle) if size else 0
    return bytes(memoryview(buffer)[:count])


def close_file(handle: int) -> None:
    """Close a file."""
    _library().VSIFCloseL(handle)


def may_ask_for_grids() -> bool:
    """Return whether PROJ may ask servers for grids, in the library that rasterio reads with."""
    return bool(_library().OSRGetPROJEnableNetwork())


def forbid_proj_network(module: ModuleType) -> None:
    """Turn PROJ's network access off in the library of a module, unless rasterio uses the same library.

    GDAL opens the grids of a pipeline that stands where a CRS should, as soon as it reads the text.
    """
    own, rasterios = (
        ctypes.cast(_library(extension).OSRSetPROJEnableNetwork, ctypes.c_void_p)
        for extension in (module, rasterio._env)
    )
    if own.value != rasterios.value:
        _library(module).OSRSetPROJEnableNetwork(0)
