"""Build and write the manifest, the record of a run: its inputs, model, versions, options and results."""

from __future__ import annotations

import math
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.describe import exactness, resampled_from
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.publish.history import keep_run
from terraseam.pipeline.publish.quarantine import write_quarantine
from terraseam.pipeline.publish.unchanged import (
    forget_publish_record,
    prune,
    removed_rasters,
    stands,
    unchanged_entry,
    write_publish_record,
)
from terraseam.pipeline.secrets import unsigned, without_secrets
from terraseam.pipeline.segment.sheets import STAGES
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import RunFolder, manifest_path, quarantine_path, result_folder
from terraseam.pipeline.vectorize.label_counts import LabelCounts
from terraseam.tiles.raster.ground import PixelPlane

if TYPE_CHECKING:
    from terraseam.pipeline.options.vectorize import VectorizeOptions
    from terraseam.pipeline.publish.stage import Published
    from terraseam.pipeline.segment.sheets import SheetRecord
    from terraseam.pipeline.vectorize.feature_files import FeatureRecord

PACKAGES = (
    "terraseam",
    "apache-beam",
    "keras",
    "tensorflow",
    "numpy",
    "rasterio",
    "shapely",
    "numba",
    "pyproj",
)


FATES = ("inferred", "reused", "skipped", "quarantined")
"""The possible outcomes of a sheet."""

SECRET = re.compile("secret|token|password|credential|connection_string|access_key")
"""Words in the names of Beam options whose values are credentials."""
HIDDEN = "(hidden)"
ENGINE_PACKAGES = {"tensorflow": (), "openvino": ("openvino",), "onnx": ("onnxruntime", "tf2onnx")}


class PublishedLedger:
    """The publish records of rasters, in the results folder."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def stands(self, raster: int, described: Mapping[str, Any]) -> bool:
        """Return whether an earlier run published exactly these files of a raster, and they still exist."""
        return stands(self._plan, raster, described)

    def forget(self, raster: int) -> None:
        """Delete the record of a raster whose files are about to be replaced."""
        forget_publish_record(self._plan, raster)

    def write(self, published: Published) -> None:
        """Record that the files of a raster are published, unless it has quarantined sheets to be retried."""
        if any(record.segmented.failure for record in published.sheets):
            return
        write_publish_record(
            self._plan, published.raster, published.files, raster_entry(self._plan, published)
        )


def segment_manifest(plan: Plan, published: Sequence[Published], started: float) -> dict[str, Any]:
    """Build the manifest of a run that has ended.

    Args:
        plan: The run.
        published: The outcome of each raster that needed work.
        started: When the run started, in seconds since the epoch.
    """
    # The profiles of sheets are moved to the top level.
    entries = {outcome.raster: raster_entry(plan, outcome) for outcome in published}
    entries |= {number: unchanged_entry(plan, number) for number in plan.unchanged}
    rasters = [entries[number] for number in sorted(entries)]
    sheets = [sheet for raster in rasters for sheet in raster["sheets"]]
    profiles: list[dict[str, Any]] = []
    for sheet in sheets:
        profile = sheet.pop("profile")
        if profile not in profiles:
            profiles.append(profile)
    stages = {stage: sum(sheet["seconds"][stage] for sheet in sheets) for stage in STAGES}
    return {
        **run_entry(started, (*PACKAGES, *ENGINE_PACKAGES[plan.engine]), plan.options),
        "model": _model(plan),
        "inputs": {"aoi": plan.options.aoi, "resample": plan.options.resample},
        "inference": {
            "engine": plan.engine,
            "engine_why": plan.engine_why or None,
            "precision": plan.options.precision,
            "augment": plan.options.augment,
            "batch_size": plan.options.batch_size,
        },
        "pruned": plan.options.prune,
        "profiles": profiles,
        "tiling": _tiling(plan),
        "polygons": polygon_settings(plan.polygons),
        "notes": plan.notes,
        "counts": {
            "rasters": len(rasters),
            "rasters_kept": len(plan.unchanged),
            "rasters_left_out": len(plan.left_out),
            "sheets": len(sheets),
            **{f"sheets_{fate}": sum(sheet["fate"] == fate for sheet in sheets) for fate in FATES},
            "tiles_inferred": sum(sheet["tiles"] for sheet in sheets),
        },
        "left_out": [raster.to_json() for raster in plan.left_out],
        "quarantine": None,
        "seconds": {"total": time.time() - started, **stages},
        "rasters": list(rasters),
    }


def idle_record(plan: Plan, *, started: float) -> dict[str, Any]:
    """Return the manifest of a run that had nothing to do and could not write."""
    gone = [result_folder(plan.options.output, name) for name in removed_rasters(plan)]
    return {**segment_manifest(plan, [], started), "gone": gone}


def end_segment(
    plan: Plan, folder: RunFolder | None, published: Sequence[Published], *, started: float
) -> dict[str, Any]:
    """Write the files about a run as a whole, the manifest last, and return the manifest.

    Args:
        plan: The run.
        folder: Folder of its intermediate files; None if it has none.
        published: The outcome of each raster that needed work.
        started: When the run started, in seconds since the epoch.
    """
    record = segment_manifest(plan, published, started)
    if write_quarantine(plan, record["rasters"]):
        record["quarantine"] = quarantine_path(plan.options.output)
    gone = removed_rasters(plan)
    record["gone"] = [result_folder(plan.options.output, name) for name in gone]
    if plan.options.prune:
        prune(plan, gone)
    changes = {plan.rasters[outcome.raster].id: outcome.changes for outcome in published}
    texts = [folder.changes(outcome.raster) for outcome in published if folder and outcome.changes]
    keep_run(plan.options.output, record, changes, texts)
    write_manifest(plan.options.output, record)
    return record


def write_manifest(output: str, record: Mapping[str, Any]) -> None:
    """Write the manifest of a run that has ended."""
    files.write_json(manifest_path(output), record)


def _model(plan: Plan) -> dict[str, Any]:
    """Return the manifest entry of the model: the ensemble, and each of its members."""
    return {
        "name": plan.card.name,
        "version": plan.card.version,
        "weights_sha256": plan.card.weights_sha256,
        "license": plan.card.license,
        "members": [
            {
                "name": card.name,
                "version": card.version,
                "bundle": bundle,
                "weights_sha256": card.weights_sha256,
                "license": card.license,
            }
            for bundle, card in zip(plan.bundles, plan.cards, strict=True)
        ],
    }


def _tiling(plan: Plan) -> dict[str, Any]:
    return {
        "core_px": plan.core,
        "halo_px": plan.halo.sides,
        "cut_px": plan.cut,
        "sheet_px": plan.lattice(0).sheet_side,
        "stitch": plan.stitch,
        "reach_source": plan.card.reach_source,
        "exact": plan.exact,
        "exactness": exactness(plan),
    }


def run_entry(
    started: float, packages: Sequence[str], options: SegmentOptions | VectorizeOptions
) -> dict[str, Any]:
    """Return the start and end times of a run, the versions of packages, and its options."""
    return {
        "format": 1,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions(packages)},
        "options": {**asdict(options), "beam": _without_secrets(options.beam.arguments)},
    }


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return arguments for Beam with credentials hidden."""
    shown, hide = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if name.startswith("--"):
            hide = SECRET.search(name) is not None
            shown.append(f"{name}={HIDDEN}" if hide and equals else argument)
        else:
            shown.append(HIDDEN if hide else argument)
    return shown


def polygon_settings(plan: PolygonPlan) -> dict[str, Any]:
    """Return the settings of polygons; the classes are None if all are selected."""
    area, length = ("px", "px") if plan.in_pixels else ("m2", "m")
    return {
        "classes": None if plan.labels is None else [plan.name_of(label) for label in plan.labels],
        "formats": plan.options.formats,
        f"min_area_{area}": plan.options.min_area,
        f"fill_holes_{area}": plan.options.fill_holes,
        "min_score": plan.options.min_score,
        f"sieve_{area}": plan.options.sieve,
        f"simplify_{length}": plan.options.simplify,
        "regularize": plan.options.regularize,
        "max_region_px": plan.options.max_region,
        "connectivity": plan.options.connectivity,
    }


def raster_entry(plan: Plan, published: Published) -> dict[str, Any]:
    """Return the manifest entry of a raster."""
    planned = plan.rasters[published.raster]
    records = [record.segmented for record in published.sheets]
    return {
        "bands": planned.bands,
        "resampled_from": resampled_from(planned),
        **polygons_entry(plan.polygons, published),
        "kept": False,
        "full_tiles": sum(record.full_tiles for record in published.sheets),
        "sheets": [sheet_entry(record) for record in records],
    }


def polygons_entry(plan: PolygonPlan, published: Published) -> dict[str, Any]:
    """Return the part of a raster's entry about its classes and files, for label maps of any origin."""
    planned = plan.rasters[published.raster]
    ground = planned.ground
    counts = LabelCounts.sum(record.pixels for record in published.sheets)
    nothing = counts.nothing - sum(record.outside for record in published.sheets)
    aoi_pixels = counts.measured + nothing
    return {
        "id": planned.id,
        "path": without_secrets(unsigned(planned.path)),
        "folder": result_folder(plan.output, planned.id),
        "published": bool(published.files),
        "height": ground.height,
        "width": ground.width,
        "gsd_m": None if isinstance(ground, PixelPlane) else ground.gsd(),
        "aoi_share": aoi_pixels / (ground.height * ground.width),
        "nodata_share": nothing / aoi_pixels if aoi_pixels else 0.0,
        "off_earth_px": sum(record.off_earth for record in published.sheets),
        "polygons": sum(record.count for record in published.features),
        f"polygon_{ground.area_attribute}": round(math.fsum(record.area for record in published.features), 1),
        "classes": _classes(plan, published.raster, counts, aoi_pixels, published.features),
        "files": published.files,
        "publish_seconds": published.seconds,
    }


def _classes(
    plan: PolygonPlan,
    raster: int,
    label_counts: LabelCounts,
    aoi_pixels: int,
    features: Sequence[FeatureRecord],
) -> dict[str, Any] | None:
    """Return share and polygons of each class, among `aoi_pixels` pixels; None if there are too many classes to list."""
    if label_counts.by_label is None:
        return None
    area_key = f"polygon_{plan.rasters[raster].ground.area_attribute}"
    classes = {}
    for label in sorted({*plan.class_names, *label_counts.by_label}):
        name, traced = plan.name_of(label), plan.is_selected(label)
        pixels = label_counts.by_label.get(label, 0)
        area = math.fsum(record.areas.get(name, 0.0) for record in features)
        classes[name] = {
            "label": label,
            "pixels": pixels,
            "share": pixels / aoi_pixels if aoi_pixels else 0.0,
            "polygons": sum((record.counts or {}).get(name, 0) for record in features) if traced else None,
            area_key: round(area, 1) if traced else None,
        }
    return classes


def sheet_entry(sheet: SheetRecord) -> dict[str, Any]:
    """Return the manifest entry of a sheet."""
    return {
        "row": sheet.row,
        "col": sheet.col,
        "key": sheet.key,
        "fate": sheet.fate,
        "tiles": sheet.tiles,
        "attempts": sheet.attempts,
        "failure": sheet.failure,
        "seconds": sheet.seconds,
        "profile": sheet.profile,
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
