"""Opening rasters, also those on servers."""

from __future__ import annotations

from typing import Any

import rasterio

SIDECARS_ONE_BY_ONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Masks, overviews and metadata beside a raster are asked for by name: a bucket may hold a million other objects, and to
look for nothing (``EMPTY_DIR``) would take pixels for measured that a mask says are not."""


def is_local(path: str) -> bool:
    """Whether a path is on this machine's filesystem."""
    return "://" not in path and not path.startswith("/vsi")


NO_SIDECARS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Nothing lies beside a raster: of some 80 requests for what might, none is made."""


def open_raster(path: str, *, alone: bool = False, **options: Any) -> Any:
    """Open a raster for reading, by its path or address, as ``rasterio.open`` does.

    Args:
        path: Its path or address.
        alone: Whether it is known that nothing lies beside it that GDAL would read with it.
        options: For ``rasterio.open``.
    """
    if is_local(path):
        return rasterio.open(path, **options)
    with rasterio.Env(**(NO_SIDECARS if alone else SIDECARS_ONE_BY_ONE)):
        return rasterio.open(path, **options)
