"""Convert a TensorFlow network for another engine, in a process started by `terraseam.models.engines.conversion`.

    python -m terraseam.models.engines.convert '{"bundle": ..., "engine": ..., "shape": [...], "target": ...}'

Sides that are null in the shape stay free, and OpenVINO fixes them when it loads the network. Not every network has a
graph for chips of unknown size: Keras' bilinear upsampling has none.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.engines.conversion import FULL, no_room, size_of
from terraseam.models.engines.profile import EngineError
from terraseam.models.engines.quiet import import_openvino, import_tensorflow
from terraseam.models.engines.tensorflow import load_network
from terraseam.models.errors import CardError

Network = Callable[[Any], Any]
"""A function from a tensor of chips to tensors."""

Shape = Sequence[int | None]
"""Shape of an array; sides that are None are free."""

OPSET = 18
LARGE = 1 << 18
"""Number of values from which a weight counts as large."""
NUMBER = 4
"""Bytes per value in a converted network."""


def convert(bundle: Path, engine: str, shape: Shape, target: Path) -> None:
    """Convert the network of a bundle.

    Args:
        bundle: Folder of the bundle; its network is a Keras file or a SavedModel.
        engine: ``openvino`` or ``onnx``.
        shape: Input shape of a call; sides that are None are free.
        target: The file to write; OpenVINO writes its weights beside it.
    """
    network = load_network(bundle, Card.read(bundle), import_tensorflow())
    convert_network(network, size_of(bundle), engine, shape, target)


def convert_network(network: Network, size: int, engine: str, shape: Shape, target: Path) -> None:
    """Convert a network that has been loaded; see `convert`.

    Args:
        network: The network, as `load_network` returns it.
        size: Size of the files of its bundle, in bytes, for networks whose weights cannot be counted.
        engine: ``openvino`` or ``onnx``.
        shape: Input shape of a call; sides that are None are free.
        target: The file to write.
    """
    tf = import_tensorflow()
    from terraseam.models.detection.dispatch import portable

    def run(chips: Any) -> list[Any]:
        with portable():
            return [tf.identity(tensor) for tensor in tf.nest.flatten(network(chips))]

    variables = _variables(network)
    weigh = sum(math.prod(variable.shape) for variable in variables) * NUMBER
    check_room(target.parent.parent, weigh or size)
    weights = [variable for variable in variables if math.prod(variable.shape) >= LARGE]
    CONVERTERS[engine](run, weights, tf.TensorSpec(shape, tf.float32, name="chips"), target)


def check_room(folder: Path, need: int) -> None:
    """Raise if a disk is too full; the libraries that write report that in many ways, or not at all.

    Args:
        folder: Folder that will be written to.
        need: Size of what will be written, in bytes.

    Raises:
        EngineError: If less space is free.
    """
    disk = shutil.disk_usage(folder)
    if disk.total and need > disk.free:
        raise EngineError(
            no_room(folder, f"it takes about {need / 1e6:,.1f} MB, and {disk.free / 1e6:,.1f} MB are free")
        )


def _variables(network: Any) -> list[Any]:
    """Return the weights of a Keras network; none for a SavedModel, which cannot be run with other weights."""
    model = getattr(network, "func", None)
    return [] if model is None else model.variables


def _to_openvino(run: Network, _: Sequence[Any], spec: Any, target: Path) -> None:
    openvino = import_openvino()
    call = import_tensorflow().function(run, autograph=False).get_concrete_function(spec)
    # Without names, tensors that nothing reads would become outputs, too.
    model = openvino.convert_model(call, output=[tensor.name for tensor in call.outputs])
    _number_operations(model)
    openvino.save_model(model, str(target), compress_to_fp16=False)


def _number_operations(model: Any) -> None:
    """Name the operations of an OpenVINO model by their order, so that the same network gives the same bytes.

    TensorFlow names them by what else a process has traced.
    """
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
        for port in operation.outputs():
            port.get_tensor().set_names(set())


def _to_onnx(run: Network, weights: Sequence[Any], spec: Any, target: Path) -> None:
    """Convert with large weights as inputs, which are turned into constants of the file afterwards.

    tf2onnx copies every constant many times: 300 MB of weights took 20 GB and 155 s as constants, but
    2.5 GB and 6 s as inputs.
    """
    import keras
    import onnx
    import tf2onnx  # type: ignore[import-untyped]

    tf = import_tensorflow()

    def run_with(chips: Any, *values: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return run(chips)

    names = [f"weight_{number}" for number in range(len(weights))]
    specs = [
        tf.TensorSpec(weight.shape, weight.dtype, name) for weight, name in zip(weights, names, strict=True)
    ]
    call = tf.function(run_with, autograph=False)
    model, _ = tf2onnx.convert.from_function(call, input_signature=[spec, *specs], opset=OPSET)
    taken = [port for port in model.graph.input if port.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(taken)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(weight), name)
        for weight, name in zip(weights, names, strict=True)
    )
    onnx.save(model, str(target))


CONVERTERS = {"openvino": _to_openvino, "onnx": _to_onnx}


def main() -> int:
    """Convert the network described by the argument; on failure, the last line on stderr says why."""
    order = json.loads(sys.argv[1])
    try:
        convert(Path(order["bundle"]), order["engine"], order["shape"], Path(order["target"]))
    except Exception as error:
        own = isinstance(error, EngineError | CardError)
        sentence = str(error) if own else f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno in FULL:
            sentence = no_room(Path(order["target"]).parent.parent, (error.strerror or "").lower())
        print(" ".join(sentence.split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
