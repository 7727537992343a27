"""Run an instrumented ONNX network to observe the shapes of all tensors, and the parameters of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from terraseam.models.importing.onnx.file import Session, import_onnx, inputs_of

PARAMETERS = {
    "Pad": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Resize": (2, 3),
    "Upsample": (1,),
    "Tile": (1,),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"), (1,)),
}
"""Inputs of nodes that determine what they do along which axis."""

SIZE_ALONE = ("Shape", "Size")
"""Operators that only pass on the size of their input."""


@dataclass(frozen=True)
class ObservedTensors:
    """Observations of a network's tensors; see `terraseam.models.importing.onnx.sizes.Sizes`."""

    shapes: dict[str, tuple[tuple[int, ...], ...]]
    values: dict[str, tuple[np.ndarray, ...]]
    uniform: frozenset[str]


def observe(model: Any, inputs: Sequence[np.ndarray]) -> ObservedTensors:
    """Run a network on several chips, with the shapes and some values of its tensors as additional outputs."""
    onnx, _ = import_onnx()
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    tensors = [name for node in model.graph.node for name in node.output if name]
    probes = {
        **{("shape", name): ["Shape"] for name in tensors},
        **{("value", name): ["Identity"] for name in _parameters(model)},
        **{("most", name): ["Cast", "ReduceMax"] for name in _fixed(model)},
        **{("least", name): ["Cast", "ReduceMin"] for name in _fixed(model)},
    }
    for number, ((_, name), operators) in enumerate(probes.items()):
        _add_output(watched.graph, name, operators, f"terraseam_{number}")
    session = Session(watched)
    outputs = [dict(zip(probes, session.all(chip), strict=True)) for chip in inputs]
    shapes = {name: tuple(tuple(map(int, output["shape", name])) for output in outputs) for name in tensors}
    shapes[inputs_of(model)[0].name] = tuple(chip.shape for chip in inputs)
    shapes.update((weights.name, (tuple(weights.dims),) * len(inputs)) for weights in model.graph.initializer)
    values = {name: tuple(output["value", name] for output in outputs) for name in _parameters(model)}
    uniform = {
        name
        for name in _fixed(model)
        if all(output["most", name] == output["least", name] for output in outputs)
    }
    return ObservedTensors(shapes, values, frozenset(uniform))


def pixel_tensors(model: Any) -> frozenset[str]:
    """Return the names of the tensors that depend on the pixels of the chip, not only on its size."""
    dependent = {inputs_of(model)[0].name}
    for node in model.graph.node:
        inner = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if inner or (not dependent.isdisjoint(node.input) and node.op_type not in SIZE_ALONE):
            dependent.update(node.output)
    return frozenset(dependent)


def _add_output(graph: Any, name: str, operators: list[str], output: str) -> None:
    """Append nodes that turn a tensor into an output."""
    onnx, _ = import_onnx()
    for number, operator in enumerate(operators):
        result = output if number == len(operators) - 1 else f"{output}_{number}"
        settings = {
            "Cast": {"to": onnx.TensorProto.FLOAT},
            "ReduceMax": {"keepdims": 0},
            "ReduceMin": {"keepdims": 0},
        }
        graph.node.append(onnx.helper.make_node(operator, [name], [result], **settings.get(operator, {})))
        name = result
    graph.output.append(onnx.ValueInfoProto(name=output))


def _parameters(model: Any) -> list[str]:
    named = {
        node.input[place]
        for node in model.graph.node
        for place in PARAMETERS.get(node.op_type, ())
        if place < len(node.input) and node.input[place]
    }
    return sorted(named)


def _fixed(model: Any) -> list[str]:
    """Return the tensors computed without the pixels and combined with tensors that depend on them."""
    pixels = pixel_tensors(model)
    pixel_free = {name for node in model.graph.node for name in node.output if name} - pixels
    read = {name for node in model.graph.node if not pixels.isdisjoint(node.output) for name in node.input}
    return sorted(pixel_free & read)
