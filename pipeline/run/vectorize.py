"""Build and run the Beam graph of ``terraseam vectorize``: from sheets of label rasters to polygon files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam

from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.plan.polygons import VectorizePlan
from terraseam.pipeline.publish.manifest import polygon_settings, polygons_entry, run_entry, write_manifest
from terraseam.pipeline.publish.quarantine import left_out_features, write_quarantine_features
from terraseam.pipeline.publish.stage import EndRun, Published, PublishRasters, clean_up, publish
from terraseam.pipeline.run.dataflow import vectorize_arguments
from terraseam.pipeline.run.graph import make_polygons
from terraseam.pipeline.run.job import run_job
from terraseam.pipeline.storage.run_paths import RunFolder, quarantine_path
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, raster_sheets
from terraseam.pipeline.vectorize.label_watch import LabelWatch
from terraseam.pipeline.vectorize.trace_cache import TraceCache
from terraseam.tiles.raster.georef import Georef

PACKAGES = ("terraseam", "apache-beam", "numpy", "rasterio", "shapely", "numba", "pyproj")


def run_vectorize(plan: VectorizePlan) -> dict[str, Any] | None:
    """Run a vectorize plan to completion.

    Returns:
        The manifest; None if the job was only submitted to a remote runner.

    Raises:
        BeamOptionError: If Beam rejects its options.
        RunError: If the run failed, with the cause in a sentence.
    """
    options = plan.options
    job = replace(options, beam=vectorize_arguments(options.beam, options.output))
    return run_job(job, partial(build, plan=plan), hope="run the same command again to start over")


def build(
    pipeline: beam.Pipeline,
    folder: RunFolder,
    *,
    plan: VectorizePlan,
    workers: int,  # noqa: ARG001 - part of the `Build` protocol
    started: float,
) -> None:
    """Add the stages to an empty pipeline; see `terraseam.pipeline.run.job.Build`."""
    polygons = plan.polygons
    options = plan.options
    failure_folder = folder if options.on_error == "quarantine" else None
    source = RasterLabels(polygons.rasters, options.allow_sources, options.verify, failure_folder)
    sheets = (
        pipeline
        | "Rasters" >> beam.Create(range(len(polygons.rasters)))
        | "Sheets" >> beam.FlatMap(raster_sheets, polygons)
        | "SpreadSheets" >> beam.Reshuffle()
    )
    vectorized, joined = make_polygons(sheets, polygons, folder, source)
    end = EndRun(partial(end_vectorize, plan, started=started))
    again = RasterLabels(polygons.rasters, options.allow_sources, options.verify)
    watch = LabelWatch(polygons, again, TraceCache(folder.trace_cache, polygons), fail=failure_folder is None)
    ended = publish(vectorized, joined, PublishRasters(polygons, folder, watch=watch), end)
    if not plan.options.beam.is_direct:
        clean_up(ended, folder)


def end_vectorize(plan: VectorizePlan, published: Sequence[Published], started: float) -> None:
    """Write the manifest of a finished run, and the footprints of left-out rasters."""
    output, left_out = plan.options.output, left_out_of(plan, published)
    record = vectorize_manifest(plan, [outcome for outcome in published if not outcome.failure], started)
    record["left_out"] = [raster.to_json() for raster in left_out]
    record["counts"]["rasters_left_out"] = len(left_out)
    written = write_quarantine_features(output, list(left_out_features(left_out)))
    record["quarantine"] = quarantine_path(output) if written else None
    write_manifest(output, record)


def left_out_of(plan: VectorizePlan, published: Sequence[Published]) -> list[LeftOut]:
    """Return the rasters of a run that could not be used or read."""
    rasters = plan.polygons.rasters
    unread = [
        LeftOut(
            rasters[outcome.raster].path,
            (outcome.failure,),
            ground if isinstance(ground := rasters[outcome.raster].ground, Georef) else None,
            rasters[outcome.raster].id,
        )
        for outcome in published
        if outcome.failure
    ]
    return [*plan.left_out, *unread]


def vectorize_manifest(plan: VectorizePlan, published: Sequence[Published], started: float) -> dict[str, Any]:
    """Return the manifest of a finished run; it lists the classes that occur, unless there are too many."""
    polygons = plan.polygons
    rasters = [polygons_entry(polygons, outcome) for outcome in published]
    for raster in rasters:
        if raster["classes"] is not None:
            raster["classes"] = {name: entry for name, entry in raster["classes"].items() if entry["pixels"]}
    settings = polygon_settings(polygons)
    if all(raster["classes"] is not None for raster in rasters):
        entries = [entry for raster in rasters for entry in raster["classes"].values()]
        traced = {entry["label"] for entry in entries if entry["polygons"] is not None}
        settings["classes"] = [polygons.name_of(label) for label in sorted(traced)]
    area = f"polygon_{polygons.rasters[0].ground.area_attribute}"
    return {
        **run_entry(started, PACKAGES, plan.options),
        "inputs": {"aoi": plan.polygons.aoi.path if plan.polygons.aoi else None},
        "polygons": settings,
        "counts": {
            "rasters": len(rasters),
            "sheets": sum(len(outcome.sheets) for outcome in published),
            "polygons": sum(raster["polygons"] for raster in rasters),
            area: math.fsum(raster[area] for raster in rasters),
        },
        "rasters": rasters,
    }
