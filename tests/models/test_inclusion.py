"""Bundles hold their network converted for OpenVINO, for chips of any size, and say whether it gives the same labels."""

import dataclasses
import shutil

import keras
import nets
import numpy as np
import pytest
import tensorflow as tf
from engine_bundles import brightest_onnx, onnx_bundle, stepped

from terraseam.models import inclusion
from terraseam.models.bundle.card import Card, check_converted, network_sha256
from terraseam.models.bundle.values import OPENVINO_FILES, ConvertedNetwork
from terraseam.models.engines.conversion import any_size
from terraseam.models.engines.convert import convert
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.outputs import labels_agree
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.engines.tensorflow import load_network
from terraseam.models.engines.workplace import Workplace
from terraseam.models.errors import CardError
from terraseam.models.inclusion import convert_bundle, include_openvino

SIZES = ((36, 52), (64, 20))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("plain") / "stepped", stepped())


@pytest.fixture(scope="module")
def bundle(plain, tmp_path_factory):
    copied = tmp_path_factory.mktemp("converted") / "stepped"
    shutil.copytree(plain, copied)
    convert_bundle(copied)
    return copied


def chips(height, width):
    return np.random.default_rng(0).integers(0, 255, (1, height, width, 3)).astype("uint8")


def openvino(bundle, work):
    converted = (Card.read(bundle).openvino,)
    return Engine(bundle, execution_profile(engine="openvino", converted=converted), Workplace(str(work), 1))


def test_a_converted_network_is_in_its_bundle_and_its_card(bundle, plain):
    card = Card.read(bundle)
    assert card.openvino.checksums() == {name: network_sha256(bundle / name) for name in OPENVINO_FILES}
    assert card.openvino.same_labels
    assert dataclasses.replace(card, openvino=None) == Card.read(plain)
    assert card.score_fields() == Card.read(plain).score_fields()


def test_one_conversion_serves_chips_of_every_size_with_the_bits_of_conversions_for_each(bundle, tmp_path):
    here = openvino(bundle, tmp_path / "work")
    for size in SIZES:
        raw, fixed = chips(*size), tmp_path / "fixed.xml"
        convert(bundle, "openvino", (1, *size, 3), fixed)
        expected = inclusion._run_converted(fixed, inclusion.scale(raw, here.card.scaling))[0]
        assert np.array_equal(here.logits(raw), expected)
    assert not (tmp_path / "work").exists(), "a network in its bundle is not converted again"


@pytest.mark.slow
def test_without_a_converted_network_in_the_bundle_one_is_stored_for_all_sizes(plain, tmp_path):
    engine = openvino(plain, tmp_path / "work")
    for size in SIZES:
        engine.logits(chips(*size))
    assert len([folder for folder in (tmp_path / "work").iterdir() if folder.is_dir()]) == 1


@pytest.mark.slow
def test_networks_without_a_graph_for_any_size_are_converted_for_each(tmp_path):
    bilinear = nets.make_bundle(tmp_path / "bilinear", nets.small_unet())
    with pytest.raises(EngineError, match="cannot be converted for OpenVINO for chips of any size"):
        convert_bundle(bilinear)
    assert include_openvino(bilinear).openvino is None
    assert sorted(file.name for file in bilinear.iterdir()) == ["card.json", "model.keras"]
    engine = openvino(bilinear, tmp_path / "work")
    for size in SIZES:
        engine.logits(chips(*size))
    assert len([folder for folder in (tmp_path / "work").iterdir() if folder.is_dir()]) == 2


def test_the_same_network_gives_the_same_files(bundle, plain, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(plain, again)
    keras.layers.Conv2D(4, 3)(keras.Input((8, 8, 3)))
    assert convert_bundle(again) == Card.read(bundle)


def test_other_labels_are_found_where_a_bundle_is_written(plain, tmp_path, monkeypatch):
    wrong = nets.make_bundle(tmp_path / "wrong", stepped(seed=4))
    other = load_network(wrong, Card.read(wrong), tf)
    convert = inclusion.convert_network
    monkeypatch.setattr(inclusion, "convert_network", lambda _, *rest: convert(other, *rest))
    copied = tmp_path / "copied"
    shutil.copytree(plain, copied)
    assert convert_bundle(copied).openvino.same_labels is False


def test_labels_are_compared_on_the_chips_that_are_given(plain, tmp_path, monkeypatch):
    seen = []
    run = inclusion._run_converted
    monkeypatch.setattr(
        inclusion, "_run_converted", lambda path, batch: seen.append(batch.shape) or run(path, batch)
    )
    copied = tmp_path / "copied"
    shutil.copytree(plain, copied)
    convert_bundle(copied, [np.zeros((8, 16, 3), np.float32), np.ones((4, 4, 3), np.float32)])
    convert_bundle(copied)
    assert seen == [(1, 8, 16, 3), (1, 4, 4, 3), (1, 256, 192, 3), (1, 128, 320, 3), (1, 192, 192, 3)]


@pytest.mark.parametrize("name", OPENVINO_FILES)
def test_a_converted_file_that_was_changed_or_lost_is_refused(bundle, tmp_path, name):
    copied = tmp_path / "copied"
    shutil.copytree(bundle, copied)
    (copied / name).write_bytes((copied / name).read_bytes()[:-1])
    with pytest.raises(CardError, match=f"{name} of bundle .* does not match its card.*--engine tensorflow"):
        openvino(copied, tmp_path)
    (copied / name).unlink()
    with pytest.raises(CardError, match=f"has no {name}, which its card lists"):
        openvino(copied, tmp_path)


@pytest.mark.parametrize("change", [{"reach": None}, {"stride": 4}, {"weights_sha256": "0" * 64}])
def test_a_card_that_was_changed_since_the_conversion_is_refused(bundle, change):
    card = dataclasses.replace(Card.read(bundle), **change)
    with pytest.raises(CardError, match=r"was changed after its network was converted.*models convert"):
        check_converted(bundle, card)
    check_converted(bundle, dataclasses.replace(Card.read(bundle), name="renamed", gsd=2.0))


def test_onnx_files_are_left_as_they_are(tmp_path):
    bundle = onnx_bundle(tmp_path / "onnx", brightest_onnx(), "logits", "channels_first")
    assert include_openvino(bundle).openvino is None
    with pytest.raises(EngineError, match="nothing to convert"):
        convert_bundle(bundle)
    assert any_size(Card.read(bundle)) == (None, 3, None, None)


def test_a_profile_names_what_converted_the_file_and_not_what_is_installed():
    record = ConvertedNetwork("2020.1", "tensorflow 2.0", "3.0", "0" * 64, "1" * 64, "2" * 64, True)
    profile = execution_profile(engine="openvino", converted=(record,))
    assert (profile.converter, profile.keras_version) == ("tensorflow 2.0, openvino 2020.1", "3.0")
    here = dataclasses.replace(record, version=profile.engine_version)
    assert execution_profile(engine="openvino", converted=(here, here)).converter == "tensorflow 2.0"
    installed = execution_profile(engine="openvino")
    both = execution_profile(engine="openvino", converted=(here, None))
    assert both.converter == f"tensorflow 2.0; {installed.converter}"
    assert execution_profile(converted=(record,)) == execution_profile()


@pytest.mark.parametrize(
    ("actual", "agree"), [((0.0, 3.0), True), ((3.0, 0.0), False), ((0.0, 1e-5), True), ((1e-5, 0.0), True)]
)
def test_labels_agree_wherever_two_scores_are_not_all_but_equal(actual, agree):
    close = abs(actual[0] - actual[1]) < 1
    expected = np.array([[(0.0, 1e-6 if close else 5.0)]], np.float32)
    assert labels_agree(expected, np.array([[actual]], np.float32)) is agree
