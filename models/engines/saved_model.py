"""Run SavedModels from other sources on TensorFlow: one signature, one input, and no operations with side effects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from terraseam.models.engines.profile import EngineError
from terraseam.models.errors import NetworkRefusedError
from terraseam.models.saved_models.facts import SIGNATURE, missing_signature
from terraseam.models.saved_models.graph import read_graph, refuse_operations


def load_saved_model(folder: Path, tf: Any) -> Callable[[Any], Any]:
    """Load a SavedModel.

    Args:
        folder: The SavedModel.
        tf: TensorFlow.

    Returns:
        A function that takes a batch of float32 chips as a tensor and returns the signature's outputs by name.

    Raises:
        EngineError: If it cannot be read, does not have one serving signature with one input, or has operations
            with side effects beyond tensors.
    """
    _refuse_operations(folder)
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise EngineError(_damaged(folder, error)) from error
    if SIGNATURE not in loaded.signatures:
        raise EngineError(missing_signature(tuple(loaded.signatures), folder))
    taken = loaded.signatures[SIGNATURE].structured_input_signature[1]
    if len(taken) != 1:
        raise EngineError(
            f"{folder} takes {len(taken)} inputs ({', '.join(sorted(taken))}); it must take one: chips"
        )
    ((name, spec),) = taken.items()

    def run(chips: Any) -> Any:
        # Called through its model: a signature alone does not keep the variables alive.
        return loaded.signatures[SIGNATURE](**{name: tf.cast(chips, spec.dtype)})

    return run


def _refuse_operations(folder: Path) -> None:
    """Refuse a SavedModel with operations that do more than compute, before it is loaded."""
    try:
        refuse_operations(read_graph(folder), folder)
    except NetworkRefusedError as error:
        raise EngineError(str(error)) from error


def _damaged(folder: Path, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{folder} is not a SavedModel that TensorFlow can read ({first}); recreate the bundle"
