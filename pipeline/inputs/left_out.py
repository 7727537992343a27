"""Rasters that a run leaves out, since they cannot be used, while it works on the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terraseam.pipeline.secrets import unsigned, without_secrets
from terraseam.pipeline.units import count

if TYPE_CHECKING:
    from terraseam.tiles.raster.georef import Georef

SHOWN = 10
"""Rasters whose reasons are said before the rest is counted."""


@dataclass(frozen=True)
class LeftOut:
    """A raster that cannot be used.

    Attributes:
        path: What was given.
        reasons: Why it cannot be used, one sentence each.
        georef: Where it lies; None where that is not known.
        id: What the folder of its results is called.
    """

    path: str
    reasons: tuple[str, ...]
    georef: Georef | None = None
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what manifests and plans say of it."""
        reasons = [without_secrets(reason) for reason in self.reasons]
        return {"id": self.id, "path": without_secrets(unsigned(self.path)), "reasons": reasons}


def all_reasons(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield why rasters cannot be used, sentence by sentence."""
    return (reason for one in left_out for reason in one.reasons)


def left_out_notes(left_out: Sequence[LeftOut]) -> list[str]:
    """Return what is said of rasters that will be left out, a line each."""
    return [f"left out: {reason}" for reason in all_reasons(left_out)]


def describe_left_out(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence at the end of a run that rasters were left out.

    Args:
        left_out: What the manifest says of them.
    """
    said = [" and ".join(one["reasons"]) for one in left_out]
    if len(said) > SHOWN:
        said = [*said[:SHOWN], f"and {len(said) - SHOWN:,} more"]
    which, them = ("is", "it") if len(left_out) == 1 else ("are", "them")
    return f"{count(len(left_out), 'raster')} {which} left out: {'; '.join(said)}; the same command tries {them} again"
