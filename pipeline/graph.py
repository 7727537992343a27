"""The Beam graph: segment -> vectorize -> close -> publish; for detectors segment -> link -> settle -> paint -> publish.

Elements are keys, small records and open polygons; pixels and scores never cross a shuffle. The
graph breaks fusion behind the first half, so that accelerators only run that.
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from pipeline.close import close_seams
from pipeline.instances import join_instances
from pipeline.layout import RunFolder
from pipeline.plan import Plan
from pipeline.publish import PublishRasters, WriteManifest
from pipeline.segment import SegmentSheets, Sheet
from pipeline.vectorize import OPEN, VectorizeSheets, by_raster, surroundings

ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
"""What workers of the first half get, where the runner knows hints."""

BASE_MEMORY = 4_000_000_000
"""Memory of a worker of the first half beside the tiles in flight, in bytes."""


def build(
    pipeline: beam.Pipeline, plan: Plan, folder: RunFolder, workers: int, accelerated: bool, started: float
) -> None:
    """Add a run to a pipeline.

    Args:
        pipeline: An empty pipeline.
        plan: The run.
        folder: Where stages leave what the next ones read.
        workers: Processes that share a machine.
        accelerated: Whether the first half asks for an accelerator, if its engine can use one.
        started: When the run started, in seconds since the epoch.
    """
    rasters = pipeline | "Rasters" >> beam.Create(range(len(plan.rasters)))
    sheets = rasters | "Sheets" >> beam.FlatMap(raster_sheets, plan) | "SpreadSheets" >> beam.Reshuffle()
    segment = beam.ParDo(SegmentSheets(plan, folder, workers))
    if accelerated:
        memory = BASE_MEMORY + 2 * plan.chip_memory()
        segment = segment.with_resource_hints(min_ram=f"{memory // 10**6} MB")
        if plan.engine == "tensorflow":
            segment = segment.with_resource_hints(accelerator=ACCELERATOR)
    segmented = sheets | "Segment" >> segment
    kept = segmented | "BreakFusion" >> beam.Reshuffle()
    join = join_instances if plan.card.task == "instances" else join_regions
    vectorized, joined = join(kept, plan, folder)
    grouped = {"sheets": vectorized, "joined": joined} | "ByRaster" >> beam.CoGroupByKey()
    published = grouped | "Publish" >> beam.ParDo(PublishRasters(plan, folder))
    _ = (
        published
        | "OneKey" >> beam.WithKeys(0)
        | "AllRasters" >> beam.GroupByKey()
        | "Manifest" >> beam.ParDo(WriteManifest(plan, started))
    )


def join_regions(
    segmented: beam.PCollection, plan: Plan, folder: RunFolder
) -> tuple[beam.PCollection, beam.PCollection]:
    """Trace and close regions: `SheetRecord` -> (raster, `VectorRecord`), and (raster, `FeatureRecord`)."""
    vectorized = (
        by_raster(segmented)
        | "Surroundings" >> beam.FlatMap(surroundings)
        | "SpreadSurroundings" >> beam.Reshuffle()
        | "Vectorize" >> beam.ParDo(VectorizeSheets(plan, folder)).with_outputs(OPEN, main="sheets")
    )
    return vectorized.sheets, close_seams(vectorized[OPEN], plan, folder)


def raster_sheets(raster: int, plan: Plan) -> Iterator[Sheet]:
    """The sheets of a raster."""
    return ((raster, row, col) for row, col in plan.lattice(raster).sheets())
