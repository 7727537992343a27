"""The rasters of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.pipeline.storage.fingerprint import FileStates
from terraseam.pipeline.storage.watched_files import WatchedFiles
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.regrid import Regrid

Place = tuple[int, int]
"""Row and column of a sheet."""


@dataclass(frozen=True)
class RasterPlan:
    """One raster of a run.

    Attributes:
        id: Names the folder of its results.
        path: What GDAL opens.
        georef: Shape, CRS and transform of the grid that it is read on.
        bands: Bands to read, numbered from 1.
        regrid: How it comes to that grid; None where that is its own.
        sheets: The sheets that are worked on, row by row; None for all.
        area: Digest of the area of interest on it; None for everywhere.
        files: All files that GDAL reads for it.
        fingerprint: What they were like when the run began, see `terraseam.pipeline.storage.fingerprint`; None where
            that is not known.
        seen: What the local ones among them were like then; None where none is local.
    """

    id: str
    path: str
    georef: Georef
    bands: tuple[int, ...]
    regrid: Regrid | None = None
    sheets: tuple[Place, ...] | None = None
    area: str | None = None
    files: tuple[str, ...] = ()
    fingerprint: str | None = None
    seen: FileStates | None = None


def watched(planned: RasterPlan) -> WatchedFiles:
    """The files of a raster of a plan."""
    return WatchedFiles(planned.path, planned.files, planned.fingerprint, planned.seen)
