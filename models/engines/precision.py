"""The types that networks take and compute in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.engines.profile import EngineError

if TYPE_CHECKING:
    import keras


def as_taken(batch: np.ndarray, kind: Any, card: Card) -> np.ndarray:
    """Return scaled chips in the type that a network takes.

    Args:
        batch: Chips, float32.
        kind: The type.
        card: Card of the network.

    Raises:
        EngineError: If that is float16, and they have values that it does not hold.
    """
    if np.dtype(kind) == np.float16 and batch.size:
        most = max(float(batch.max()), -float(batch.min()))
        if most > np.finfo(np.float16).max:
            raise EngineError(
                f"{card.name} takes float16, which holds 65,504 at most, and scaled pixels have values up to {most:,.0f}; "
                "import it again with a smaller --scale, or export it with a float32 input"
            )
    return batch.astype(kind, copy=False)


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
        if not type(layer).__module__.startswith("terraseam.models.detection"):
            layer.dtype_policy = policy
