"""What engines build for chip shapes is bounded, however many shapes the chips of a run have."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_bundles import brightest_onnx, onnx_bundle
from nets import make_bundle, small_unet

from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.recent_shapes import RASTER_SHAPES, RecentShapes
from terraseam.models.engines.workplace import Workplace


def test_the_most_recently_used_shapes_are_kept_and_built_once():
    built = []
    shapes = RecentShapes(lambda shape: built.append(shape) or shape, most=2)
    for side in (1, 2, 1, 3, 1, 2):
        assert shapes.get((side, side)) == (side, side)
        assert len(shapes) <= 2
    assert [side for side, _ in built] == [1, 2, 3, 2]


def test_a_shape_that_cannot_be_built_leaves_nothing_behind():
    def build(shape):
        if shape == (9, 9):
            raise ValueError("no such shape")
        return shape

    shapes = RecentShapes(build, most=2)
    shapes.get((1, 1))
    for _ in range(3):
        with pytest.raises(ValueError, match="no such shape"):
            shapes.get((9, 9))
    assert shapes.get((1, 1)) == (1, 1) and len(shapes) == 1


@pytest.mark.parametrize("most", [3, 20])
def test_shapes_hold_working_memory_for_no_more_than_the_largest(most):
    holding, busy = set(), set()

    def release(shape):
        if shape in busy:
            return False
        holding.discard(shape)
        return True

    shapes = RecentShapes(lambda shape: shape, most, release)
    largest = 0
    for side in np.random.default_rng(0).integers(1, 9, 200).tolist():
        shape = shapes.get((side, 4))
        holding.add(shape)
        largest = max(largest, side * 4)
        assert sum(map(math.prod, holding)) <= largest
    busy |= holding
    shapes.get((8, 4))
    busy.clear()
    shapes.get((8, 4))
    assert not holding - {(8, 4)}


def test_threads_share_what_is_built():
    built, start = [], threading.Barrier(4)
    shapes = RecentShapes(lambda shape: built.append(shape) or object())

    def use(_):
        start.wait()
        return shapes.get((5, 5))

    with ThreadPoolExecutor(4) as threads:
        assert len(set(map(id, threads.map(use, range(4))))) == 1
    assert len(built) == 1


@pytest.fixture
def bundles(tmp_path):
    """Bundles by engine; OpenVINO runs an ONNX file, which it need not have converted."""
    keras_file = make_bundle(tmp_path / "tiny", small_unet())
    onnx_file = onnx_bundle(tmp_path / "brightest", brightest_onnx(), "logits", "channels_first")
    return {"tensorflow": keras_file, "openvino": onnx_file, "onnx": keras_file}


@pytest.mark.parametrize("name", ["tensorflow", "openvino", pytest.param("onnx", marks=pytest.mark.slow)])
def test_engines_keep_a_few_shapes_and_answer_the_same_for_one_that_returns(name, bundles, tmp_path):
    engine = Engine(bundles[name], execution_profile(engine=name), Workplace(str(tmp_path / "converted"), 2))
    kept = engine._network._sessions if name == "onnx" else engine._network._compiled
    sides = 3 if name == "onnx" else kept._most + 3
    kept._most = min(kept._most, sides - 1)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 4 * sides, 16, 3), np.uint8)
    first = [engine.logits(pixels[:, : 4 * rows]) for rows in range(1, sides + 1)]
    assert len(kept) == kept._most <= 2 * RASTER_SHAPES
    with ThreadPoolExecutor(2) as threads:
        order = [0, 1, 0, 0, sides - 1, 0]
        again = list(threads.map(lambda number: engine.logits(pixels[:, : 4 * (number + 1)]), order))
    assert all(np.array_equal(logits, first[number]) for number, logits in zip(order, again, strict=True))
    assert len(kept) == kept._most
