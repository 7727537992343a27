"""Find the last operation of a Keras network, which determines its output: logits, scores or labels."""

from __future__ import annotations

from typing import Any

import keras

THROUGH = ("Identity", "Cast", "ExpandDims", "Squeeze", "Dropout")
"""Operations after the one that determines the type of output, which do not change it."""


def ending_of(model: keras.Model) -> str | None:
    """Return ``softmax``, ``sigmoid`` or ``argmax`` if a network ends in one, else None."""
    operation = _last(model)[0]
    if operation is None:
        return None
    if isinstance(operation, keras.Model):
        return ending_of(operation)
    name = type(operation).__name__.lower()
    if name in ("softmax", "sigmoid", "argmax"):
        return name
    activation = getattr(operation, "activation", None)
    called = getattr(activation, "__name__", type(activation).__name__).lower()
    return called if called in ("softmax", "sigmoid") else None


def scored(model: keras.Model) -> keras.Model:
    """Return a network without its final argmax, or the network itself if it has none."""
    operation, tensor = _last(model)
    if type(operation).__name__ != "Argmax":
        return model
    return keras.Model(model.inputs, _read(tensor))


def _last(model: keras.Model) -> tuple[Any, Any]:
    """Return the operation that determines the output, and its output tensor; None for both if there is no graph."""
    tensor = model.outputs[0] if getattr(model, "outputs", None) else None
    while tensor is not None and hasattr(tensor, "_keras_history"):
        operation = tensor._keras_history.operation
        if type(operation).__name__ not in THROUGH:
            return operation, tensor
        tensor = _read(tensor)
    return None, None


def _read(tensor: Any) -> Any:
    """Return the first input tensor of the operation that produced a tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors[0]
