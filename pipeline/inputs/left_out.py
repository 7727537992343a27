"""Record rasters that cannot be used and that a run therefore leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terraseam.pipeline.secrets import unsigned, without_secrets
from terraseam.pipeline.units import count

if TYPE_CHECKING:
    from terraseam.tiles.raster.georef import Georef

SHOWN = 10
"""Number of rasters whose reasons are shown; the rest is only counted."""


@dataclass(frozen=True)
class LeftOut:
    """A raster that cannot be used.

    Attributes:
        path: Path or address, as the user gave it.
        reasons: Why it cannot be used, one sentence each.
        georef: Its georeferencing; None if unknown.
        id: Name of its folder of results.
    """

    path: str
    reasons: tuple[str, ...]
    georef: Georef | None = None
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the entry for manifests and plans, without credentials."""
        reasons = [without_secrets(reason) for reason in self.reasons]
        return {"id": self.id, "path": without_secrets(unsigned(self.path)), "reasons": reasons}


def all_reasons(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield every reason why rasters cannot be used, one sentence each."""
    return (reason for raster in left_out for reason in raster.reasons)


def left_out_notes(left_out: Sequence[LeftOut]) -> list[str]:
    """Return one line for each reason why rasters will be left out."""
    return [f"skipped: {reason}" for reason in all_reasons(left_out)]


def describe_left_out(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence that reports left-out rasters at the end of a run.

    Args:
        left_out: Their entries in the manifest.
    """
    reasons = [" and ".join(entry["reasons"]) for entry in left_out]
    if len(reasons) > SHOWN:
        reasons = [*reasons[:SHOWN], f"and {len(reasons) - SHOWN:,} more"]
    which = "was" if len(left_out) == 1 else "were"
    return f"{count(len(left_out), 'raster')} {which} skipped: {'; '.join(reasons)}; run the same command again to retry"
