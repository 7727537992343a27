"""Greedy non-maximum suppression with static shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from terraseam.models.detection.boxes import NEVER, best, iou, take_rows
from terraseam.models.detection.dispatch import uses_tensorflow

Tensor = Any


def suppress(
    boxes: Tensor, scores: Tensor, threshold: float, kept: int, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose boxes greedily: the best that is left, then away with all that overlap it.

    Of equal scores the one that stands first is the better. TensorFlow's own kernel is used where it may be
    (see `terraseam.models.detection.dispatch`); it answers the same.

    Args:
        boxes: ``row0, col0, row1, col1``, shape ``(n, k, 4)``.
        scores: Shape ``(n, k)``; minus infinity where a box must not be chosen.
        threshold: Overlap (intersection over union) above which the worse box is dropped.
        kept: Boxes to choose at most, `k` at most.
        groups: Integers ``(n, k)``, where only boxes of one group may drop each other, such as classes.

    Returns:
        Places of the chosen boxes, from the best to the worst, ``(n, kept)`` int32, 0 where there are fewer; and
        whether one was chosen, ``(n, kept)`` bool.
    """
    boxes, scores = ops.stop_gradient(boxes), ops.stop_gradient(scores)
    if uses_tensorflow():
        return _suppress_tensorflow(boxes, scores, threshold, kept, groups)
    return _suppress_anywhere(boxes, scores, threshold, kept, groups)


def _suppress_anywhere(
    boxes: Tensor, scores: Tensor, threshold: float, kept: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Suppress in `keras.ops`: sort once, compare all pairs once, then settle who drops whom."""
    count = boxes.shape[1]
    ordered, order = best(scores, count)
    drops = _drops(take_rows(boxes, order), threshold)
    if groups is not None:
        drops = ops.logical_and(drops, _same(take_rows(groups[..., None], order)[..., 0]))
    places = ops.arange(count)
    earlier = ops.cast(places[:, None] < places[None, :], "float32")
    chosen = _settle(ops.cast(ordered > NEVER, "float32"), ops.cast(drops, "float32") * earlier)
    marks, rank = best(ops.where(chosen > 0.5, -ops.cast(places, "float32")[None, :], NEVER), kept)
    valid = marks > NEVER
    found = take_rows(order[..., None], rank)[..., 0]
    return ops.where(valid, found, 0), valid


def _settle(alive: Tensor, drops: Tensor) -> Tensor:
    """Return what is kept of boxes in the order of their scores.

    ``keep[j] = alive[j] and no kept earlier i drops j`` has one solution, as each row depends on earlier ones
    alone. Repeating the rule settles at least one more row each time, hence ends; mostly it takes a few steps.

    Args:
        alive: 1 where a box may be kept, ``(n, k)``.
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
    """Return which pairs of boxes ``(n, k, 4)`` overlap too much, ``(n, k, k)``."""
    return iou(boxes, boxes) > threshold


def _same(groups: Tensor) -> Tensor:
    """Return which pairs are of one group, ``(n, k, k)``."""
    return ops.equal(groups[:, :, None], groups[:, None, :])


def _suppress_tensorflow(
    boxes: Tensor, scores: Tensor, threshold: float, kept: int, groups: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Suppress with TensorFlow's kernels, which know one chip and no groups.

    Boxes of different groups are compared by a matrix of overlaps instead, where they have none.
    """
    import tensorflow as tf

    def one_chip(chip: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        places, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=chip[0],
            scores=chip[1],
            max_output_size=kept,
            iou_threshold=threshold,
            score_threshold=NEVER,
            pad_to_max_output_size=True,
        )
        return tf.ensure_shape(places, (kept,)), tf.range(kept) < count

    def one_chip_of_groups(chip: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        places = tf.image.non_max_suppression_overlaps(
            chip[0], chip[1], kept, overlap_threshold=threshold, score_threshold=NEVER
        )
        count = tf.shape(places)[0]
        return tf.ensure_shape(tf.pad(places, [[0, kept - count]]), (kept,)), tf.range(kept) < count

    if groups is None:
        return _chip_by_chip(one_chip, boxes, scores, kept)
    overlaps = tf.where(_same(groups), iou(boxes, boxes), 0.0)
    return _chip_by_chip(one_chip_of_groups, overlaps, scores, kept)


def _chip_by_chip(
    suppress_one: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]],
    table: Tensor,
    scores: Tensor,
    kept: int,
) -> tuple[Tensor, Tensor]:
    """Suppress chip by chip, without a loop where their number is known.

    Engines run TensorFlow with its executor of one thread, which knows no loops.
    """
    import tensorflow as tf

    if scores.shape[0] is None:
        made = (tf.TensorSpec((kept,), tf.int32), tf.TensorSpec((kept,), tf.bool))
        return tf.map_fn(suppress_one, (table, scores), fn_output_signature=made)
    chips = zip(tf.unstack(table), tf.unstack(scores), strict=True)
    places, valid = zip(*(suppress_one(chip) for chip in chips), strict=True)
    return tf.stack(places), tf.stack(valid)
