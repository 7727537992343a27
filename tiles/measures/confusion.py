"""Pixelwise agreement of two label maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.truth.scene import IGNORED


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each pair of true and predicted label.

    Args:
        truth: True labels, uint8, any shape; pixels of `IGNORED` are left out.
        predicted: Predicted labels, uint8, the same shape; pixels of `IGNORED` are left out.
        classes: Number of classes.

    Returns:
        int64 ``(classes, classes)``: rows are the truth, columns the prediction.

    Raises:
        ValueError: If a label belongs to no class.
    """
    known = (truth != IGNORED) & (predicted != IGNORED)
    rows, columns = truth[known], predicted[known]
    worst = max(rows.max(initial=0), columns.max(initial=0))
    if worst >= classes:
        raise ValueError(f"label {worst} is not one of the {classes} classes")
    places = rows.astype(np.int32) * classes + columns
    return np.bincount(places, minlength=classes**2).reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PixelFigures:
    """Pixel metrics of a confusion matrix; undefined ones (0/0) are NaN.

    Attributes:
        accuracy: Share of the pixels with the true label.
        iou: Intersection over union of each class; NaN if it occurs neither in truth nor in prediction.
        precision: Share of the pixels predicted as each class that are of that class.
        recall: Share of the pixels of each true class that were predicted as it.
        f1: Harmonic mean of both.
    """

    accuracy: float
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def pixel_figures(matrix: np.ndarray) -> PixelFigures:
    """Compute pixel metrics from a confusion matrix, rows the truth, int64 ``(classes, classes)``.

    IoU is defined as in the `PASCAL VOC challenge <http://host.robots.ox.ac.uk/pascal/VOC/>`_.
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
    """Average the values that are not NaN, those of classes in truth or prediction; NaN if there are none."""
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if known.size else float("nan")
