"""Exceptions raised while a network trains."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot continue; the message says why, and what to do."""


class NoStartError(TrainingError):
    """Training cannot start as requested; nothing has been done yet."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error of any backend means that memory ran out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or {"ResourceExhaustedError", "OutOfMemoryError"} & names:
        return True
    return "RESOURCE_EXHAUSTED" in str(error)
