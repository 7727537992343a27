"""Read a Keras model as a flat list of steps, with nested models expanded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


class GraphError(ValueError):
    """A network that cannot be read as a graph from one chip to one map of logits."""


class UnknownLayerError(GraphError):
    """A layer whose receptive field is not known; the message names it and its class."""

    def __init__(self, layer: Any, why: str = "its reach is not known") -> None:
        super().__init__(
            f"layer {layer.name!r} is a {type(layer).__name__}: {why}; "
            "use a layer that terraseam.models.reach.layer_rules knows, or add a rule for this one"
        )


@dataclass(frozen=True)
class Step:
    """One call of a layer on tensors, which are identified by number.

    Attributes:
        layer: The Keras layer or operation.
        inputs: Numbers of its input tensors, in the order of its arguments.
        outputs: Numbers of its output tensors.
        shapes: Shape of each output, such as ``(None, None, None, channels)``.
        dtypes: Type of each output, such as ``float32``.
        arguments: Arguments of the call, for operations that take more than tensors.
    """

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    dtypes: tuple[str, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Graph:
    """The steps of a network in execution order; tensor 0 is the chip, `output` the logits."""

    steps: tuple[Step, ...]
    output: int
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]


def read_graph(model: keras.Model) -> Graph:
    """Read a functional or sequential model as a graph of single layers.

    Raises:
        GraphError: If the model does not map one chip ``(batch, height, width, bands)`` to one map.
    """
    functional = _functional(model)
    inputs, outputs = functional.inputs, functional.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise GraphError(
            f"network {model.name!r} has {len(inputs)} inputs and {len(outputs)} outputs, not one of each"
        )
    if len(inputs[0].shape) != 4:
        raise GraphError(
            f"network {model.name!r} takes inputs of shape {inputs[0].shape}; it must take (batch, height, width, bands)"
        )
    numbers = itertools.count(1)
    steps: list[Step] = []
    (output,) = _unfold(functional, (0,), numbers, steps)
    return Graph(tuple(steps), output, tuple(inputs[0].shape), tuple(outputs[0].shape))


def _unfold(
    model: Any, inputs: tuple[int, ...], numbers: Iterator[int], steps: list[Step]
) -> tuple[int, ...]:
    """Append the steps of a model called on `inputs`, and return the numbers of its outputs."""
    known = {id(tensor): number for tensor, number in zip(model.inputs, inputs, strict=True)}
    for node in _nodes(model):
        if node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
            continue
        read = tuple(known[id(tensor)] for tensor in node.input_tensors)
        layer = node.operation
        if isinstance(layer, keras.Model):
            outputs = _unfold(_functional(layer), read, numbers, steps)
        else:
            outputs = tuple(next(numbers) for _ in node.outputs)
            shapes = tuple(tuple(tensor.shape) for tensor in node.outputs)
            arguments = (*node.arguments.args, *node.arguments.kwargs.values())
            dtypes = tuple(str(tensor.dtype) for tensor in node.outputs)
            steps.append(Step(layer, read, outputs, shapes, dtypes, arguments))
        known.update(zip(map(id, node.outputs), outputs, strict=True))
    return tuple(known[id(tensor)] for tensor in model.outputs)


def _nodes(model: Any) -> list[Any]:
    by_depth = model._nodes_by_depth  # Keras has no public API for the order of its calls.
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _functional(model: Any) -> Any:
    """Return the functional graph of a model."""
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise GraphError(f"network {model.name!r} is not built; give it an Input((None, None, bands))")
        model = model._functional
    if not hasattr(model, "_nodes_by_depth"):
        raise UnknownLayerError(model, "a model written as a class has no graph to read")
    return model
