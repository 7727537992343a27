"""The last operation of a Keras network, which says what it answers: logits, scores or labels."""

from __future__ import annotations

from typing import Any

import keras

THROUGH = ("Identity", "Cast", "ExpandDims", "Squeeze", "Dropout")
"""Behind the operation that says what is answered, what does not change that."""


def ending_of(model: keras.Model) -> str | None:
    """Return ``softmax``, ``sigmoid`` or ``argmax`` where a network ends in one, else None."""
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
    """Return a network without the operation that makes labels; one that makes none is returned as it is."""
    operation, tensor = _last(model)
    if type(operation).__name__ != "Argmax":
        return model
    return keras.Model(model.inputs, _read(tensor))


def _last(model: keras.Model) -> tuple[Any, Any]:
    """The operation that says what is answered, and the tensor that it makes; None where there is no graph."""
    tensor = model.outputs[0] if getattr(model, "outputs", None) else None
    while tensor is not None and hasattr(tensor, "_keras_history"):
        operation = tensor._keras_history.operation
        if type(operation).__name__ not in THROUGH:
            return operation, tensor
        tensor = _read(tensor)
    return None, None


def _read(tensor: Any) -> Any:
    """The first tensor that the operation behind a tensor reads."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors[0]
