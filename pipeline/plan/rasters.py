"""Hold the rasters of a plan."""

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
        id: Name of its folder of results.
        path: Path or address that GDAL opens.
        georef: Shape, CRS and transform of the grid it is read on.
        bands: Bands to read, numbered from 1.
        regrid: Resampling to that grid; None if it is the raster's own.
        sheets: The sheets to process, row by row; None for all.
        area: Digest of the area of interest on it; None for everywhere.
        files: All files that GDAL reads for it.
        fingerprint: Fingerprint of these files when the run began, see `terraseam.pipeline.storage.fingerprint`; None
            if unknown.
        file_states: State of the local files among them at that time; None if none is local.
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
    file_states: FileStates | None = None


def watched(planned: RasterPlan) -> WatchedFiles:
    """Return the files of a planned raster, to be checked for changes."""
    return WatchedFiles(planned.path, planned.files, planned.fingerprint, planned.file_states)
