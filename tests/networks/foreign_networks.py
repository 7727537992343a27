"""Files of networks from other tools: exported by Keras, or built node by node."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers
from onnx import helper, numpy_helper

from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.models.importing.importer import ImportRequest

NAMES = ("land", "water", "lake", "ice", "sand", "rock")
BANDS = ("red", "green", "blue", "nir")


def words(classes: int = 3, bands: int = 3, **changes: object) -> dict[str, object]:
    """Return the card fields that only a user knows."""
    fields: dict[str, object] = {
        "name": "foreign",
        "version": "1.0.0",
        "classes": tuple(ClassInfo(name, f"#00000{number}") for number, name in enumerate(NAMES[:classes])),
        "bands": BANDS[:bands],
        "gsd": 0.3,
        "scaling": Scaling((1 / 127.5,) * bands, (-1.0,) * bands),
        "fill": (127.0,) * bands,
        "license": "not stated",
    }
    return {**fields, **changes}


def request(file: Path, output: Path, classes: int = 3, bands: int = 3, **changes: object) -> ImportRequest:
    """Return a complete import request."""
    said = {name: changes.pop(name) for name in list(changes) if name in ("halo", "gsd", "name")}
    return ImportRequest(file=file, output=output, card_fields=words(classes, bands, **said), **changes)


def pyramid(classes: int = 3, activation: str | None = None, size: int | None = None) -> keras.Model:
    """Build a Keras network of stride 4 that can be exported for chips of any size."""
    keras.utils.set_random_seed(1)
    chip = keras.Input((size, size, 3))
    fine = layers.Conv2D(4, 3, padding="same", activation="relu")(chip)
    half = layers.MaxPooling2D(2)(layers.BatchNormalization()(fine))
    quarter = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(half)
    up = layers.UpSampling2D(2)(quarter)
    up = layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(up), half])
    up = layers.Conv2DTranspose(4, 4, strides=2, padding="same", activation="relu")(up)
    out = layers.Conv2D(classes, 1, activation=activation)(layers.Concatenate()([up, fine]))
    model = keras.Model(chip, out)
    model(np.zeros((1, size or 16, size or 16, 3), np.float32))
    return model


def export(model: keras.Model, path: Path, size: tuple[int | None, ...] = (None, None, None, 3)) -> Path:
    """Export a network, as an ONNX file or as a SavedModel."""
    signature = [keras.InputSpec(shape=size, dtype="float32")]
    kind = "onnx" if path.suffix == ".onnx" else "tf_saved_model"
    model.export(path, format=kind, verbose=False, input_signature=signature)
    return path


class Graph:
    """A channels-first ONNX graph built node by node."""

    def __init__(
        self, bands: int = 3, size: tuple[object, ...] = ("n", "h", "w"), opset: int = 17, seed: int = 0
    ):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape = (size[0], bands, *size[1:])
        self.opset = opset
        self.channels = bands
        self.x = "chip"

    def weight(self, values: object, dtype: str = "float32") -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: object) -> str:
        made = [f"{op.lower()}{len(self.nodes)}_{number}" for number in range(outputs)]
        node = helper.make_node(
            op, list(inputs), made, name=f"{op} {len(self.nodes)}", domain=domain, **attributes
        )
        self.nodes.append(node)
        return made[0]

    def conv(self, channels: int, kernel: int = 3, *, groups: int = 1, **attributes: object) -> Graph:
        kernels = self.rng.normal(size=(channels, self.channels // groups, kernel, kernel))
        attributes.setdefault("pads", [kernel // 2] * 4)
        attributes = {name: value for name, value in attributes.items() if value is not None}
        self.x = self.add("Conv", self.x, self.weight(kernels), group=groups, **attributes)
        self.channels = channels
        return self

    def then(self, op: str, *inputs: str, **attributes: object) -> Graph:
        self.x = self.add(op, self.x, *inputs, **attributes)
        return self

    def model(
        self, channels: int | None = None, dtype: int = onnx.TensorProto.FLOAT, rank: int = 4
    ) -> onnx.ModelProto:
        made = (self.shape[0], channels or self.channels, *self.shape[2:])
        chip = helper.make_tensor_value_info("chip", onnx.TensorProto.FLOAT, self.shape)
        out = helper.make_tensor_value_info(
            self.x, dtype, made if rank == 4 else (self.shape[0], *self.shape[2:])
        )
        graph = helper.make_graph(self.nodes, "foreign", [chip], [out], self.weights)
        domains = {"": self.opset, **{node.domain: 1 for node in self.nodes if node.domain}}
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid(*item) for item in domains.items()]
        )
        model.ir_version = 8
        return model

    def save(self, path: Path, **kind: object) -> Path:
        onnx.save(self.model(**kind), path)
        return path


def small(classes: int = 3, **changes: object) -> Graph:
    """Build a channels-first network of stride 2, like those exported by PyTorch."""
    graph = Graph(**changes)
    graph.conv(4).then("Relu")
    fine = graph.x
    graph.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).conv(4).then("Relu")
    scales = graph.weight([1, 1, 2, 2])
    graph.x = graph.add(
        "Resize", graph.x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    graph.x = graph.add("Concat", graph.x, fine, axis=1)
    graph.channels = 8
    return graph.conv(classes)
