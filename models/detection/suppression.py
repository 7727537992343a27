"""Greedy non-maximum suppression with static shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from terraseam.models.detection.boxes import NEVER, best, iou, take_rows
from terraseam.models.detection.dispatch import uses_tensorflow

Tensor = Any


def suppress(
    boxes: Tensor, scores: Tensor, threshold: float, max_boxes: int, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Select boxes greedily: the best remaining one, dropping all that overlap it.

    Ties go to the first. TensorFlow's own kernel is used where allowed
    (see `terraseam.models.detection.dispatch`); its results are the same.

    Args:
        boxes: ``row0, col0, row1, col1``, shape ``(n, k, 4)``.
        scores: Shape ``(n, k)``; minus infinity for boxes that must not be selected.
        threshold: IoU above which the lower-scoring box is dropped.
        max_boxes: Maximum number of boxes to select, at most `k`.
        groups: Integers ``(n, k)``, such as classes, if only boxes of one group may drop each other.

    Returns:
        Indices of the selected boxes, in descending order of score, ``(n, max_boxes)`` int32, 0 where there are fewer; and
        which rows are valid, ``(n, max_boxes)`` bool.
    """
    boxes, scores = ops.stop_gradient(boxes), ops.stop_gradient(scores)
    if uses_tensorflow():
        return _suppress_tensorflow(boxes, scores, threshold, max_boxes, groups)
    return _suppress_anywhere(boxes, scores, threshold, max_boxes, groups)


def _suppress_anywhere(
    boxes: Tensor, scores: Tensor, threshold: float, max_boxes: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Suppress with `keras.ops`: sort once, compare all pairs once, then resolve which boxes are dropped."""
    count = boxes.shape[1]
    ordered, order = best(scores, count)
    drops = _drops(take_rows(boxes, order), threshold)
    if groups is not None:
        drops = ops.logical_and(drops, _same(take_rows(groups[..., None], order)[..., 0]))
    places = ops.arange(count)
    earlier = ops.cast(places[:, None] < places[None, :], "float32")
    chosen = _resolve(ops.cast(ordered > NEVER, "float32"), ops.cast(drops, "float32") * earlier)
    marks, rank = best(ops.where(chosen > 0.5, -ops.cast(places, "float32")[None, :], NEVER), max_boxes)
    valid = marks > NEVER
    indices = take_rows(order[..., None], rank)[..., 0]
    return ops.where(valid, indices, 0), valid


def _resolve(alive: Tensor, drops: Tensor) -> Tensor:
    """Return which boxes, in descending order of score, are kept.

    ``keep[j] = alive[j] and no kept earlier i drops j`` has one solution, as each row depends only on earlier
    ones. Each iteration fixes at least one more row, so it terminates, usually after a few.

    Args:
        alive: 1 for boxes that may be kept, ``(n, k)``.
        drops: 1 where box i, if kept, drops the later box j, ``(n, k, k)``.
    """

    def changed(keep: Tensor, before: Tensor) -> Tensor:
        return ops.any(ops.not_equal(keep, before))

    def step(keep: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        dropped = ops.matmul(keep[:, None, :], drops)[:, 0, :]
        return alive * ops.cast(dropped < 0.5, "float32"), keep

    keep, _ = ops.while_loop(changed, step, (alive, alive - 1.0))
    return keep


def _drops(boxes: Tensor, threshold: float) -> Tensor:
    """Return which pairs of boxes ``(n, k, 4)`` overlap beyond the threshold, ``(n, k, k)``."""
    return iou(boxes, boxes) > threshold


def _same(groups: Tensor) -> Tensor:
    """Return which pairs belong to one group, ``(n, k, k)``."""
    return ops.equal(groups[:, :, None], groups[:, None, :])


def _suppress_tensorflow(
    boxes: Tensor, scores: Tensor, threshold: float, max_boxes: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Suppress with TensorFlow's kernels, which support neither batches nor groups.

    With groups, boxes are compared by an overlap matrix that is 0 between groups.
    """
    import tensorflow as tf

    def suppress_chip(chip: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        places, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=chip[0],
            scores=chip[1],
            max_output_size=max_boxes,
            iou_threshold=threshold,
            score_threshold=NEVER,
            pad_to_max_output_size=True,
        )
        return tf.ensure_shape(places, (max_boxes,)), tf.range(max_boxes) < count

    def suppress_grouped_chip(chip: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        places = tf.image.non_max_suppression_overlaps(
            chip[0], chip[1], max_boxes, overlap_threshold=threshold, score_threshold=NEVER
        )
        count = tf.shape(places)[0]
        padded = tf.pad(places, [[0, max_boxes - count]])
        return tf.ensure_shape(padded, (max_boxes,)), tf.range(max_boxes) < count

    if groups is None:
        return _chip_by_chip(suppress_chip, boxes, scores, max_boxes)
    overlaps = tf.where(_same(groups), iou(boxes, boxes), 0.0)
    return _chip_by_chip(suppress_grouped_chip, overlaps, scores, max_boxes)


def _chip_by_chip(
    suppress_chip: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]],
    table: Tensor,
    scores: Tensor,
    max_boxes: int,
) -> tuple[Tensor, Tensor]:
    """Suppress chip by chip, without a loop if their number is known.

    Engines run TensorFlow with its single-threaded executor, which does not support loops.
    """
    import tensorflow as tf

    if scores.shape[0] is None:
        signature = (tf.TensorSpec((max_boxes,), tf.int32), tf.TensorSpec((max_boxes,), tf.bool))
        return tf.map_fn(suppress_chip, (table, scores), fn_output_signature=signature)
    chips = zip(tf.unstack(table), tf.unstack(scores), strict=True)
    places, valid = zip(*(suppress_chip(chip) for chip in chips), strict=True)
    return tf.stack(places), tf.stack(valid)
