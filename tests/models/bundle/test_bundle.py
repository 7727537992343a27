"""Bundles: the same bytes every time, and nothing loaded that is not what the card says."""

import hashlib
import io
import json
import os
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from nets import card_fields, make_bundle, small_unet

from terraseam.models.bundle.archive import load_model, round_to_half, save_bundle
from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.errors import CardError
from terraseam.models.reach.graph import UnknownLayerError
from terraseam.models.reach.reach import Reach

layers = keras.layers


@pytest.fixture(scope="module")
def model():
    return small_unet()


@pytest.fixture
def bundle(tmp_path, model):
    return make_bundle(tmp_path / "tiny", model)


def weights(model):
    return [np.asarray(variable) for variable in model.weights]


def restate(bundle, **changes):
    """Write a card with other fields, and with the checksum of the file beside it."""
    path = bundle / "card.json"
    digest = hashlib.sha256((bundle / "model.keras").read_bytes()).hexdigest()
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights_sha256": digest, **changes}))


def test_a_network_is_loaded_as_it_was_saved(bundle, model):
    loaded = load_model(bundle)
    assert all(np.array_equal(a, b) for a, b in zip(weights(loaded), weights(model), strict=True))
    chips = np.random.default_rng(0).normal(size=(1, 12, 20, 3)).astype("f4")
    assert np.array_equal(loaded(chips), model(chips))


def test_the_card_holds_what_was_read_from_the_network(bundle):
    card = Card.read(bundle)
    assert (card.stride, card.format, card.task) == (4, 2, "semantic")
    assert isinstance(card.reach, Reach) and card.memory_per_pixel > 4 * 3
    assert card.weights_sha256 == hashlib.sha256((bundle / "model.keras").read_bytes()).hexdigest()


def test_the_same_network_gives_the_same_bytes(tmp_path, model):
    first = make_bundle(tmp_path / "a", model)
    time.sleep(2.1)
    model.compile("sgd", "mse")
    second = make_bundle(tmp_path / "b", model)
    for name in ("model.keras", "card.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_network_built_again_gives_the_same_bytes(tmp_path):
    digests = []
    for name in "ab":
        keras.utils.clear_session()
        folder = make_bundle(tmp_path / name, small_unet(seed=4))
        digests.append(Card.read(folder).weights_sha256)
    assert digests[0] == digests[1]


def test_saving_leaves_the_network_alone(tmp_path):
    model = small_unet(seed=3)
    before = [array.copy() for array in weights(model)]
    make_bundle(tmp_path / "half", model, fp16_weights=True)
    assert all(np.array_equal(a, b) for a, b in zip(weights(model), before, strict=True))


def test_half_keeps_eleven_bits_in_half_the_space(tmp_path):
    model = small_unet(width=48)
    full = make_bundle(tmp_path / "full", model)
    half = make_bundle(tmp_path / "half", model, fp16_weights=True)
    sizes = [(folder / "model.keras").stat().st_size for folder in (half, full)]
    assert sizes[0] < 0.62 * sizes[1]
    for kept, rounded in zip(weights(model), weights(load_model(half)), strict=True):
        assert rounded.dtype == np.float32
        assert np.array_equal(rounded, kept.astype("f2").astype("f4")) or np.abs(kept).min() < 2**-14
        assert np.array_equal(rounded, round_to_half(kept))


def test_half_rounds_like_float16_and_keeps_every_exponent():
    values = np.random.default_rng(0).normal(size=4096).astype("f4") * 100
    assert np.array_equal(round_to_half(values), values.astype("f2").astype("f4"))
    ties = np.float32([1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-11])
    assert np.array_equal(round_to_half(ties), ties.astype("f2").astype("f4"))
    far = np.float32([1e-12, 1e9, -3e-30, 0.0, -0.0, np.inf, np.nan])
    np.testing.assert_allclose(round_to_half(far), far, rtol=2**-11)


def test_files_are_readable_by_all(bundle):
    assert {oct(path.stat().st_mode & 0o777) for path in bundle.iterdir()} == {"0o644"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride": 8}, "has fields that are read from the network: stride; leave them out"),
        ({"licence": "x"}, "has unknown fields: licence; its fields are"),
        ({"bands": ("red", "green")}, "'scaling'; it must be"),
        ({"fill": (0,)}, "'fill'; it must be a list of numbers: 3"),
        ({"classes": card_fields(2, 3)["classes"]}, "has 2 'classes', but its network has 3"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_and_nothing_written(tmp_path, model, changes, words):
    with pytest.raises(CardError, match=words):
        save_bundle(model, tmp_path / "tiny", **{**card_fields(3, 3), **changes})
    assert not (tmp_path / "tiny").exists()


def test_a_missing_field_is_named(tmp_path, model):
    fields = card_fields(3, 3)
    del fields["gsd"], fields["license"]
    with pytest.raises(CardError, match="lacks gsd, license; its fields are"):
        save_bundle(model, tmp_path / "tiny", **fields)


def test_networks_for_one_size_of_chip_are_refused(tmp_path):
    chip = keras.Input((64, 48, 3))
    with pytest.raises(CardError, match="takes chips of 64 x 48 px only; build it with Input"):
        make_bundle(tmp_path / "fixed", keras.Model(chip, layers.Conv2D(2, 3, padding="same")(chip)))


def test_networks_whose_reach_is_unknown_are_refused(tmp_path):
    chip = keras.Input((None, None, 3))
    strange = layers.UpSampling2D(1, interpolation="lanczos3", name="strange")(chip)
    with pytest.raises(UnknownLayerError, match="layer 'strange' is a UpSampling2D"):
        make_bundle(tmp_path / "strange", keras.Model(chip, strange))
    assert not list(tmp_path.iterdir())


def test_another_file_than_the_cards_is_refused(bundle):
    with (bundle / "model.keras").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CardError, match=r"model.keras of bundle .*tiny does not match its card"):
        load_model(bundle)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride": 2}, "has 2 as 'stride', but its network has 4"),
        ({"reach": None}, "has None as 'reach', but its network has Reach"),
        ({"reach": {"top": 8, "bottom": 8, "left": 8, "right": 8}}, "recreate the bundle"),
        ({"classes": [{"name": "a", "color": "#000000"}]}, "has 1 'classes', but its network has 3"),
    ],
)
def test_a_card_that_says_other_than_the_graph_is_refused(bundle, changes, words):
    restate(bundle, **changes)
    with pytest.raises(CardError, match=words):
        load_model(bundle)


def rewrite_config(bundle, change):
    path = bundle / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"]["layers"][1])
    members["config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.write_bytes(buffer.getvalue())
    restate(bundle)


def mark(folder):
    (folder / "mark").touch()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layer: layer.update(class_name="Lambda"), "has a Lambda of keras.layers, which runs code"),
        (
            lambda layer: layer.update(class_name="TFSMLayer", config={"filepath": "/tmp/other"}),
            "has a TFSMLayer, which loads or runs things outside the file",
        ),
        (
            lambda layer: layer.update(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
            "has a StringLookup, which loads or runs",
        ),
        (lambda layer: layer.update(module="os", class_name="System"), "has a System of os, which runs code"),
        (lambda layer: layer.update(module=None, class_name="Own"), "has a Own, which runs code"),
        (
            lambda layer: layer.update(module="keras.utils", class_name="get_file"),
            "has a get_file of keras.utils",
        ),
        (
            lambda layer: layer["config"].update(
                activation={"class_name": "__lambda__", "config": {"value": ""}}
            ),
            "has a __lambda__, which runs code",
        ),
        (
            lambda layer: layer["config"].update(
                activation={"class_name": "function", "module": "subprocess", "config": "call"}
            ),
            "has a function of subprocess, which runs code",
        ),
    ],
)
def test_networks_that_bring_code_are_refused(bundle, change, words):
    rewrite_config(bundle, change)
    with pytest.raises(CardError, match=words):
        load_model(bundle)


def test_lambda_layers_that_were_saved_are_refused(bundle):
    chip = keras.Input((None, None, 3))
    out = layers.Lambda(lambda x: x + 0.0)(chip)
    keras.Model(chip, out).save(bundle / "model.keras")
    restate(bundle)
    with pytest.raises(CardError, match="has a Lambda"):
        load_model(bundle)


def rewrite_members(bundle, change):
    path = bundle / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    restate(bundle)


def link_weights(members):
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        file["stolen"] = h5py.ExternalLink("/etc/hostname", "/")
    members["model.weights.h5"] = buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link_weights, r"model.keras of bundle .* has weights in other files \(/etc/hostname\)"),
        (
            lambda members: members.update({"assets/words.txt": b"x"}),
            r"has assets/words.txt in it, which image networks",
        ),
        (lambda members: members.update({"model.weights.h5": b"x"}), r"has weights that cannot be read"),
        (lambda members: members.pop("config.json"), r"is not a Keras file"),
    ],
)
def test_files_with_more_or_less_than_a_network_in_them_are_refused(bundle, change, words):
    rewrite_members(bundle, change)
    with pytest.raises(CardError, match=words):
        load_model(bundle)


def test_a_bundle_of_another_file_is_no_keras_network(bundle):
    (bundle / "model.keras").rename(bundle / "model.onnx")
    path = bundle / "card.json"
    network = {"name": "model.onnx", "layout": "channels_first", "answer": "logits"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "network": network}))
    with pytest.raises(
        CardError, match=r"holds model.onnx instead of model.keras, so it is not a Keras network; run it with"
    ):
        load_model(bundle)


@pytest.mark.parametrize(("output_type", "channels", "classes"), [("binary_logits", 1, 2), ("scores", 3, 3)])
def test_other_answers_fit_their_classes(tmp_path, output_type, channels, classes):
    network = NetworkFile(answer=output_type)
    fields = card_fields(classes, 3, network=network)
    save_bundle(small_unet(classes=channels), tmp_path / "other", **fields)
    assert load_model(tmp_path / "other").outputs[0].shape[-1] == channels
    with pytest.raises(CardError, match="has 2 'classes', but its network has 4"):
        save_bundle(small_unet(classes=4), tmp_path / "odd", **card_fields(2, 3, network=network))


def test_a_measured_reach_is_not_compared_with_the_graph(bundle):
    restate(bundle, reach_source="measured", reach={"top": 99, "bottom": 99, "left": 99, "right": 99})
    assert load_model(bundle).count_params() > 0


def test_a_file_that_is_no_keras_file_is_refused(bundle):
    (bundle / "model.keras").write_bytes(os.urandom(100))
    restate(bundle)
    with pytest.raises(CardError, match="is not a Keras file"):
        load_model(bundle)


def test_operations_and_nested_networks_are_loaded(tmp_path):
    chip = keras.Input((None, None, 3))
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(3, 3, padding="same"), layers.ReLU()]
    )
    gate = keras.ops.relu(inner(chip) + 3.0) / 6.0
    model = keras.Model(chip, layers.Multiply()([gate, chip]))
    loaded = load_model(make_bundle(tmp_path / "gate", model))
    chips = np.ones((1, 5, 7, 3), "f4")
    assert np.array_equal(loaded(chips), model(chips))
