"""Hand-written bundles whose network is not a Keras file."""

from __future__ import annotations

from pathlib import Path

import keras
import onnx
from keras import layers
from nets import card_fields
from onnx import TensorProto, helper, numpy_helper

from terraseam.models.bundle.card import Card, network_sha256
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.reach.reach import Reach


def write_card(folder: Path, network: NetworkFile, classes: int, stride: int, **changes: object) -> Path:
    """Write the card of a bundle whose network already exists."""
    computed = {
        "format": 2,
        "encoder": None,
        "task": "semantic",
        "network": network,
        "stride": stride,
        "reach": Reach(40, 40, 40, 40),
        "reach_source": "measured",
        "halo": None,
        "memory_per_pixel": 400,
        "weights_sha256": network_sha256(folder / network.name),
        "training": {},
        "metrics": {},
    }
    fields = {**computed, **card_fields(classes, 3), **changes}
    Card(**fields).write(folder)
    return folder


def stepped(seed: int = 3) -> keras.Model:
    """Build a network of stride 2 without bilinear resizing, so that it can be exported for chips of any size."""
    keras.utils.set_random_seed(seed)
    chip = keras.Input((None, None, 3))
    half = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(chip)
    up = layers.UpSampling2D(2)(half)
    return keras.Model(chip, layers.Conv2D(3, 3, padding="same")(layers.Concatenate()([up, chip])))


def saved_model_bundle(
    folder: Path, model: keras.Model, output_type: str = "logits", **changes: object
) -> Path:
    """Write a bundle with a Keras network as a SavedModel."""
    model.export(folder / "saved_model", format="tf_saved_model", verbose=False)
    classes = changes.pop("classes", model.outputs[0].shape[-1])
    return write_card(folder, NetworkFile("saved_model", answer=output_type), classes, 4, **changes)


def onnx_bundle(
    folder: Path, model: onnx.ModelProto, output_type: str, layout: str, **changes: object
) -> Path:
    """Write a bundle with an ONNX file."""
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    classes = changes.pop("classes", 3)
    return write_card(folder, NetworkFile("model.onnx", layout, output_type), classes, 2, **changes)


def brightest_onnx(
    output_type: str = "logits", kind: int = TensorProto.FLOAT, outputs: int = 1
) -> onnx.ModelProto:
    """Build a channels-first ONNX network that labels each pixel with the brightest of three bands.

    Args:
        output_type: ``logits`` (4 times the values), ``scores`` (their softmax) or ``labels``.
        kind: Type of its input and of its logits.
        outputs: Number of copies of the output.
    """
    four = numpy_helper.from_array(
        onnx.numpy_helper.to_array(helper.make_tensor("four", kind, [1], [4.0])), "four"
    )
    nodes = [helper.make_node("Mul", ["chip", "four"], ["logits"])]
    if output_type == "scores":
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    if output_type == "labels":
        nodes.append(helper.make_node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0))
    names = [output_type, *(f"again{number}" for number in range(1, outputs))]
    nodes += [helper.make_node("Identity", [output_type], [name]) for name in names[1:]]
    shape, made = ("n", 3, "h", "w"), ("n", "h", "w") if output_type == "labels" else ("n", 3, "h", "w")
    made_kind = TensorProto.INT64 if output_type == "labels" else kind
    graph = helper.make_graph(
        nodes,
        "brightest",
        [helper.make_tensor_value_info("chip", kind, shape)],
        [helper.make_tensor_value_info(name, made_kind, made) for name in names],
        [four],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
