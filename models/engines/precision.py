"""Input and compute types of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.engines.profile import EngineError

if TYPE_CHECKING:
    import keras


def as_taken(batch: np.ndarray, kind: Any, card: Card) -> np.ndarray:
    """Return scaled chips in the input type of a network.

    Args:
        batch: Chips, float32.
        kind: The input type.
        card: Card of the network.

    Raises:
        EngineError: If the type is float16 and values overflow it.
    """
    if np.dtype(kind) == np.float16 and batch.size:
        most = max(float(batch.max()), -float(batch.min()))
        if most > np.finfo(np.float16).max:
            raise EngineError(
                f"{card.name} takes float16, whose maximum is 65,504, but scaled pixels have values up to {most:,.0f}; "
                "import it again with a smaller --scale, or export it with a float32 input"
            )
    return batch.astype(kind, copy=False)


def compute_in(model: keras.Model, precision: str) -> None:
    """Change the compute type of a network.

    Weights stay float32; every layer casts its inputs and returns this type. The box layers of detectors keep
    float32: half precision cannot distinguish pixels.

    Args:
        model: The network, which is modified.
        precision: ``float32``, ``bfloat16`` or ``float16``.
    """
    policy = precision if precision == "float32" else f"mixed_{precision}"
    for layer in model._flatten_layers(include_self=False):
        if not type(layer).__module__.startswith("terraseam.models.detection"):
            layer.dtype_policy = policy
