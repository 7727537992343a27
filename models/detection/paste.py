"""Paste a detector's box-relative masks into a chip's pixels; uses only numpy."""

from __future__ import annotations

import math

import numpy as np

from terraseam.models.detection.instances import ChipInstance

THRESHOLD = 0.5
"""Score at which a pixel belongs to a mask, as in Mask R-CNN (https://arxiv.org/abs/1703.06870)."""


def chip_instances(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, masks: np.ndarray, height: int, width: int
) -> list[ChipInstance]:
    """Convert a detector's output for one chip to masks in the chip's pixels.

    Args:
        boxes: ``row0, col0, row1, col1`` in chip pixels, shape ``(k, 4)``.
        labels: Indices into the card's classes, shape ``(k,)``.
        scores: 0 to 1, shape ``(k,)``; rows of score 0 are empty.
        masks: Scores 0 to 1 within each box, shape ``(k, m, m)``.
        height: Height of the chip, in pixels.
        width: Width of the chip, in pixels.

    Returns:
        The instances in the order of the rows, without those that contain no pixel centre of the chip.
    """
    instances = []
    for row in np.flatnonzero(np.asarray(scores) > 0):
        pasted = paste(boxes[row], masks[row], height, width)
        if pasted is not None:
            top, left, mask = pasted
            instances.append(ChipInstance(top, left, mask, int(labels[row]), float(scores[row])))
    return instances


def paste(box: np.ndarray, mask: np.ndarray, height: int, width: int) -> tuple[int, int, np.ndarray] | None:
    """Paste the mask of one box into a chip.

    The mask's cells divide the box. It is sampled bilinearly at the centre of every pixel, with 0 beyond its
    outermost cells, so that a mask of ones ends exactly where its box does.

    Args:
        box: ``row0, col0, row1, col1`` in chip pixels, shape ``(4,)``; it may extend beyond the chip.
        mask: Scores 0 to 1, shape ``(m, m)``.
        height: Height of the chip, in pixels.
        width: Width of the chip, in pixels.

    Returns:
        First row and first column in the chip, and the boolean mask, cropped to its pixels; None if it has none.
    """
    row0, col0, row1, col1 = (float(value) for value in box)
    if not (math.isfinite(row0 + col0 + row1 + col1) and row1 > row0 and col1 > col0):
        return None
    top, rows = _weights(row0, row1, height, mask.shape[0])
    left, columns = _weights(col0, col1, width, mask.shape[1])
    whole = rows @ np.asarray(mask, np.float64) @ columns.T >= THRESHOLD
    filled_rows, filled_columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    if not filled_rows.size:
        return None
    first_row, first_column = int(filled_rows[0]), int(filled_columns[0])
    cut = whole[first_row : filled_rows[-1] + 1, first_column : filled_columns[-1] + 1]
    return top + first_row, left + first_column, np.ascontiguousarray(cut)


def _weights(start: float, stop: float, size: int, cells: int) -> tuple[int, np.ndarray]:
    """Return the first pixel whose centre is near the box, and the weight of every cell for each such pixel.

    Args:
        start: Start of the box along one axis, in pixels.
        stop: End of the box.
        size: Pixels of the chip along the axis.
        cells: Cells of the mask along the axis.

    Returns:
        The first pixel, and weights ``(pixels, cells)``.
    """
    margin = (stop - start) / (2 * cells)
    first = min(max(math.floor(start - margin), 0), size)
    last = max(min(math.ceil(stop + margin), size), first)
    places = (np.arange(first, last) + 0.5 - start) * (cells / (stop - start)) - 0.5
    return first, np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(cells)))
