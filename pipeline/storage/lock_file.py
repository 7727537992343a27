"""The file of a lock: on this machine only one process at a time can look at it and change it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from terraseam.pipeline.storage import files
from terraseam.tiles.raster.inspect import is_local

PATIENCE = 10.0
"""Seconds to wait for other processes that look at the same lock; each takes some milliseconds."""


class LockFile:
    """A small file on any filesystem that Beam knows.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.local = is_local(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """A block in which no other process of this machine is in such a block for files of the same folder.

        Yields:
            Whether that is so; not on filesystems that have no locks.
        """
        if not self.local:
            yield False
            return
        folder = Path(self.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            yield _lock(handle)
        finally:
            os.close(handle)

    def read(self) -> bytes | None:
        """What is in the file; None where there is none."""
        try:
            return files.read_bytes(self.path) if files.exists(self.path) else None
        except FileNotFoundError:
            return None

    def write(self, data: bytes, *, new: bool = False) -> None:
        """Write the file, whole or not at all.

        Args:
            data: What is in it.
            new: Whether it must not be there yet; filesystems that are not local cannot tell.

        Raises:
            FileExistsError: If it is there, and should not be.
        """
        if not (new and self.local):
            files.write_bytes(self.path, data)
            return
        target = Path(self.path)
        draft = files.draft_of(target)
        try:
            draft.write_bytes(data)
            if not _linked(draft, target):
                draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the file, where it exists."""
        files.remove(self.path)


def _lock(handle: int) -> bool:
    """Lock an open folder until it is closed; whether that was possible."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        except OSError:
            return False


def _linked(draft: Path, target: Path) -> bool:
    """Let a file appear under a name that must be free; whether the filesystem has links."""
    try:
        target.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True
