"""Write the polygons of a raster in every requested format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage.run_paths import POLYGONS
from terraseam.pipeline.vectorize.feature_files import FeatureRecord, merge_features
from terraseam.tiles.features.geojson import write_geojson, write_geojson_lines
from terraseam.tiles.features.gis_formats import TABLES, Table
from terraseam.tiles.features.vector_tiles import write_pmtiles
from terraseam.tiles.raster.ground import PixelPlane


def write_polygons(
    folder: Path, plan: PolygonPlan, raster: int, records: Iterable[FeatureRecord]
) -> dict[str, dict[str, Any]]:
    """Write the features of a raster in all formats, in the order of their first pixels, sheet row by sheet row.

    Returns:
        Manifest fields of the files besides size and checksum, by file name.
    """
    rows: dict[int, list[str]] = {}
    for record in sorted(records, key=lambda record: record.path):
        rows.setdefault(record.row, []).append(record.path)
    kind = "MultiPolygon" if plan.in_parts else "Polygon"
    ground = plan.rasters[raster].ground
    table = Table(ground, kind, plan.options.regularize, plan.scored)
    fields: dict[str, dict[str, Any]] = {}
    for ending in plan.options.formats:
        ordered = chain.from_iterable(merge_features(rows[row], folder) for row in sorted(rows))
        path = folder / POLYGONS[ending]
        if ending in TABLES:
            TABLES[ending](path, ordered, table)
        elif ending == "pmtiles":
            summary = write_pmtiles(path, ordered, table)
            fields |= {path.name: asdict(summary)} if summary else {}
        else:
            texts = (feature.text for feature in ordered)
            with path.open("wb") as file:
                if ending == "geojson":
                    write_geojson(file, texts, crs=PixelPlane.crs if isinstance(ground, PixelPlane) else None)
                else:
                    write_geojson_lines(file, texts)
    return fields
