"""Detectors are measured by the things they find, and train, freeze and go on as semantic networks do."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from planted import CLASSES, SCALING, SETTINGS, TRAINING, planted_scene, tiny_detector
from training_cases import Note, digest, last_state

from terraseam.models.detection.instances import ChipInstance
from terraseam.models.detection.mask_rcnn import mask_rcnn
from terraseam.models.detection.truth import pad_truth
from terraseam.models.training.batches import ChipBatch, TrainingData
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.fit import TrainingFolder, train
from terraseam.models.training.instances import match, overlap, validate_instances
from terraseam.models.training.learner import Task, encoder_layers, is_norm
from terraseam.models.training.recipe import Recipe
from terraseam.models.training.watch import Watcher

RECIPE = Recipe(epochs=2, steps=2, batch=2, learning_rate=2e-3, clip=5.0, seed=1)
TASK = Task(tuple(one.name for one in CLASSES), None, TRAINING)


def chips_of(numbers) -> ChipBatch:
    pixels, things = zip(*(planted_scene(96, 96, 5, number) for number in numbers), strict=True)
    return ChipBatch(np.stack(pixels).astype(np.float32), truth=pad_truth(things, 6))


def some_data() -> TrainingData:
    pixels, things = zip(*(planted_scene(96, 96, 5, 10**6 + number) for number in range(3)), strict=True)
    return TrainingData(chips_of, [(np.stack(pixels).astype(np.float32), things)], SCALING)


def thing(row: int, col: int, height: int, width: int, label: int = 1, score: float = 1.0) -> ChipInstance:
    return ChipInstance(row, col, np.ones((height, width), bool), label, score)


def random_thing(rng: np.random.Generator) -> ChipInstance:
    mask = rng.random(rng.integers(1, 12, 2)) < 0.7
    return ChipInstance(int(rng.integers(0, 20)), int(rng.integers(0, 20)), mask, 1, 1.0)


def pasted(one: ChipInstance) -> np.ndarray:
    canvas = np.zeros((32, 32), bool)
    canvas[one.row :, one.col :][: one.mask.shape[0], : one.mask.shape[1]] = one.mask
    return canvas


@pytest.mark.parametrize("seed", range(30))
def test_overlaps_are_those_of_whole_masks(seed):
    rng = np.random.default_rng(seed)
    one, other = random_thing(rng), random_thing(rng)
    whole = [pasted(each) for each in (one, other)]
    expected = (whole[0] & whole[1]).sum() / max((whole[0] | whole[1]).sum(), 1)
    assert overlap(one, other) == pytest.approx(expected)


def test_a_true_thing_is_found_once_by_the_surest():
    true = [thing(0, 0, 10, 10), thing(20, 20, 10, 10)]
    ranked = [
        thing(0, 1, 10, 10, score=0.9),
        thing(0, 0, 10, 10, score=0.8),
        thing(20, 20, 10, 10, label=2, score=0.7),
        thing(20, 26, 10, 10, score=0.6),
        thing(20, 22, 10, 10, score=0.5),
    ]
    assert match(ranked, true) == [True, False, False, False, True]


def predictor_of(found):
    """A network that answers some boxes, full to their edges."""

    def predictor(pixels):
        rows = max(len(chip) for chip in found)
        boxes, scores = np.zeros((len(found), rows, 4), np.float32), np.zeros((len(found), rows), np.float32)
        labels = np.zeros((len(found), rows), np.int32)
        for number, chip in enumerate(found):
            for row, one in enumerate(chip):
                height, width = one.mask.shape
                boxes[number, row] = one.row, one.col, one.row + height, one.col + width
                scores[number, row], labels[number, row] = one.score, one.label
        return boxes, labels, scores, np.ones((len(pixels), rows, 28, 28), np.float32)

    return predictor


def test_f1_is_that_of_the_best_threshold_over_all_chips():
    true = [[thing(0, 0, 10, 10), thing(20, 20, 10, 10)], [thing(5, 5, 8, 8)], []]
    found = [
        [thing(0, 0, 10, 10, score=0.9), thing(30, 0, 5, 5, score=0.2)],
        [thing(5, 5, 8, 8, score=0.6), thing(20, 20, 8, 8, score=0.8)],
        [thing(1, 1, 4, 4, score=0.1)],
    ]
    measured = validate_instances(predictor_of(found), [(np.zeros((3, 40, 40, 3), np.float32), true)])
    # Two hits, one false of three true above 0.6; all five answers make three false.
    assert measured.figure == pytest.approx(2 * 2 / (3 + 3))
    # Halfway to the next score, so that last bits decide nothing.
    assert measured.measures["threshold"] == pytest.approx((0.6 + 0.2) / 2)
    assert measured.measures["precision"] == pytest.approx(2 / 3)
    assert measured.measures["recall"] == pytest.approx(2 / 3)
    assert measured.measures["f1_all"] == pytest.approx(2 * 2 / (5 + 3))


def test_a_threshold_does_not_part_instances_of_one_score():
    found = [[thing(0, 0, 10, 10, score=0.5), thing(20, 0, 10, 10, score=0.5)]]
    measured = validate_instances(predictor_of(found), [(np.zeros((1, 40, 40, 3)), [[thing(0, 0, 10, 10)]])])
    assert measured.figure == pytest.approx(2 / 3)
    assert measured.measures["threshold"] == pytest.approx(0.5)


def test_nothing_found_is_a_figure_of_0_and_nothing_true_is_told():
    chips = np.zeros((1, 40, 40, 3), np.float32)
    found = predictor_of([[thing(0, 0, 5, 5, score=0.0)]])
    assert validate_instances(found, [(chips, [[thing(0, 0, 5, 5)]])]).figure == 0
    with pytest.raises(TrainingError, match="hold no instances"):
        validate_instances(found, [(chips, [[]])])


class Stopped(Note):
    def pictures(self, epoch, predict):
        """Draw nothing."""


@pytest.mark.slow
def test_an_interrupted_detector_ends_with_the_same_weights(tmp_path):
    def run(folder, stop=None):
        network = tiny_detector()
        trained = train(network, TASK, RECIPE, some_data(), TrainingFolder(tmp_path / folder), Stopped(stop))
        return digest(network), last_state(tmp_path / folder), str(trained)

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("parts", (2, 1))
    assert run("parts") == whole


@pytest.mark.slow
def test_a_detector_learns_to_find_planted_things(tmp_path):
    network = tiny_detector()
    drawn = []

    class Look(Watcher):
        def pictures(self, _, predict):
            drawn.append(predict(some_data().validation[0][0]))

    recipe = Recipe(epochs=4, steps=60, batch=4, learning_rate=2e-3, clip=5.0, seed=1)
    trained = train(network, TASK, recipe, some_data(), TrainingFolder(tmp_path), Look())
    assert trained.figure > 0.6
    assert trained.measures["f1_all"] <= trained.figure
    assert len(drawn) == 4 and len(drawn[-1]) == 3 and isinstance(drawn[-1][0][0], ChipInstance)


@pytest.mark.slow
@pytest.mark.parametrize("frozen_norm", [True, False])
def test_a_detectors_encoder_stays_frozen_and_is_left_as_it_came(frozen_norm, tmp_path):
    keras.utils.set_random_seed(1)
    network = mask_rcnn(3, 3, encoder="mobilenet_fpn", settings=SETTINGS, encoder_width=0.05)
    task = Task(TASK.classes, "mobilenet_fpn", replace(TRAINING, frozen_norm=frozen_norm))
    encoder = encoder_layers(network, task)
    assert sum(map(is_norm, encoder)) == 27
    before = [layer.get_weights() for layer in encoder]
    laterals = network.get_layer("pyramid").get_layer("lateral4").get_weights()[0]
    train(
        network,
        task,
        replace(RECIPE, epochs=1, freeze_epochs=1),
        some_data(),
        TrainingFolder(tmp_path),
        Watcher(),
    )
    for layer, then in zip(encoder, before, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(layer.get_weights(), then, strict=True))
        assert layer.trainable
    assert not np.array_equal(network.get_layer("pyramid").get_layer("lateral4").get_weights()[0], laterals)
