"""Pad the ground truth of training chips to arrays of fixed size; uses only numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from terraseam.models.detection.instances import ChipInstance

SIDE = 56
"""Cells of a mask along each axis: twice as many as the network predicts."""


def pad_truth(chips: Sequence[Sequence[ChipInstance]], most: int, side: int = SIDE) -> dict[str, np.ndarray]:
    """Pad the true instances of several chips to arrays of one size.

    A mask is stored relative to its own box, as the coverage of every cell: 3 kB per instance, whatever
    the size of the chip, where full-chip masks would take 256 kB each at 512 x 512 px. Instances may overlap.

    Args:
        chips: The true instances of each chip; their scores are ignored.
        most: Maximum number of instances per chip; arrays have as many rows.
        side: Cells of a mask along each axis.

    Returns:
        ``boxes`` ``(n, most, 4)``: ``row0, col0, row1, col1`` in chip pixels, float32; ``labels`` ``(n, most)``,
        int32, 0 where a row is empty; ``masks`` ``(n, most, side, side)``: 0 to 255, uint8.

    Raises:
        ValueError: If a chip has more instances, or one of them has the background label.
    """
    boxes = np.zeros((len(chips), most, 4), np.float32)
    labels = np.zeros((len(chips), most), np.int32)
    masks = np.zeros((len(chips), most, side, side), np.uint8)
    for number, instances in enumerate(chips):
        if len(instances) > most:
            raise ValueError(f"chip {number} has {len(instances)} instances, more than {most}; raise `most`")
        for row, instance in enumerate(instances):
            if instance.label < 1:
                raise ValueError(
                    f"instance {row} of chip {number} has the label {instance.label}; 0 is the background"
                )
            height, width = instance.mask.shape
            boxes[number, row] = (instance.row, instance.col, instance.row + height, instance.col + width)
            labels[number, row] = instance.label
            masks[number, row] = np.rint(255 * shrink(instance.mask, side))
    return {"boxes": boxes, "labels": labels, "masks": masks}


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    """Return the share of each of `side` x `side` cells that a mask covers, 0 to 1."""
    rows, columns = (_shares(size, side) for size in mask.shape)
    return rows @ mask.astype(np.float64) @ columns.T


def _shares(pixels: int, cells: int) -> np.ndarray:
    """Return the share of each cell within each pixel, ``(cells, pixels)``."""
    edges = np.arange(cells + 1) * (pixels / cells)
    starts = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.maximum(overlap, 0) * (cells / pixels)
