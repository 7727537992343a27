"""Boxes and anchors."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from terraseam.models.detection import boxes as b
from terraseam.models.detection.settings import STRIDES, Anchors, Choice, Detector, Training


def some_boxes(count: int, seed: int = 0, size: float = 200.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, size, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(2, 120, (count, 2))], axis=1).astype(np.float32)


def array(tensor: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("variance", [b.RPN_VARIANCE, b.BOX_VARIANCE])
def test_decoding_undoes_encoding(variance: tuple[float, ...]) -> None:
    anchors, boxes = some_boxes(300, 1)[None], some_boxes(300, 2)[None]
    found = array(b.decode(anchors, b.encode(anchors, boxes, variance), variance))
    np.testing.assert_allclose(found, boxes, atol=1e-3)


def test_deltas_are_those_of_the_paper() -> None:
    anchor, box = np.float32([[[10, 20, 30, 60]]]), np.float32([[[14, 30, 24, 110]]])
    expected = [(19 - 20) / 20, (70 - 40) / 40, np.log(10 / 20), np.log(80 / 40)]
    np.testing.assert_allclose(array(b.encode(anchor, box, b.RPN_VARIANCE))[0, 0], expected, rtol=1e-5)
    weighted = np.multiply(expected, [10, 10, 5, 5])
    np.testing.assert_allclose(array(b.encode(anchor, box, b.BOX_VARIANCE))[0, 0], weighted, rtol=1e-5)


def test_wild_deltas_stay_finite() -> None:
    anchors = np.float32([[[0, 0, 16, 16]]])
    found = array(b.decode(anchors, np.float32([[[0, 0, 1e4, 1e4]]]), b.BOX_VARIANCE))
    np.testing.assert_allclose(found[0, 0], [8 - 500, 8 - 500, 8 + 500, 8 + 500], rtol=1e-4)


def test_overlap_is_intersection_over_union() -> None:
    one, others = np.float32([[[0, 0, 4, 6]]]), np.float32([[[2, 3, 6, 9], [0, 0, 4, 6], [9, 9, 10, 10]]])
    np.testing.assert_allclose(array(b.iou(one, others))[0, 0], [6 / 42, 1, 0], rtol=1e-5)


def test_boxes_are_cut_to_the_chip() -> None:
    found = array(b.clip(np.float32([[[-3, 5, 40, 90], [50, 70, 60, 80]]]), (32, 64)))
    np.testing.assert_array_equal(found[0], [[0, 5, 32, 64], [32, 64, 32, 64]])
    np.testing.assert_array_equal(array(b.has_area(found))[0], [True, False])


def test_anchors_stand_around_the_centres_of_cells() -> None:
    anchors = Anchors(sizes=(8, 16, 32, 64, 128), ratios=(0.25, 1.0, 4.0))
    found = array(b.level_anchors((3, 5), 1, anchors)).reshape(3, 5, 3, 4)
    np.testing.assert_allclose(found[0, 0], [[0, -12, 8, 20], [-4, -4, 12, 12], [-12, 0, 20, 8]], atol=1e-5)
    np.testing.assert_allclose(found[2, 4, 1], [12, 28, 28, 44], atol=1e-5)
    np.testing.assert_allclose(found[2, 4] - found[0, 0], np.tile([16, 32], (3, 2)), atol=1e-4)


def test_anchors_depend_on_the_chip_in_number_only() -> None:
    small, large = (array(b.level_anchors(size, 0, Anchors())) for size in ((4, 6), (8, 12)))
    assert {tuple(row) for row in small} < {tuple(row) for row in large}
    assert (len(small), len(large)) == (4 * 6 * 3, 8 * 12 * 3)


@pytest.mark.parametrize("level", range(5))
def test_anchors_have_the_size_of_their_level_at_every_ratio(level: int) -> None:
    found = array(b.level_anchors((1, 1), level, Anchors()))
    heights, widths = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    np.testing.assert_allclose(np.sqrt(heights * widths), [Anchors().sizes[level]] * 3, rtol=1e-5)
    np.testing.assert_allclose(heights / widths, Anchors().ratios, rtol=1e-5)
    np.testing.assert_allclose(found[:, :2] + found[:, 2:], STRIDES[level], rtol=1e-4)


def test_boxes_are_read_from_the_level_of_their_size() -> None:
    sides = np.float32([1, 16, 56, 111.9, 112, 223.9, 224, 300, 447.9, 448, 900, 5000])
    boxes = np.stack([np.zeros_like(sides), np.zeros_like(sides), sides * 2, sides / 2], axis=-1)[None]
    np.testing.assert_array_equal(array(b.levels(boxes))[0], [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3])


def test_the_best_come_first_and_ties_as_they_stand() -> None:
    scores = np.float32([[1, 3, 2, 3, 0, 2], [5, 5, 5, 5, 5, 5]])
    values, places = (array(part) for part in b.best(scores, 4))
    np.testing.assert_array_equal(places, [[1, 3, 2, 5], [0, 1, 2, 3]])
    np.testing.assert_array_equal(values, [[3, 3, 2, 2], [5, 5, 5, 5]])


def test_more_than_there_are_is_filled_with_what_is_never_chosen() -> None:
    values, places = (array(part) for part in b.best(np.float32([[2, 7]]), 5))
    np.testing.assert_array_equal(values, [[7, 2, -np.inf, -np.inf, -np.inf]])
    assert places.min() >= 0 and places.max() <= 1


def test_rows_are_taken_chip_by_chip() -> None:
    table = np.random.default_rng(0).random((3, 7, 2)).astype(np.float32)
    places = np.random.default_rng(1).integers(0, 7, (3, 4))
    expected = np.take_along_axis(table, places[..., None], axis=1)
    np.testing.assert_array_equal(array(b.take_rows(table, places)), expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Anchors(sizes=(8.0, 16.0)), "anchors need 5 sizes, one for each level, got 2"),
        (lambda: Anchors(ratios=()), "above 0, and one ratio at least"),
        (lambda: Anchors(ratios=(0.0,)), "above 0"),
        (lambda: Choice(0, 10, 0.5), "candidates and kept must be 1 or more, got 0 and 10"),
        (lambda: Choice(10, 10, 1.5), "iou must be 0 to 1, got 1.5"),
        (lambda: Detector(width=0), "width and box_width must be 1 or more, got 0 and 1024"),
        (lambda: Training(rois=0), "anchors and rois must be 1 or more, got 256 and 0"),
        (lambda: Training(roi_share=0), "roi_share must be above 0"),
        (lambda: Training(anchor_ious=(0.7, 0.3)), r"must rise and lie within 0 to 1, got \(0.7, 0.3\)"),
    ],
)
def test_impossible_numbers_are_refused_in_words(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
