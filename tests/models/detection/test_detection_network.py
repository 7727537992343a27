"""Mask R-CNN as a network: what it answers, how large it is, and how it is kept in a bundle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from planted import CLASSES, SETTINGS, save_planted, spread_weights, tiny_detector, tiny_encoder

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import Card
from terraseam.models.detection.dispatch import portable
from terraseam.models.detection.mask_rcnn import detector, mask_rcnn
from terraseam.models.detection.measures import detector_measures
from terraseam.models.detection.settings import SLIM, Anchors, Choice, Detector, with_room
from terraseam.models.errors import CardError
from terraseam.models.reach.graph import GraphError

ROWS = SETTINGS.detections.kept


def noise(height: int, width: int, bands: int = 3, count: int = 1) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (count, height, width, bands)).astype(np.float32)


def run(model: keras.Model, chips: np.ndarray) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(part) for part in model(chips, training=False)]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return spread_weights(tiny_detector())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (64, 224), (128, 128)])
def test_answers_have_one_size_whatever_the_chip(network: keras.Model, height: int, width: int) -> None:
    boxes, labels, scores, masks = run(network, noise(height, width, count=2))
    assert boxes.shape == (2, ROWS, 4) and masks.shape == (2, ROWS, 28, 28)
    assert labels.shape == scores.shape == (2, ROWS)
    assert (boxes.dtype, labels.dtype, scores.dtype, masks.dtype) == ("f4", "i4", "f4", "f4")
    found = scores > 0
    assert found.any()
    assert set(labels[found]) <= {1, 2} and scores.max() <= 1 and 0 <= masks.min() <= masks.max() <= 1
    assert (boxes[found][:, :2] < boxes[found][:, 2:]).all() and boxes.min() >= 0
    assert boxes[..., 2].max() <= height and boxes[..., 3].max() <= width
    assert (np.diff(scores, axis=1) <= 0).all()


def test_empty_rows_are_zero_throughout(network: keras.Model) -> None:
    boxes, labels, scores, masks = run(network, noise(32, 32, count=2))
    empty = scores == 0
    assert empty.any()
    for part in (boxes, labels, masks):
        assert not part[empty].any()


def test_things_of_one_class_that_overlap_are_told_once(network: keras.Model) -> None:
    boxes, labels, scores, _ = run(network, noise(128, 128))
    for label in (1, 2):
        some = boxes[0][(labels[0] == label) & (scores[0] > 0)][None]
        shares = np.asarray(keras.utils.bounding_boxes.compute_iou(some, some, "yxyx"))[0]
        assert (shares - np.eye(len(shares)) <= SETTINGS.detections.iou + 1e-5).all()


def test_tensorflows_kernels_and_keras_ops_answer_the_same(network: keras.Model) -> None:
    chips = noise(96, 160, count=2)
    own = run(network, chips)
    with portable():
        other = run(network, chips)
    assert (own[2] > 0).sum() > 4
    np.testing.assert_array_equal(own[1], other[1])
    for mine, theirs, tolerance in zip(own, other, (1e-3, 0, 1e-5, 1e-4), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance)


@pytest.mark.slow
def test_a_graph_of_chips_of_any_size_answers_the_same(network: keras.Model) -> None:
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, 3))
    call = tf.function(lambda chips: network(chips, training=False), input_signature=[spec])
    for chips in (noise(64, 96, count=2), noise(128, 32)):
        for mine, theirs in zip(call(chips), run(network, chips), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_a_chip_answers_the_same_alone_and_among_others(network: keras.Model) -> None:
    chips = noise(64, 96, count=3)
    together = run(network, chips)
    for number in range(3):
        for mine, theirs in zip(run(network, chips[number : number + 1]), together, strict=True):
            np.testing.assert_allclose(mine[0], theirs[number], atol=1e-3)


@pytest.mark.parametrize(("bands", "classes", "width"), [(1, 2, 8), (5, 4, 12)])
def test_any_bands_classes_and_width_make_a_network(bands: int, classes: int, width: int) -> None:
    model = mask_rcnn(
        bands, classes, encoder="mobilenet_fpn", settings=SETTINGS, width=width, encoder_width=0.25
    )
    boxes, labels, _, _ = run(model, noise(64, 96, bands))
    assert boxes.shape == (1, ROWS, 4) and labels.max() < classes
    assert model.get_layer("pyramid").outputs[0].shape[-1] == width


def test_the_pyramid_has_five_levels_at_their_strides() -> None:
    pyramid = detector(tiny_encoder(), 2, SETTINGS).get_layer("pyramid")
    shapes = [tuple(level.shape) for level in pyramid(noise(96, 160))]
    assert shapes == [(1, 24, 40, 24), (1, 12, 20, 24), (1, 6, 10, 24), (1, 3, 5, 24), (1, 2, 3, 24)]


@pytest.mark.slow
def test_mask_rcnn_on_resnet50_is_as_large_as_the_reference() -> None:
    """torchvision's maskrcnn_resnet50_fpn has 44,401,393 parameters with 91 classes.

    It counts neither the biases of the encoder's convolutions, which it does not have, nor batch normalization,
    which it freezes into constants: four numbers a channel. Keras has both, for 26,560 channels.
    """
    model = mask_rcnn(3, 91, encoder="resnet50_fpn")
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    channels = sum(layer.gamma.shape[0] for layer in norms)
    assert channels == 26_560
    assert model.count_params() == 44_401_393 + 5 * channels
    parts = {name: model.get_layer(name).count_params() for name in ("proposer", "box_head", "mask_head")}
    assert parts["proposer"] == 9 * 256 * 256 + 256 + (256 + 1) * 3 + (256 + 1) * 12
    assert parts["box_head"] == (49 * 256 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 91 * 5
    assert parts["mask_head"] == 4 * (9 * 256 * 256 + 256) + (4 * 256 * 256 + 256) + (256 + 1) * 91
    neck = model.get_layer("pyramid").count_params() - parts_of_resnet50()
    assert neck == sum(256 * c + 256 for c in (256, 512, 1024, 2048)) + 4 * (9 * 256 * 256 + 256)


def parts_of_resnet50() -> int:
    return keras.applications.ResNet50(include_top=False, weights=None).count_params()


def test_weight_decay_is_on_the_kernels_of_every_part() -> None:
    model = mask_rcnn(3, 2, encoder="mobilenet", settings=SETTINGS, encoder_width=0.25, weight_decay=1e-2)
    kernels = [w for w in model.trainable_weights if w.path.endswith("kernel")]
    expected = 1e-2 * sum(float(np.sum(np.square(kernel))) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def bundle(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted(network, tmp_path_factory.mktemp("bundles") / "planted")


def test_a_bundle_gives_the_same_answers_bit_for_bit(network: keras.Model, bundle: Path) -> None:
    chips = noise(96, 160, count=2)
    for mine, theirs in zip(run(network, chips), run(load_model(bundle), chips), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_a_bundle_says_that_it_finds_instances(bundle: Path) -> None:
    card = Card.read(bundle)
    assert (card.task, card.network.answer, card.stride, card.reach) == ("instances", "instances", 32, None)
    assert card.halo == 64 and len(card.classes) == len(CLASSES)


def test_the_same_detector_gives_the_same_bytes(network: keras.Model, bundle: Path, tmp_path: Path) -> None:
    again = save_planted(network, tmp_path / "again")
    once_more = save_planted(load_model(bundle), tmp_path / "loaded")
    for name in ("model.keras", "card.json"):
        assert (again / name).read_bytes() == (bundle / name).read_bytes()
    assert Card.read(once_more).stride == 32


def test_a_layer_that_only_resembles_ours_is_refused(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "foreign"
    target.mkdir()
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    foreign = members["config.json"].replace(b"terraseam.models.detection.layers", b"os.path")
    assert foreign != members["config.json"]
    with zipfile.ZipFile(target / "model.keras", "w") as archive:
        for name, data in {**members, "config.json": foreign}.items():
            archive.writestr(name, data)
    import hashlib

    digest = hashlib.sha256((target / "model.keras").read_bytes()).hexdigest()
    card = {**json.loads((bundle / "card.json").read_text()), "weights_sha256": digest}
    (target / "card.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match=r"os\.path"):
        load_model(target)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": CLASSES[:2]}, "has 2 'classes', but its network has 3"),
        ({"bands": ("grey",), "fill": (0.0,)}, "'scaling'; it must be"),
    ],
)
def test_a_card_that_does_not_fit_a_detector_is_refused(
    network: keras.Model, tmp_path: Path, changes: dict, words: str
) -> None:
    with pytest.raises(CardError, match=words):
        save_planted(network, tmp_path / "wrong", **changes)


def test_a_network_that_is_no_detector_is_no_bundle_of_instances(tmp_path: Path) -> None:
    chip = keras.Input((None, None, 3))
    plain = keras.Model(chip, keras.layers.Conv2D(3, 1)(chip), name="plain")
    with pytest.raises(GraphError, match=r"'plain' is not a Terraseam detector: it lacks pyramid"):
        save_planted(plain, tmp_path / "wrong")


def test_memory_grows_with_the_width_and_with_what_is_kept() -> None:
    def memory(width: int, kept: int) -> int:
        numbers = Detector(width=width, box_width=8, detections=Choice(100, kept, 0.5))
        return detector_measures(detector(tiny_encoder(), 2, numbers))[1]

    assert memory(8, 100) < memory(64, 100) < memory(64, 1000)


def test_slim_numbers_are_small() -> None:
    model = mask_rcnn(3, 2, encoder="mobilenet_fpn", settings=SLIM)
    assert model.count_params() < 6e6
    assert detector_measures(model)[0] == 32


def test_room_is_the_number_of_rows_and_no_fewer_boxes_are_looked_at() -> None:
    few, many = (with_room(SLIM, room) for room in (20, 2000))
    assert (few.detections.kept, few.proposals) == (20, SLIM.proposals)
    assert many.detections.kept == many.detections.candidates == many.proposals.kept == 2000
    model = mask_rcnn(3, 2, encoder="mobilenet_fpn", slim=True, room=7, encoder_width=0.1, width=8)
    assert [tuple(output.shape[:2]) for output in model.outputs] == [(None, 7)] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder": "vgg99_fpn"}, "no encoder is called 'vgg99'; choose one of"),
        ({"bands": 0}, "bands must be 1 or more, got 0"),
        ({"classes": 1}, "classes must be 2 or more, got 1"),
        ({"width": 0}, "width and box_width must be 1 or more, got 0"),
        ({"encoder_weights": "nowhere.weights.h5"}, "nowhere.weights.h5 is not a file"),
    ],
)
def test_impossible_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mask_rcnn(**{"bands": 3, "classes": 2, "encoder": "mobilenet_fpn", **arguments})


def test_numbers_survive_a_file() -> None:
    numbers = Detector(
        8, 8, Anchors((4.0, 8.0, 16.0, 32.0, 64.0), (1.0,)), Choice(9, 8, 0.6), Choice(7, 6, 0.4, 0.3)
    )
    model = detector(tiny_encoder(), 2, numbers)
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("proposals").anchors == numbers.anchors
    assert again.get_layer("proposals").choice == numbers.proposals
    assert again.get_layer("detections").choice == numbers.detections
