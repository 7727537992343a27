"""Dissolve small regions before tracing: sheets -> seams -> sheets; see `terraseam.tiles.regions.sieve`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.vectorize.edge_strips import EdgeStrips
from terraseam.pipeline.vectorize.label_counts import LabelCounts
from terraseam.pipeline.vectorize.stage import LabelSheet, LabelSource
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.labels.neighbour_context import NEIGHBOUR_OFFSETS
from terraseam.tiles.regions.pixel_sizes import pixel_sizes
from terraseam.tiles.regions.sieve import PixelSizes, SieveSummary, apply_sieve, sieve_seams, sieve_sheet
from terraseam.tiles.stage_files import pack_labels, pack_sieve, unpack_labels, unpack_sieve

if TYPE_CHECKING:
    from terraseam.pipeline.segment.sheets import SheetRecord


@dataclass(frozen=True)
class SievedSheet:
    """A sheet whose small regions are dissolved.

    Attributes:
        sheet: The original sheet.
        counts: Its pixels by label before sieving.
    """

    sheet: LabelSheet
    counts: LabelCounts

    @property
    def place(self) -> tuple[int, int, int]:
        """Raster, and row and column of the sheet."""
        return self.sheet.place

    @property
    def record(self) -> SheetRecord | None:
        """Its record from segmentation; None if it was not segmented."""
        return self.sheet.record


def sieve(
    sheets: beam.PCollection, plan: PolygonPlan, folder: RunFolder, source: LabelSource
) -> tuple[beam.PCollection, LabelSource]:
    """Dissolve small regions: sheets of `source` -> `SievedSheet`, to be read from the returned source."""
    sieved = (
        sheets
        | "Sieve" >> beam.ParDo(SieveSheets(plan, folder, source))
        | "SievedOfRaster" >> beam.GroupByKey()
        | "SieveSeams" >> beam.FlatMap(resolve_seams, plan)
        | "SpreadResolved" >> beam.Reshuffle()
        | "ApplySieve" >> beam.ParDo(ApplySieve(folder))
        | "AllSieved" >> beam.GroupByKey()
        | "EachSieved" >> beam.FlatMap(lambda element: element[1])
        | "SpreadSieved" >> beam.Reshuffle()
    )
    return sieved, SievedLabels(plan, folder, source)


def sizes_of(plan: PolygonPlan, raster: int) -> PixelSizes:
    """Return the sizes of the pixels of a raster."""
    return pixel_sizes(plan.rasters[raster].ground, plan.options.sieve or 0.0)


class SieveSheets(beam.DoFn):
    """A DoFn that sieves regions away from seams: `LabelSheet` -> raster -> (`SievedSheet`, summary)."""

    def __init__(self, plan: PolygonPlan, folder: RunFolder, source: LabelSource) -> None:
        self._plan = plan
        self._folder = folder
        self._source = source
        self._timer = Metrics.distribution("terraseam", "sieve_ms")

    def process(self, element: LabelSheet) -> Iterator[tuple[int, tuple[SievedSheet, SieveSummary]]]:
        """Sieve one sheet."""
        start = time.perf_counter()
        raster, row, col = element.place
        window = self._plan.sheet_window(raster, row, col)
        framed = self._source.read(element, 1)
        with self._plan.naming(raster):
            sheet_sieve = sieve_sheet(framed, (window.row_off, window.col_off), sizes_of(self._plan, raster))
        files.write_packed(self._folder.sieving(raster, row, col), pack_sieve(sheet_sieve))
        yield raster, (SievedSheet(element, LabelCounts.of(framed.inner(1))), sheet_sieve.summary)
        self._timer.update(round((time.perf_counter() - start) * 1000))


def resolve_seams(
    element: tuple[int, Iterable[tuple[SievedSheet, SieveSummary]]], plan: PolygonPlan
) -> Iterator[tuple[SievedSheet, np.ndarray]]:
    """Return, for each sheet of a raster, the labels of the regions that depend on its seams."""
    raster, sieved = element
    sheets: dict[tuple[int, int], SievedSheet] = {}
    summaries: dict[tuple[int, int], SieveSummary] = {}
    for sheet, summary in sieved:
        _, row, col = sheet.place
        sheets[row, col], summaries[row, col] = sheet, summary
    with plan.naming(raster):
        resolved = sieve_seams(summaries, sizes_of(plan, raster))
    return ((sheets[key], labels) for key, labels in resolved.items())


class ApplySieve(beam.DoFn):
    """A DoFn that writes sieved label maps: (`SievedSheet`, labels) -> raster -> `SievedSheet`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def process(self, element: tuple[SievedSheet, np.ndarray]) -> Iterator[tuple[int, SievedSheet]]:
        """Write one label map."""
        sheet, resolved = element
        sheet_sieve = unpack_sieve(files.read_packed(self._folder.sieving(*sheet.place)))
        files.write_packed(self._folder.sieved(*sheet.place), pack_labels(apply_sieve(sheet_sieve, resolved)))
        yield sheet.place[0], sheet


class SievedLabels:
    """The sieved label maps of a run; scores are those of the original source."""

    def __init__(self, plan: PolygonPlan, folder: RunFolder, source: LabelSource) -> None:
        self._plan = plan
        self._folder = folder
        self._source = source
        self._edge_strips = EdgeStrips[tuple[int, int, int]](self._read)
        self._sheets = lru_cache(1)(lambda raster: frozenset(plan.sheets(raster)))

    def __reduce__(self) -> tuple[Any, ...]:
        return SievedLabels, (self._plan, self._folder, self._source)

    def read(self, sheet: SievedSheet, depth: int) -> CodedLabels:
        """Read the labels of a sheet and of `depth` pixels around it."""
        raster, row, col = sheet.place
        sheets = self._sheets(raster)
        around = {
            (down, right): (raster, row + down, col + right)
            for down, right in NEIGHBOUR_OFFSETS
            if (row + down, col + right) in sheets
        }
        return self._edge_strips.with_neighbour_context(self._read(sheet.place), around, depth)

    def scores(self, sheet: SievedSheet) -> np.ndarray:
        """Read the scores of the pixels of a sheet, uint8."""
        return self._source.scores(sheet.sheet)

    def off_earth(self, sheet: SievedSheet) -> int:
        """Count the valid pixels of a sheet that are off the Earth."""
        return self._source.off_earth(sheet.sheet)

    def _read(self, place: tuple[int, int, int]) -> CodedLabels:
        return unpack_labels(files.read_packed(self._folder.sieved(*place)))
