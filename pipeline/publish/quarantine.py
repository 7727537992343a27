"""Write the footprints of sheets that could not be segmented, and the reasons, as a GeoJSON file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import quarantine_path
from terraseam.tiles.features.feature_texts import FeatureTexts
from terraseam.tiles.features.geojson import write_geojson
from terraseam.tiles.features.outlines import outline
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.earth import on_earth
from terraseam.tiles.regions.regions import Regions


def write_quarantine(plan: Plan, rasters: Iterable[Mapping[str, Any]]) -> bool:
    """Write the footprints of all quarantined sheets and of rasters left out, if their location is known.

    Args:
        plan: The run.
        rasters: The manifest entries of its rasters.

    Returns:
        Whether there are any; if not, the file of an earlier run is removed.
    """
    numbers = {raster.id: number for number, raster in enumerate(plan.rasters)}
    features = [feature for entry in rasters for feature in _features(plan, numbers[entry["id"]], entry)]
    return write_quarantine_features(plan.options.output, [*features, *left_out_features(plan.left_out)])


def write_quarantine_features(output: str, features: Sequence[bytes]) -> bool:
    """Write the features of failed sheets and rasters, or remove an earlier file; return whether there are any."""
    path = quarantine_path(output)
    if features:
        with files.writing(path) as file:
            write_geojson(file, features)
    else:
        files.remove(path)
    return bool(features)


def left_out_features(left_out: Iterable[LeftOut]) -> Iterator[bytes]:
    """Yield a GeoJSON feature for each raster that was left out and whose location is known."""
    for raster in left_out:
        if raster.georef is None:
            continue
        window = Window(0, 0, raster.georef.height, raster.georef.width)
        try:
            place = on_earth(raster.georef, window)
            if place is None:
                continue
            texts = FeatureTexts(outline(Regions.of_shells([place]), raster.georef), np.arange(1))
        except ValueError:  # It has no location on the Earth.
            continue
        entry = raster.to_json()
        properties = {
            "raster": raster.id,
            "path": entry["path"],
            "row_off": 0,
            "col_off": 0,
            "height": window.height,
            "width": window.width,
            "cause": " ".join(entry["reasons"]),
            "attempts": 1,
        }
        yield texts.feature(range(1), raster.id, properties)


def _features(plan: Plan, number: int, entry: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a GeoJSON feature for each sheet of a raster that is in quarantine."""
    failed = [sheet for sheet in entry["sheets"] if sheet["failure"]]
    if not failed:
        return
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
