"""Compare two label maps block by block: memory is independent of raster size, and results of the blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.measures.boundary import BoundaryCounts, boundary_counts
from terraseam.tiles.measures.confusion import confusion
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.polygons import PolygonTruth
from terraseam.tiles.truth.scene import IGNORED, Inside, Truth, on_ground


class LabelError(ValueError):
    """Raised when a label map holds a label that belongs to no class."""


@dataclass(frozen=True)
class Maps:
    """Predicted and true labels on the pixels of one raster.

    Attributes:
        georef: The raster whose pixels are counted.
        predicted: Predicted labels.
        truth: True labels.
        area: Area in which pixels are counted; None for everywhere.
    """

    georef: Georef
    predicted: Truth
    truth: Truth
    area: Inside | None = None

    def read(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return true and predicted labels of a view; where pixels are not counted, true ones are `IGNORED`."""
        truth, predicted = self.truth.labels(view).copy(), self.predicted.labels(view)
        on = on_ground(view, self.georef)
        truth[~(on if self.area is None else on & self.area.inside(view))] = IGNORED
        return truth, predicted


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """Pixel counts of one raster or of several; they may be added.

    Attributes:
        matrix: Confusion matrix, rows the truth, int64 ``(classes, classes)``.
        boundary: Counts of boundary pixels.
        without_truth: Pixels left out because their truth is unknown, or because they lie outside the area or off the
            Earth.
        without_prediction: Pixels of known truth left out because they have no prediction.
    """

    matrix: np.ndarray
    boundary: BoundaryCounts
    without_truth: int = 0
    without_prediction: int = 0

    @classmethod
    def zero(cls, classes: int) -> PixelCounts:
        """Return counts of zero."""
        return cls(np.zeros((classes, classes), np.int64), BoundaryCounts.zero(classes))

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """Add two counts."""
        return PixelCounts(
            self.matrix + other.matrix,
            self.boundary + other.boundary,
            self.without_truth + other.without_truth,
            self.without_prediction + other.without_prediction,
        )


@dataclass(frozen=True, slots=True)
class MapSettings:
    """Settings for comparing label maps.

    Attributes:
        classes: Number of classes.
        tolerance: Tolerated distance between boundaries, in pixels.
        block: Side of the squares read at once, in pixels; it does not affect results.
    """

    classes: int
    tolerance: int = 3
    block: int = 1024


def measure_maps(maps: Maps, settings: MapSettings) -> tuple[PixelCounts, np.ndarray | None]:
    """Count the pixels of a raster.

    Args:
        maps: The label maps to compare.
        settings: Classes, tolerance and block size.

    Returns:
        The counts and, if the truth is polygons, the pixels of each in the area without a prediction, int64 ``(n,)``.

    Raises:
        LabelError: If a label belongs to no class.
    """
    margin = settings.tolerance + 1
    total = PixelCounts.zero(settings.classes)
    polygons = maps.truth if isinstance(maps.truth, PolygonTruth) else None
    unseen = None if polygons is None else np.zeros(len(polygons), np.int64)
    for core in blocks(maps.georef, settings.block):
        wide = View(
            core.row - margin, core.col - margin, 1, 1, core.height + 2 * margin, core.width + 2 * margin
        )
        truth, predicted = maps.read(wide)
        inner = slice(margin, margin + core.height), slice(margin, margin + core.width)
        total = total + _block(truth, predicted, inner, settings)
        lacking = predicted[inner] == IGNORED
        if maps.area is not None and lacking.any():
            lacking &= maps.area.inside(core)
        if polygons is not None and unseen is not None and lacking.any():
            unseen += np.bincount(polygons.ids(core)[lacking], minlength=len(polygons) + 1)[1:]
    return total, unseen


def _block(
    truth: np.ndarray, predicted: np.ndarray, core: tuple[slice, slice], settings: MapSettings
) -> PixelCounts:
    for name, labels in (("truth", truth), ("prediction", predicted)):
        worst = labels[labels != IGNORED].max(initial=0)
        if worst >= settings.classes:
            raise LabelError(f"the {name} holds the label {worst}, but there are {settings.classes} classes")
    known = truth[core] != IGNORED
    return PixelCounts(
        confusion(truth[core], predicted[core], settings.classes),
        boundary_counts(truth, predicted, core, settings.tolerance, settings.classes),
        int(np.count_nonzero(~known)),
        int(np.count_nonzero(known & (predicted[core] == IGNORED))),
    )


def blocks(georef: Georef, side: int) -> Iterator[View]:
    """Yield the squares of a raster, row by row; those of the last row and column may be smaller."""
    for row in range(0, georef.height, side):
        for col in range(0, georef.width, side):
            yield View(row, col, 1, 1, min(side, georef.height - row), min(side, georef.width - col))
