"""Detectors find the same things on every engine."""

from __future__ import annotations

import dataclasses

import nets
import numpy as np
import planted
import pytest

from terraseam.models.bundle.archive import save_bundle
from terraseam.models.detection.instances import ChipInstance
from terraseam.models.detection.settings import Choice
from terraseam.models.engines.engine import Engine, shared_engine
from terraseam.models.engines.ensemble import Ensemble
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.engines.workplace import Workplace

SIZE = (128, 160)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "untrained"
    settings = dataclasses.replace(planted.SETTINGS, detections=Choice(60, 20, 0.5, 0.1))
    model = planted.tiny_detector(settings=settings)
    save_bundle(model, folder, task="instances", **nets.card_fields(3, 3, name="finder"))
    return folder


@pytest.fixture(scope="module")
def trained(planted_detector):
    return planted_detector


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return Workplace(str(tmp_path_factory.mktemp("converted")), calls=2)


def scenes(count):
    made = [planted.planted_scene(*SIZE, 12, 900 + number) for number in range(count)]
    return np.stack([pixels for pixels, _ in made]), [things for _, things in made]


def whole(instance):
    mask = np.zeros(SIZE, bool)
    height, width = instance.mask.shape
    mask[instance.row : instance.row + height, instance.col : instance.col + width] = instance.mask
    return mask


def iou(one, other):
    return (whole(one) & whole(other)).sum() / (whole(one) | whole(other)).sum()


def assert_same_things(got, want, least):
    assert [len(found) for found in got] == [len(found) for found in want]
    for found, known in zip(got, want, strict=True):
        for instance in known:
            same = [one for one in found if one.label == instance.label and iou(one, instance) >= least]
            assert len(same) == 1
            assert abs(same[0].score - instance.score) < 1e-2


def found_by(engine, chips):
    """The things that an engine finds on each chip."""
    return [answer.instances for answer in engine.instances(chips)]


def test_an_answer_is_full_where_every_row_is_taken(untrained):
    engine = Engine(untrained, execution_profile())
    boxes, masks = np.tile(np.float32([[2, 2, 9, 9]]), (1, 3, 1)), np.ones((1, 3, 4, 4), "f4")
    for scores, full in (([0.9, 0.8, 0.7], True), ([0.9, 0.8, 0.0], False)):
        answer = (boxes, np.ones((1, 3), int), np.float32([scores]), masks)
        engine._network = lambda _, answer=answer: answer
        (said,) = engine.instances(scenes(1)[0])
        assert (len(said.instances), said.full) == (sum(score > 0 for score in scores), full)


def test_an_engine_is_asked_for_what_its_network_does(untrained, tmp_path):
    chips = scenes(1)[0]
    finder = Engine(untrained, execution_profile())
    with pytest.raises(EngineError, match="finder is for instances, not for semantic; use it for instances"):
        finder.logits(chips)
    labeller = Engine(nets.make_bundle(tmp_path / "bright", nets.brightest_band()), execution_profile())
    with pytest.raises(EngineError, match="tiny is for semantic, not for instances; use it for semantic"):
        labeller.instances(chips)
    with pytest.raises(
        EngineError, match="finds instances, which cannot be averaged over rotated and flipped chips"
    ):
        Ensemble([finder], augment=True)
    with pytest.raises(EngineError, match="an ensemble averages pixel scores"):
        Ensemble([finder, finder], augment=False)


@pytest.mark.slow
def test_chips_give_the_instances_of_single_ones_however_many_a_call_takes(untrained):
    chips = scenes(3)[0]
    engine = Engine(untrained, execution_profile())
    pairs = Engine(untrained, dataclasses.replace(execution_profile(), samples=2))
    alone = [found_by(engine, chip[None])[0] for chip in chips]
    assert engine.calls == 3
    together, by_two = found_by(engine, chips), found_by(pairs, chips)
    assert (len(together), len(by_two), pairs.calls) == (3, 3, 2)
    assert any(alone)
    for found, same in zip(alone, together, strict=True):
        assert all(isinstance(one, ChipInstance) for one in found)
        assert [(one.row, one.col, one.label, one.score) for one in found] == [
            (one.row, one.col, one.label, one.score) for one in same
        ]
    with pytest.raises(ValueError, match="expects chips on multiples of"):
        engine.instances(chips[:, :100])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_planted_things_are_the_same_on_every_engine(trained, workplace, name):
    chips, things = scenes(4)
    want = found_by(shared_engine(trained, execution_profile()), chips)
    assert sum(map(len, want)) >= 0.9 * sum(map(len, things)) > 10
    got = found_by(shared_engine(trained, execution_profile(engine=name), workplace), chips)
    assert_same_things(got, want, least=0.99)


@pytest.mark.slow
def test_planted_things_are_nearly_the_same_in_half_precision(trained):
    chips, _ = scenes(4)
    want = found_by(shared_engine(trained, execution_profile()), chips)
    got = found_by(shared_engine(trained, execution_profile(precision="bfloat16")), chips)
    assert_same_things(got, want, least=0.75)
