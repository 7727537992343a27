"""Results appear: label maps as COGs, polygons as GeoJSON, and last of all the manifest."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
from apache_beam.metrics import Metrics

from pipeline import files
from pipeline.feature_files import FeatureRecord, merge_features
from pipeline.instances import label_maps
from pipeline.layout import RunFolder, manifest_path, result_folder
from pipeline.manifest import manifest
from pipeline.options import FORMATS
from pipeline.plan import Plan
from pipeline.segment import SheetRecord
from pipeline.vectorize import VectorRecord
from tiles.cog import parse_colour, write_label_cog
from tiles.geojson import write_geojson, write_geojson_lines
from tiles.stitch import NODATA, LabelMap
from tiles.tables import TABLES, Table
from tiles.window import Window


@dataclass(frozen=True)
class Published:
    """What became of one raster.

    Attributes:
        raster: Number of the raster in the plan.
        sheets: Records of its sheets, in order.
        features: Records of its features.
        files: SHA-256 and size of each file that was written, by name.
        seconds: Time that publishing took.
    """

    raster: int
    sheets: tuple[VectorRecord, ...]
    features: tuple[FeatureRecord, ...]
    files: dict[str, dict[str, Any]]
    seconds: float


class PublishRasters(beam.DoFn):
    """Writes the results of a raster when all its sheets are done."""

    def __init__(self, plan: Plan, run_folder: RunFolder) -> None:
        self._plan = plan
        self._run_folder = run_folder
        self._timer = Metrics.distribution("terraseam", "publish_ms")

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]]) -> Iterator[Published]:
        """Write labels.tif and the polygons of one raster."""
        start = time.perf_counter()
        raster, records = element
        sheets = tuple(sorted(records["sheets"], key=lambda record: (record.sheet.row, record.sheet.col)))
        features = [*records["joined"], *(record.written for record in sheets if record.written is not None)]
        features.sort(key=lambda record: record.path)
        folder = result_folder(self._plan, raster)
        with files.staging(self._run_folder.staging) as staged:
            label_map = label_maps(self._plan, self._run_folder)
            write_labels(staged / LABELS, self._plan, raster, sheets, label_map)
            write_polygons(staged, self._plan, raster, features)
            results = [LABELS, *(polygons_name(ending) for ending in self._plan.options.formats)]
            described = {name: describe_file(staged / name) for name in results if (staged / name).exists()}
            # The record of an earlier run is no longer true from here on, nor are its polygons in other formats.
            files.remove(manifest_path(self._plan))
            for name in {polygons_name(ending) for ending in FORMATS} - set(described):
                files.remove(files.join(folder, name))
            for name in described:
                files.publish(staged / name, files.join(folder, name))
        seconds = time.perf_counter() - start
        self._timer.update(round(seconds * 1000))
        yield Published(raster, sheets, tuple(features), described, seconds)


LABELS = "labels.tif"


def polygons_name(ending: str) -> str:
    """The file of polygons in one format."""
    return f"polygons.{ending}"


def write_labels(
    path: Path,
    plan: Plan,
    raster: int,
    sheets: Iterable[VectorRecord],
    label_map: Callable[[SheetRecord], LabelMap],
) -> None:
    """Write the label map of a raster from those of its sheets."""
    lattice = plan.lattice(raster)

    def stored() -> Iterator[tuple[Window, np.ndarray]]:
        for record in sheets:
            sheet = record.sheet
            yield lattice.sheet_window(sheet.row, sheet.col), label_map(sheet).labels

    classes = {info.name: parse_colour(info.color) for info in plan.card.classes}
    tags = {"model": f"{plan.card.name} {plan.card.version}", "model_sha256": plan.card.weights_sha256}
    write_label_cog(path, stored(), plan.rasters[raster].georef, classes, tags)


def write_polygons(folder: Path, plan: Plan, raster: int, records: Iterable[FeatureRecord]) -> None:
    """Write the features of a raster in all formats, in the order of their first pixels, sheet row by sheet row."""
    rows: dict[int, list[str]] = {}
    for record in records:
        rows.setdefault(record.row, []).append(record.path)
    kind = "MultiPolygon" if plan.card.task == "instances" else "Polygon"
    table = Table(plan.rasters[raster].georef, kind)
    for ending in plan.options.formats:
        ordered = chain.from_iterable(merge_features(rows[row], folder) for row in sorted(rows))
        path = folder / polygons_name(ending)
        if ending in TABLES:
            TABLES[ending](path, ordered, table)
        else:
            write = write_geojson if ending == "geojson" else write_geojson_lines
            with path.open("wb") as file:
                write(file, (feature.text for feature in ordered))


def describe_file(path: Path) -> dict[str, Any]:
    """SHA-256 and size of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


class WriteManifest(beam.DoFn):
    """Writes the record of the run when all rasters are published."""

    def __init__(self, plan: Plan, started: float) -> None:
        self._plan = plan
        self._started = started

    def process(self, element: tuple[int, Iterable[Published]]) -> Iterator[str]:
        """Write manifest.json."""
        rasters = [self._raster(published) for published in sorted(element[1], key=lambda one: one.raster)]
        record = manifest(self._plan, rasters, self._started)
        path = manifest_path(self._plan)
        files.write_bytes(path, orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
        yield path

    def _raster(self, published: Published) -> dict[str, Any]:
        planned = self._plan.rasters[published.raster]
        georef = planned.georef
        pixels = np.sum([record.pixels for record in published.sheets], axis=0)
        return {
            "id": planned.id,
            "path": planned.path,
            "folder": result_folder(self._plan, published.raster),
            "height": georef.height,
            "width": georef.width,
            "gsd_m": georef.gsd(),
            "bands": planned.bands,
            "nodata_share": float(pixels[NODATA] / pixels.sum()),
            "classes": self._classes(pixels, published.features),
            "full_tiles": sum(record.full_tiles for record in published.sheets),
            "sheets": [sheet_entry(record) for record in published.sheets],
            "files": published.files,
            "publish_seconds": published.seconds,
        }

    def _classes(self, pixels: np.ndarray, features: tuple[FeatureRecord, ...]) -> dict[str, Any]:
        """Share of the raster, and polygons, of each class."""
        traced = self._plan.polygon_labels()
        found = {}
        for label, info in enumerate(self._plan.card.classes):
            counts = sum(record.counts.get(info.name, 0) for record in features)
            area = math.fsum(record.areas.get(info.name, 0.0) for record in features)
            found[info.name] = {
                "label": label,
                "pixels": int(pixels[label]),
                "share": float(pixels[label] / pixels.sum()),
                "polygons": counts if label in traced else None,
                "polygon_area_m2": round(area, 1) if label in traced else None,
            }
        return found


def sheet_entry(record: VectorRecord) -> dict[str, Any]:
    """A sheet as the manifest lists it."""
    sheet = record.sheet
    return {
        "row": sheet.row,
        "col": sheet.col,
        "key": sheet.key,
        "reused": sheet.reused,
        "tiles": sheet.tiles,
        "seconds": sheet.seconds,
        "profile": sheet.profile,
    }
