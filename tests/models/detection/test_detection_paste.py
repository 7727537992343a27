"""Masks of boxes, pasted into chips."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from terraseam.models.detection.paste import chip_instances, paste


def cell_value(mask: np.ndarray, row: int, col: int) -> float:
    inside = 0 <= row < mask.shape[0] and 0 <= col < mask.shape[1]
    return float(mask[row, col]) if inside else 0.0


def sampled(mask: np.ndarray, y: float, x: float) -> float:
    """Bilinear value at a place in cells, where cell (0, 0) has its centre at (0, 0); 0 beyond the mask."""
    row, col = int(np.floor(y)), int(np.floor(x))
    down, right = y - row, x - col
    upper = (1 - right) * cell_value(mask, row, col) + right * cell_value(mask, row, col + 1)
    lower = (1 - right) * cell_value(mask, row + 1, col) + right * cell_value(mask, row + 1, col + 1)
    return (1 - down) * upper + down * lower


def pasted_pixel_by_pixel(box: np.ndarray, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    row0, col0, row1, col1 = map(float, box)
    scores = np.zeros((height, width))
    for row in range(height):
        for col in range(width):
            y = (row + 0.5 - row0) / (row1 - row0) * mask.shape[0] - 0.5
            x = (col + 0.5 - col0) / (col1 - col0) * mask.shape[1] - 0.5
            scores[row, col] = sampled(mask, y, x)
    return scores


def whole(pasted: tuple[int, int, np.ndarray] | None, height: int, width: int) -> np.ndarray:
    full = np.zeros((height, width), bool)
    if pasted is not None:
        row, col, mask = pasted
        full[row : row + mask.shape[0], col : col + mask.shape[1]] = mask
    return full


@pytest.mark.parametrize("seed", range(60))
def test_every_pixel_is_sampled_at_its_centre(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, cells = (int(n) for n in rng.integers((9, 9, 2), (40, 50, 9)))
    corner = rng.uniform(-12, 30, 2)
    box = np.concatenate([corner, corner + rng.choice([0.7, 4.0, 17.0, 60.0], 2) * rng.uniform(0.5, 1.5, 2)])
    mask = rng.random((cells, cells))
    scores = pasted_pixel_by_pixel(box, mask, height, width)
    found = whole(paste(box, mask, height, width), height, width)
    clear = np.abs(scores - 0.5) > 1e-9
    np.testing.assert_array_equal(found[clear], scores[clear] >= 0.5)


def test_a_mask_of_ones_fills_the_pixels_whose_centres_lie_in_its_box() -> None:
    for box in ([2, 3, 9, 14], [-4.2, 3.6, 5.4, 99.0], [6.4, 7.4, 6.6, 7.6]):
        found = whole(paste(np.array(box), np.ones((28, 28)), 20, 30), 20, 30)
        centres = np.mgrid[:20, :30] + 0.5
        expected = (
            (centres[0] >= box[0]) & (centres[0] <= box[2]) & (centres[1] >= box[1]) & (centres[1] <= box[3])
        )
        np.testing.assert_array_equal(found, expected)


def test_masks_are_cut_to_their_pixels_inside_the_chip() -> None:
    rng = np.random.default_rng(3)
    count = 40
    corners = rng.uniform(-20, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 50, (count, 2))], axis=1)
    masks = rng.random((count, 7, 7)) > 0.6
    instances = chip_instances(boxes, np.ones(count, int), np.linspace(1, 0.1, count), masks, 48, 64)
    assert 10 < len(instances) < count
    for instance in instances:
        assert instance.mask.dtype == bool
        assert instance.mask[[0, -1]].any(axis=1).all() and instance.mask[:, [0, -1]].any(axis=0).all()
        assert instance.row >= 0 and instance.row + instance.mask.shape[0] <= 48
        assert instance.col >= 0 and instance.col + instance.mask.shape[1] <= 64


def test_empty_rows_and_boxes_without_a_pixel_are_left_out() -> None:
    boxes = np.float32(
        [[2, 2, 8, 8], [2, 2, 8, 8], [4, 4, 4, 9], [9, 9, 3, 3], [90, 2, 99, 8], [0, 0, 0, 0], [np.nan] * 4]
    )
    scores = np.float32([0.9, 0, 0.8, 0.7, 0.6, 0, 0.5])
    found = chip_instances(boxes, np.arange(7), scores, np.ones((7, 4, 4), "f4"), 16, 16)
    assert [(one.row, one.col, one.mask.shape, one.label) for one in found] == [(2, 2, (6, 6), 0)]
    assert found[0].score == pytest.approx(0.9)
    assert chip_instances(boxes, np.arange(7), scores, np.zeros((7, 4, 4), "f4"), 16, 16) == []


def test_instances_stay_in_their_order_with_label_and_score() -> None:
    boxes = np.float32([[0, 0, 4, 4], [6, 6, 12, 9]])
    found = chip_instances(boxes, np.int32([2, 1]), np.float32([0.25, 1]), np.ones((2, 3, 3)), 16, 16)
    assert [(one.label, one.score) for one in found] == [(2, 0.25), (1, 1.0)]
    assert type(found[0].label) is int and type(found[0].score) is float and type(found[0].row) is int


def test_pasting_needs_neither_keras_nor_tensorflow() -> None:
    code = (
        "import sys, terraseam.models.detection.paste; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"tensorflow", "keras"} & set(done.stdout.split())
