"""Inspect a raster's metadata without reading pixels."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.enums import ColorInterp

from terraseam.tiles.access.gate import refusal
from terraseam.tiles.access.sidecars import SidecarError
from terraseam.tiles.access.sources import INDEXES, SourcesError
from terraseam.tiles.access.special_files import special_reason
from terraseam.tiles.raster.band_order import BandDescription
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.opening import all_files, existing_files, is_local, open_raster

DTYPES = ("uint8", "uint16", "int16", "float32")
"""Supported sample types."""

SUFFIXES = frozenset({".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg", ".jpeg"})
"""Extensions of the files that are read from a directory."""


class RasterError(ValueError):
    """Raised when a raster cannot be segmented; the message is one sentence with the reason.

    Attributes:
        georef: Its georeferencing; None if unknown.
    """

    def __init__(self, message: str, georef: Georef | None = None) -> None:
        super().__init__(message)
        self.georef = georef


@dataclass(frozen=True, slots=True)
class RasterInfo:
    """A raster, without its pixels.

    Attributes:
        path: Path or URL that GDAL opens.
        georef: Shape, CRS and transform.
        bands: Number of bands, including alpha.
        colour_bands: The bands that are not alpha, numbered from 1.
        dtype: Sample type of all bands.
        files: All files that GDAL reads for it, including sidecars and sources of VRTs.
        band_descriptions: The metadata of each band.
        hidden: Addresses of sidecars whose server does not reveal whether they exist.
    """

    path: str
    georef: Georef
    bands: int
    colour_bands: tuple[int, ...]
    dtype: str
    files: tuple[str, ...]
    band_descriptions: tuple[BandDescription, ...]
    hidden: tuple[str, ...] = ()


def check_file(path: str, error: type[ValueError]) -> None:
    """Check that a local path is a regular file that is not empty; raise an error of the given type if not."""
    if is_local(path):
        if not Path(path).exists():
            raise error(_absent(path))
        if special := special_reason(path):
            raise error(special)
        if Path(path).stat().st_size == 0:
            raise error(f"{path} is empty: 0 bytes")


def _absent(path: str) -> str:
    """Return a message that a file does not exist, or that a link is broken."""
    link = Path(path)
    return (
        f"{path} is a link to {link.readlink()}, which does not exist"
        if link.is_symlink()
        else f"{path} does not exist"
    )


def inspect_raster(path: str, *, known: Sequence[str] | None = None) -> RasterInfo:
    """Open a raster and check that it can be segmented.

    Args:
        path: Path or URL that GDAL opens.
        known: The raster itself and its existing sidecars, see `open_raster`; None if unknown.

    Raises:
        RasterError: If it is missing, not a raster, not georeferenced or of an unsupported type.
    """
    try:
        check_file(path, RasterError)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            known = known or existing_files(path)
            with open_raster(path, known=known) as dataset:
                return _inspect(path, dataset, known)
    except (rasterio.errors.RasterioIOError, OSError, UnicodeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: Exception) -> RasterError:
    """Return an error that says why a raster cannot be opened."""
    if isinstance(error, (SourcesError, SidecarError)):
        return RasterError(str(error))
    if isinstance(error, UnicodeDecodeError):
        return RasterError(
            f"{path} describes a band in an encoding that is not UTF-8 ({error.object!r}); write it as a virtual raster "
            "with gdal_translate -of VRT, fix the description in that file, and use it instead"
        )
    if isinstance(error, UnicodeError):
        name = path.encode("utf-8", "replace").decode()
        return RasterError(f"{name} has a name that is not UTF-8, which GDAL cannot open; rename it")
    if isinstance(error, OSError) and not isinstance(error, rasterio.errors.RasterioIOError):
        return RasterError(f"{path} cannot be accessed: {error.strerror}")
    return RasterError(_refused_by_gdal(path, str(error)))


def _refused_by_gdal(path: str, message: str) -> str:
    """Return a message on why GDAL does not open a raster."""
    if redirected := refusal(path):
        return f"{path} cannot be opened: {redirected}"
    if path.lower().endswith(INDEXES) and "not recognized" in message:
        return (
            f"{path} is an index of tiles in a format that this GDAL does not read; write it as .gti.gpkg with ogr2ogr, or "
            "use a virtual raster (gdalbuildvrt) instead"
        )
    reason = message.removeprefix(f"'{path}' ").removeprefix(f"{path}: ").rstrip(".")
    return f"{path} is not a raster that GDAL can open ({reason})"


def _inspect(path: str, dataset: Any, known: Sequence[str] | None) -> RasterInfo:
    dtypes = sorted(set(dataset.dtypes))
    if not dtypes:
        raise RasterError(
            f"{path} holds no bands; name one of its subdatasets: {', '.join(dataset.subdatasets[:3])}"
            if dataset.subdatasets
            else f"{path} holds no bands: it is not a raster"
        )
    georef = check_georeferencing(path, dataset)
    colour = tuple(band for band in dataset.indexes if dataset.colorinterp[band - 1] != ColorInterp.alpha)
    unsupported = [dtype for dtype in dtypes if dtype not in DTYPES]
    if unsupported or len(dtypes) > 1:
        raise RasterError(
            f"{path} has samples of type {', '.join(dtypes)}; supported types are {', '.join(DTYPES)}: convert "
            "it with gdal_translate -ot Float32",
            georef,
        )
    descriptions = tuple(
        BandDescription(description or "", interpretation.name)
        for description, interpretation in zip(dataset.descriptions, dataset.colorinterp, strict=True)
    )
    files = tuple(sorted(all_files(path, dataset, known, dataset.sources)))
    hidden = dataset.sources.hidden
    return RasterInfo(path, georef, dataset.count, colour, dtypes[0], files, descriptions, hidden)


def crs_advice(more: str = "") -> str:
    """Return advice on assigning a CRS; writing a copy works with every driver, and for files on servers.

    Args:
        more: Other options that are required.
    """
    return f"assign one with gdal_translate -a_srs EPSG:...{more}, which writes a copy"


def _gcp_warp(dataset: Any) -> str:
    """Return the command that warps a raster by its ground control points."""
    known = dataset.gcps[1] is not None
    return (
        "gdalwarp -t_srs EPSG:..." if known else "gdalwarp -s_srs EPSG:... -t_srs EPSG:... (they have no CRS)"
    )


def check_georeferencing(path: str, dataset: Any) -> Georef:
    """Return the georeferencing of a raster.

    Raises:
        RasterError: If it is missing, or not on the Earth.
    """
    has_no_transform = dataset.transform.is_identity
    if dataset.gcps[0] and (dataset.crs is None or has_no_transform):
        raise RasterError(
            f"{path} is placed by {len(dataset.gcps[0])} control points only; warp it by them with {_gcp_warp(dataset)}"
        )
    if dataset.rpcs is not None and has_no_transform:
        raise RasterError(
            f"{path} is placed by rational polynomials (RPC) only; warp it by them with gdalwarp -rpc -t_srs EPSG:... "
            "(and -to RPC_DEM=FILE for heights)"
        )
    if dataset.crs is None:
        bounds = " -a_ullr LEFT TOP RIGHT BOTTOM" if has_no_transform else ""
        raise RasterError(f"{path} has no CRS; {crs_advice(bounds)}")
    if has_no_transform:
        raise RasterError(
            f"{path} is not georeferenced (it has no geotransform); assign its bounds with "
            "gdal_translate -a_ullr LEFT TOP RIGHT BOTTOM"
        )
    if dataset.transform.is_degenerate:
        raise RasterError(
            f"{path} has a geotransform that maps all pixels onto a line: {dataset.transform[:6]}"
        )
    try:
        # One string for all rasters of a CRS, in memory and where plans are pickled.
        crs = sys.intern(dataset.crs.to_wkt())
        georef = Georef(crs, tuple(dataset.transform)[:6], dataset.height, dataset.width)
        georef.check_latitudes()
    except ValueError as error:
        raise RasterError(f"{path} cannot be placed on the Earth: {error}") from error
    return georef
