"""A command in a process of its own, measured by the operating system."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

POLL_S = 0.1


class Spent(NamedTuple):
    """What a process took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: CPU time of it and of its children.
        peak_bytes: Its greatest memory.
        child_peak_bytes: The greatest memory of one of its children; 0 where it had none.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    child_peak_bytes: int


def spent_by(arguments: Sequence[str]) -> Spent:
    """Run a command line of Terraseam to its end."""
    return spent_in(["-m", "pipeline", *arguments])


def spent_in(arguments: Sequence[str]) -> Spent:
    """Run a command line of this Python to its end; what it prints goes to the standard error stream."""
    command = [sys.executable, *arguments]
    start = time.monotonic()
    redirect = [(os.POSIX_SPAWN_DUP2, sys.stderr.fileno(), sys.stdout.fileno())]
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=redirect)
    peaks = _Peaks(child)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - start
    found = peaks.end()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    own, others = found.pop(child, 0), found.values()
    return Spent(seconds, usage.ru_utime + usage.ru_stime, own, max(others, default=0))


class _Peaks:
    """Looks again and again how much memory a process and its children have had at most.

    The greatest of all that ``wait4`` knows does not say whose it was. Linux counts, so only growth in the last moment
    of a process is missed.
    """

    def __init__(self, process: int) -> None:
        self._process = process
        self._found: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> dict[int, int]:
        """Greatest memory by process, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._found

    def _look(self) -> None:
        while not self._ended.wait(POLL_S):
            with contextlib.suppress(psutil.Error, OSError):
                children = psutil.Process(self._process).children(recursive=True)
                for number in (self._process, *(one.pid for one in children)):
                    self._found[number] = max(self._found.get(number, 0), peak_of(number))


def peak_of(process: int) -> int:
    """The greatest memory that a process has had so far, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
