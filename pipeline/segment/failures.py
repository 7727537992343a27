"""What may go wrong with a sheet, and what there is to be done about it."""

from __future__ import annotations

from terraseam.models.engines.profile import EngineError
from terraseam.models.errors import CardError
from terraseam.pipeline.errors import RasterChangedError
from terraseam.tiles.raster.source import RasterReadError


class NotANumberError(RuntimeError):
    """A network answers NaN."""


class StoppedError(RuntimeError):
    """A sheet was given up, because its run has failed elsewhere."""


class OutdatedError(RuntimeError):
    """A sheet is to be inferred in another way than it was begun."""


def is_unreadable(error: Exception) -> bool:
    """Whether a raster could not be read, which over a network may be otherwise a moment later."""
    return isinstance(error, RasterReadError)


def is_worth_another_call(error: Exception) -> bool:
    """Whether a sheet is to blame, and not the network, the machine or its disks, which no sheet could do without."""
    missing = type(error).__name__ in (
        "UnimplementedError",
        "NotFoundError",
    )  # TensorFlow has no such operation.
    return not missing and not isinstance(error, (CardError, EngineError, OSError, ImportError, StoppedError))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator had no room for a call."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def one_line(error: BaseException) -> str:
    """An error as one sentence for a table."""
    text = " ".join(str(error).split()).rstrip(".")
    named = (
        text
        if isinstance(error, (RasterReadError, RasterChangedError, NotANumberError))
        else f"{type(error).__name__}: {text}"
    )
    return named[:LONGEST]


LONGEST = 500
"""Characters of a cause that are kept."""
