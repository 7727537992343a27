"""The record of a run: what ran on what, with which versions, and what came of it."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pipeline.describe import exactness
from pipeline.plan import Plan

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


ENGINE_PACKAGES = {"tensorflow": (), "openvino": ("openvino",), "onnx": ("onnxruntime", "tf2onnx")}


def manifest(plan: Plan, rasters: Sequence[dict[str, Any]], started: float) -> dict[str, Any]:
    """The manifest of a run that has ended.

    Args:
        plan: The run.
        rasters: What became of each raster; the profile of its sheets moves to the top.
        started: When the run started, in seconds since the epoch.
    """
    sheets = [sheet for raster in rasters for sheet in raster["sheets"]]
    profiles: list[dict[str, Any]] = []
    for sheet in sheets:
        profile = sheet.pop("profile")
        if profile not in profiles:
            profiles.append(profile)
    stages = {
        stage: sum(sheet["seconds"][stage] for sheet in sheets) for stage in ("read", "infer", "stitch")
    }
    return {
        "format": 1,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions(plan.engine)},
        "model": _model(plan),
        "inference": {
            "engine": plan.engine,
            "precision": plan.options.precision,
            "augment": plan.options.augment,
        },
        "profiles": profiles,
        "tiling": _tiling(plan),
        "polygons": {
            "classes": [plan.card.classes[label].name for label in plan.polygon_labels()],
            "formats": plan.options.formats,
            "min_area_m2": plan.options.min_area,
            "fill_holes_m2": plan.options.fill_holes,
            "min_score": plan.options.min_score,
            "simplify_m": plan.options.simplify,
        },
        "notes": plan.notes,
        "counts": {
            "rasters": len(rasters),
            "sheets": len(sheets),
            "sheets_inferred": sum(not sheet["reused"] for sheet in sheets),
            "sheets_reused": sum(sheet["reused"] for sheet in sheets),
            "tiles_inferred": sum(sheet["tiles"] for sheet in sheets),
        },
        "seconds": {"total": time.time() - started, **stages},
        "rasters": list(rasters),
    }


def _model(plan: Plan) -> dict[str, Any]:
    """What ran: all networks together, and each of them."""
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
        "sheet_px": plan.lattice(0).sheet_side,
        "stitch": plan.stitch,
        "reach_source": plan.card.reach_source,
        "exact": plan.exact,
        "exactness": exactness(plan),
    }


def _versions(engine: str) -> dict[str, str]:
    found = {}
    for package in (*PACKAGES, *ENGINE_PACKAGES[engine]):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
