"""Proposals, detections and masks against plain numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from detection_references import clipped, decode, greedy, has_area

from terraseam.models.detection.boxes import level_anchors
from terraseam.models.detection.layers import Detections, MaskScores, Proposals
from terraseam.models.detection.settings import STRIDES, Anchors, Choice

HEIGHT, WIDTH = 96, 160


def array(tensor: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def chips(count: int) -> np.ndarray:
    return np.zeros((count, HEIGHT, WIDTH, 3), np.float32)


def proposed(
    scores: list[np.ndarray], deltas: list[np.ndarray], anchors: Anchors, choice: Choice
) -> np.ndarray:
    """Proposals of one chip, level by level."""
    boxes, marks = [], []
    for level, (one, told) in enumerate(zip(scores, deltas, strict=True)):
        starts = array(level_anchors(one.shape[:2], level, anchors))
        flat = one.reshape(-1)
        order = np.argsort(-flat, kind="stable")[: choice.candidates]
        some = [
            clipped(decode(starts[i], told.reshape(-1, 4)[i], (1, 1, 1, 1)), HEIGHT, WIDTH) for i in order
        ]
        likely = np.array([flat[i] if has_area(box) else -np.inf for i, box in zip(order, some, strict=True)])
        for place in greedy(np.array(some), likely, choice.iou, choice.kept):
            boxes.append(some[place])
            marks.append(likely[place])
    return np.array(boxes)[np.argsort(-np.array(marks), kind="stable")[: choice.kept]]


@pytest.mark.parametrize("choice", [Choice(40, 25, 0.5), Choice(12, 60, 0.7), Choice(500, 900, 0.9)])
def test_proposals_are_the_best_of_every_level(choice: Choice) -> None:
    rng = np.random.default_rng(choice.kept)
    anchors = Anchors(sizes=(8.0, 16.0, 32.0, 64.0, 128.0), ratios=(0.5, 2.0))
    sizes = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in STRIDES]
    scores = [rng.normal(size=(2, *size, 2)).astype(np.float32) for size in sizes]
    deltas = [rng.normal(0, 0.6, size=(2, *size, 8)).astype(np.float32) for size in sizes]
    deltas[0][:, :, :2] -= 9  # boxes that lie beyond the chip
    boxes, valid = (array(part) for part in Proposals(anchors, choice)(chips(2), scores, deltas))
    assert boxes.shape == (2, choice.kept, 4)
    for chip in range(2):
        expected = proposed([s[chip] for s in scores], [d[chip] for d in deltas], anchors, choice)
        assert valid[chip].sum() == len(expected) > 10 and valid[chip][: len(expected)].all()
        np.testing.assert_allclose(boxes[chip][valid[chip]], expected, atol=1e-3)
        assert not boxes[chip][~valid[chip]].any()


def detected(boxes: np.ndarray, logits: np.ndarray, deltas: np.ndarray, choice: Choice) -> list[tuple]:
    """What is found on one chip, class by class: box, label and score, from the best to the worst."""
    found = []
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for label in range(1, logits.shape[1]):
        told = deltas.reshape(len(boxes), -1, 4)[:, label]
        some = [
            clipped(decode(box, one, (10, 10, 5, 5)), HEIGHT, WIDTH)
            for box, one in zip(boxes, told, strict=True)
        ]
        likely = [
            score if score > (choice.score or 0) and has_area(box) else -np.inf
            for box, score in zip(some, scores[:, label], strict=True)
        ]
        places = greedy(np.array(some), np.array(likely), choice.iou, len(boxes))
        found += [(some[place], label, likely[place]) for place in places]
    return sorted(found, key=lambda one: -one[2])[: choice.kept]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "choice", [Choice(400, 60, 0.4, 0.05), Choice(400, 10, 0.3), Choice(400, 150, 0.6, 0.3)]
)
def test_detections_are_suppressed_class_by_class(classes: int, choice: Choice) -> None:
    rng = np.random.default_rng(classes)
    corners = rng.uniform(0, [HEIGHT - 30, WIDTH - 30], (2, 50, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 50, (2, 50, 2))], axis=2).astype(np.float32)
    boxes[:, 0] = (HEIGHT - 1, WIDTH - 1, HEIGHT, WIDTH)
    valid = np.arange(50) < np.array([[50], [31]])
    logits = rng.normal(0, 1.5, (100, classes)).astype(np.float32)
    deltas = rng.normal(0, 0.8, (100, 4 * classes)).astype(np.float32)
    deltas.reshape(2, 50, classes, 4)[:, 0, :, :2] = 50  # decoded beyond the chip
    made = Detections(choice)(chips(2), boxes, valid, logits, deltas)
    found, labels, scores = (array(part) for part in made)
    for chip in range(2):
        some = slice(50 * chip, 50 * chip + valid[chip].sum())
        expected = detected(boxes[chip][valid[chip]], logits[some], deltas[some], choice)
        rows = scores[chip] > 0
        assert rows.sum() == len(expected) > 5 and rows[: len(expected)].all()
        np.testing.assert_array_equal(labels[chip][rows], [label for _, label, _ in expected])
        np.testing.assert_allclose(scores[chip][rows], [score for *_, score in expected], rtol=1e-4)
        np.testing.assert_allclose(found[chip][rows], [box for box, *_ in expected], atol=1e-3)
        assert not labels[chip][~rows].any() and not found[chip][~rows].any()


def test_masks_are_those_of_the_class_that_was_found() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float32)
    labels = np.int32([[2, 1, 0], [1, 2, 0]])
    masks = array(MaskScores()(logits, labels)).reshape(6, 4, 4)
    for row, label in enumerate(labels.reshape(-1)):
        expected = 1 / (1 + np.exp(-logits[row, ..., label])) if label else np.zeros((4, 4))
        np.testing.assert_allclose(masks[row], expected, rtol=1e-5)
