"""What a sheet is called between stages, and what became of it."""

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
    """What became of one sheet in the first half.

    Attributes:
        raster: Number of the raster in the plan.
        row: Row of the sheet.
        col: Column of the sheet.
        key: Content key under which the store has it.
        reused: Whether the store had it before.
        tiles: Tiles that the network ran on.
        seconds: Time by stage: read, infer, stitch.
        profile: The execution profile.
        attempts: How often it was tried.
        failure: Why it could not be segmented, in a sentence; then it is nodata. Empty where it could.
        changed: Whether files of the raster were no longer those of the plan when it had been read.
        moved: Whether inodes or times of status alone were others.
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
        """What became of it: ``quarantined``, ``reused``, ``inferred``, or ``skipped`` where nothing is measured."""
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
        """Add the time that a block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start
