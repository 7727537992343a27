"""Label maps of sheets become features; regions that touch a seam stay open."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipeline import files
from pipeline.feature_files import FeatureRecord, write_regions
from pipeline.layout import RunFolder, prediction_store
from pipeline.plan import Plan
from pipeline.segment import SheetRecord
from tiles.seams import Seams
from tiles.stitch import LabelMap
from tiles.trace import trace_sheet

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


class VectorizeSheets(beam.DoFn):
    """Traces label maps: raster -> `VectorRecord`, and under `OPEN` raster -> (row, col, summary)."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "vectorize_ms")

    def setup(self) -> None:
        """Find the store."""
        self._store = prediction_store(self._plan)

    def process(self, record: SheetRecord) -> Iterator[Any]:
        """Trace one sheet; closed regions are written as features, open ones as fragments."""
        start = time.perf_counter()
        label_map = self._store.load(record.key, LabelMap)
        raster, row, col = record.raster, record.row, record.col
        window = self._plan.lattice(raster).sheet_window(row, col)
        offset = (window.row_off, window.col_off)
        seams = sheet_seams(self._plan, raster, row, col)
        trace = trace_sheet(label_map.labels, label_map.scores, offset, seams, kept_labels(self._plan))
        path = self._folder.closed_features(raster, row, col)
        written = write_regions(path, row, trace.closed, self._plan, raster)
        yield raster, VectorRecord(record, pixels_by_label(label_map), written)
        if len(trace.summary.labels):
            files.write_bytes(self._folder.fragments(raster, row, col), pickle.dumps(trace.fragments))
            yield beam.pvalue.TaggedOutput(OPEN, (raster, (row, col, trace.summary)))
        self._timer.update(round((time.perf_counter() - start) * 1000))


def pixels_by_label(label_map: LabelMap) -> tuple[int, ...]:
    """Pixels by label, 256 of them."""
    return tuple(np.bincount(label_map.labels.ravel(), minlength=256).tolist())


def sheet_seams(plan: Plan, raster: int, row: int, col: int) -> Seams:
    """The sides of a sheet on which another sheet lies."""
    rows, cols = plan.lattice(raster).sheet_shape
    return Seams(top=row > 0, bottom=row < rows - 1, left=col > 0, right=col < cols - 1)


def kept_labels(plan: Plan) -> np.ndarray:
    """Which labels become polygons: bool, shape ``(256,)``."""
    keep = np.zeros(256, bool)
    keep[list(plan.polygon_labels())] = True
    return keep
