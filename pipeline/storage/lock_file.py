"""The file of a lock: what one process wrote, no other one replaces without having seen it.

On this machine only one process at a time can look at it and change it. In buckets of S3 and Google Cloud Storage, the store
compares what was seen with what is there, and writes, in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import ChangedError, UnconditionalError
from terraseam.tiles.raster.inspect import is_local

PATIENCE = 10.0
"""Seconds to wait for other processes that look at the same lock; each takes some milliseconds."""


class Seen(NamedTuple):
    """What stood in a file when it was read.

    Attributes:
        data: What is in it; None where there is no file.
        revision: What its store names this content by; empty for no file, None where the store names none.
    """

    data: bytes | None
    revision: str | None


NOTHING = Seen(None, "")


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

    def read(self) -> Seen:
        """Read the file."""
        try:
            if self.local:
                return Seen(files.read_bytes(self.path), None)
            return Seen(*_remote().read_revision(self.path))
        except FileNotFoundError:
            return NOTHING

    def write(self, data: bytes, seen: Seen) -> None:
        """Write the file, whole or not at all, if it is as it was seen; stores that take no conditions write anyhow.

        Args:
            data: What will be in it.
            seen: What was read last; on this machine in the same block of `alone`.

        Raises:
            FileExistsError: If it is not as it was seen.
        """
        if self.local:
            self._write_here(data, new=seen.data is None)
            return
        try:
            _remote().write_if(self.path, data, seen.revision)
        except ChangedError:
            raise FileExistsError(self.path) from None
        except UnconditionalError:
            files.write_bytes(self.path, data)

    def claim(self, data: bytes, seen: Seen) -> bool:
        """Write the file as `write` does, and return whether its store has let nobody else write it at the same time.

        Servers that only speak like S3 may ignore conditions. So the request is made twice: the second one must be refused,
        since the first has changed what was seen.

        Raises:
            FileExistsError: If it is not as it was seen.
        """
        if self.local:
            self.write(data, seen)
            return False
        try:
            _remote().write_if(self.path, data, seen.revision)
            _remote().write_if(self.path, data, seen.revision)
        except ChangedError:
            if self.read().data != data:
                raise FileExistsError(self.path) from None
            return True
        except UnconditionalError:
            files.write_bytes(self.path, data)
        return False

    def remove(self, seen: Seen) -> None:
        """Remove the file if it is as it was seen; stores that take no conditions remove it anyhow."""
        if self.local:
            files.remove(self.path)
            return
        try:
            _remote().delete_if(self.path, seen.revision)
        except ChangedError:
            return
        except UnconditionalError:
            files.remove(self.path)

    def _write_here(self, data: bytes, *, new: bool) -> None:
        """Write a file of this machine, one that is new only where there is none."""
        if not new:
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


def _remote() -> ModuleType:
    """Files of other machines, imported where a path is one of them: Beam is behind it."""
    from terraseam.pipeline.storage import remote_files

    return remote_files


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
