"""How two label maps agree, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.truth.scene import IGNORED


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each true and each predicted label.

    Args:
        truth: True labels, uint8, any shape; pixels of `IGNORED` are left out.
        predicted: Predicted labels, uint8, the same shape; pixels of `IGNORED` are left out.
        classes: Number of classes.

    Returns:
        int64 ``(classes, classes)``: rows are the truth, columns the prediction.

    Raises:
        ValueError: If there is a label of no class.
    """
    known = (truth != IGNORED) & (predicted != IGNORED)
    rows, columns = truth[known], predicted[known]
    worst = max(rows.max(initial=0), columns.max(initial=0))
    if worst >= classes:
        raise ValueError(f"label {worst} is none of {classes} classes")
    places = rows.astype(np.int32) * classes + columns
    return np.bincount(places, minlength=classes**2).reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PixelFigures:
    """What a confusion matrix says. Figures that have no meaning, a share of nothing, are NaN.

    Attributes:
        accuracy: Share of the pixels that have their true label.
        iou: Intersection over union of each class; NaN where it occurs neither in truth nor in prediction.
        precision: Share of the pixels of each predicted class that are of it.
        recall: Share of the pixels of each true class that were found.
        f1: Harmonic mean of both.
    """

    accuracy: float
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def pixel_figures(matrix: np.ndarray) -> PixelFigures:
    """The figures of a confusion matrix, rows the truth, int64 ``(classes, classes)``.

    IoU is that of the `PASCAL VOC challenge <http://host.robots.ox.ac.uk/pascal/VOC/>`_.
    """
    right = np.diagonal(matrix).astype(np.float64)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return PixelFigures(
            accuracy=float(right.sum() / np.float64(matrix.sum())),
            iou=right / (true + predicted - right),
            precision=right / predicted,
            recall=right / true,
            f1=2 * right / (true + predicted),
        )


def mean_of_known(figures: np.ndarray) -> float:
    """The mean of the figures that are not NaN: of classes that occur in truth or prediction. NaN for none."""
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if known.size else float("nan")
