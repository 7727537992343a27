"""Match anchors and boxes to the ground truth, and sample them for training."""

from __future__ import annotations

from typing import Any

from keras import ops

from terraseam.models.detection.boxes import NEVER, best, iou

Tensor = Any


def overlaps(boxes: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
    """Return the intersection over union of boxes with true boxes.

    Args:
        boxes: Shape ``(a, 4)`` or ``(n, a, 4)``.
        truth: True boxes, shape ``(n, g, 4)``.
        labels: Shape ``(n, g)``, 0 where a row is empty.

    Returns:
        Intersection over union ``(n, a, g)``; -1 for empty rows.
    """
    return ops.where(labels[:, None, :] > 0, iou(boxes, truth), -1.0)


def match_anchors(shares: Tensor, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Classify anchors as positive (matched to an object), negative (background), or ignored.

    An anchor is positive if its IoU with an object reaches the second limit, or if no anchor overlaps the object
    more. It is negative if its IoU with every object is below the first limit. All others are ignored
    (https://arxiv.org/abs/1506.01497, section 3.1.2).

    Args:
        shares: Output of `overlaps`, ``(n, a, g)``.
        limits: The two limits, 0 to 1.

    Returns:
        Two boolean arrays ``(n, a)``: positive and negative anchors.
    """
    most = ops.max(shares, axis=-1)
    best_of_object = ops.max(shares, axis=1, keepdims=True)
    is_best = ops.any(ops.logical_and(shares == best_of_object, best_of_object > 0), axis=-1)
    holds = ops.logical_or(most >= limits[1], is_best)
    return holds, ops.logical_and(most < limits[0], ops.logical_not(holds))


def sample(
    holds: Tensor, ground: Tensor, noise: Tensor, count: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample boxes at random.

    Args:
        holds: Positive boxes, ``(n, a)`` bool.
        ground: Negative (background) boxes, ``(n, a)`` bool.
        noise: Uniform random numbers from 0 to 1, ``(n, a)``, which determine the sample.
        count: Number of boxes to sample. Negative boxes fill the rows left by positive ones.
        most: Maximum number of positive boxes.

    Returns:
        Indices ``(n, count)`` int32, positive boxes first; which of them are positive, and which were
        sampled at all, ``(n, count)`` bool.
    """
    limit = best(ops.where(holds, noise, NEVER), most)[0][:, -1:]
    positive = ops.logical_and(holds, noise >= limit)
    marks, places = best(ops.where(positive, 1.0 + noise, ops.where(ground, noise, NEVER)), count)
    return places, marks >= 1.0, marks > NEVER


def mask_targets(masks: Tensor, boxes: Tensor, rois: Tensor, size: int) -> Tensor:
    """Resample masks stored relative to their own boxes to the cells of other boxes.

    Args:
        masks: Coverage 0 to 1, ``(n, k, side, side)``; cells divide the box.
        boxes: Their boxes, ``(n, k, 4)``.
        rois: Boxes to sample, one for each mask, ``(n, k, 4)``.
        size: Cells along each axis.

    Returns:
        0 or 1, ``(n, k, size, size)``: bilinear at the centres of cells, 0 beyond the masks, thresholded at 0.5.
    """
    side = masks.shape[-1]
    rows, columns = (_hats(boxes, rois, axis, size, side) for axis in (0, 1))
    shares = ops.matmul(ops.matmul(rows, masks), ops.swapaxes(columns, -1, -2))
    return ops.cast(shares >= 0.5, "float32")


def _hats(boxes: Tensor, rois: Tensor, axis: int, size: int, side: int) -> Tensor:
    """Return the weight of every mask cell for every target cell along one axis, ``(n, k, size, side)``."""
    start, extent = boxes[..., axis, None], boxes[..., axis + 2, None] - boxes[..., axis, None]
    first, last = rois[..., axis, None], rois[..., axis + 2, None]
    centres = first + (last - first) * (ops.arange(size, dtype="float32") + 0.5) / size
    places = (centres - start) / ops.maximum(extent, 1e-3) * side - 0.5
    return ops.maximum(0.0, 1.0 - ops.abs(places[..., None] - ops.arange(side, dtype="float32")))
