"""Run a command in a separate process, and measure it through the operating system."""

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
    """Resources used by a process.

    Attributes:
        seconds: Wall time.
        cpu_seconds: CPU time of it and its children.
        peak_bytes: Its peak memory.
        child_peak_bytes: The peak memory of its largest child; 0 if it had none.
        own_bytes: Like `peak_bytes`, without file pages (mainly libraries), which processes share and the
            system may drop; it is sampled, so short peaks are missed.
        child_own_bytes: Like `child_peak_bytes`, without file pages.
        system_seconds: The part of `cpu_seconds` that the system took.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    child_peak_bytes: int
    own_bytes: int
    child_own_bytes: int
    system_seconds: float


def spent_by(arguments: Sequence[str]) -> Spent:
    """Run a Terraseam command line to its end."""
    return spent_in(["-m", "terraseam", *arguments])


def spent_in(arguments: Sequence[str]) -> Spent:
    """Run a Python command line to its end; its output goes to stderr."""
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
    mine, others = found.pop(child, _NOTHING), [_NOTHING, *found.values()]
    peaks = (mine.peak, max(other.peak for other in others), mine.own, max(other.own for other in others))
    return Spent(seconds, usage.ru_utime + usage.ru_stime, *peaks, usage.ru_stime)


class Memory(NamedTuple):
    """Memory of a process, in bytes.

    Attributes:
        peak: Peak so far.
        own: Current memory, without file pages.
    """

    peak: int
    own: int


_NOTHING = Memory(0, 0)


class _Peaks:
    """Thread that samples the peak memory of a process and its children.

    The peak that ``wait4`` reports does not say whose it was. Linux keeps the peaks, so only growth in the last
    moment of a process is missed.
    """

    def __init__(self, process: int) -> None:
        self._process = process
        self._found: dict[int, Memory] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> dict[int, Memory]:
        """Stop sampling, and return the peak memory by process, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._found

    def _sample(self) -> None:
        while not self._ended.wait(POLL_S):
            with contextlib.suppress(psutil.Error, OSError):
                children = psutil.Process(self._process).children(recursive=True)
                for number in (self._process, *(one.pid for one in children)):
                    most = zip(self._found.get(number, _NOTHING), memory_of(number), strict=True)
                    self._found[number] = Memory(*map(max, most))


def memory_of(process: int) -> Memory:
    """Return the memory of a process, as Linux reports it; zero for one that has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)
    peak, own = (int(told[name].split()[0]) * 1024 if name in told else 0 for name in ("VmHWM", "RssAnon"))
    return Memory(peak, own)
