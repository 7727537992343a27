"""Validate detectors by matching predicted and true instances on mask overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from terraseam.models.detection.instances import ChipInstance
from terraseam.models.detection.paste import chip_instances
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.pixels import PixelMeasures

IOU = 0.5
"""Mask IoU at which an instance counts as found, as in SpaceNet's challenges (https://arxiv.org/abs/1807.01232)."""

Predictor = Callable[[np.ndarray], Any]
"""Function from pixels ``(n, height, width, bands)`` of 0 to 255 to boxes, labels, scores and masks of each chip."""


def decode_instances(outputs: Sequence[np.ndarray], size: tuple[int, int]) -> list[list[ChipInstance]]:
    """Return the instances of each chip from a detector's output for a batch of chips of one size."""
    return [
        chip_instances(boxes, labels, scores, masks, *size)
        for boxes, labels, scores, masks in zip(*outputs, strict=True)
    ]


def validate_instances(
    predictor: Predictor, validation: Iterable[tuple[np.ndarray, Sequence[Sequence[ChipInstance]]]]
) -> PixelMeasures:
    """Measure a detector on all validation chips.

    Args:
        predictor: The network.
        validation: Pixels and the true instances of each chip, batch by batch.

    Returns:
        F1 at the best score threshold, the ``threshold``, ``precision`` and ``recall`` there, and
        ``f1_all`` without a threshold. The threshold lies halfway between the lowest score kept and
        the next one: exactly at that score, rounding differences between tiles would decide.

    Raises:
        TrainingError: If there are no true instances.
    """
    scores: list[float] = []
    hits: list[bool] = []
    true = 0
    for pixels, truth in validation:
        for predictions, targets in zip(
            decode_instances(predictor(pixels), pixels.shape[1:3]), truth, strict=True
        ):
            ranked = sorted(predictions, key=lambda instance: -instance.score)
            scores += [instance.score for instance in ranked]
            hits += match(ranked, targets)
            true += len(targets)
    if not true:
        raise TrainingError(
            "the validation chips hold no instances, so the best weights cannot be chosen; hold out a larger "
            "area for validation"
        )
    return _measured(np.array(scores), np.array(hits, bool), true)


def match(ranked: Sequence[ChipInstance], targets: Sequence[ChipInstance]) -> list[bool]:
    """Return which predicted instances of a chip are hits, matching greedily by score within each class.

    Args:
        ranked: Predicted instances, highest score first.
        targets: True instances.
    """
    left = list(targets)
    hits = []
    for instance in ranked:
        shares = [overlap(instance, target) if target.label == instance.label else 0.0 for target in left]
        place = int(np.argmax(shares)) if shares else -1
        hits.append(place >= 0 and shares[place] >= IOU)
        if hits[-1]:
            left.pop(place)
    return hits


def overlap(first: ChipInstance, second: ChipInstance) -> float:
    """Return the intersection over union of two masks of one chip."""
    top, left = max(first.row, second.row), max(first.col, second.col)
    bottom = min(first.row + first.mask.shape[0], second.row + second.mask.shape[0])
    right = min(first.col + first.mask.shape[1], second.col + second.mask.shape[1])
    if bottom <= top or right <= left:
        return 0.0
    first_cut, second_cut = (
        instance.mask[top - instance.row : bottom - instance.row, left - instance.col : right - instance.col]
        for instance in (first, second)
    )
    both = int(np.count_nonzero(first_cut & second_cut))
    return both / (np.count_nonzero(first.mask) + np.count_nonzero(second.mask) - both)


def _measured(scores: np.ndarray, hits: np.ndarray, true: int) -> PixelMeasures:
    """Return F1 at the best threshold; a threshold keeps all instances of equal score, or none."""
    order = np.argsort(-scores, kind="stable")
    ranked, good = scores[order], np.cumsum(hits[order])
    count = np.arange(1, len(order) + 1)
    f1 = 2 * good / (count + true)
    last_of_score = np.append(ranked[1:] < ranked[:-1], True) if len(ranked) else np.zeros(0, bool)
    if not len(ranked):
        nothing = {"threshold": float("nan"), "precision": float("nan"), "recall": 0.0, "f1_all": 0.0}
        return PixelMeasures(0.0, nothing)
    best = int(np.argmax(np.where(last_of_score, f1, -1.0)))
    return PixelMeasures(
        float(f1[best]),
        {
            "threshold": float(ranked[best : best + 2].mean()),
            "precision": float(good[best] / count[best]),
            "recall": float(good[best] / true),
            "f1_all": float(f1[-1]),
        },
    )
