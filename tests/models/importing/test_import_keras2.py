"""Files that Keras 2 wrote: imported with the answers that they had, or refused with the reason and a way out."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.keras2 import modern_network
from terraseam.models.importing.keras_network import free_size, read_network

layers = keras.layers


def aged(model, path, change=None):
    """Save a network as HDF5, with the config as Keras 2 has it."""
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] in ("Conv2DTranspose", "DepthwiseConv2D"):
                layer["config"]["groups"] = 1
        if change is not None:
            change(config)
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.15.0"
    return path


def chain(*steps, size=None):
    chip = made = keras.Input((size, size, 3))
    for step in steps:
        made = step(made)
    model = keras.Model(chip, made)
    model.set_weights([np.random.default_rng(0).normal(size=one.shape) for one in model.weights])
    return model


def chips():
    return np.random.default_rng(1).random((1, 32, 32, 3)).astype(np.float32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize(
    "steps",
    [
        lambda: [layers.Conv2DTranspose(4, 3, padding="same"), layers.Conv2D(2, 1)],
        lambda: [layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(2, 1)],
    ],
)
def test_layers_with_groups_of_one_answer_as_before(tmp_path, steps, size):
    model = chain(*steps(), size=size)
    network, _ = free_size(read_network(aged(model, tmp_path / "network.h5")), 3)
    assert network.inputs[0].shape == (None, None, None, 3)
    np.testing.assert_allclose(network(chips()), model(chips()), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"groups": 2},
            r"its layer 'one' \(DepthwiseConv2D\) has groups=2, which Keras .* does not accept; .*SavedModel",
        ),
        (
            {"activation": "hard_sigmoid"},
            "hard_sigmoid in its layer 'one', which is defined differently in Keras",
        ),
    ],
)
def test_what_keras_3_answers_otherwise_is_refused_with_a_way_out(tmp_path, change, words):
    model = chain(layers.DepthwiseConv2D(3, name="one"), layers.Conv2D(2, 1))
    path = aged(
        model, tmp_path / "network.h5", lambda config: config["config"]["layers"][1]["config"].update(change)
    )
    with pytest.raises(NetworkRefusedError, match=words):
        read_network(path)


def test_operations_between_layers_are_named_with_the_ways_out():
    item = {"class_name": "TFOpLambda", "config": {"name": "tf.nn.relu6", "function": "nn.relu6"}}
    with pytest.raises(
        ValueError, match=r"TensorFlow's nn.relu6 between its layers .* SavedModel .* or to ONNX"
    ):
        modern_network({"class_name": "Functional", "config": {"layers": [item]}}, "network.h5")


def test_calls_of_inner_networks_are_counted_from_zero():
    inner = {
        "class_name": "Functional",
        "config": {"name": "inner", "layers": []},
        "inbound_nodes": [[["x", 0, 0, {}]]],
    }
    last = {"class_name": "Conv2D", "config": {"name": "last"}, "inbound_nodes": [[["inner", 1, 0, {}]]]}
    config = {"layers": [inner, last], "output_layers": [["last", 0, 0]]}
    made = modern_network({"class_name": "Functional", "config": config}, "network.h5")
    assert made["config"]["layers"][1]["inbound_nodes"] == [[["inner", 0, 0, {}]]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.weights.h5", "would unpack to 200 MB, and .* is the limit"),
        ("zeros.json", "has zeros.json in it"),
    ],
)
def test_parts_that_unpack_to_far_more_than_the_file_are_refused_unread(tmp_path, name, words):
    path = tmp_path / "network.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as part:
        for _ in range(200):
            part.write(bytes(1_000_000))
    with pytest.raises(NetworkRefusedError, match=words):
        read_network(path)


def test_weights_that_claim_more_than_the_file_are_refused(tmp_path):
    with h5py.File(tmp_path / "network.h5", "w") as file:
        file.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))
    with pytest.raises(NetworkRefusedError, match="would unpack to 4,000,000 MB of weights"):
        read_network(tmp_path / "network.h5")


def as_keras_2(model, path, change):
    """A `.keras` file with the config as Keras 2 has it: calls are lists, layers say what they were built with."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for layer in config["config"]["layers"]:
        layer["inbound_nodes"] = [old_call(call) for call in layer["inbound_nodes"]]
        change(layer)
    members["config.json"] = json.dumps(config).encode()
    members["metadata.json"] = json.dumps({"keras_version": "2.15.0"}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def old_call(call):
    tensors = [one["config"]["keras_history"] for one in call["args"]]
    named = {
        name: one["config"]["keras_history"] for name, one in call["kwargs"].items() if isinstance(one, dict)
    }
    return [[*tensors[0], named]] if len(tensors) == 1 else [[*tensors[0], {"value": tensors[1], **named}]]


def attentive():
    chip = keras.Input((None, None, 3))
    first, second = (layers.Conv2D(8, 8, strides=8)(chip) for _ in range(2))
    seen = layers.MultiHeadAttention(2, 4, value_dim=3, name="across")(first, second)
    seen = layers.MultiHeadAttention(1, 4, use_bias=False, name="within")(seen, seen)
    return keras.Model(chip, layers.UpSampling2D(8)(layers.Conv2D(2, 1)(seen)))


def built_as_before(layer):
    if layer["class_name"] == "MultiHeadAttention":
        layer["config"] |= {
            "query_shape": [None, None, None, 8],
            "value_shape": [None, None, None, 8],
            "key_shape": None,
        }
        layer["build_config"] = {"input_shape": [None, None, None, 8]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_attention_of_keras_2_answers_as_before(tmp_path, suffix):
    model = attentive()
    model.set_weights([np.random.default_rng(0).normal(size=one.shape) for one in model.weights])
    if suffix == ".keras":
        path = as_keras_2(model, tmp_path / "network.keras", built_as_before)
    else:

        def change(config):
            for layer in config["config"]["layers"]:
                layer["inbound_nodes"] = [old_call(call) for call in layer["inbound_nodes"]]
                layer.pop("module", None)
                built_as_before(layer)

        path = aged(model, tmp_path / "network.h5", change)
    np.testing.assert_allclose(read_network(path)(chips()), model(chips()), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_adapted_normalization_of_keras_2_answers_as_before(tmp_path):
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (4, 8, 8, 3)).astype(np.float32))
    model = chain_of(norm)

    def change(layer):
        if layer["class_name"] == "Normalization":
            layer["config"]["batch_input_shape"] = [None, None, None, None]

    path = as_keras_2(model, tmp_path / "network.keras", change)
    np.testing.assert_allclose(read_network(path)(chips()), model(chips()), atol=1e-5)


def chain_of(norm):
    chip = keras.Input((None, None, 3))
    return keras.Model(chip, layers.Conv2D(2, 3, padding="same")(norm(chip)))
