"""Where engines work: what changes no bit of what they say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Workplace:
    """The surroundings of an engine.

    Attributes:
        converted: Local folder where converted networks are kept; None for a folder of this user for temporary
            files.
        calls: Calls at the same time; more of them wait for each other.
    """

    converted: str | None = None
    calls: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
