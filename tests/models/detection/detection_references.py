"""What detectors compute, one number at a time in plain numpy."""

from __future__ import annotations

import numpy as np


def bilinear(feature_map: np.ndarray, y: float, x: float) -> np.ndarray:
    """The value at a place in cells; what is at the edge up to a cell beyond the outermost centres, then 0."""
    height, width = feature_map.shape[:2]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(feature_map.shape[2])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    row, col = int(y), int(x)
    below, beside = min(row + 1, height - 1), min(col + 1, width - 1)
    down, right = y - row, x - col
    upper = (1 - right) * feature_map[row, col] + right * feature_map[row, beside]
    lower = (1 - right) * feature_map[below, col] + right * feature_map[below, beside]
    return (1 - down) * upper + down * lower


def align(feature_map: np.ndarray, box: np.ndarray, stride: int, size: int) -> np.ndarray:
    """RoIAlign of one box, sample by sample."""
    row0, col0, row1, col1 = (float(v) / stride - 0.5 for v in box)
    made = np.zeros((size, size, feature_map.shape[2]))
    for i in range(size):
        for j in range(size):
            for dy in (0.25, 0.75):
                for dx in (0.25, 0.75):
                    y = row0 + (i + dy) * (row1 - row0) / size
                    x = col0 + (j + dx) * (col1 - col0) / size
                    made[i, j] += bilinear(feature_map, y, x) / 4
    return made


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union > 0 else 0.0


def greedy(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, kept: int, groups: np.ndarray | None = None
) -> list[int]:
    """Greedy suppression of one chip, box by box; of equal scores the first is the better."""
    chosen: list[int] = []
    for place in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [c for c in chosen if groups is None or groups[c] == groups[place]]
        if scores[place] > -np.inf and all(overlap(boxes[place], boxes[c]) <= threshold for c in rivals):
            chosen.append(place)
    return chosen[:kept]


def decode(anchor: np.ndarray, deltas: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """The box that deltas tell from an anchor."""
    size = np.array([anchor[2] - anchor[0], anchor[3] - anchor[1]])
    centre = np.array([anchor[0], anchor[1]]) + size / 2
    moved = centre + size * np.divide(deltas[:2], weights[:2])
    grown = size * np.exp(np.divide(deltas[2:], weights[2:]))
    return np.concatenate([moved - grown / 2, moved + grown / 2])


def clipped(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """A box cut to its chip."""
    return np.clip(box, 0, [height, width, height, width])


def has_area(box: np.ndarray) -> bool:
    """Whether a box has rows and columns."""
    return bool(box[2] > box[0] and box[3] > box[1])
