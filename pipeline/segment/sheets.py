"""Define how stages refer to sheets, and the record of a segmented sheet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Sheet = tuple[int, int, int]
"""Number of the raster in the plan, row and column of the sheet."""


@dataclass(frozen=True)
class SheetRecord:
    """The outcome of segmenting one sheet.

    Attributes:
        raster: Number of the raster in the plan.
        row: Row of the sheet.
        col: Column of the sheet.
        key: Content key of its entry in the store.
        reused: Whether the entry was already in the store.
        tiles: Number of tiles that the network ran on.
        seconds: Time by stage: read, infer, stitch.
        profile: The execution profile.
        attempts: Number of attempts.
        failure: Why it could not be segmented, in a sentence, so that it is nodata; empty if it could.
        changed: Whether files of the raster had changed since the plan when the sheet was read.
        moved: Whether only inodes or status change times (ctime) differed.
    """

    raster: int
    row: int
    col: int
    key: str
    reused: bool
    tiles: int
    seconds: dict[str, float]
    profile: dict[str, Any]
    attempts: int = 1
    failure: str = ""
    changed: bool = False
    moved: bool = False

    @property
    def fate(self) -> str:
        """The outcome: ``quarantined``, ``reused``, ``inferred``, or ``skipped`` if it has no valid pixels."""
        if self.failure:
            return "quarantined"
        if self.reused:
            return "reused"
        return "inferred" if self.tiles else "skipped"


STAGES = ("read", "infer", "stitch")


class Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start
