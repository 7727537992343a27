"""Read and write a lock file so that no process overwrites content that it has not read.

On this machine only one process at a time can read and change it. In S3 and Google Cloud Storage, the store compares
the revision that was read with the current one and writes, in one step.
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
"""Seconds to wait for other processes that use the same lock file; each takes a few milliseconds."""


class FileContent(NamedTuple):
    """The content of a file when it was read.

    Attributes:
        data: Its bytes; None if the file does not exist.
        revision: Revision of this content in its store; empty if the file does not exist, None if the store has no
            revisions.
    """

    data: bytes | None
    revision: str | None


NOTHING = FileContent(None, "")


class LockFile:
    """A small file on any filesystem that Beam supports.

    Args:
        path: Its path.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.local = is_local(path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Exclude other processes on this machine from such blocks for files of the same folder.

        Yields:
            Whether access is exclusive; False on filesystems without locks.
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

    def read(self) -> FileContent:
        """Read the file."""
        try:
            if self.local:
                return FileContent(files.read_bytes(self.path), None)
            return FileContent(*_remote().read_revision(self.path))
        except FileNotFoundError:
            return NOTHING

    def write(self, data: bytes, last_read: FileContent) -> None:
        """Write the file atomically if it is unchanged since it was read; without conditional writes, always.

        Args:
            data: Its new content.
            last_read: The result of the last read; on this machine in the same block of `alone`.

        Raises:
            FileExistsError: If it has changed since it was read.
        """
        if self.local:
            self._write_here(data, new=last_read.data is None)
            return
        try:
            _remote().write_if(self.path, data, last_read.revision)
        except ChangedError:
            raise FileExistsError(self.path) from None
        except UnconditionalError:
            files.write_bytes(self.path, data)

    def claim(self, data: bytes, last_read: FileContent) -> bool:
        """Write the file as `write` does, and return whether the store guarantees that no one else did at once.

        S3-compatible servers may ignore conditions. So the request is made twice: the second must be rejected,
        because the first has changed the revision.

        Raises:
            FileExistsError: If it has changed since it was read.
        """
        if self.local:
            self.write(data, last_read)
            return False
        try:
            _remote().write_if(self.path, data, last_read.revision)
            _remote().write_if(self.path, data, last_read.revision)
        except ChangedError:
            if self.read().data != data:
                raise FileExistsError(self.path) from None
            return True
        except UnconditionalError:
            files.write_bytes(self.path, data)
        return False

    def remove(self, last_read: FileContent) -> None:
        """Remove the file if it is unchanged since it was read; without conditional requests, always."""
        if self.local:
            files.remove(self.path)
            return
        try:
            _remote().delete_if(self.path, last_read.revision)
        except ChangedError:
            return
        except UnconditionalError:
            files.remove(self.path)

    def _write_here(self, data: bytes, *, new: bool) -> None:
        """Write a local file; a new one only if none exists."""
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
    """Import the module for remote files only when a path is remote, because it imports Beam."""
    from terraseam.pipeline.storage import remote_files

    return remote_files


def _lock(handle: int) -> bool:
    """Lock an open folder until it is closed, and return whether that was possible."""
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
    """Hard-link a file to a name that must not exist, and return whether the filesystem supports links."""
    try:
        target.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True
