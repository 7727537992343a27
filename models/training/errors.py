"""What can go wrong while a network trains, in words."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why, and what to do."""


class NoStartError(TrainingError):
    """Training cannot begin as it was asked for; nothing has been done yet."""


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error of any backend is that memory ran out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or {"ResourceExhaustedError", "OutOfMemoryError"} & names:
        return True
    return "RESOURCE_EXHAUSTED" in str(error)
