"""Evaluate how well a network distinguishes water from land in the parts of the world it was not trained on."""

from __future__ import annotations

import keras
import numpy as np
from blue_marble import HELD_OUT, MARGIN, TRUTH_PER_PIXEL, Box
from chips import View, cut

from terraseam.models.networks.encoders import ENCODERS

STRIDE = 16
ROWS_AT_ONCE = 1024
"""Rows of output computed in one call, in pixels."""

ZOOMS = (1.0, 0.5, 2.0)
"""Scales to evaluate: pixels of the result per pixel of the scene."""


def predict(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Label an image: ``(height, width, 3)`` from 0 to 255, sides multiples of 16 px, to uint8 labels."""
    row = ENCODERS["mobilenet"]
    logits = model(image[None] * np.float32(row.scale) + np.float32(row.offset), training=False)
    return np.argmax(keras.ops.convert_to_numpy(logits)[0], axis=-1).astype(np.uint8)


def label_box(model: keras.Model, scene: np.ndarray, box: Box, zoom: float) -> np.ndarray:
    """Label a box with real context around it, strip by strip.

    Args:
        model: The network.
        scene: Blue Marble.
        box: Box to label, at least `MARGIN` away from the scene's border.
        zoom: Pixels of the result per pixel of the scene.

    Returns:
        uint8 labels ``(height * zoom, width * zoom)``.
    """
    height, width = int((box.row1 - box.row0) * zoom), int((box.col1 - box.col0) * zoom)
    strips = []
    for top in range(0, height, ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, height - top)
        shape = (_whole_strides(rows + 2 * MARGIN), _whole_strides(width + 2 * MARGIN))
        first = box.row0 + (top - MARGIN) / zoom
        view = View(first, box.col0 - MARGIN / zoom, 1 / zoom, 1 / zoom, shape)
        image = cut(scene, view, 1.0, smooth=True)
        strips.append(predict(model, image)[MARGIN : MARGIN + rows, MARGIN : MARGIN + width])
    return np.concatenate(strips)


def _whole_strides(size: int) -> int:
    return -(-size // STRIDE) * STRIDE


def true_labels(water: np.ndarray, box: Box, zoom: float) -> np.ndarray:
    """Return the true labels of a box: 1 where more than half of a pixel is ocean or lake."""
    shape = (int((box.row1 - box.row0) * zoom), int((box.col1 - box.col0) * zoom))
    view = View(box.row0, box.col0, 1 / zoom, 1 / zoom, shape)
    return (cut(water, view, TRUTH_PER_PIXEL, smooth=False) > 0.5).astype(np.uint8)


def confusion(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return pixel counts by true label (rows) and predicted label (columns), int64 ``(2, 2)``."""
    return np.bincount(truth.ravel() * np.int64(2) + predicted.ravel(), minlength=4).reshape(2, 2)


def iou(counts: np.ndarray) -> list[float]:
    """Return the intersection over union of land and of water."""
    shared = np.diag(counts)
    return [float(x) for x in shared / (counts.sum(axis=0) + counts.sum(axis=1) - shared)]


def label_held_out(model: keras.Model, scene: np.ndarray) -> dict[tuple[str, float], np.ndarray]:
    """Label every held-out box at every scale of `ZOOMS`, by name and zoom."""
    return {
        (name, zoom): label_box(model, scene, box, zoom) for zoom in ZOOMS for name, box in HELD_OUT.items()
    }


def held_out_scores(
    labels: dict[tuple[str, float], np.ndarray], water: np.ndarray
) -> dict[str, dict[str, float]]:
    """Return the IoU of land and of water in each box and in all of them, at each scale."""
    scores = {}
    for zoom in ZOOMS:
        total = np.zeros((2, 2), np.int64)
        for name, box in HELD_OUT.items():
            found = confusion(labels[name, zoom], true_labels(water, box, zoom))
            scores[f"{name} x{zoom:g}"] = _by_class(found)
            total += found
        scores[f"all x{zoom:g}"] = _by_class(total)
    return scores


def _by_class(counts: np.ndarray) -> dict[str, float]:
    return {name: round(share, 4) for name, share in zip(("land", "water"), iou(counts), strict=True)}


def share_that_differs(
    one: dict[tuple[str, float], np.ndarray], other: dict[tuple[str, float], np.ndarray]
) -> float:
    """Return the share of the held-out pixels that two networks label differently."""
    return sum(int((one[key] != other[key]).sum()) for key in one) / sum(a.size for a in one.values())


def table(scores: dict[str, dict[str, float]]) -> str:
    """Format the scores as lines of text."""
    lines = [f"{'held out':<16}{'IoU land':>10}{'IoU water':>11}"]
    lines += [f"{name:<16}{row['land']:>10.4f}{row['water']:>11.4f}" for name, row in scores.items()]
    return "\n".join(lines)
