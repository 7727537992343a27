"""Validation of semantic networks: what they say of each pixel that has a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np

from terraseam.models.training.errors import TrainingError
from terraseam.models.training.losses import IGNORED, SegmentationLoss

Answer = Callable[[np.ndarray], np.ndarray]
"""From pixels ``(n, height, width, bands)`` of 0 to 255 to logits ``(n, height, width, classes)``."""


@dataclass(frozen=True, slots=True)
class PixelMeasures:
    """How a network did.

    Attributes:
        figure: What weights are chosen by.
        measures: Further figures by name.
    """

    figure: float
    measures: dict[str, float]


def confusion(labels: np.ndarray, answered: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by their label and what was answered, ``(classes, classes)``; pixels without a label count not.

    Args:
        labels: True labels, `IGNORED` where there is none.
        answered: Answered labels, of the same shape.
        classes: How many there are.

    Raises:
        TrainingError: If a true label is not one of the classes.
    """
    labelled = labels != IGNORED
    truth, found = labels[labelled].astype(np.int64), answered[labelled].astype(np.int64)
    if truth.size and truth.max() >= classes:
        raise TrainingError(
            f"labels hold {truth.max()}, but there are {classes} classes; map label values to classes"
        )
    return np.bincount(truth * classes + found, minlength=classes * classes).reshape(classes, classes)


def overlaps(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class; NaN for classes that neither occur nor are answered."""
    both = np.diag(counts)
    either = counts.sum(axis=1) + counts.sum(axis=0) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def validate_pixels(
    answer: Answer,
    validation: Iterable[tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...],
    loss: SegmentationLoss,
) -> PixelMeasures:
    """Measure a network on all validation chips.

    Args:
        answer: The network.
        validation: Pixels and labels, batch by batch.
        classes: Names of the classes.
        loss: The loss of training, without border weights.

    Returns:
        Mean IoU over the classes that occur in labels or answers, each class's IoU as ``iou_NAME``, ``accuracy`` and
        ``val_loss``, which is the mean of the batches' by their labelled pixels.

    Raises:
        TrainingError: If no pixel has a label.
    """
    counts = np.zeros((len(classes), len(classes)), np.int64)
    total = 0.0
    for pixels, labels in validation:
        logits = answer(pixels)
        counts += confusion(labels, logits.argmax(axis=-1), len(classes))
        total += float(keras.ops.convert_to_numpy(loss(labels, logits))) * int((labels != IGNORED).sum())
    if not counts.sum():
        raise TrainingError(
            "no pixel of the validation chips has a label, so no weights can be chosen; "
            "leave more labelled area to validation"
        )
    each = overlaps(counts)
    named = {f"iou_{name}": float(value) for name, value in zip(classes, each, strict=True)}
    accuracy = float(np.diag(counts).sum() / counts.sum())
    return PixelMeasures(
        float(np.nanmean(each)), {"val_loss": total / int(counts.sum()), "accuracy": accuracy, **named}
    )
