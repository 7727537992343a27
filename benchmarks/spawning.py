"""A command of Terraseam in a process of its own, measured by the operating system."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple


class Spent(NamedTuple):
    """What a process took: wall and CPU seconds, and its greatest memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def spent_by(arguments: Sequence[str]) -> Spent:
    """Run a command line of Terraseam to its end."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    start = time.monotonic()
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
