"""Which anchors and boxes training looks at, and what is true of them."""

from __future__ import annotations

from typing import Any

from keras import ops

from terraseam.models.detection.boxes import NEVER, best, iou

Tensor = Any


def overlaps(boxes: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
    """Return the overlap of boxes with what is true.

    Args:
        boxes: Shape ``(a, 4)`` or ``(n, a, 4)``.
        truth: Shape ``(n, g, 4)``.
        labels: Shape ``(n, g)``, 0 where a row is empty.

    Returns:
        Intersection over union ``(n, a, g)``; -1 for empty rows.
    """
    return ops.where(labels[:, None, :] > 0, iou(boxes, truth), -1.0)


def match_anchors(shares: Tensor, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Tell anchors that hold a thing from those that hold the ground.

    An anchor holds a thing where they overlap by the second limit, or where no anchor overlaps the thing more. It
    holds the ground where it overlaps each thing by less than the first limit. All others are not looked at
    (https://arxiv.org/abs/1506.01497, section 3.1.2).

    Args:
        shares: What `overlaps` returns, ``(n, a, g)``.
        limits: The two limits, 0 to 1.

    Returns:
        Two boolean arrays ``(n, a)``: which hold a thing, and which the ground.
    """
    most = ops.max(shares, axis=-1)
    best_of_thing = ops.max(shares, axis=1, keepdims=True)
    is_best = ops.any(ops.logical_and(shares == best_of_thing, best_of_thing > 0), axis=-1)
    holds = ops.logical_or(most >= limits[1], is_best)
    return holds, ops.logical_and(most < limits[0], ops.logical_not(holds))


def sample(
    holds: Tensor, ground: Tensor, noise: Tensor, count: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw some boxes at random.

    Args:
        holds: Which hold a thing, ``(n, a)`` bool.
        ground: Which hold the ground, ``(n, a)`` bool.
        noise: Uniform from 0 to 1, ``(n, a)``; it decides the draw.
        count: How many to draw. The ground fills up what things leave.
        most: How many of them hold a thing at most.

    Returns:
        Places ``(n, count)`` int32, those that hold a thing first; which of them hold a thing, and which were
        drawn at all, ``(n, count)`` bool.
    """
    limit = best(ops.where(holds, noise, NEVER), most)[0][:, -1:]
    things = ops.logical_and(holds, noise >= limit)
    marks, places = best(ops.where(things, 1.0 + noise, ops.where(ground, noise, NEVER)), count)
    return places, marks >= 1.0, marks > NEVER


def mask_targets(masks: Tensor, boxes: Tensor, rois: Tensor, size: int) -> Tensor:
    """Read what is true within boxes off masks that are kept within boxes of their own.

    Args:
        masks: Shares 0 to 1, ``(n, k, side, side)``; cells tile the box.
        boxes: Their boxes, ``(n, k, 4)``.
        rois: Boxes to read, one for each mask, ``(n, k, 4)``.
        size: Cells along each axis.

    Returns:
        0 or 1, ``(n, k, size, size)``: bilinear at the centres of cells, with 0 beyond the masks, cut at a half.
    """
    side = masks.shape[-1]
    rows, columns = (_hats(boxes, rois, axis, size, side) for axis in (0, 1))
    shares = ops.matmul(ops.matmul(rows, masks), ops.swapaxes(columns, -1, -2))
    return ops.cast(shares >= 0.5, "float32")


def _hats(boxes: Tensor, rois: Tensor, axis: int, size: int, side: int) -> Tensor:
    """Return the weight of every cell of a mask for every cell of a box along one axis, ``(n, k, size, side)``."""
    start, extent = boxes[..., axis, None], boxes[..., axis + 2, None] - boxes[..., axis, None]
    first, last = rois[..., axis, None], rois[..., axis + 2, None]
    centres = first + (last - first) * (ops.arange(size, dtype="float32") + 0.5) / size
    places = (centres - start) / ops.maximum(extent, 1e-3) * side - 0.5
    return ops.maximum(0.0, 1.0 - ops.abs(places[..., None] - ops.arange(side, dtype="float32")))
