"""Read the label maps of sheets from the prediction store, with context from the sheets around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np

from terraseam.pipeline.segment.prediction_store import PredictionStore
from terraseam.pipeline.segment.sheets import SheetRecord
from terraseam.pipeline.vectorize.edge_strips import EdgeStrips
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.labels.neighbour_context import NEIGHBOUR_OFFSETS, SheetOffset
from terraseam.tiles.labels.stitch import LabelMap


@dataclass(frozen=True)
class Surrounded:
    """A sheet, and the keys of the sheets around it.

    Attributes:
        record: Record of the sheet from segmentation.
        around: Content keys of its neighbours, by their direction.
    """

    record: SheetRecord
    around: dict[SheetOffset, str]
    counts: None = None

    @property
    def place(self) -> tuple[int, int, int]:
        """Raster, and row and column of the sheet."""
        return self.record.raster, self.record.row, self.record.col


def by_raster(segmented: beam.PCollection) -> beam.PCollection:
    """Group sheets by raster: `SheetRecord` -> (raster, records)."""
    return (
        segmented
        | "RasterOfSheet" >> beam.Map(lambda record: (record.raster, record))
        | "SheetsOfRaster" >> beam.GroupByKey()
    )


def surroundings(element: tuple[int, Iterable[SheetRecord]]) -> Iterator[Surrounded]:
    """Yield each sheet of a raster with the keys of the sheets around it."""
    _, records = element
    by_position = {(record.row, record.col): record for record in records}
    for (row, col), record in sorted(by_position.items()):
        around = {
            offset: by_position[row + offset[0], col + offset[1]].key
            for offset in NEIGHBOUR_OFFSETS
            if (row + offset[0], col + offset[1]) in by_position
        }
        yield Surrounded(record, around)


class StoredLabels:
    """The label maps of a prediction store; it pickles as the store's folder."""

    def __init__(self, store: PredictionStore) -> None:
        self._store = store
        self._edge_strips = EdgeStrips[str](self._labels)
        self._own = lru_cache(1)(self._load)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredLabels, (self._store,)

    def read(self, sheet: Surrounded, depth: int) -> CodedLabels:
        """Read the labels of a sheet and of `depth` pixels around it."""
        own = CodedLabels.plain(self._own(sheet.record.key).labels)
        return self._edge_strips.with_neighbour_context(own, sheet.around, depth)

    def scores(self, sheet: Surrounded) -> np.ndarray:
        """Read the scores of the pixels of a sheet, uint8."""
        return self._own(sheet.record.key).scores

    def off_earth(self, sheet: Surrounded) -> int:  # noqa: ARG002 - required by `LabelSource`
        """Return 0: pixels are published unchanged."""
        return 0

    def _labels(self, key: str) -> CodedLabels:
        return CodedLabels.plain(self._load(key).labels)

    def _load(self, key: str) -> LabelMap:
        return self._store.load(key, LabelMap)
