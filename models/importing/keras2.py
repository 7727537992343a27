"""Convert networks saved by Keras 2 to the format of Keras 3.

The two differ in the configs of layers, and in the modules named by `.keras` files. What Keras 3 does not
support is dropped if it does not affect a network's output, and refused if it does.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from terraseam.models.errors import CardError

WAY_OUT = (
    "with a version that loads it, export it as a SavedModel (model.export('folder')) or to ONNX, with dynamic "
    "height and width, and import that"
)
MODELS = {
    "Functional": "keras.src.models.functional",
    "Model": "keras.src.models.functional",
    "Sequential": "keras.src.models.sequential",
}
OPERATIONS = (
    "TFOpLambda",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
)
"""Layers that Keras 2 created from TensorFlow calls between layers."""
WITHOUT_EFFECT = frozenset(
    {
        "noise_shape",
        "seed",
        "implementation",
        "ragged",
        "sparse",
        "optional",
        "fused",
        "stateful",
        "time_major",
    }
    | {"trainable", "activity_regularizer", "batch_input_shape", "query_shape", "key_shape", "value_shape"}
)
FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")
"""Config entries that do not affect a network's output."""
OF_ALL_LAYERS = frozenset(
    {
        "name",
        "trainable",
        "dtype",
        "activity_regularizer",
        "input_shape",
        "batch_input_shape",
        "batch_shape",
        "shape",
    }
)


def is_keras2(version: object) -> bool:
    """Return whether a file's version is Keras 1 or 2."""
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    return text.startswith(("1.", "2."))


def modern_network(item: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the config of a Keras 2 network or layer as Keras 3 would write it.

    Args:
        item: The object of the config, with ``class_name`` and ``config``.
        what: Name of the file in error messages.

    Raises:
        CardError: If it contains something that Keras 3 lacks, or computes differently.
    """
    name, config = str(item.get("class_name")), item.get("config")
    _refuse_lost(name, config, what)
    if name in MODELS:
        config = {"layers": config} if isinstance(config, list) else dict(config or {})
        config["layers"] = [modern_network(layer, what) for layer in config.get("layers", [])]
        _renumber(config)
        for layer in config["layers"]:
            if isinstance(layer.get("inbound_nodes"), list):
                layer["inbound_nodes"] = [_modern_node(node) for node in layer["inbound_nodes"]]
        modern = {**item, "class_name": "Functional" if name == "Model" else name, "config": config}
        return {**modern, "module": MODELS[name]} if "module" in item else modern
    kind = getattr(keras.layers, name, None)
    if not isinstance(kind, type) or not isinstance(config, dict) or _is_foreign(item) or name == "Lambda":
        return item
    config = _modern_config(name, kind, config, what)
    for inner in ("layer", "backward_layer", "cell"):
        if isinstance(config.get(inner), dict):
            config[inner] = modern_network(config[inner], what)
    if "module" not in item:
        return {**_unbuilt(item), "config": config}
    if name != "InputLayer":
        config.pop("batch_input_shape", None)
    return {**_unbuilt(item), "config": config, "module": "keras.layers"}


def _unbuilt(item: dict[str, Any]) -> dict[str, Any]:
    """Drop a layer's build config: layers are built when called, and some now take other arguments."""
    return {key: value for key, value in item.items() if key != "build_config"}


def check_loaded(model: keras.Model, weights: Any, what: str) -> None:
    """Check that each layer has the weights stored under its name in an HDF5 file.

    Raises:
        CardError: If one has other weights.
    """
    stored: dict[str, list[np.ndarray]] = {}

    def keep(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            for name in set(path.split("/")[:-1]):
                stored.setdefault(name, []).append(item[...])

    weights.visititems(keep)
    for layer in _layers_of(model):
        if layer.weights and layer.name in stored and not _are_same(layer.get_weights(), stored[layer.name]):
            raise CardError(_lost_weights(what, layer.name))


def _layers_of(model: keras.Model) -> Iterator[Any]:
    """Yield the layers of a network and of nested networks; names of their sublayers need not be unique."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer)
        else:
            yield layer


def check_archive(model: keras.Model, config: dict[str, Any], weights: Any, what: str) -> None:
    """Check that each layer has the weights of a `.keras` file, which Keras 2 stored by class and number.

    Raises:
        CardError: If one has other weights.
    """
    groups = weights.get("layers", weights.get("_layer_checkpoint_dependencies"))
    counts: dict[str, int] = {}
    for item in config["config"].get("layers", []):
        kind = _snake(item["class_name"])
        number = counts[kind] = counts.get(kind, -1) + 1
        group = None if groups is None else groups.get(f"{kind}_{number}" if number else kind)
        arrays: list[np.ndarray] = []
        if group is not None:
            group.visititems(
                lambda _, entry, arrays=arrays: (
                    arrays.append(entry[...]) if isinstance(entry, h5py.Dataset) else None
                )
            )
        name = item["config"].get("name", item.get("name"))
        matches = [layer for layer in model.layers if layer.name == name]
        if matches and not _are_same(matches[0].get_weights(), arrays):
            raise CardError(_lost_weights(what, name))


def _are_same(loaded: list[np.ndarray], stored: list[np.ndarray]) -> bool:
    """Return whether two lists hold the same arrays, in any order."""
    loaded_bytes, stored_bytes = (
        sorted(array.astype(np.float32).tobytes() for array in arrays) for arrays in (loaded, stored)
    )
    return loaded_bytes == stored_bytes


def _lost_weights(what: str, name: str) -> str:
    return (
        f"{what} was saved by Keras 2, and Keras {keras.__version__} cannot restore the weights of its layer "
        f"{name!r}; {WAY_OUT}"
    )


def _snake(name: str) -> str:
    """Return a class name in snake case, as Keras 2 uses it to store weights."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _is_foreign(item: dict[str, Any]) -> bool:
    """Return whether an object claims to come from outside Keras."""
    module = item.get("module")
    own = module is None or str(module).split(".")[0] in ("keras", "tf_keras")
    return ">" in str(item.get("registered_name")) or not own


def _refuse_lost(name: str, config: Any, what: str) -> None:
    """Refuse what Keras 3 lacks, or computes differently."""
    called = repr(config.get("name", name)) if isinstance(config, dict) else repr(name)
    problem = ""
    if name in OPERATIONS:
        function = config.get("function", called) if isinstance(config, dict) else called
        problem = f"TensorFlow's {function} between its layers ({name}), which Keras {keras.__version__} does not read"
    elif name in ("LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU"):
        problem = f"the layer {called} ({name}), which Keras {keras.__version__} does not have"
    elif isinstance(config, dict) and "hard_sigmoid" in (
        config.get("activation"),
        config.get("recurrent_activation"),
    ):
        problem = (
            f"hard_sigmoid in its layer {called}, which is defined differently in Keras {keras.__version__}"
        )
    if problem:
        raise CardError(f"{what} was saved by Keras 2 and has {problem}; {WAY_OUT}")


def _modern_config(name: str, kind: type, config: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the config of a layer with only the arguments that Keras 3 takes."""
    named = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    taken = set(named) | (OF_ALL_LAYERS if "kwargs" in named else set())
    if name == "LeakyReLU" and "alpha" in config:
        config = {key: value for key, value in config.items() if key != "alpha"} | {
            "negative_slope": config["alpha"]
        }
    modern = {}
    for key, value in config.items():
        plain = _plain(value)
        if key == "axis" and name == "BatchNormalization" and isinstance(plain, list) and len(plain) == 1:
            plain = plain[0]
        if key in taken and key != "noise_shape":
            modern[key] = plain
        elif (
            key not in WITHOUT_EFFECT
            and not key.endswith(FOR_TRAINING)
            and plain not in (None, False)
            and (key, plain) != ("groups", 1)
        ):
            raise CardError(
                f"{what} was saved by Keras 2, and its layer {config.get('name', name)!r} ({name}) has "
                f"{key}={plain!r}, which Keras {keras.__version__} does not accept; {WAY_OUT}"
            )
    return modern


def _renumber(config: dict[str, Any]) -> None:
    """Number the calls of nested networks from 0: Keras 2 counted their construction as the first call."""
    inner = {
        layer["config"].get("name"): layer["class_name"]
        for layer in config["layers"]
        if layer["class_name"] in MODELS
    }
    ends = [config.get("output_layers", [])]
    inbound = [
        config.get("input_layers", []),
        *(layer.get("inbound_nodes", []) for layer in config["layers"]),
    ]
    calls = [call for call in _calls([inbound, ends]) if call[0] in inner]
    least = {name: min(call[1] for call in calls if call[0] == name) for name in {call[0] for call in calls}}
    for call in calls:
        call[1] -= least[call[0]]
    for call in _calls(ends):
        # Keras 3 still counts that way if a network ends in a nested one.
        call[1] += inner.get(call[0]) in ("Functional", "Model")


def _modern_node(node: Any) -> Any:
    """Return a layer call in Keras 3's format if it has tensors as named arguments, such as ``value``."""
    if not isinstance(node, list) or not all(
        isinstance(reference, list) and len(reference) == 4 for reference in node
    ):
        return node
    if not any(_is_tensor(value) for *_, named in node for value in named.values()):
        return node
    args = [_tensor(reference[:3]) for reference in node]
    named = {
        key: _tensor(argument) if _is_tensor(argument) else argument for key, argument in node[-1][3].items()
    }
    return {"args": args if len(args) == 1 else [args], "kwargs": named}


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(type(number) is int for number in value[1:])
    )


def _tensor(place: list[Any]) -> dict[str, Any]:
    """Return a tensor in Keras 3's format; its shape is that of the layer that produces it."""
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None], "dtype": "float32", "keras_history": place},
    }


def _calls(nodes: Any) -> Iterator[list[Any]]:
    """Yield the references to tensors: name of the layer, number of the call, number of the tensor."""
    if isinstance(nodes, dict):
        nodes = list(nodes.values())
    if isinstance(nodes, list):
        if (
            len(nodes) >= 3
            and isinstance(nodes[0], str)
            and all(type(number) is int for number in nodes[1:3])
        ):
            yield nodes
        for node in nodes:
            yield from _calls(node)


def _plain(value: Any) -> Any:
    """Unwrap a number that was serialized as an array, or a dtype policy that was serialized as an object."""
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    if isinstance(value, dict) and value.get("class_name") in ("Policy", "PolicyV1", "__numpy__"):
        inner = value.get("config", {})
        return inner.get("name", inner.get("value")) if isinstance(inner, dict) else value
    return value
