"""Surroundings of an engine that do not affect its results."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Workplace:
    """The surroundings of an engine: cache and concurrency.

    Attributes:
        converted: Local folder for converted networks; None for this user's temporary folder.
        calls: Number of concurrent calls; further calls wait.
    """

    converted: str | None = None
    calls: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
