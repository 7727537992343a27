"""Heartbeats of worker processes: a small file each, named by its process, that the driver looks at."""

from __future__ import annotations

import atexit
import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from terraseam.pipeline.activity import ACTIVITY

_RECORD = struct.Struct("<QQd")


@dataclass(frozen=True, slots=True)
class Beat:
    """What stands in the file of a worker.

    Attributes:
        number: How many beats there were before.
        finished: See `Activity`.
        longest: See `Activity`.
    """

    number: int = 0
    finished: int = 0
    longest: float = 0.0

    def to_bytes(self) -> bytes:
        """Return what stands in the file."""
        return _RECORD.pack(self.number, self.finished, self.longest)

    @classmethod
    def from_bytes(cls, data: bytes) -> Beat:
        """Return what stands in a file; nothing does before the first beat."""
        return cls(*_RECORD.unpack(data)) if len(data) == _RECORD.size else cls()


@contextlib.contextmanager
def heartbeat(folder: Path, period: float) -> Iterator[None]:
    """Beat in a block and until the process has joined its threads; the file of one that ends in any other way stays.

    Args:
        folder: Where the file is.
        period: Seconds between two beats.
    """
    file, driver = folder / str(os.getpid()), os.getppid()
    thread = threading.Thread(target=_beat, args=(file, period), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        if os.getppid() != driver:
            _remove(file, with_folder=True)
        raise
    atexit.register(_remove, file, with_folder=os.getppid() != driver)


def _beat(file: Path, period: float) -> None:
    """Beat until the process ends; beats that cannot be written are left out."""
    number, pause = 0, threading.Event()
    with contextlib.suppress(OSError):
        out = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        while True:
            with contextlib.suppress(OSError):
                os.pwrite(out, Beat(number, ACTIVITY.finished, ACTIVITY.longest).to_bytes(), 0)
            number += 1
            pause.wait(period)


def _remove(file: Path, *, with_folder: bool) -> None:
    """Remove a file, and the folder when the driver is no more and this was the last worker."""
    with contextlib.suppress(OSError):
        file.unlink()
        if with_folder:
            file.parent.rmdir()
