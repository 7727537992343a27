"""Open rasters, local or remote, with drivers that read pixels, and after checking the files that they reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rasterio
from rasterio._path import _parse_path
from rasterio.env import ensure_env_with_credentials
from rasterio.io import DatasetReader

from terraseam.tiles.access.crs_grids import GridAddressError, check_grids
from terraseam.tiles.access.gate import admit
from terraseam.tiles.access.gdal_library import forget_answers, thread_settings
from terraseam.tiles.access.gdal_warnings import all_tags, tags_of
from terraseam.tiles.access.remote_sources import (
    NOTHING_REMOTE,
    SIDECARS_ONE_BY_ONE,
    RemoteSources,
    allowed_names,
    remote_sources,
)
from terraseam.tiles.access.sidecars import BEHIND, beside
from terraseam.tiles.access.sources import (
    SourcesError,
    allowed_sources,
    check_name,
    find_sources,
    gdal_name,
    sources_of,
)
from terraseam.tiles.checksums.dataset import VerifiedRaster

NO_SIDECARS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""For a raster without sidecars: avoids some 80 requests for possible ones."""

PIXELS = tuple(
    """
    GTiff COG HFA PNG JPEG JP2OpenJPEG JP2KAK JP2ECW JP2MrSID JPEGXL ECW MrSID WEBP GIF BIGGIF BMP AAIGrid GSAG GSBG GS7BG
    GRASSASCIIGrid ENVI EHdr EIR ERS GenBin NITF netCDF HDF4 HDF4Image HDF5 HDF5Image BAG GRIB PCIDSK RST SAGA SRTMHGT DTED
    USGSDEM XYZ ZMap BT SGI PNM ILWIS RMF MFF MFF2 LAN PAux GPKG MBTiles KEA NWT_GRD NWT_GRC HF2 Terragen Leveller SNODAS
    DOQ1 DOQ2 FAST NDF BSB CALS XPM TGA FIT AIG SDTS L1B MSGN CEOS SAR_CEOS ESAT VICAR ISIS2 ISIS3 PDS
    """.split()  # noqa: SIM905 - a list to read
)
"""Drivers of files that hold pixels and reference no servers."""
TEXTS = ("VRT", "GTI", "DIMAP", "SENTINEL2", "SAFE", "TSX", "RS2", "PDS4")
"""Drivers of texts that reference files of pixels; their references are checked first."""
SERVICES = ("WMS", "WMTS", "WCS", "STACIT", "STACTA", "Zarr", "MRF")
"""Drivers that contact servers; enabled only if the user allows some."""


def is_local(path: str) -> bool:
    """Check whether a path is on this machine's filesystem."""
    return "://" not in path and not path.startswith("/vsi")


def open_raster(
    path: str, *, known: Sequence[str] | None = None, files: Sequence[str] | None = None, **options: Any
) -> Any:
    """Open a raster for reading, by its path or address, as ``rasterio.open`` does.

    Args:
        path: Its path or address.
        known: The raster itself and its existing sidecars; no others are looked for. None if unknown.
        files: All files that were read for it when it was inspected, see `all_files`; None if it was not.
        options: Options of ``rasterio.open``.

    Raises:
        SourcesError: If it references files or servers that are not allowed, see `terraseam.tiles.access.sources`.
        SidecarError: If its web server does not say which sidecars exist. rasterio.errors.RasterioIOError: If it
            cannot be opened, or if other files than `files` are read for it now.
    """
    if is_local(path):
        return _open_any(path, _drivers(), None, files, options)
    known = files or known or existing_files(path)
    admit([path])
    beside_it = [gdal_name(path + suffix) for suffix in BEHIND if path + suffix in (known or ())]
    with rasterio.Env(), thread_settings(_settings(known)):
        try:
            return _checked(path, _open(path, PIXELS, **options), beside_it, files)
        except rasterio.errors.RasterioIOError as error:
            if "not recognized" not in str(error):
                raise
    return _open_any(path, _drivers()[len(PIXELS) :], known, files, options)


def _open_any(
    path: str,
    drivers: tuple[str, ...],
    known: Sequence[str] | None,
    files: Sequence[str] | None,
    options: dict[str, Any],
) -> Any:
    """Open a raster that may reference others; see `open_raster`."""
    sources = remote_sources(path, find_sources(path), known, files)
    with sources.reading():
        return _checked(path, _open(path, drivers, **options), None, files, sources)


def existing_files(path: str) -> tuple[str, ...] | None:
    """Return a raster on a web server and its existing sidecars; None for other rasters.

    Raises:
        SidecarError: If its server does not say which exist.
    """
    return beside(path).files if is_web(path) else None


def is_web(path: str) -> bool:
    """Check whether a path is the address of a file on a web server."""
    return path.lower().startswith(("http://", "https://"))


def all_files(
    path: str, dataset: Any, known: Sequence[str] | None = None, sources: RemoteSources = NOTHING_REMOTE
) -> set[str]:
    """Return all files that are read for an open dataset: sidecars, and sources of virtual rasters at any depth.

    Args:
        path: The path or address that was opened.
        dataset: The open dataset.
        known: The files known to exist when it was opened, see `open_raster`.
        sources: Its existing sources on servers.
    """
    files = set(dataset.files)
    if known is not None and dataset.driver not in TEXTS:
        # GDAL also lists files that it was told not to read, if a server answers to any name.
        files &= set(map(gdal_name, known))
    if dataset.driver in TEXTS:
        files.update(gdal_name(name) for name in sources_of(path))
        files.update(sources.files)
    return files


def _settings(known: Sequence[str] | None) -> dict[str, str]:
    """Return GDAL settings that restrict its lookups to the existing files of a raster."""
    if known is None:
        return SIDECARS_ONE_BY_ONE
    settings = NO_SIDECARS if len(known) == 1 else SIDECARS_ONE_BY_ONE
    return {**settings, **(allowed_names(known, ()) or {})}


def _drivers() -> tuple[str, ...]:
    return (*PIXELS, *TEXTS, *(SERVICES if allowed_sources() else ()))


@ensure_env_with_credentials
def _open(path: str, drivers: tuple[str, ...], **options: Any) -> Any:
    """Open a raster with the first matching of several drivers; ``rasterio.open`` accepts only one."""
    with all_tags():
        return DatasetReader(_parse_path(path), driver=list(drivers), **options)


def _checked(
    path: str,
    dataset: Any,
    beside_it: Sequence[str] | None,
    files: Sequence[str] | None,
    sources: RemoteSources = NOTHING_REMOTE,
) -> Any:
    """Wrap an open dataset after checking that its overviews are allowed and that the expected files are read for it.

    Args:
        path: The path or address that was opened.
        dataset: The open dataset.
        beside_it: Sidecars that must be read with it; None where GDAL looks for them itself.
        files: All files that are read for it, as returned by `all_files`; None if unknown.
        sources: Its existing sources on servers.
    """
    try:
        # GDAL requests overviews named in metadata when it lists files.
        overviews, undecoded = tags_of(dataset, ns="OVERVIEWS")
        if undecoded:
            raise SourcesError(f"{path} names overviews in an encoding that is not UTF-8, which are not read")
        for value in overviews.values():
            check_name(path, value)
        _check_crs(path, dataset)
        with all_tags():
            # Open masks now, while GDAL's lookups are restricted.
            _ = dataset.mask_flag_enums, dataset.files
            _ = dataset.overviews(1) if dataset.count and beside_it is not None else []
        listed_files = (
            set(dataset.files)
            if files is None
            else all_files(path, dataset, None if is_local(path) else files, sources)
        )
        missing = sorted((set(beside_it or ()) if files is None else set(files)) - listed_files)
        if missing:
            forget_answers()
            raise rasterio.errors.RasterioIOError(
                f"{_address(missing[0])} lies beside it, but cannot be read"
            )
        if files is not None and is_local(path) and listed_files - set(files):
            raise rasterio.errors.RasterioIOError(
                f"{_address(min(listed_files - set(files)))} is read with it now, but was not there when it was inspected"
            )
    except BaseException:
        dataset.close()
        raise
    return VerifiedRaster(dataset, path, sources, listed_files)


def _check_crs(path: str, dataset: Any) -> None:
    """Check that no CRS of an open dataset lets PROJ ask a server for a grid."""
    try:
        for crs in (dataset.crs, dataset.gcps[1]):
            if crs:
                check_grids(crs.to_wkt())
    except GridAddressError as error:
        raise SourcesError(f"{path} has {error} with gdal_translate -a_srs EPSG:...") from error


def _address(name: str) -> str:
    return name.removeprefix("/vsicurl/")
