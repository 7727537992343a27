"""RoIAlign and suppression against references in plain numpy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from detection_references import align, greedy

from terraseam.models.detection.dispatch import portable, uses_tensorflow
from terraseam.models.detection.roi_align import pyramid_roi_align
from terraseam.models.detection.suppression import suppress

BOTH = pytest.mark.parametrize("ways", [portable, contextlib.nullcontext], ids=["portable", "own"])


def array(tensor: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


BOXES = np.float32(
    [
        [4, 4, 40, 60],
        [-30, -9, 20, 30],
        [30, 50, 90, 140],
        [10.3, 20.1, 10.9, 20.4],
        [-200, -200, -150, -120],
        [0, 0, 64, 96],
        [63, 95, 64, 96],
        [20, 20, 20, 20],
        [-500, -500, 600, 600],
    ]
)


@BOTH
@pytest.mark.parametrize("size", [1, 3, 7])
def test_features_of_boxes_are_the_mean_of_four_samples_a_bin(ways: object, size: int) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype(np.float32)
    boxes = np.stack([BOXES, BOXES[::-1]])
    with ways():
        found = array(pyramid_roi_align([maps], [4], boxes, size))
    expected = [align(maps[n], box, 4, size) for n in range(2) for box in boxes[n]]
    np.testing.assert_allclose(found, np.stack(expected), atol=3e-5)


@BOTH
def test_each_box_is_read_from_the_level_of_its_size(ways: object) -> None:
    rng = np.random.default_rng(1)
    strides, sides = (4, 8, 16, 32), (30, 150, 300, 600)
    maps = [rng.normal(size=(2, 1024 // s, 1024 // s, 2)).astype(np.float32) for s in strides]
    order = [2, 0, 3, 1, 0]
    corners = rng.uniform(-20, 600, (2, len(order), 2))
    boxes = np.concatenate([corners, corners + np.array(sides)[order][:, None]], axis=2).astype(np.float32)
    with ways():
        found = array(pyramid_roi_align(maps, strides, boxes, 7)).reshape(2, len(order), 7, 7, 2)
    for chip in range(2):
        for row, level in enumerate(order):
            expected = align(maps[level][chip], boxes[chip, row], strides[level], 7)
            np.testing.assert_allclose(found[chip, row], expected, atol=3e-5)


def test_both_ways_have_the_same_gradient() -> None:
    import tensorflow as tf

    maps = tf.constant(np.random.default_rng(2).normal(size=(2, 16, 24, 3)).astype(np.float32))
    boxes = tf.constant(np.stack([BOXES, BOXES[::-1]]))

    def gradient() -> np.ndarray:
        with tf.GradientTape() as tape:
            tape.watch([maps, boxes])
            value = tf.reduce_sum(pyramid_roi_align([maps], [4], boxes, 5) ** 2)
        of_maps, of_boxes = tape.gradient(value, [maps, boxes])
        assert of_boxes is None
        return of_maps.numpy()

    with portable():
        expected = gradient()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(gradient(), expected, atol=1e-3)


def test_portable_holds_in_its_block_alone() -> None:
    assert uses_tensorflow()
    with portable():
        assert not uses_tensorflow()
        with portable():
            assert not uses_tensorflow()
        assert not uses_tensorflow()
    assert uses_tensorflow()


def crowd(seed: int) -> Iterator[np.ndarray]:
    """Boxes of several chips, some of them equal; scores with many ties, and some that must not be chosen."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (3, 50, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 25, (3, 50, 2))], axis=2).astype(np.float32)
    boxes[:, 25:30] = boxes[:, :5]
    scores = (rng.integers(0, 20, (3, 50)) / 20).astype(np.float32)
    scores[rng.random((3, 50)) < 0.1] = -np.inf
    yield boxes
    yield scores
    yield rng.integers(0, 3, (3, 50)).astype(np.int32)


@BOTH
@pytest.mark.parametrize("grouped", [False, True], ids=["alike", "grouped"])
@pytest.mark.parametrize("seed", range(12))
def test_suppression_is_greedy_box_by_box(ways: object, grouped: bool, seed: int) -> None:
    boxes, scores, groups = crowd(seed)
    threshold, kept = (0.23, 0.51, 0.77)[seed % 3], (50, 12)[seed % 2]
    with ways():
        places, valid = suppress(boxes, scores, threshold, kept, groups if grouped else None)
    places, valid = array(places), array(valid)
    for chip in range(3):
        chip_groups = groups[chip] if grouped else None
        expected = greedy(boxes[chip], scores[chip], threshold, kept, chip_groups)
        assert places[chip][valid[chip]].tolist() == expected
        assert not places[chip][~valid[chip]].any() and valid[chip][: len(expected)].all()


@BOTH
def test_nothing_is_chosen_of_nothing(ways: object) -> None:
    boxes, scores = np.float32([[[0, 0, 5, 5], [9, 9, 12, 12]]]), np.float32([[-np.inf, -np.inf]])
    with ways():
        places, valid = suppress(boxes, scores, 0.5, 2)
    assert not array(valid).any() and not array(places).any()


@BOTH
def test_one_is_left_of_boxes_that_all_overlap(ways: object) -> None:
    boxes = (
        np.tile(np.float32([2, 3, 20, 30]), (1, 40, 1))
        + np.linspace(0, 1, 40, dtype=np.float32)[None, :, None]
    )
    with ways():
        places, valid = suppress(boxes, np.float32([np.arange(40) % 7]), 0.5, 10)
    assert array(places)[0].tolist() == [6] + [0] * 9
    assert array(valid)[0].tolist() == [True] + [False] * 9


@BOTH
def test_a_chain_of_boxes_is_settled_one_after_another(ways: object) -> None:
    starts = np.arange(30, dtype=np.float32) * 4
    boxes = np.stack([np.zeros_like(starts), starts, np.full_like(starts, 9), starts + 10], axis=-1)[None]
    with ways():
        places, valid = suppress(boxes, np.linspace(1, 0.1, 30, dtype=np.float32)[None], 0.4, 30)
    assert array(places)[0][array(valid)[0]].tolist() == list(range(0, 30, 2))


def test_the_number_of_chips_may_be_unknown() -> None:
    import tensorflow as tf

    boxes, scores, groups = crowd(3)
    spec = [tf.TensorSpec((None, 50, 4)), tf.TensorSpec((None, 50)), tf.TensorSpec((None, 50), tf.int32)]
    call = tf.function(lambda b, s, g: suppress(b, s, 0.5, 20, g), input_signature=spec)
    for found, expected in zip(
        call(boxes, scores, groups), suppress(boxes, scores, 0.5, 20, groups), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_suppression_runs_in_the_executor_of_one_thread_that_engines_use() -> None:
    import tensorflow as tf

    boxes, scores, groups = crowd(4)
    call = tf.function(lambda: suppress(boxes, scores, 0.5, 20, groups)).get_concrete_function()
    with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
        places, _ = call()
    np.testing.assert_array_equal(places, suppress(boxes, scores, 0.5, 20, groups)[0])
