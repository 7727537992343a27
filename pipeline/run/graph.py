"""Build the Beam graph: segment, vectorize, close, publish; for detectors segment, link, resolve, paint, publish.

Elements are keys, small records and open polygons; pixels and scores are never shuffled. The graph
breaks fusion after inference, so that only inference runs on accelerators.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.plan.workers import infer_hints
from terraseam.pipeline.publish.label_map import LabelFiles
from terraseam.pipeline.publish.manifest import PublishedLedger, end_segment
from terraseam.pipeline.publish.stage import EndRun, PublishRasters, clean_up, publish
from terraseam.pipeline.run.raster_watch import RasterWatch
from terraseam.pipeline.segment.prediction_store import prediction_store
from terraseam.pipeline.segment.sheets import Sheet
from terraseam.pipeline.segment.stage import SegmentSheets
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.vectorize.clipped_labels import ClippedLabels, clips
from terraseam.pipeline.vectorize.close import close_seams
from terraseam.pipeline.vectorize.instances import join_instances
from terraseam.pipeline.vectorize.sieve import sieve
from terraseam.pipeline.vectorize.stage import OPEN, LabelSource, VectorizeSheets
from terraseam.pipeline.vectorize.stored_labels import StoredLabels, by_raster, surroundings


def build(pipeline: beam.Pipeline, folder: RunFolder, *, plan: Plan, workers: int, started: float) -> None:
    """Add the stages of a segmentation to a pipeline.

    Args:
        pipeline: An empty pipeline.
        folder: Folder for files passed between stages.
        plan: The plan of the run.
        workers: Processes that share a machine.
        started: When the run started, in seconds since the epoch.
    """
    numbers = pipeline | "Rasters" >> beam.Create(plan.open_rasters())
    sheets = numbers | "Sheets" >> beam.FlatMap(raster_sheets, plan) | "SpreadSheets" >> beam.Reshuffle()
    segment = beam.ParDo(SegmentSheets(plan, folder, workers))
    if not plan.options.runs_here:
        segment = segment.with_resource_hints(**infer_hints(plan))
    segmented = sheets | "Segment" >> segment
    records = segmented | "BreakFusion" >> beam.Reshuffle()
    join = join_instances if plan.card.task == "instances" else join_regions
    vectorized, joined = join(records, plan, folder)
    rasters = PublishRasters(
        plan.polygons, folder, LabelFiles(plan, folder), PublishedLedger(plan), RasterWatch(plan)
    )
    ended = publish(vectorized, joined, rasters, EndRun(partial(end_segment, plan, folder, started=started)))
    if not plan.options.runs_here:
        clean_up(ended, folder)


def join_regions(
    segmented: beam.PCollection, plan: Plan, folder: RunFolder
) -> tuple[beam.PCollection, beam.PCollection]:
    """Trace and close regions: `SheetRecord` to (raster, `VectorRecord`) and (raster, `FeatureRecord`)."""
    sheets = (
        by_raster(segmented)
        | "Surroundings" >> beam.FlatMap(surroundings)
        | "SpreadSurroundings" >> beam.Reshuffle()
    )
    return make_polygons(sheets, plan.polygons, folder, StoredLabels(prediction_store(plan)))


def make_polygons(
    sheets: beam.PCollection, plan: PolygonPlan, folder: RunFolder, source: LabelSource
) -> tuple[beam.PCollection, beam.PCollection]:
    """Clip, sieve, trace, close: sheets of `source` to (raster, `VectorRecord`) and (raster, `FeatureRecord`)."""
    if clips(plan):
        source = ClippedLabels(plan, source)
    if plan.options.sieve is not None:
        sheets, source = sieve(sheets, plan, folder, source)
    vectorize = beam.ParDo(VectorizeSheets(plan, folder, source)).with_outputs(OPEN, main="sheets")
    vectorized = sheets | "Vectorize" >> vectorize
    return vectorized.sheets, close_seams(vectorized[OPEN], plan, folder)


def raster_sheets(raster: int, plan: Plan) -> Iterator[Sheet]:
    """Yield the sheets of a raster to process."""
    return ((raster, row, col) for row, col in plan.sheets(raster))
