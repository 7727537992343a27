"""Classify the errors that may occur in a sheet by what can be done about them."""

from __future__ import annotations

from terraseam.models.engines.profile import EngineError
from terraseam.models.errors import CardError
from terraseam.pipeline.errors import RasterChangedError
from terraseam.tiles.raster.source import RasterReadError


class NotANumberError(RuntimeError):
    """A network output that contains NaN."""


class StoppedError(RuntimeError):
    """An abandoned sheet, because the run has failed elsewhere."""


class OutdatedError(RuntimeError):
    """An interrupted sheet that must be inferred again with another execution profile."""


def is_unreadable(error: Exception) -> bool:
    """Return whether an error is a failed read, which may succeed later over a network."""
    return isinstance(error, RasterReadError)


def is_worth_another_call(error: Exception) -> bool:
    """Return whether an error may be due to the sheet, and not to the network, the machine or its disks."""
    missing = type(error).__name__ in (
        "UnimplementedError",
        "NotFoundError",
    )  # TensorFlow lacks an operation.
    return not missing and not isinstance(error, (CardError, EngineError, OSError, ImportError, StoppedError))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that an accelerator ran out of memory."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def describe_error(error: BaseException) -> str:
    """Return an error as one sentence for a table."""
    text = " ".join(str(error).split()).rstrip(".")
    named = (
        text
        if isinstance(error, (RasterReadError, RasterChangedError, NotANumberError))
        else f"{type(error).__name__}: {text}"
    )
    return named[:LONGEST]


LONGEST = 500
"""Most characters of a cause that are kept."""
