"""Clip label maps to the pixels that are published: those whose centre lies inside ``--aoi`` and on the Earth.

The prediction store is not affected: whole sheets are inferred, and pixels outside become nodata when label maps are
read from the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.raster.earth import OnEarth, find_off_earth
from terraseam.tiles.raster.georef import Georef, reaches_off_the_earth
from terraseam.tiles.vectors.aoi import clip_instance

if TYPE_CHECKING:
    from terraseam.pipeline.plan.polygons import PolygonPlan
    from terraseam.pipeline.vectorize.stage import LabelSource
    from terraseam.tiles.instances.resolve import ResolvedInstance


def clips(plan: PolygonPlan) -> bool:
    """Return whether some valid pixels may not be published."""
    return plan.aoi is not None or any(map(_limited, map(plan.georef, range(len(plan.rasters)))))


def clipped(labels: np.ndarray, plan: PolygonPlan, raster: int, window: Window) -> np.ndarray:
    """Return labels or codes of a window, with nodata outside the area of interest and off the Earth."""
    labels = _in_area(labels, plan, raster, window)
    georef = plan.georef(raster)
    if georef is None or not _limited(georef):
        return labels
    return np.where(find_off_earth(georef, window, labels != NODATA), labels.dtype.type(NODATA), labels)


def off_earth(labels: np.ndarray, plan: PolygonPlan, raster: int, window: Window) -> int:
    """Count the valid pixels of a window inside the area of interest, but off the Earth."""
    georef = plan.georef(raster)
    if georef is None or not _limited(georef):
        return 0
    measured = _in_area(labels, plan, raster, window) != NODATA
    return int(np.count_nonzero(find_off_earth(georef, window, measured)))


def clipped_instance(instance: ResolvedInstance, plan: PolygonPlan, raster: int) -> ResolvedInstance | None:
    """Clip an instance to the area of interest and the Earth; None if no pixels are left."""
    area, georef = plan.area(raster), plan.georef(raster)
    left = instance if area is None else clip_instance(instance, area)
    if left is None or georef is None or not _limited(georef):
        return left
    return clip_instance(left, OnEarth(georef))


def _in_area(labels: np.ndarray, plan: PolygonPlan, raster: int, window: Window) -> np.ndarray:
    area = plan.area(raster)
    return labels if area is None else np.where(area.mask(window), labels, labels.dtype.type(NODATA))


def _limited(georef: Georef | None) -> bool:
    return georef is not None and reaches_off_the_earth(georef)


class ClippedLabels:
    """The label maps of a source, with nodata where nothing is published; scores are unchanged."""

    def __init__(self, plan: PolygonPlan, source: LabelSource) -> None:
        self._plan = plan
        self._source = source

    def read(self, sheet: Any, depth: int) -> CodedLabels:
        """Read the labels of a sheet and of `depth` pixels around it."""
        raster, row, col = sheet.place
        own = self._plan.sheet_window(raster, row, col)
        corner = own.row_off - depth, own.col_off - depth
        window = Window(*corner, own.height + 2 * depth, own.width + 2 * depth)
        labels = self._source.read(sheet, depth)
        return CodedLabels(clipped(labels.codes, self._plan, raster, window), labels.table)

    def scores(self, sheet: Any) -> np.ndarray:
        """Read the scores of the pixels of a sheet, uint8."""
        return self._source.scores(sheet)

    def off_earth(self, sheet: Any) -> int:
        """Count the valid pixels of a sheet that are off the Earth."""
        raster, row, col = sheet.place
        if not _limited(self._plan.georef(raster)):
            return 0
        labels = self._source.read(sheet, 0).codes
        return off_earth(labels, self._plan, raster, self._plan.sheet_window(raster, row, col))
