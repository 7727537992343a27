"""Validate semantic networks on labelled pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np

from terraseam.models.training.errors import TrainingError
from terraseam.models.training.losses import IGNORED, SegmentationLoss

Predictor = Callable[[np.ndarray], np.ndarray]
"""Function from pixels ``(n, height, width, bands)`` of 0 to 255 to logits ``(n, height, width, classes)``."""


@dataclass(frozen=True, slots=True)
class PixelMeasures:
    """Validation metrics of a network.

    Attributes:
        figure: Score by which weights are selected.
        measures: Further metrics by name.
    """

    figure: float
    measures: dict[str, float]


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Compute the confusion matrix ``(classes, classes)``, true labels in rows; unlabelled pixels are ignored.

    Args:
        labels: True labels, `IGNORED` where unlabelled.
        predicted: Predicted labels, of the same shape.
        classes: Number of classes.

    Raises:
        TrainingError: If a true label is not below `classes`.
    """
    labelled = labels != IGNORED
    truth, predicted = labels[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
    if truth.size and truth.max() >= classes:
        raise TrainingError(
            f"labels hold {truth.max()}, but there are {classes} classes; map label values to classes"
        )
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def overlaps(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class; NaN for classes that are neither present nor predicted."""
    both = np.diag(counts)
    either = counts.sum(axis=1) + counts.sum(axis=0) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def validate_pixels(
    predictor: Predictor,
    validation: Iterable[tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...],
    loss: SegmentationLoss,
) -> PixelMeasures:
    """Measure a network on all validation chips.

    Args:
        predictor: The network.
        validation: Pixels and labels, batch by batch.
        classes: Names of the classes.
        loss: The loss of training, without border weights.

    Returns:
        Mean IoU over the classes present in labels or predictions, each class's IoU as ``iou_NAME``, ``accuracy`` and
        ``val_loss``, the mean over batches weighted by labelled pixels.

    Raises:
        TrainingError: If no pixel is labelled.
    """
    counts = np.zeros((len(classes), len(classes)), np.int64)
    total = 0.0
    for pixels, labels in validation:
        logits = predictor(pixels)
        counts += confusion(labels, logits.argmax(axis=-1), len(classes))
        total += float(keras.ops.convert_to_numpy(loss(labels, logits))) * int((labels != IGNORED).sum())
    if not counts.sum():
        raise TrainingError(
            "no pixel of the validation chips has a label, so the best weights cannot be chosen; hold out more "
            "labelled area for validation"
        )
    each = overlaps(counts)
    named = {f"iou_{name}": float(value) for name, value in zip(classes, each, strict=True)}
    accuracy = float(np.diag(counts).sum() / counts.sum())
    return PixelMeasures(
        float(np.nanmean(each)), {"val_loss": total / int(counts.sum()), "accuracy": accuracy, **named}
    )
