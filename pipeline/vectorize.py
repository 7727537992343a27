"""Label maps of sheets become features; regions that go on in another sheet stay open."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipeline import files
from pipeline.feature_files import FeatureRecord, write_regions
from pipeline.layout import RunFolder, prediction_store
from pipeline.plan import Plan
from pipeline.segment import SheetRecord
from tiles.apron import Rim, Way, rim_of, with_apron
from tiles.stitch import LabelMap
from tiles.trace import SheetTrace, simplify_sheet, trace_sheet

RIMS = 64
"""Rims of sheets that a worker keeps: with sheets of 2048 px, 8 kB for each pixel of their depth."""

OPEN = "open"
"""Tag of the output with the seams of sheets that have open regions."""


@dataclass(frozen=True)
class VectorRecord:
    """What became of one sheet in the second half.

    Attributes:
        sheet: What the first half said of it.
        pixels: Pixels by label, 256 of them; the last counts nodata.
        written: Its closed features; None where it has none.
        full_tiles: Tiles on which a detector had no room for more.
    """

    sheet: SheetRecord
    pixels: tuple[int, ...]
    written: FeatureRecord | None
    full_tiles: int = 0


@dataclass(frozen=True)
class Surrounded:
    """A sheet and the keys of the sheets around it.

    Attributes:
        sheet: What the first half said of the sheet.
        around: Content keys of the sheets beside it, by the way to them.
    """

    sheet: SheetRecord
    around: dict[Way, str]


def by_raster(segmented: beam.PCollection) -> beam.PCollection:
    """The sheets of each raster: `SheetRecord` -> (raster, records)."""
    return (
        segmented
        | "RasterOfSheet" >> beam.Map(lambda record: (record.raster, record))
        | "SheetsOfRaster" >> beam.GroupByKey()
    )


def surroundings(element: tuple[int, Iterable[SheetRecord]]) -> Iterator[Surrounded]:
    """For each sheet of a raster, the sheets around it."""
    _, records = element
    placed = {(record.row, record.col): record for record in records}
    for (row, col), record in sorted(placed.items()):
        around = {
            way: placed[row + way[0], col + way[1]].key
            for way in product((-1, 0, 1), (-1, 0, 1))
            if any(way) and (row + way[0], col + way[1]) in placed
        }
        yield Surrounded(record, around)


class VectorizeSheets(beam.DoFn):
    """Traces label maps: `Surrounded` -> raster -> `VectorRecord`, and under `OPEN` raster -> (row, col, summary)."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "vectorize_ms")

    def setup(self) -> None:
        """Find the store."""
        self._store = prediction_store(self._plan)
        self._rim = lru_cache(RIMS)(self._read_rim)

    def process(self, element: Surrounded) -> Iterator[Any]:
        """Trace one sheet; closed regions are written as features, open ones as fragments."""
        start = time.perf_counter()
        record = element.sheet
        label_map = self._store.load(record.key, LabelMap)
        raster, row, col = record.raster, record.row, record.col
        window = self._plan.lattice(raster).sheet_window(row, col)
        trace = self._trace(label_map, element.around, raster, (window.row_off, window.col_off))
        path = self._folder.closed_features(raster, row, col)
        written = write_regions(path, row, trace.closed, self._plan, raster)
        yield raster, VectorRecord(record, pixels_by_label(label_map), written)
        if len(trace.summary.labels):
            files.write_bytes(self._folder.fragments(raster, row, col), pickle.dumps(trace.fragments))
            yield beam.pvalue.TaggedOutput(OPEN, (raster, (row, col, trace.summary)))
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _trace(
        self, label_map: LabelMap, around: dict[Way, str], raster: int, offset: tuple[int, int]
    ) -> SheetTrace:
        """Trace a sheet, seen with as much of the sheets around it as its borders need."""
        tolerance = self._plan.tolerance(raster)
        depth = tolerance.reach + 1 if tolerance else 1
        labels = with_apron(
            label_map.labels, {way: self._rim(key, depth) for way, key in around.items()}, depth
        )
        framed = labels[depth - 1 : len(labels) - depth + 1, depth - 1 : labels.shape[1] - depth + 1]
        trace = trace_sheet(framed, label_map.scores, offset, kept_labels(self._plan))
        if tolerance is None:
            return trace
        return simplify_sheet(trace, labels, (offset[0] - depth, offset[1] - depth), tolerance)

    def _read_rim(self, key: str, depth: int) -> Rim:
        return rim_of(self._store.load(key, LabelMap).labels, depth)


def pixels_by_label(label_map: LabelMap) -> tuple[int, ...]:
    """Pixels by label, 256 of them."""
    return tuple(np.bincount(label_map.labels.ravel(), minlength=256).tolist())


def kept_labels(plan: Plan) -> np.ndarray:
    """Which labels become polygons: bool, shape ``(256,)``."""
    keep = np.zeros(256, bool)
    keep[list(plan.polygon_labels())] = True
    return keep
