"""Open TensorFlow SavedModels for import."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.errors import NetworkRefusedError, NotUnderstoodError, short
from terraseam.models.importing.common.foreign import Foreign, Shape
from terraseam.models.importing.common.shapes import (
    check_single_input_output,
    check_taken,
    find_layout,
    fixed_sides,
    show,
)
from terraseam.models.importing.measure import measured_memory
from terraseam.models.saved_models.facts import SIGNATURE, missing_signature
from terraseam.models.saved_models.graph import calls_of, read_graph, refuse_operations

NAME = "saved_model"
PARTS = ("saved_model.pb", "fingerprint.pb", "variables", "assets")
"""Parts of a SavedModel that TensorFlow reads; nothing else is copied into a bundle."""

ENDINGS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "ArgMax": "argmax"}
THROUGH = ("Identity", "Transpose", "Cast", "Squeeze", "ExpandDims")


@dataclass(frozen=True)
class Signature:
    """Serving signature of a SavedModel: names, shapes and types of its inputs and outputs."""

    inputs: list[tuple[str, Shape | None, str]]
    outputs: list[tuple[str, Shape | None, str]]


def open_saved_model(path: Path, bands: int, layout: str | None) -> Foreign:
    """Open a SavedModel.

    Args:
        path: Its folder.
        bands: Number of bands named by the user.
        layout: Layout stated by the user, or None.

    Raises:
        RefusedError: If it cannot become the network of a bundle.
    """
    from terraseam.models.engines.profile import EngineError
    from terraseam.models.engines.quiet import import_tensorflow
    from terraseam.models.engines.saved_model import load_saved_model

    tf = import_tensorflow()
    graph = read_graph(path)
    refuse_operations(graph, path)
    signature = _signature(graph, path)
    check_single_input_output(
        [name for name, *_ in signature.inputs], [name for name, *_ in signature.outputs]
    )
    (_, shape, dtype), (_, output_shape, output_dtype) = signature.inputs[0], signature.outputs[0]
    shape = check_taken(shape, dtype)
    layout = find_layout(shape, bands, layout)
    _check_free(shape, layout)
    try:
        call = load_saved_model(path, tf)
    except EngineError as error:
        raise NetworkRefusedError(short(error, 400)) from error

    def run(chips: np.ndarray) -> np.ndarray:
        return np.asarray(tf.nest.flatten(call(tf.constant(chips, tf.float32)))[0])

    return Foreign(
        kind="SavedModel",
        network_name=NAME,
        layout=layout,
        output_shape=output_shape or (),
        whole_numbers=np.dtype(output_dtype).kind in "iub",
        ending=_ending(graph),
        run=run,
        run_scores=None,
        read_graph=_no_graph,
        stride_hint=None,
        memory=lambda step: measured_memory(path, NAME, layout, bands, step),
        save=lambda folder: copy_saved_model(path, folder / NAME),
        dtype=dtype,
    )


def copy_saved_model(path: Path, target: Path) -> None:
    """Copy the parts of a SavedModel that TensorFlow reads.

    Raises:
        RefusedError: If a part of it is a link to a file elsewhere.
    """
    for inner in (path, *path.rglob("*")):
        if inner.is_symlink() and not inner.resolve().is_relative_to(path.resolve()):
            raise NetworkRefusedError(
                f"{inner} is a link to a file outside of {path}; put the file itself there"
            )
    target.mkdir()
    for name in PARTS:
        part = path / name
        if part.is_dir():
            shutil.copytree(part, target / name)
        elif part.is_file():
            shutil.copyfile(part, target / name)


def _no_graph() -> Any:
    raise NotUnderstoodError("the graph of a SavedModel is not analysed")


def _check_free(shape: Shape, layout: str) -> None:
    height, width = fixed_sides(shape, layout)
    if height is not None or width is not None:
        raise NetworkRefusedError(
            f"the network only takes chips of {height or 'any'} x {width or 'any'} px ({show(shape)}), a size that "
            "cannot be changed in a SavedModel; export it with height and width None, or as a Keras or ONNX file"
        )
    if shape[0] is not None:
        raise NetworkRefusedError(
            f"the network only takes batches of {shape[0]} ({show(shape)}); export it with the batch size None"
        )


def _signature(graph: Any, path: Path) -> Signature:
    signatures = dict(graph.signature_def)
    if SIGNATURE not in signatures:
        raise NetworkRefusedError(missing_signature(tuple(signatures), path))
    served = signatures[SIGNATURE]
    return Signature(
        *([(name, _shape(info), _dtype(info)) for name, info in sorted(ends.items())]
          for ends in (served.inputs, served.outputs))
    )  # fmt: skip


def _shape(info: Any) -> Shape | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if size.size < 0 else int(size.size) for size in info.tensor_shape.dim)


def _dtype(info: Any) -> str:
    from terraseam.models.engines.quiet import import_tensorflow

    return str(import_tensorflow().dtypes.as_dtype(info.dtype).name)


def _ending(graph: Any) -> str | None:
    """Return the last operation of the signature if it determines the output type; calls are followed."""
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    (info,) = graph.signature_def[SIGNATURE].outputs.values()
    name, number = _output_of(info.name)
    for _ in range(100):
        node = nodes.get(name)
        if node is None:
            return None
        inner = next((functions[called] for called in calls_of(node) if called in functions), None)
        if inner is not None:
            nodes = {node.name: node for node in inner.node_def}
            name, number = _output_of(inner.ret[inner.signature.output_arg[number].name])
        elif node.op in THROUGH:
            name, number = _output_of(node.input[0])
        else:
            return ENDINGS.get(node.op)
    return None


def _output_of(tensor: str) -> tuple[str, int]:
    """Return node and number of a tensor, such as ``node:0`` or ``node:output:0``."""
    node, *rest = tensor.split(":")
    return node.lstrip("^"), int(rest[-1]) if rest else 0
