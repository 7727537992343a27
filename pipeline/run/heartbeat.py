"""Write and read the heartbeats of worker processes: one small file each, named by process id."""

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
    """A heartbeat, the content of a worker's file.

    Attributes:
        number: Number of beats before this one.
        finished: See `Activity`.
        longest: See `Activity`.
    """

    number: int = 0
    finished: int = 0
    longest: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return _RECORD.pack(self.number, self.finished, self.longest)

    @classmethod
    def from_bytes(cls, data: bytes) -> Beat:
        """Parse the content of a file; return an initial beat if it is still empty."""
        return cls(*_RECORD.unpack(data)) if len(data) == _RECORD.size else cls()


@contextlib.contextmanager
def heartbeat(folder: Path, period: float) -> Iterator[None]:
    """Write heartbeats from now until a normal exit of the process; after any other exit, the file remains.

    Args:
        folder: Folder of the file.
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
    """Write beats until the process ends; beats that cannot be written are skipped."""
    number, pause = 0, threading.Event()
    with contextlib.suppress(OSError):
        out = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        while True:
            with contextlib.suppress(OSError):
                os.pwrite(out, Beat(number, ACTIVITY.finished, ACTIVITY.longest).to_bytes(), 0)
            number += 1
            pause.wait(period)


def _remove(file: Path, *, with_folder: bool) -> None:
    """Remove a file; with `with_folder`, after the driver has exited, also the folder once it is empty."""
    with contextlib.suppress(OSError):
        file.unlink()
        if with_folder:
            file.parent.rmdir()
