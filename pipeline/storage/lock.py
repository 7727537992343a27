"""Allow one run at a time for each results folder, with a lock file kept fresh by a heartbeat.

A lock is a small JSON file that names its holder. A second run that finds it does nothing. The lock is taken over if
its holder is known to have exited or has no heartbeat: none for `HeartbeatIntervals.stale` by the clocks of both
machines, and, whatever the clocks say, none while the second run watches. On this machine only one process at a time
reads and changes a lock. In S3 and Google Cloud Storage it is written, renewed and removed by conditional requests.
Where neither is possible (Beam's other filesystems, S3-compatible servers that reject or ignore conditions, folders
that cannot be locked), a lock is valid if it is still there `HeartbeatIntervals.confirm` after it was written.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from terraseam.pipeline.interrupts import interrupt_main_thread
from terraseam.pipeline.storage.lock_file import PATIENCE, LockFile
from terraseam.pipeline.storage.owner import Owner
from terraseam.pipeline.units import format_time

WATCHED = 2.5
"""How long to watch a lock without a heartbeat before taking it over, in heartbeat periods."""


class LockError(RuntimeError):
    """A lock that cannot be acquired, or was lost, as one sentence that names its holder."""


@dataclass(frozen=True)
class HeartbeatIntervals:
    """Intervals of the heartbeat of a lock.

    Attributes:
        period: Seconds between two heartbeats.
        stale: Seconds without a heartbeat after which a lock counts as stale.
        confirm: Seconds after which a lock is valid on filesystems where two runs can write it at the same time.
    """

    period: float = 15.0
    stale: float = 300.0
    confirm: float = 2.0


PACE = HeartbeatIntervals()
HELD: set[Lock] = set()
"""The locks that this process holds."""


@dataclass(frozen=True)
class LockHolder:
    """The holder of a lock.

    Attributes:
        owner: The process.
        since: When it acquired the lock, in seconds since the epoch.
        heartbeat: Time of its last heartbeat, in seconds since the epoch.
        token: Unique identifier of the run.
    """

    owner: Owner
    since: float
    heartbeat: float
    token: str

    def to_bytes(self) -> bytes:
        """Return the content of the lock file."""
        return json.dumps(asdict(self), indent=2).encode()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> LockHolder | None:
        """Parse the content of a lock file; None if it is not valid."""
        try:
            fields = json.loads(data or b"")
            owner = Owner(**fields["owner"])
            return cls(owner, float(fields["since"]), float(fields["heartbeat"]), str(fields["token"]))
        except (ValueError, TypeError, KeyError):
            return None

    def __str__(self) -> str:
        return (
            f"process {self.owner.pid} on {self.owner.host}, since {_moment(self.since)}, last heartbeat "
            f"{_moment(self.heartbeat)}"
        )


class Lock:
    """A lock on a folder, for one run.

    Args:
        path: The lock file, see `lock_in` and `lock_next_to`.
        pace: Intervals of the heartbeat.
    """

    def __init__(self, path: str, pace: HeartbeatIntervals = PACE) -> None:
        self.file = LockFile(path)
        self.pace = pace
        now = time.time()
        self._mine = LockHolder(Owner.here(), now, now, uuid.uuid4().hex)
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._lost: str | None = None

    @contextlib.contextmanager
    def held(self, report: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock in a block; the main thread is interrupted if it is lost.

        Args:
            report: Called with a message if the lock of another run is taken over.

        Raises:
            LockError: If another run holds it, or it cannot be written.
        """
        try:
            HELD.add(self)
            try:
                self._acquire(report)
            except OSError as error:
                raise LockError(f"{self.file.path} cannot be written: {error.strerror or error}") from error
            self._heart.start()
            yield
        except KeyboardInterrupt as error:
            if self._lost is None:
                raise
            raise LockError(self._lost) from error
        finally:
            self.release()

    def release(self) -> None:
        """Stop the heartbeat, and remove the lock if this run holds it; if that fails, it becomes stale."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join(PATIENCE)
        with contextlib.suppress(Exception), self.file.alone():
            content = self.file.read()
            if self._is_mine(content.data):
                self.file.remove(content)
        HELD.discard(self)

    def _acquire(self, report: Callable[[str], None]) -> None:
        stopped = self._take(report, None)
        if stopped is not None:
            wait = WATCHED * self.pace.period
            report(f"{self._whose(stopped)} seems to be abandoned; watching it for {format_time(wait)}")
            time.sleep(wait)
            self._take(report, stopped)

    def _take(self, report: Callable[[str], None], watched: bytes | None) -> bytes | None:
        """Acquire the lock, unless it must be watched first.

        Args:
            report: Called with a message if the lock of another run is taken over.
            watched: Content of the lock file when watching began; None if it has not been watched.

        Returns:
            Content of the lock file if it must be watched; None if it was acquired.
        """
        with self.file.alone() as exclusive:
            content = self.file.read()
            data = content.data
            gone = None if data is None else self._reason_for_loss(data, watched)
            if data is not None and gone is None:
                if watched is None and self._seems_stopped(data):
                    return data
                raise LockError(self._refusal(data))
            now = time.time()
            self._mine = replace(self._mine, since=now, heartbeat=now)
            try:
                claimed = self.file.claim(self._mine.to_bytes(), content)
            except FileExistsError:
                raise LockError(self._refusal(self.file.read().data or b"")) from None
        if not (exclusive or claimed):
            time.sleep(self.pace.confirm)
            winner = self.file.read().data
            if not self._is_mine(winner):
                raise LockError(self._refusal(winner or b""))
        if data is not None:
            report(f"took over {self._whose(data)}: {gone}")
        return None

    def _reason_for_loss(self, content: bytes, watched: bytes | None) -> str | None:
        """Return why the holder of a lock is known to be gone; None if it may still be there."""
        holder = LockHolder.from_bytes(content)
        if holder is not None and holder.owner.has_exited():
            return "the process has exited"
        return "no heartbeat" if content == watched else None

    def _seems_stopped(self, content: bytes) -> bool:
        holder = LockHolder.from_bytes(content)
        return holder is None or time.time() - holder.heartbeat > self.pace.stale

    def _beat(self) -> None:
        """Renew the lock until it is released; heartbeats that fail are skipped."""
        while not self._ended.wait(self.pace.period):
            with contextlib.suppress(Exception), self.file.alone():
                content = self.file.read()
                data = content.data
                if self._ended.is_set():
                    return
                if LockHolder.from_bytes(data) is not None and not self._is_mine(data):
                    self._lost = f"this run was ended because another run took over {self._whose(data)}"
                    interrupt_main_thread()
                    return
                self._mine = replace(self._mine, heartbeat=time.time())
                self.file.write(self._mine.to_bytes(), content)

    def _is_mine(self, content: bytes | None) -> bool:
        holder = LockHolder.from_bytes(content)
        return holder is not None and holder.token == self._mine.token

    def _whose(self, content: bytes | None) -> str:
        holder = LockHolder.from_bytes(content)
        return (
            f"the lock {self.file.path} of {holder}"
            if holder
            else f"the lock {self.file.path}, which cannot be read,"
        )

    def _refusal(self, content: bytes) -> str:
        holder = LockHolder.from_bytes(content)
        return (
            f"another run is working on this job: {holder or 'its lock cannot be read'}; wait until it ends (its lock "
            f"{self.file.path} is taken over when it has ended, or {format_time(self.pace.stale)} after its last heartbeat)"
        )


def lock_in(folder: str) -> str:
    """Return the lock file of a results folder; every run that writes there takes it, whatever its work folder."""
    return f"{folder.rstrip('/')}/.lock.json"


def lock_next_to(folder: str) -> str:
    """Return the lock file of a folder that is published as a whole."""
    parent, slash, name = folder.rstrip("/").rpartition("/")
    return f"{parent}{slash}.{name}.lock.json"


def release_all() -> None:
    """Release all locks of this process when it exits without leaving their blocks."""
    for lock in list(HELD):
        lock.release()


def _moment(seconds: float) -> str:
    """Format a time in this machine's time zone, such as ``2026-03-01 04:00:12+01:00``."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return "at no time"
