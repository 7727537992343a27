"""Read ``--aoi`` and choose the sheets to process; `pipeline.vectorize.clipped_labels` clips the polygons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from terraseam.pipeline.units import count
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.aoi import AreaOfInterest, area_on
from terraseam.tiles.vectors.read import PolygonFile, VectorError, is_vector, listed_reasons, read_polygons

area_of = lru_cache(16)(area_on)
"""The polygons of a file in the pixels of a raster; the latest results are cached."""


def read_aoi(path: str, reasons: list[str], notes: list[str]) -> PolygonFile | None:
    """Read an area of interest; return None and add a reason if it is unusable, add notes if parts of it are."""
    if not is_vector(path):
        reasons.append(f"--aoi {path} is a raster; give a file of polygons")
        return None
    try:
        file = read_polygons(path)
    except (VectorError, OSError) as error:
        reasons.append(f"--aoi cannot be used: {error}")
        return None
    if not len(file.polygons):
        reasons.append(f"--aoi {path} holds no polygon; give a file of polygons")
        return None
    if file.mended:
        notes.append(f"--aoi {path}: {count(file.mended, 'invalid polygon')} repaired")
    if file.skipped:
        notes.append(f"--aoi {path}: skipped {listed_reasons(file.reasons)}")
    return file


def areas_on(
    file: PolygonFile, rasters: Sequence[tuple[str, Georef]], reasons: list[str], notes: list[str]
) -> list[AreaOfInterest | None]:
    """Return the area of interest on each raster: None where it misses one, and a reason if it misses all.

    Args:
        file: The area of interest.
        rasters: Path and grid of each raster.
        reasons: List to which the reason is appended.
        notes: List to which notes about skipped polygons and rasters are appended.
    """
    areas: list[AreaOfInterest | None] = []
    missed = []
    for path, georef in rasters:
        area = area_on(file, georef)
        if area.lost:
            notes.append(
                f"--aoi {file.path}: {count(area.lost, 'polygon')} skipped on {path}: they cannot be represented in its CRS"
            )
        areas.append(area if area.holds_pixel(Window(0, 0, georef.height, georef.width)) else None)
        missed += [] if areas[-1] else [path]
    if missed and len(missed) == len(rasters):
        reasons.append(
            f"--aoi {file.path} covers no raster: no pixel centre lies inside; check the CRS of both"
        )
    elif missed:
        notes.append(_missed_note(missed))
    return areas


def _missed_note(missed: Sequence[str]) -> str:
    rest = f" and {count(len(missed) - 3, 'other raster')}" if len(missed) > 3 else ""
    verb = "lies" if len(missed) == 1 else "lie"
    return f"{', '.join(missed[:3])}{rest} {verb} outside --aoi and will have no results"
