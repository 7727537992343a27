"""RoIAlign: pool features of boxes without rounding (https://arxiv.org/abs/1703.06870, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from terraseam.models.detection.boxes import levels, map_size
from terraseam.models.detection.dispatch import uses_tensorflow

SAMPLES = 2
"""Samples per bin along each axis."""

Tensor = Any


def pyramid_roi_align(maps: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, size: int) -> Tensor:
    """Pool the features of boxes, each from the pyramid level that fits its size.

    Args:
        maps: P2 to P5, each ``(n, rows, columns, channels)``, or one map for all boxes.
        strides: Their strides, in pixels.
        boxes: ``row0, col0, row1, col1`` in chip pixels, ``(n, k, 4)``; no gradient flows into them.
        size: Bins along each axis.

    Returns:
        Features ``(n * k, size, size, channels)``: the mean of `SAMPLES` x `SAMPLES` bilinear samples per bin,
        between the centres of cells. Samples up to half a cell beyond the map take the value at its edge, those
        more than a cell beyond its outermost centres are 0.
    """
    boxes = ops.stop_gradient(boxes)
    level = levels(boxes) if len(maps) > 1 else ops.zeros_like(boxes[..., 0], dtype="int32")
    if uses_tensorflow():
        return _align_tensorflow(maps, strides, boxes, level, size)
    return _align_anywhere(maps, strides, boxes, level, size)


def _align_anywhere(
    maps: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, level: Tensor, size: int
) -> Tensor:
    """Align with `keras.ops`: concatenate the cells of all levels, and gather four of them for each sample.

    Samples of a bin are processed one at a time, which needs a quarter of the memory.
    """
    channels = maps[0].shape[-1]
    table = ops.concatenate(
        [ops.reshape(feature_map, (ops.shape(feature_map)[0], -1, channels)) for feature_map in maps], axis=1
    )
    sizes = [map_size(feature_map) for feature_map in maps]
    rows, columns = (ops.take(ops.stack(list(counts)), level) for counts in zip(*sizes, strict=True))
    starts = [0]
    for height, width in sizes[:-1]:
        starts.append(starts[-1] + height * width)
    chips, cells = ops.shape(table)[0], ops.shape(table)[1]
    first = ops.take(ops.stack(starts), level) + ops.arange(chips)[:, None] * cells
    flat = ops.reshape(table, (-1, channels))

    scaled = boxes / ops.take(ops.convert_to_tensor(strides, "float32"), level)[..., None] - 0.5
    total: Tensor = 0.0
    for down in range(SAMPLES):
        row_cells = _neighbours(scaled[..., 0], scaled[..., 2], rows, size, down)
        for right in range(SAMPLES):
            column_cells = _neighbours(scaled[..., 1], scaled[..., 3], columns, size, right)
            for row, row_weight in row_cells:
                for column, column_weight in column_cells:
                    places = (first[..., None] + row * columns[..., None])[..., None] + column[..., None, :]
                    weight = row_weight[..., None] * column_weight[..., None, :]
                    cell = ops.take(flat, ops.reshape(places, (-1, size, size)), axis=0)
                    total = total + cell * ops.reshape(weight, (-1, size, size, 1))
    return total / SAMPLES**2


def _neighbours(
    start: Tensor, stop: Tensor, cells: Tensor, size: int, sample: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the two cells next to one sample of each bin, and their weights.

    Args:
        start: Start of the boxes along one axis, in cells from the centre of the first, ``(n, k)``.
        stop: End of the boxes.
        cells: Cells of their maps along the axis, ``(n, k)``.
        size: Bins of a box.
        sample: Index of the sample in its bin.

    Returns:
        Two pairs of cells ``(n, k, size)``, int32, and weights of the same shape.
    """
    steps = ops.arange(size, dtype="float32") + (sample + 0.5) / SAMPLES
    places = start[..., None] + (stop - start)[..., None] / size * steps
    limit = ops.cast(cells, "float32")[..., None]
    inside = ops.cast(ops.logical_and(places >= -1.0, places <= limit), "float32")
    places = ops.minimum(ops.maximum(places, 0.0), limit - 1.0)
    lower = ops.floor(places)
    share = places - lower
    upper = ops.minimum(lower + 1.0, limit - 1.0)
    return [
        (ops.cast(lower, "int32"), (1.0 - share) * inside),
        (ops.cast(upper, "int32"), share * inside),
    ]


def _align_tensorflow(
    maps: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, level: Tensor, size: int
) -> Tensor:
    """Align with TensorFlow's `crop_and_resize`, level by level, then restore the order of the boxes.

    Measured at a fifth to two thirds of the time of `_align_anywhere`.
    """
    import tensorflow as tf

    count = tf.shape(boxes)[1]
    flat, level = tf.reshape(boxes, (-1, 4)), tf.reshape(level, (-1,))
    crops, order = [], []
    for number, (feature_map, stride) in enumerate(zip(maps, strides, strict=True)):
        places = tf.where(level == number)[:, 0]
        chip = tf.cast(places, tf.int32) // count
        crops.append(_crop(feature_map, tf.gather(flat, places) / stride - 0.5, chip, size))
        order.append(places)
    if len(maps) == 1:
        return crops[0]
    back = tf.math.invert_permutation(tf.cast(tf.concat(order, 0), tf.int32))
    return tf.gather(tf.concat(crops, 0), back)


def _crop(feature_map: Tensor, boxes: Tensor, chip: Tensor, size: int) -> Tensor:
    """Sample boxes of one map.

    `crop_and_resize` puts its first and last sample on the edges of a box and has no padding: so boxes are
    shrunk to the samples of their first and last bins, and the map is padded with its outermost cells.

    Args:
        feature_map: Shape ``(n, rows, columns, channels)``.
        boxes: In cells from the centre of the first, ``(k, 4)``.
        chip: Index of each box's chip, ``(k,)``.
        size: Bins along each axis.
    """
    import tensorflow as tf

    framed = tf.pad(feature_map, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    extent = tf.cast(tf.shape(feature_map)[1:3], tf.float32) + 1.0
    start, stop = boxes[:, :2] + 1.0, boxes[:, 2:] + 1.0
    bins = (stop - start) / size
    total: Tensor = 0.0
    for down in range(SAMPLES):
        for right in range(SAMPLES):
            share = (tf.constant([down, right], tf.float32) + 0.5) / SAMPLES
            limits = tf.concat([start + bins * share, stop - bins * (1.0 - share)], axis=1)
            total += tf.image.crop_and_resize(framed, limits / tf.tile(extent, [2]), chip, (size, size))
    return total / SAMPLES**2
