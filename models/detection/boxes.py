"""Boxes ``row0, col0, row1, col1`` in chip pixels, and the anchors relative to which they are encoded."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from terraseam.models.detection.settings import STRIDES, Anchors

RPN_VARIANCE = (1.0, 1.0, 1.0, 1.0)
BOX_VARIANCE = (0.1, 0.1, 0.2, 0.2)
"""Divisors of the box head's deltas that give them a standard deviation of about one (weights 10, 10, 5, 5)."""
LARGEST_GROWTH = math.log(1000 / 16)
"""Log of the largest factor by which a box may exceed its anchor: keeps exp from overflowing."""
CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
NEVER = float("-inf")

Tensor = Any
Sizes = tuple[int | Tensor, int | Tensor]
"""Rows and columns of a map, known numbers or tensors."""


def encode(anchors: Tensor, boxes: Tensor, variance: tuple[float, ...]) -> Tensor:
    """Encode boxes ``(..., 4)`` as deltas from anchors ``(..., 4)``: centre row and column, log height and width.

    See https://arxiv.org/abs/1311.2524, appendix C.
    """
    return keras.utils.bounding_boxes.encode_box_to_deltas(
        anchors, boxes, anchor_format="yxyx", box_format="yxyx", variance=variance
    )


def decode(anchors: Tensor, deltas: Tensor, variance: tuple[float, ...]) -> Tensor:
    """Decode deltas to boxes, the inverse of `encode`; boxes grow by a log factor of at most `LARGEST_GROWTH`."""
    limits = [LARGEST_GROWTH / share for share in variance[2:]]
    sides = ops.minimum(deltas[..., 2:], ops.convert_to_tensor(limits, deltas.dtype))
    return keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors,
        ops.concatenate([deltas[..., :2], sides], axis=-1),
        anchor_format="yxyx",
        box_format="yxyx",
        variance=variance,
    )


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of boxes ``(n, a, 4)`` and others ``(n, b, 4)``, shape ``(n, a, b)``."""
    return keras.utils.bounding_boxes.compute_iou(boxes, others, "yxyx")


def clip(boxes: Tensor, size: Sizes) -> Tensor:
    """Clip boxes to a chip of the given rows and columns."""
    limits = ops.cast(ops.stack([size[0], size[1], size[0], size[1]]), boxes.dtype)
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def has_area(boxes: Tensor) -> Tensor:
    """Return whether boxes ``(..., 4)`` have positive height and width."""
    return ops.logical_and(boxes[..., 2] > boxes[..., 0], boxes[..., 3] > boxes[..., 1])


def levels(boxes: Tensor) -> Tensor:
    """Return the pyramid level from which a box's features are read: 0 for P2 to 3 for P5.

    Equation 1 of https://arxiv.org/abs/1612.03144.
    """
    height, width = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    size = ops.sqrt(ops.maximum(height * width, 1e-6))
    level = ops.floor(CANONICAL_LEVEL + ops.log(size / CANONICAL_SIZE) / math.log(2.0) + 1e-6)
    return ops.cast(ops.clip(level, 2, 5), "int32") - 2


def level_anchors(size: Sizes, level: int, anchors: Anchors) -> Tensor:
    """Return the anchors of one level, in the order of rows, columns and ratios.

    Args:
        size: Rows and columns of the level's map.
        level: Index into `STRIDES`.
        anchors: Sizes and ratios.

    Returns:
        Boxes ``(rows * columns * ratios, 4)``, around the centres of the cells; they may extend beyond the chip.
    """
    stride = STRIDES[level]
    rows, columns = ((ops.cast(ops.arange(count), "float32") + 0.5) * stride for count in size)
    halves = [
        (anchors.sizes[level] * math.sqrt(ratio) / 2, anchors.sizes[level] / math.sqrt(ratio) / 2)
        for ratio in anchors.ratios
    ]
    spans = ops.convert_to_tensor([(-rows, -columns, rows, columns) for rows, columns in halves], "float32")
    row_grid, column_grid = ops.meshgrid(rows, columns, indexing="ij")
    centres = ops.stack([row_grid, column_grid, row_grid, column_grid], axis=-1)
    return ops.reshape(centres[:, :, None, :] + spans, (-1, 4))


def map_size(feature_map: Tensor) -> Sizes:
    """Return the rows and columns of a map ``(n, rows, columns, channels)``."""
    shape = ops.shape(feature_map)
    return shape[1], shape[2]


def take_rows(table: Tensor, places: Tensor) -> Tensor:
    """Return the rows of a table at given indices, chip by chip.

    Args:
        table: Shape ``(n, rows, channels)``.
        places: Shape ``(n, k)``, integers.

    Returns:
        Shape ``(n, k, channels)``.
    """
    shape = ops.shape(table)
    count = ops.shape(places)
    first = ops.cast(ops.arange(shape[0]), "int32")[:, None] * ops.cast(shape[1], "int32")
    flat = ops.reshape(table, (-1, table.shape[-1]))
    taken = ops.take(flat, ops.reshape(ops.cast(places, "int32") + first, (-1,)), axis=0)
    return ops.reshape(taken, (count[0], count[1], table.shape[-1]))


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the highest scores and their indices; ties keep their order.

    Args:
        scores: Shape ``(n, rows)``.
        count: Number of scores to return.

    Returns:
        Scores ``(n, count)``, minus infinity where there are fewer; indices ``(n, count)``, int32.
    """
    known = scores.shape[1]
    missing = count if known is None else max(0, count - known)
    padded = ops.pad(scores, [[0, 0], [0, missing]], constant_values=NEVER) if missing else scores
    if keras.backend.backend() == "torch":  # top_k of torch does not specify the order of ties
        places = ops.argsort(-padded, axis=-1)[:, :count]
        values = ops.take_along_axis(padded, places, axis=-1)
    else:
        values, places = ops.top_k(padded, count)
    last = ops.cast(ops.shape(scores)[1] - 1, "int32")
    return values, ops.minimum(ops.cast(places, "int32"), last)
