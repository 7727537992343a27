"""Trace the label maps of sheets into features; regions that continue in another sheet stay open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.vectorize.feature_files import FeatureRecord
from terraseam.pipeline.vectorize.label_counts import LabelCounts
from terraseam.pipeline.vectorize.trace_cache import CachedParts, TraceCache, make_regions
from terraseam.tiles.labels.cells import cut_into_cells
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.regions.corners import Corners, find_corners
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.neighbours import Neighbourhood, border_pixels
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import SeamSummary
from terraseam.tiles.regions.simplify import CornerTables, simplify
from terraseam.tiles.regions.tolerance import Tolerance
from terraseam.tiles.regions.trace import SheetRegions, decoded, number_regions, trace_closed, trace_open

if TYPE_CHECKING:
    from terraseam.pipeline.segment.sheets import SheetRecord

OPEN = "open"
"""Tag of the output with the seams of sheets that have open regions."""


class LabelSheet(Protocol):
    """A sheet whose label map can be read."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Raster, and row and column of the sheet."""

    @property
    def record(self) -> SheetRecord | None:
        """Its record from segmentation; None if it was not segmented."""

    @property
    def counts(self) -> LabelCounts | None:
        """Its published pixels by label; None if they are those of the labels that are read."""


class LabelSource(Protocol):
    """A source of the label maps of sheets."""

    def read(self, sheet: Any, depth: int) -> CodedLabels:
        """Read the labels of a sheet and of `depth` pixels around it."""

    def scores(self, sheet: Any) -> np.ndarray:
        """Read the scores of the pixels of a sheet, uint8."""

    def off_earth(self, sheet: Any) -> int:
        """Count the valid pixels of a sheet that are off the Earth, and are treated as nodata."""


@dataclass(frozen=True)
class VectorRecord:
    """The outcome of vectorizing one sheet.

    Attributes:
        place: Raster, and row and column of the sheet.
        pixels: Pixels by label.
        written: Its closed features; None if it has none.
        record: Its record from segmentation; None if it was not segmented.
        full_tiles: Tiles on which a detector reached its maximum number of instances.
        outside: Pixels outside the area of interest, which are counted as nodata.
        off_earth: Valid pixels off the Earth, which are counted as nodata, too.
        content: Content key of the labels that were traced; empty if unknown.
    """

    place: tuple[int, int, int]
    pixels: LabelCounts
    written: FeatureRecord | None
    record: SheetRecord | None = None
    full_tiles: int = 0
    outside: int = 0
    off_earth: int = 0
    content: str = ""

    @property
    def segmented(self) -> SheetRecord:
        """Its record from segmentation.

        Raises:
            ValueError: If it was not segmented in this run.
        """
        if self.record is None:
            raise ValueError(f"sheet {self.place} was not segmented in this run")
        return self.record


def read_sheet(source: LabelSource, sheet: LabelSheet, plan: PolygonPlan) -> tuple[CodedLabels, np.ndarray]:
    """Read the labels of a sheet with the context needed around it, and its scores."""
    return source.read(sheet, plan.depth(sheet.place[0])), source.scores(sheet)


def content_key(trace_cache: TraceCache, sheet: LabelSheet, labels: CodedLabels, scores: np.ndarray) -> str:
    """Return the trace cache key of the labels and scores of a sheet."""
    return trace_cache.key(sheet.place[0], sheet.place[1:], (labels.codes, labels.table, scores))


class VectorizeSheets(beam.DoFn):
    """A DoFn that traces sheets: `LabelSheet` -> raster -> `VectorRecord`; `OPEN`: raster -> (row, col, summary)."""

    def __init__(self, plan: PolygonPlan, folder: RunFolder, source: LabelSource) -> None:
        self._plan = plan
        self._folder = folder
        self._source = source
        self._trace_cache = TraceCache(folder.trace_cache, plan)
        self._timer = Metrics.distribution("terraseam", "vectorize_ms")

    def process(self, element: LabelSheet) -> Iterator[Any]:
        """Trace one sheet; closed regions are written as features, open ones as fragments."""
        start = time.perf_counter()
        raster, row, col = element.place
        labels, scores = read_sheet(self._source, element, self._plan)
        key = content_key(self._trace_cache, element, labels, scores)
        parts = self._trace_cache.get(key, CachedParts)
        if parts is None:
            parts = self._make(element.place, labels, scores)
            self._trace_cache.put(key, parts)
        written = parts.at(self._folder.closed_features(raster, row, col))
        pixels = element.counts or LabelCounts.of(labels.inner(self._plan.depth(raster)))
        outside = self._plan.outside(raster, self._plan.sheet_window(raster, row, col))
        off_earth = self._source.off_earth(element)
        record = VectorRecord(element.place, pixels, written, element.record, outside=outside)
        yield raster, replace(record, off_earth=off_earth, content=key)
        if parts.summary is not None:
            files.write_bytes(self._folder.fragments(raster, row, col), parts.fragments)
            yield beam.pvalue.TaggedOutput(OPEN, (raster, (row, col, parts.summary)))
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _make(self, place: tuple[int, int, int], labels: CodedLabels, scores: np.ndarray) -> CachedParts:
        """Turn the closed regions of a sheet into features, in batches, and the open ones into fragments."""
        raster, row, _ = place
        sight = self._sight(place, labels)
        sheet = number_regions(
            sight.framed,
            scores,
            sight.offset,
            self._plan.selected(labels.table),
            by_corners=self._plan.options.by_corners,
        )
        fragments, summary = self._open(sheet, sight)
        parts = make_regions(row, self._closed(sheet, sight), self._plan, raster)
        if not len(summary.labels):
            return parts
        return replace(parts, fragments=fragments.to_bytes(), summary=summary)

    def _sight(self, place: tuple[int, int, int], labels: CodedLabels) -> Sight:
        """Prepare a sheet with the context around it that its borders need."""
        raster = place[0]
        window, tolerance = self._plan.sheet_window(*place), self._plan.tolerance(raster)
        depth, near = self._plan.depth(raster), self._plan.near(raster)
        codes, table = labels.codes, labels.table
        side = self._plan.options.max_region
        if side is not None:
            codes = cut_into_cells(codes, (window.row_off - depth, window.col_off - depth), side, len(table))
        height, width = codes.shape
        framed = codes[depth - 1 : height - depth + 1, depth - 1 : width - depth + 1]
        corner = window.row_off - depth, window.col_off - depth
        borders = border_pixels(codes, corner, self._plan.selected(table)) if near else Corners.of()
        corners = find_corners(codes, corner) if tolerance else Corners.of()
        return Sight(framed, (window.row_off, window.col_off), table, (borders, near), (corners, tolerance))

    def _open(self, sheet: SheetRegions, sight: Sight) -> tuple[Fragments, SeamSummary]:
        """Trace the regions that continue in other sheets."""
        fragments, summary = trace_open(sheet)
        parts, (borders, near), (corners, tolerance) = fragments.parts, sight.borders, sight.corners
        around = [
            points.near(parts.coords, parts.ring_offsets, reach) if reach else Corners.of()
            for points, reach in ((corners, tolerance.reach if tolerance else 0), (borders, near))
        ]
        return decoded(Fragments(parts, *around), summary, sight.table)

    def _closed(self, sheet: SheetRegions, sight: Sight) -> Iterator[tuple[Regions, Neighbourhood]]:
        """Trace the regions inside the sheet; yield them simplified, and exact with the border pixels near them."""
        (borders, near), (corners, tolerance) = sight.borders, sight.corners
        tables = CornerTables.of(corners) if tolerance else None
        for chosen in sheet.closed_runs():
            regions = trace_closed(sheet, chosen)
            regions = replace(regions, labels=sight.table[regions.labels])
            around = borders.near(regions.coords, regions.ring_offsets, near) if near else Corners.of()
            shown = simplify(regions, tables, tolerance) if tables and tolerance else regions
            yield shown, Neighbourhood(regions, around)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A sheet with the context around it.

    Attributes:
        framed: Its codes and those of one pixel around it, shape ``(height + 2, width + 2)``.
        offset: Row and column of its first pixel.
        table: The label of each code.
        borders: Border pixels of regions, and the distance from regions within which they matter; 0 if they do not.
        corners: Corners of borders, and the tolerance of simplification; None for no simplification.
    """

    framed: np.ndarray
    offset: tuple[int, int]
    table: np.ndarray
    borders: tuple[Corners, int]
    corners: tuple[Corners, Tolerance | None]
