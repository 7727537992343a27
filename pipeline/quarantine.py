"""Sheets that could not be segmented: what is said of them, and where they lie, as a file for GIS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline import files
from pipeline.layout import quarantine_path
from pipeline.plan import Plan
from tiles.feature_texts import FeatureTexts
from tiles.geojson import write_geojson
from tiles.outlines import outline
from tiles.regions import Regions
from tiles.window import Window


def write_quarantine(plan: Plan, rasters: Iterable[Mapping[str, Any]]) -> None:
    """Write the windows of all sheets in quarantine as GeoJSON, or remove the file where there are none.

    Args:
        plan: The run.
        rasters: What the manifest says of its rasters.
    """
    path = quarantine_path(plan.options.output)
    found = [feature for raster in rasters for feature in _features(plan, raster)]
    if found:
        with files.writing(path) as file:
            write_geojson(file, found)
    else:
        files.remove(path)


def _features(plan: Plan, entry: Mapping[str, Any]) -> Iterator[bytes]:
    """A GeoJSON feature for each sheet of a raster that is in quarantine."""
    failed = [sheet for sheet in entry["sheets"] if sheet["failure"]]
    if not failed:
        return
    number = next(i for i, raster in enumerate(plan.rasters) if raster.id == entry["id"])
    lattice = plan.lattice(number)
    windows = [lattice.sheet_window(sheet["row"], sheet["col"]) for sheet in failed]
    texts = FeatureTexts(outline(rectangles(windows), plan.rasters[number].georef), np.arange(len(failed)))
    for n, (sheet, window) in enumerate(zip(failed, windows, strict=True)):
        properties = {
            "raster": entry["id"],
            "path": entry["path"],
            "row_off": window.row_off,
            "col_off": window.col_off,
            "height": window.height,
            "width": window.width,
            "cause": sheet["failure"],
            "attempts": sheet["attempts"],
        }
        yield texts.feature(range(n, n + 1), f"{entry['id']}_{sheet['row']}_{sheet['col']}", properties)


def rectangles(windows: Iterable[Window]) -> Regions:
    """Windows of a raster as regions, their shells clockwise seen with rows going down."""
    corners = [
        [(w.col_off, w.row_off), (w.col_end, w.row_off), (w.col_end, w.row_end), (w.col_off, w.row_end)]
        for w in windows
    ]
    rings = np.array([[*ring, ring[0]] for ring in corners], np.int32)
    count = len(rings)
    first = rings[:, 0, ::-1].astype(np.int64)
    none = np.zeros(count, np.int64)
    return Regions(
        rings.reshape(-1, 2),
        np.zeros(5 * count, np.uint8),
        np.arange(count + 1) * 5,
        np.arange(count + 1),
        none.astype(np.uint8),
        first,
        none,
        none,
        first,
    )
