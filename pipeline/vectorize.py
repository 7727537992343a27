"""Label maps of sheets become features; regions that go on in another sheet stay open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipeline import files
from pipeline.feature_files import FeatureRecord
from pipeline.layout import RunFolder
from pipeline.made import Made, MadeBefore, make_regions
from pipeline.polygon_plan import PolygonPlan
from pipeline.tally import Tally
from tiles.cells import cut_into_cells
from tiles.codes import CodedLabels
from tiles.neighbours import Neighbourhood, see_neighbours
from tiles.trace import SheetTrace, simplify_sheet, trace_sheet

if TYPE_CHECKING:
    from pipeline.sheets import SheetRecord

OPEN = "open"
"""Tag of the output with the seams of sheets that have open regions."""


class LabelSheet(Protocol):
    """A sheet whose label map can be read."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Raster, and row and column of the sheet."""

    @property
    def record(self) -> SheetRecord | None:
        """What the first half said of it, where there was one."""

    @property
    def counts(self) -> Tally | None:
        """Its pixels by label as they are published; None for those of the labels that are read."""


class LabelSource(Protocol):
    """Where the label maps of sheets are."""

    def read(self, sheet: Any, depth: int) -> CodedLabels:
        """Labels of a sheet and of `depth` pixels around it."""

    def scores(self, sheet: Any) -> np.ndarray:
        """Scores of the pixels of a sheet, uint8."""


@dataclass(frozen=True)
class VectorRecord:
    """What became of one sheet in the second half.

    Attributes:
        place: Raster, and row and column of the sheet.
        pixels: Pixels by label.
        written: Its closed features; None where it has none.
        record: What the first half said of it; None where there was none.
        full_tiles: Tiles on which a detector had no room for more.
        outside: Pixels outside the area of interest, which are counted as nodata.
    """

    place: tuple[int, int, int]
    pixels: Tally
    written: FeatureRecord | None
    record: SheetRecord | None = None
    full_tiles: int = 0
    outside: int = 0

    @property
    def segmented(self) -> SheetRecord:
        """What the first half said of it.

        Raises:
            ValueError: If there was no first half.
        """
        if self.record is None:
            raise ValueError(f"sheet {self.place} was not segmented in this run")
        return self.record


class VectorizeSheets(beam.DoFn):
    """Traces label maps: `LabelSheet` -> raster -> `VectorRecord`, and under `OPEN` raster -> (row, col, summary)."""

    def __init__(self, plan: PolygonPlan, folder: RunFolder, source: LabelSource) -> None:
        self._plan = plan
        self._folder = folder
        self._source = source
        self._made = MadeBefore(folder.made, plan)
        self._timer = Metrics.distribution("terraseam", "vectorize_ms")

    def process(self, element: LabelSheet) -> Iterator[Any]:
        """Trace one sheet; closed regions are written as features, open ones as fragments."""
        start = time.perf_counter()
        raster, row, col = element.place
        depth = self._plan.depth(raster)
        labels, scores = self._source.read(element, depth), self._source.scores(element)
        key = self._made.key(raster, element.place[1:], (labels.codes, labels.table, scores))
        made = self._made.get(key, Made)
        if made is None:
            made = self._make(element.place, labels, scores)
            self._made.put(key, made)
        written = made.at(self._folder.closed_features(raster, row, col))
        pixels = element.counts or Tally.of(labels.inner(depth))
        outside = self._plan.outside(raster, self._plan.sheet_window(raster, row, col))
        yield raster, VectorRecord(element.place, pixels, written, element.record, outside=outside)
        if made.summary is not None:
            files.write_bytes(self._folder.fragments(raster, row, col), made.fragments)
            yield beam.pvalue.TaggedOutput(OPEN, (raster, (row, col, made.summary)))
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _make(self, place: tuple[int, int, int], labels: CodedLabels, scores: np.ndarray) -> Made:
        """Make features of the closed regions of a sheet, and fragments of the open ones."""
        raster, row, _ = place
        trace, traced = self._trace(place, labels, scores)
        made = make_regions(row, trace.closed, self._plan, raster, traced)
        if not len(trace.summary.labels):
            return made
        return replace(made, fragments=trace.fragments.to_bytes(), summary=trace.summary)

    def _trace(
        self, place: tuple[int, int, int], labels: CodedLabels, scores: np.ndarray
    ) -> tuple[SheetTrace, Neighbourhood]:
        """Trace a sheet, seen with as much of the sheets around it as its borders need.

        Returns:
            What was traced, simplified; its closed regions as they were before.
        """
        raster = place[0]
        window, tolerance = self._plan.sheet_window(*place), self._plan.tolerance(raster)
        depth, near = self._plan.depth(raster), self._plan.near(raster)
        codes, table = labels.codes, labels.table
        side = self._plan.options.max_region
        if side is not None:
            codes = cut_into_cells(codes, (window.row_off - depth, window.col_off - depth), side, len(table))
        height, width = codes.shape
        framed = codes[depth - 1 : height - depth + 1, depth - 1 : width - depth + 1]
        offset, corner = (window.row_off, window.col_off), (window.row_off - depth, window.col_off - depth)
        keep, by_corners = self._plan.kept(table), self._plan.options.by_corners
        trace = trace_sheet(framed, scores, offset, keep, by_corners=by_corners)
        if near:
            trace = see_neighbours(trace, codes, corner, keep, near)
        traced = Neighbourhood(trace.closed, trace.borders)
        if tolerance is not None:
            trace = simplify_sheet(trace, codes, corner, tolerance)
        return trace.decoded(table), traced
