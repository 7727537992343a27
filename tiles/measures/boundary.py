"""Agreement of class boundaries within a tolerance in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.raster.picture import outlines
from terraseam.tiles.truth.scene import IGNORED


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryCounts:
    """Boundary pixels of each class, int64 ``(classes,)``. Counts of disjoint areas may be added.

    Attributes:
        predicted: Pixels on a predicted boundary.
        predicted_near: Those with a true boundary of their class within the tolerance.
        true: Pixels on a true boundary.
        true_near: Those with a predicted boundary of their class within the tolerance.
    """

    predicted: np.ndarray
    predicted_near: np.ndarray
    true: np.ndarray
    true_near: np.ndarray

    @classmethod
    def zero(cls, classes: int) -> BoundaryCounts:
        """Return counts of zero."""
        return cls(*(np.zeros(classes, np.int64) for _ in range(4)))

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        """Add two counts."""
        return BoundaryCounts(
            self.predicted + other.predicted,
            self.predicted_near + other.predicted_near,
            self.true + other.true,
            self.true_near + other.true_near,
        )

    @property
    def precision(self) -> np.ndarray:
        """Share of predicted boundaries that are near true ones; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return self.predicted_near / self.predicted

    @property
    def recall(self) -> np.ndarray:
        """Share of true boundaries that are near predicted ones; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return self.true_near / self.true

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of both; 0 if only one map has boundaries of a class, NaN if neither has."""
        precision, recall = np.nan_to_num(self.precision), np.nan_to_num(self.recall)
        with np.errstate(invalid="ignore"):
            f1 = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
        return np.where(self.predicted + self.true > 0, f1, np.nan)


def boundary_counts(
    truth: np.ndarray, predicted: np.ndarray, core: tuple[slice, slice], tolerance: int, classes: int
) -> BoundaryCounts:
    """Count boundary pixels in the core of two label maps, as defined by Csurka et al.

    A pixel is on the boundary of its class if one of its four neighbours is of another class. Pixels unknown in
    either map are left out of both and are not neighbours. Pixels are near if their centres are at most `tolerance`
    px apart. Counts of cores add up to those of the whole, whatever the cores.

    *What is a good evaluation measure for semantic segmentation?*, BMVC 2013, https://doi.org/10.5244/C.27.32

    Args:
        truth: True labels, uint8 ``(height, width)``: the core and `tolerance` + 1 px around it.
        predicted: Predicted labels of the same pixels.
        core: Rows and columns whose pixels are counted.
        tolerance: Tolerated distance, in pixels, 0 or more.
        classes: Number of classes.
    """
    unknown = (truth == IGNORED) | (predicted == IGNORED)
    truth, predicted = np.where(unknown, IGNORED, truth), np.where(unknown, IGNORED, predicted)
    true_edge, predicted_edge = outlines(truth, IGNORED), outlines(predicted, IGNORED)
    if not (true_edge[core].any() or predicted_edge[core].any()):
        return BoundaryCounts.zero(classes)
    offsets = disk(tolerance)
    counted: list[np.ndarray] = []
    for labels, edge, others, other_edge in (
        (predicted, predicted_edge, truth, true_edge),
        (truth, true_edge, predicted, predicted_edge),
    ):
        counted += _near(labels, edge, np.where(other_edge, others, IGNORED), core, offsets, classes)
    return BoundaryCounts(*counted)


def disk(radius: int) -> np.ndarray:
    """Return offsets ``(row, col)`` of the pixels within `radius` px, nearest first, int64 ``(pixels, 2)``."""
    steps = np.arange(-radius, radius + 1)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = (offsets**2).sum(axis=1)
    order = np.argsort(distance, kind="stable")
    return offsets[order][: np.count_nonzero(distance <= radius**2)]


def _near(
    labels: np.ndarray,
    edge: np.ndarray,
    others: np.ndarray,
    core: tuple[slice, slice],
    offsets: np.ndarray,
    classes: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Count boundary pixels of each class in the core, and those near a pixel of `others` of their class."""
    rows, cols = np.nonzero(edge[core])
    rows, cols = rows + core[0].start, cols + core[1].start
    own = labels[rows, cols]
    total = np.bincount(own, minlength=classes)
    radius = int(offsets.max(initial=0))
    padded = np.pad(others, radius, constant_values=IGNORED)
    rows, cols = rows + radius, cols + radius
    for row, col in offsets:
        far = padded[rows + row, cols + col] != own
        rows, cols, own = rows[far], cols[far], own[far]
        if not own.size:
            break
    return total, total - np.bincount(own, minlength=classes)
