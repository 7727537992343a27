"""Opening rasters, also those on servers: by drivers that read pixels, and after what they name was looked at."""

from __future__ import annotations

from typing import Any

import rasterio
from rasterio._path import _parse_path
from rasterio.env import ensure_env_with_credentials
from rasterio.io import DatasetReader

from tiles.sources import allowed_sources, check_name, sources_of

SIDECARS_ONE_BY_ONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Masks, overviews and metadata beside a raster are asked for by name: a bucket may hold a million other objects, and to
look for nothing (``EMPTY_DIR``) would take pixels for measured that a mask says are not."""
NO_SIDECARS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Nothing lies beside a raster: of some 80 requests for what might, none is made."""

PIXELS = tuple(
    """
    GTiff COG HFA PNG JPEG JP2OpenJPEG JP2KAK JP2ECW JP2MrSID JPEGXL ECW MrSID WEBP GIF BIGGIF BMP AAIGrid GSAG GSBG GS7BG
    GRASSASCIIGrid ENVI EHdr EIR ERS GenBin NITF netCDF HDF4 HDF4Image HDF5 HDF5Image BAG GRIB PCIDSK RST SAGA SRTMHGT DTED
    USGSDEM XYZ ZMap BT SGI PNM ILWIS RMF MFF MFF2 LAN PAux GPKG MBTiles KEA NWT_GRD NWT_GRC HF2 Terragen Leveller SNODAS
    DOQ1 DOQ2 FAST NDF BSB CALS XPM TGA FIT AIG SDTS L1B MSGN CEOS SAR_CEOS ESAT VICAR ISIS2 ISIS3 PDS
    """.split()  # noqa: SIM905 - a list to read
)
"""Drivers of files that hold pixels and name no servers."""
TEXTS = ("VRT", "GTI", "DIMAP", "SENTINEL2", "SAFE", "TSX", "RS2", "PDS4")
"""Drivers of texts that name files of pixels; what they name is looked at before."""
SERVICES = ("WMS", "WMTS", "WCS", "STACIT", "STACTA", "Zarr", "MRF")
"""Drivers that ask servers, for those whom the user allows some."""


def is_local(path: str) -> bool:
    """Whether a path is on this machine's filesystem."""
    return "://" not in path and not path.startswith("/vsi")


def open_raster(path: str, *, alone: bool = False, **options: Any) -> Any:
    """Open a raster for reading, by its path or address, as ``rasterio.open`` does.

    Args:
        path: Its path or address.
        alone: Whether it is known that nothing lies beside it that GDAL would read with it.
        options: For ``rasterio.open``.

    Raises:
        SourcesError: If it names files or servers that it may not, see `tiles.sources`.
        rasterio.errors.RasterioIOError: If it cannot be opened.
    """
    if is_local(path):
        sources_of(path)
        return _checked(path, _open(path, _drivers(), **options))
    with rasterio.Env(**(NO_SIDECARS if alone else SIDECARS_ONE_BY_ONE)):
        try:
            return _checked(path, _open(path, PIXELS, **options))
        except rasterio.errors.RasterioIOError as error:
            if "not recognized" not in str(error):
                raise
        sources_of(path)
        return _checked(path, _open(path, _drivers(), **options))


def _drivers() -> tuple[str, ...]:
    return (*PIXELS, *TEXTS, *(SERVICES if allowed_sources() else ()))


@ensure_env_with_credentials
def _open(path: str, drivers: tuple[str, ...], **options: Any) -> Any:
    """Open by one of some drivers; ``rasterio.open`` takes one alone."""
    return DatasetReader(_parse_path(path), driver=list(drivers), **options)


def _checked(path: str, dataset: Any) -> Any:
    """An open dataset of which no overviews are named that lie elsewhere; GDAL asks for them when its files are listed."""
    try:
        for value in dataset.tags(ns="OVERVIEWS").values():
            check_name(path, value)
    except BaseException:
        dataset.close()
        raise
    return dataset
