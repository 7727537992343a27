"""The graph of ``terraseam vectorize``: sheets of label rasters -> polygons -> files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np

from pipeline.dataflow import vectorize_arguments
from pipeline.graph import make_polygons
from pipeline.layout import RunFolder
from pipeline.manifest import polygon_settings, polygons_entry, run_entry, write_manifest
from pipeline.options import is_direct, runner_name
from pipeline.polygon_plan import LabelledRaster, PolygonPlan
from pipeline.publish import EndRun, Published, PublishRasters, clean_up, publish
from pipeline.run import run_job
from pipeline.vectorizing.plan import VectorizePlan
from tiles.codes import CodedLabels
from tiles.label_raster import LabelRaster
from tiles.sources import allow_sources
from tiles.window import Window

PACKAGES = ("terraseam", "apache-beam", "numpy", "rasterio", "shapely", "numba", "pyproj")


@dataclass(frozen=True)
class RasterSheet:
    """A sheet of a label raster.

    Attributes:
        place: Raster, and row and column of the sheet.
        window: Its pixels.
    """

    place: tuple[int, int, int]
    window: Window
    record: None = None
    counts: None = None


class RasterLabels:
    """The label rasters of a plan; it pickles as their paths.

    Args:
        rasters: The rasters.
        allowed: Patterns of servers that they may name.
    """

    def __init__(self, rasters: Sequence[LabelledRaster], allowed: tuple[str, ...]) -> None:
        self._allowed = allowed
        self._rasters = [LabelRaster(raster.path, raster.files) for raster in rasters]

    def read(self, sheet: RasterSheet, depth: int) -> CodedLabels:
        """Labels of a sheet and of `depth` pixels around it."""
        allow_sources(self._allowed)
        window = sheet.window
        around = Window(
            window.row_off - depth,
            window.col_off - depth,
            window.height + 2 * depth,
            window.width + 2 * depth,
        )
        return self._rasters[sheet.place[0]].read(around)

    def scores(self, sheet: RasterSheet) -> np.ndarray:
        """Nothing is known of scores: 0 everywhere, uint8."""
        return np.zeros(sheet.window.shape, np.uint8)


def run_vectorize(plan: VectorizePlan) -> dict[str, Any] | None:
    """Run a plan to the end.

    Returns:
        The manifest; None where a remote runner was only handed the job.

    Raises:
        BeamOptionError: If Beam cannot use the options that are meant for it.
        RunError: If the run failed, with the cause in a sentence.
    """
    options = plan.options
    job = replace(options, beam=vectorize_arguments(options.beam, options.output))
    return run_job(job, partial(build, plan=plan))


def build(
    pipeline: beam.Pipeline,
    folder: RunFolder,
    *,
    plan: VectorizePlan,
    workers: int,  # noqa: ARG001 - every job is told
    started: float,
) -> None:
    """Add the stages to an empty pipeline; see `pipeline.run.Build`."""
    polygons = plan.polygons
    source = RasterLabels(polygons.rasters, plan.options.allow_sources)
    sheets = (
        pipeline
        | "Rasters" >> beam.Create(range(len(polygons.rasters)))
        | "Sheets" >> beam.FlatMap(raster_sheets, polygons)
        | "SpreadSheets" >> beam.Reshuffle()
    )
    vectorized, joined = make_polygons(sheets, polygons, folder, source)
    end = EndRun(partial(end_vectorize, plan, started=started))
    ended = publish(vectorized, joined, PublishRasters(polygons, folder), end)
    if not is_direct(runner_name(plan.options.beam)):
        clean_up(ended, folder)


def raster_sheets(raster: int, plan: PolygonPlan) -> Iterator[RasterSheet]:
    """The sheets of a raster that are worked on."""
    lattice = plan.lattice(raster)
    return (
        RasterSheet((raster, row, col), lattice.sheet_window(row, col)) for row, col in plan.sheets(raster)
    )


def end_vectorize(plan: VectorizePlan, published: Sequence[Published], started: float) -> None:
    """Write the manifest of a run that has ended."""
    write_manifest(plan.options.output, vectorize_manifest(plan, published, started))


def vectorize_manifest(plan: VectorizePlan, published: Sequence[Published], started: float) -> dict[str, Any]:
    """The manifest of a run that has ended; of classes, it lists those that occur, if they are not too many."""
    polygons = plan.polygons
    rasters = [polygons_entry(polygons, one) for one in published]
    for raster in rasters:
        if raster["classes"] is not None:
            raster["classes"] = {name: found for name, found in raster["classes"].items() if found["pixels"]}
    settings = polygon_settings(polygons)
    if all(raster["classes"] is not None for raster in rasters):
        entries = [found for raster in rasters for found in raster["classes"].values()]
        traced = {found["label"] for found in entries if found["polygons"] is not None}
        settings["classes"] = [polygons.name_of(label) for label in sorted(traced)]
    area = f"polygon_{polygons.rasters[0].ground.area_attribute}"
    return {
        **run_entry(started, PACKAGES, plan.options),
        "inputs": {"aoi": plan.polygons.aoi.path if plan.polygons.aoi else None},
        "polygons": settings,
        "counts": {
            "rasters": len(rasters),
            "sheets": sum(len(one.sheets) for one in published),
            "polygons": sum(raster["polygons"] for raster in rasters),
            area: math.fsum(raster[area] for raster in rasters),
        },
        "rasters": rasters,
    }
