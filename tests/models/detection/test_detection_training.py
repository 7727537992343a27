"""Training of Mask R-CNN: what is sampled, what is lost, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from planted import (
    TRAINING,
    batch_of_scenes,
    found_on,
    intersection_over_union,
    planted_scene,
    tiny_detector,
    train,
)

from terraseam.models.detection.boxes import BOX_VARIANCE, RPN_VARIANCE, encode, level_anchors
from terraseam.models.detection.instances import ChipInstance
from terraseam.models.detection.losses import BoxLosses, MaskLoss, ProposalLosses, SampledBoxes, smooth_l1
from terraseam.models.detection.paste import paste
from terraseam.models.detection.sampling import mask_targets, match_anchors, overlaps, sample
from terraseam.models.detection.settings import STRIDES, Anchors, Training
from terraseam.models.detection.training import LOSSES, training_network
from terraseam.models.detection.truth import pad_truth, shrink
from terraseam.models.reach.graph import GraphError


def array(tensor: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def disc(radius: int) -> np.ndarray:
    rows, cols = np.mgrid[: 2 * radius, : 2 * radius] + 0.5 - radius
    return rows**2 + cols**2 <= radius**2


# --- what is true


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (8, 2), (29, 53)])
def test_a_cell_holds_the_share_of_it_that_the_mask_covers(height: int, width: int) -> None:
    mask = np.random.default_rng(height).random((height, width)) > 0.4
    fine = np.kron(mask, np.ones((6, 6)))
    expected = fine.reshape(6, height, 6, width).mean(axis=(1, 3))
    np.testing.assert_allclose(shrink(mask, 6), expected, atol=1e-9)


def test_truth_is_padded_to_one_size() -> None:
    things = [ChipInstance(3, 5, np.ones((4, 6), bool), 2, 1.0), ChipInstance(20, 9, disc(8), 1, 1.0)]
    truth = pad_truth([things, []], most=3, side=8)
    np.testing.assert_array_equal(truth["boxes"][0], [[3, 5, 7, 11], [20, 9, 36, 25], [0, 0, 0, 0]])
    np.testing.assert_array_equal(truth["labels"], [[2, 1, 0], [0, 0, 0]])
    assert truth["masks"].shape == (2, 3, 8, 8) and truth["masks"].dtype == np.uint8
    assert (truth["masks"][0, 0] == 255).all() and not truth["masks"][1].any()
    assert truth["masks"][0, 1, 0, 0] < 100 and truth["masks"][0, 1, 4, 4] == 255


def test_truth_that_cannot_be_padded_is_refused_in_words() -> None:
    thing = ChipInstance(0, 0, np.ones((2, 2), bool), 1, 1.0)
    with pytest.raises(ValueError, match="chip 1 has 3 instances, more than 2; raise `most`"):
        pad_truth([[], [thing] * 3], most=2)
    with pytest.raises(ValueError, match="instance 1 of chip 0 has the label 0; 0 is the background"):
        pad_truth([[thing, replace(thing, label=0)]], most=2)


def test_a_mask_seen_through_its_own_box_pastes_back_to_itself() -> None:
    mask = disc(20)
    truth = pad_truth([[ChipInstance(10, 30, mask, 1, 1.0)]], most=1)
    shares = truth["masks"].astype(np.float32) / 255
    target = array(mask_targets(shares, truth["boxes"], truth["boxes"], 28))[0, 0]
    row, col, pasted = paste(truth["boxes"][0, 0], target, 64, 96)
    whole = np.zeros((64, 96), bool)
    whole[row : row + pasted.shape[0], col : col + pasted.shape[1]] = pasted
    expected = np.zeros((64, 96), bool)
    expected[10:50, 30:70] = mask
    assert (whole & expected).sum() / (whole | expected).sum() > 0.97


def test_targets_end_where_the_thing_ends() -> None:
    boxes = np.float32([[[10, 10, 30, 50], [10, 10, 30, 50]]])
    rois = np.float32([[[0, 10, 40, 50], [20, 30, 40, 70]]])
    found = array(mask_targets(np.ones((1, 2, 56, 56), np.float32), boxes, rois, 8))[0]
    np.testing.assert_array_equal(found[0].any(axis=1), [0, 0, 1, 1, 1, 1, 0, 0])
    assert found[0].any(axis=0).all()
    expected = np.zeros((8, 8))
    expected[:4, :4] = 1
    np.testing.assert_array_equal(found[1], expected)


def test_a_cell_is_of_the_thing_from_half_of_it_on() -> None:
    boxes = np.float32([[[0, 0, 16, 16]] * 3])
    shares = np.float32([[0.49, 0.51, 0.7]])[..., None, None] * np.ones((1, 3, 8, 8), np.float32)
    inner = np.float32([[[4, 4, 12, 12]] * 3])
    found = array(mask_targets(shares, boxes, inner, 4))
    np.testing.assert_array_equal(found[0, :, 0, 0], [0, 1, 1])
    assert (found == found[..., :1, :1]).all()


# --- what is looked at


def test_anchors_hold_a_thing_from_the_upper_limit_on_or_where_none_is_better() -> None:
    shares = np.float32([[[0.8, 0.1], [0.69, 0.2], [0.3, 0.35], [0.29, 0.0], [0.1, 0.35], [0.0, 0.0]]])
    holds, ground = (array(part)[0] for part in match_anchors(shares, (0.3, 0.7)))
    np.testing.assert_array_equal(holds, [True, False, True, False, True, False])
    np.testing.assert_array_equal(ground, [False, False, False, True, False, True])


def test_without_things_all_anchors_hold_the_ground() -> None:
    anchors, truth = np.float32([[0, 0, 8, 8], [4, 4, 20, 20]]), np.zeros((1, 2, 4), np.float32)
    holds, ground = match_anchors(overlaps(anchors, truth, np.zeros((1, 2), np.int32)), (0.3, 0.7))
    assert not array(holds).any() and array(ground).all()


@pytest.mark.parametrize(("things", "ground"), [(30, 200), (5, 200), (0, 200), (30, 10), (3, 4)])
def test_the_ground_fills_up_what_things_leave(things: int, ground: int) -> None:
    rng = np.random.default_rng(things)
    kind = rng.permutation([1] * things + [2] * ground + [0] * 40)[None]
    noise = rng.random(kind.shape).astype(np.float32)
    places, held, drawn = (array(part)[0] for part in sample(kind == 1, kind == 2, noise, 32, 8))
    assert held.sum() == min(things, 8)
    assert drawn.sum() == min(32, held.sum() + ground)
    assert (kind[0, places[held]] == 1).all() and (kind[0, places[drawn & ~held]] == 2).all()
    assert len(set(places[drawn])) == drawn.sum()
    assert held[: held.sum()].all()


def test_each_thing_is_drawn_as_often_as_any_other() -> None:
    rng = np.random.default_rng(0)
    kind = np.tile(np.arange(20) < 12, (4000, 1))
    places, held, _ = (array(p) for p in sample(kind, ~kind, rng.random(kind.shape).astype(np.float32), 8, 4))
    counts = np.bincount(places[held], minlength=20)[:12]
    assert counts.sum() == 16000 and counts.min() > 1200 and counts.max() < 1470


def test_drawn_boxes_are_the_proposals_and_what_is_true() -> None:
    truth = np.float32([[[10, 10, 30, 30], [40, 40, 60, 70], [0, 0, 0, 0]]])
    labels = np.int32([[2, 1, 0]])
    proposals = np.float32(
        [[[11, 10, 31, 30], [10, 20, 30, 44], [80, 80, 90, 90], [5, 5, 6, 6], [0, 0, 0, 0]]]
    )
    valid = np.array([[True, True, True, True, False]])
    layer = SampledBoxes(Training(rois=8, roi_share=0.5))
    boxes, found, matched, drawn = (array(part)[0] for part in layer(proposals, valid, truth, labels))
    seen = {
        tuple(box): (int(a), int(b)) for box, a, b, d in zip(boxes, found, matched, drawn, strict=True) if d
    }
    assert seen.keys() == {tuple(box) for box in np.concatenate([proposals[0, :4], truth[0, :2]])}
    assert seen[(10, 10, 30, 30)] == seen[(11, 10, 31, 30)] == (2, 0)
    assert seen[(40, 40, 60, 70)] == (1, 1)
    assert {seen[tuple(box)][0] for box in proposals[0, 1:4]} == {0}
    assert (found[:3] > 0).all() and not found[3:].any()


def test_samples_are_repeated_by_their_seed() -> None:
    truth = np.float32([[[10, 10, 30, 30]]])
    proposals = np.random.default_rng(0).uniform(0, 90, (1, 60, 2)).astype(np.float32)
    proposals = np.concatenate([proposals, proposals + 9], axis=2)

    def draw(seed: int) -> list[bytes]:
        layer = SampledBoxes(Training(rois=16, seed=seed))
        return [
            array(layer(proposals, np.ones((1, 60), bool), truth, np.int32([[1]]))[0]).tobytes()
            for _ in range(2)
        ]

    first = draw(1)
    assert first == draw(1) != draw(2)
    assert first[0] != first[1]


# --- what is lost


def test_smooth_l1_is_a_parabola_that_turns_into_a_line() -> None:
    found = array(smooth_l1(np.float32([0, 0.1, -0.5, 2]), 0.5))
    np.testing.assert_allclose(found, [0, 0.01, 0.25, 1.75], rtol=1e-5)


def entropy(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -(target * np.log(scores) + (1 - target) * np.log(1 - scores))


def huber(values: np.ndarray, beta: float) -> np.ndarray:
    size = np.abs(values)
    return np.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta).sum(axis=-1)


def test_proposal_losses_are_those_of_all_anchors_where_all_are_drawn() -> None:
    rng = np.random.default_rng(4)
    anchors = Anchors(sizes=(12.0, 24.0, 48.0, 96.0, 192.0), ratios=(1.0,))
    sizes = [(-(-64 // stride), -(-96 // stride)) for stride in STRIDES]
    scores = [rng.normal(size=(1, *size, 1)).astype(np.float32) for size in sizes]
    deltas = [rng.normal(size=(1, *size, 4)).astype(np.float32) for size in sizes]
    truth, labels = np.float32([[[8, 8, 20, 22], [30, 40, 60, 90]]]), np.int32([[1, 2]])
    boxes = np.concatenate([array(level_anchors(size, level, anchors)) for level, size in enumerate(sizes)])
    shares = array(overlaps(boxes, truth, labels))
    holds, ground = (array(part)[0] for part in match_anchors(shares, (0.3, 0.5)))
    logits = np.concatenate([one.reshape(-1) for one in scores])
    told = np.concatenate([one.reshape(-1, 4) for one in deltas])
    target = array(encode(boxes[None], truth[:, shares[0].argmax(axis=1)], RPN_VARIANCE))[0]
    count = (holds | ground).sum()
    settings = Training(anchors=len(boxes), anchor_share=1.0, anchor_ious=(0.3, 0.5))
    of_class, of_boxes = ProposalLosses(settings, anchors)(scores, deltas, truth, labels)
    assert float(of_class) == pytest.approx(entropy(logits, holds)[holds | ground].sum() / count, rel=1e-4)
    assert float(of_boxes) == pytest.approx(huber(told - target, 1 / 9)[holds].sum() / count, rel=1e-4)
    assert holds.sum() > 2


def drawn_boxes() -> tuple[list[np.ndarray], np.ndarray]:
    """Four drawn boxes of one chip, the last one not drawn; and what is true."""
    truth = np.float32([[[8, 8, 20, 22], [30, 40, 60, 90]]])
    rois = np.float32([[[30, 42, 58, 88], [9, 9, 21, 20], [50, 5, 60, 15], [0, 0, 0, 0]]])
    labels, matched = np.int32([[2, 1, 0, 0]]), np.int32([[1, 0, 0, 0]])
    return [rois, labels, matched, np.array([[True, True, True, False]])], truth


def test_box_losses_are_of_the_true_class_and_of_what_was_drawn() -> None:
    rng = np.random.default_rng(5)
    drawn, truth = drawn_boxes()
    logits, deltas = (rng.normal(size=(4, n)).astype(np.float32) for n in (3, 12))
    likely = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected_class = -np.mean([likely[0, 2], likely[1, 1], likely[2, 0]])
    target = array(encode(drawn[0], truth[:, [1, 0, 0, 0]], BOX_VARIANCE))[0]
    told = deltas.reshape(4, 3, 4)
    misses = huber(np.stack([told[0, 2] - target[0], told[1, 1] - target[1]]), 1.0)
    of_class, of_boxes = BoxLosses(Training())(logits, deltas, drawn, truth)
    assert float(of_class) == pytest.approx(expected_class, rel=1e-4)
    assert float(of_boxes) == pytest.approx(misses.sum() / 3, rel=1e-4)


def test_mask_loss_is_of_the_true_class_and_of_things_alone() -> None:
    rng = np.random.default_rng(6)
    drawn, truth = drawn_boxes()
    masks = (255 * (rng.random((1, 2, 56, 56)) > 0.5)).astype(np.uint8)
    logits = rng.normal(size=(4, 28, 28, 3)).astype(np.float32)
    own = masks[:, [1, 0]].astype(np.float32) / 255
    target = array(mask_targets(own, truth[:, [1, 0]], drawn[0][:, :2], 28))[0]
    expected = np.mean([entropy(logits[0, ..., 2], target[0]), entropy(logits[1, ..., 1], target[1])])
    assert float(MaskLoss(Training())(logits, drawn, truth, masks)) == pytest.approx(expected, rel=1e-4)


# --- that it learns


@pytest.mark.slow
def test_one_gradient_step_changes_every_trainable_weight() -> None:
    network = tiny_detector()
    trainer = training_network(network, TRAINING)
    before = [array(weight) for weight in trainer.trainable_weights]
    trainer.compile(keras.optimizers.SGD(0.1))
    shown = trainer.train_on_batch(batch_of_scenes(2, 64, seed=3), return_dict=True)
    pairs = list(zip(trainer.trainable_weights, before, strict=True))
    assert [weight.path for weight, old in pairs if np.array_equal(array(weight), old)] == []
    assert len(pairs) == len(network.trainable_weights)
    assert set(shown) == {"loss", *LOSSES}
    assert shown["loss"] == pytest.approx(sum(shown[name] for name in LOSSES), rel=1e-4)


def test_the_mask_head_learns_from_as_many_boxes_as_may_hold_a_thing() -> None:
    trainer = training_network(tiny_detector(), replace(TRAINING, rois=40, roi_share=0.25))
    shapes = {name: trainer.get_layer(f"training_{name}_features").input[0].shape for name in ("box", "mask")}
    assert shapes == {"box": (None, 40, 4), "mask": (None, 10, 4)}


@pytest.mark.slow
def test_a_scene_without_things_trains_as_well() -> None:
    trainer = training_network(tiny_detector(), TRAINING)
    trainer.compile(keras.optimizers.SGD(0.01))
    empty = {**batch_of_scenes(2, 64, seed=3), **pad_truth([[], []], 4)}
    shown = trainer.train_on_batch(empty, return_dict=True)
    assert np.isfinite(shown["loss"]) and shown["mask"] == shown["box"] == shown["proposal_box"] == 0
    assert all(np.isfinite(array(weight)).all() for weight in trainer.trainable_weights)


@pytest.mark.slow
def test_frozen_normalization_stays_as_it_came() -> None:
    network = tiny_detector()
    trainer = training_network(network, replace(TRAINING, frozen_norm=True))
    norms = [
        layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [[array(weight) for weight in layer.weights] for layer in norms]
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.train_on_batch(batch_of_scenes(2, 64, seed=3))
    assert norms
    for layer, old in zip(norms, before, strict=True):
        for weight, kept in zip(layer.weights, old, strict=True):
            np.testing.assert_array_equal(array(weight), kept)
    training_network(network, TRAINING)
    assert all(layer.trainable for layer in norms)


@pytest.mark.slow
def test_penalties_of_layers_are_part_of_the_loss() -> None:
    network = tiny_detector()
    kernel = network.get_layer("mask_head").get_layer("mask_logits")
    kernel.kernel.regularizer = keras.regularizers.L2(5.0)
    trainer = training_network(network, TRAINING)
    trainer.compile(keras.optimizers.SGD(0.0))
    shown = trainer.train_on_batch(batch_of_scenes(1, 64, seed=3), return_dict=True)
    penalty = 5 * float(np.sum(np.square(array(kernel.kernel))))
    assert shown["loss"] == pytest.approx(sum(shown[name] for name in LOSSES) + penalty, rel=1e-4)


def test_what_is_no_detector_cannot_be_trained_as_one() -> None:
    chip = keras.Input((None, None, 3))
    with pytest.raises(GraphError, match="is not a Terraseam detector"):
        training_network(keras.Model(chip, keras.layers.Conv2D(3, 1)(chip)))


@pytest.mark.slow
def test_a_tiny_detector_learns_one_scene_and_finds_everything_once() -> None:
    network = tiny_detector(seed=1)
    data = batch_of_scenes(1, 128, seed=26)
    train(network, {name: np.repeat(part, 4, axis=0) for name, part in data.items()}, epochs=120)
    pixels, planted = planted_scene(128, 128, 12, 26)
    found = found_on(network, pixels)
    assert len(found) == len(planted) >= 4
    for thing in planted:
        alike = [intersection_over_union(thing, one) for one in found if one.label == thing.label]
        assert sum(share >= 0.8 for share in alike) == 1
