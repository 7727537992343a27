"""Sheets that could not be segmented: what is said of them, and where they lie, as a file for GIS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline import files
from pipeline.layout import quarantine_path
from pipeline.plan import Plan
from tiles.earth import on_earth
from tiles.feature_texts import FeatureTexts
from tiles.geojson import write_geojson
from tiles.outlines import outline
from tiles.regions import Regions


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
    georef = plan.rasters[number].georef
    windows = [lattice.sheet_window(sheet["row"], sheet["col"]) for sheet in failed]
    outlines = [on_earth(georef, window) for window in windows]
    places = {n: outline for n, outline in enumerate(outlines) if outline is not None}
    texts = FeatureTexts(outline(Regions.of_shells(list(places.values())), georef), np.arange(len(places)))
    for place, n in enumerate(places):
        sheet, window = failed[n], windows[n]
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
        yield texts.feature(
            range(place, place + 1), f"{entry['id']}_{sheet['row']}_{sheet['col']}", properties
        )
