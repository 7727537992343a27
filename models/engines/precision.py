"""The type that a Keras network computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def compute_in(model: keras.Model, precision: str) -> None:
    """Let a network compute in another type than it was built for.

    Weights stay float32, and every layer casts what it reads; what it makes is of that type. Boxes of detectors keep
    their precision: half of it cannot tell pixels apart.

    Args:
        model: The network, which is changed.
        precision: ``float32``, ``bfloat16`` or ``float16``.
    """
    policy = precision if precision == "float32" else f"mixed_{precision}"
    for layer in model._flatten_layers(include_self=False):
        if not type(layer).__module__.startswith("models.detection"):
            layer.dtype_policy = policy
