"""One run at a time for each folder of results: a lock in it, kept fresh by a heartbeat.

A lock is a small JSON file that names its holder. A second run sees it and does nothing. It is taken over where its
holder is known to have ended, or its heart has stopped: no beat for `HeartbeatIntervals.stale`, by the clocks of both
machines, and none while the second run watches, whatever clocks say. On this machine a lock is looked at and changed
by one process at a time. In buckets of S3 and Google Cloud Storage it is written, renewed and removed on condition
that it is as it was seen. Where nothing like that exists (other filesystems of Beam's, servers that speak like S3 but
refuse or ignore conditions, folders that cannot be locked), a lock counts that is still there
`HeartbeatIntervals.settle` after it was written.
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
"""How long a heart is watched that seems to have stopped, in periods of a beat."""


class LockError(RuntimeError):
    """A lock cannot be had, or was lost; one sentence that says who has it."""


@dataclass(frozen=True)
class HeartbeatIntervals:
    """How fast hearts beat.

    Attributes:
        period: Seconds between two beats.
        stale: Seconds without a beat after which a heart is taken to have stopped.
        settle: Seconds after which a lock counts that was written where two runs can write it at the same time.
    """

    period: float = 15.0
    stale: float = 300.0
    settle: float = 2.0


PACE = HeartbeatIntervals()
HELD: set[Lock] = set()
"""The locks of this process."""


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lock.

    Attributes:
        owner: The process.
        since: When it took the lock, in seconds since the epoch.
        heartbeat: When its heart last beat, in seconds since the epoch.
        token: Tells this run from all others.
    """

    owner: Owner
    since: float
    heartbeat: float
    token: str

    def to_bytes(self) -> bytes:
        """What stands in the file."""
        return json.dumps(asdict(self), indent=2).encode()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> LockHolder | None:
        """Who stands in the file; None where that cannot be read."""
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
    """The lock of a folder, for one run.

    Args:
        path: The file of the lock, see `lock_in` and `lock_next_to`.
        pace: How fast hearts beat.
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
    def held(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock in a block; the main thread is interrupted where it is lost.

        Args:
            say: Tells the user that the lock of another run was taken over.

        Raises:
            LockError: If another run has it, or it cannot be written.
        """
        try:
            HELD.add(self)
            try:
                self._acquire(say)
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
        """Stop the heart, and remove the lock if it is this run's; what cannot be removed others take over."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join(PATIENCE)
        with contextlib.suppress(Exception), self.file.alone():
            seen = self.file.read()
            if self._is_mine(seen.data):
                self.file.remove(seen)
        HELD.discard(self)

    def _acquire(self, say: Callable[[str], None]) -> None:
        stopped = self._take(say, None)
        if stopped is not None:
            wait = WATCHED * self.pace.period
            say(f"{self._whose(stopped)} seems to be left behind; watching it for {format_time(wait)}")
            time.sleep(wait)
            self._take(say, stopped)

    def _take(self, say: Callable[[str], None], watched: bytes | None) -> bytes | None:
        """Take the lock, or see that it should be watched first.

        Args:
            say: Tells the user what was taken over.
            watched: What stood in it a while ago; None where it has not been watched.

        Returns:
            What stands in it, if it is to be watched; None where it was taken.
        """
        with self.file.alone() as exclusive:
            seen = self.file.read()
            found = seen.data
            gone = None if found is None else self._reason_for_loss(found, watched)
            if found is not None and gone is None:
                if watched is None and self._seems_stopped(found):
                    return found
                raise LockError(self._refusal(found))
            now = time.time()
            self._mine = replace(self._mine, since=now, heartbeat=now)
            try:
                claimed = self.file.claim(self._mine.to_bytes(), seen)
            except FileExistsError:
                raise LockError(self._refusal(self.file.read().data or b"")) from None
        if not (exclusive or claimed):
            time.sleep(self.pace.settle)
            winner = self.file.read().data
            if not self._is_mine(winner):
                raise LockError(self._refusal(winner or b""))
        if found is not None:
            say(f"took over {self._whose(found)}: {gone}")
        return None

    def _reason_for_loss(self, found: bytes, watched: bytes | None) -> str | None:
        """Why the holder of a lock is known to be gone; None where it is not."""
        holder = LockHolder.from_bytes(found)
        if holder is not None and holder.owner.has_exited():
            return "that process is no more"
        return "its heart has stopped" if found == watched else None

    def _seems_stopped(self, found: bytes) -> bool:
        holder = LockHolder.from_bytes(found)
        return holder is None or time.time() - holder.heartbeat > self.pace.stale

    def _beat(self) -> None:
        """Renew the lock until it is released; a beat that fails is left out."""
        while not self._ended.wait(self.pace.period):
            with contextlib.suppress(Exception), self.file.alone():
                seen = self.file.read()
                found = seen.data
                if self._ended.is_set():
                    return
                if LockHolder.from_bytes(found) is not None and not self._is_mine(found):
                    self._lost = f"this run was ended, for {self._whose(found)}"
                    interrupt_main_thread()
                    return
                self._mine = replace(self._mine, heartbeat=time.time())
                self.file.write(self._mine.to_bytes(), seen)

    def _is_mine(self, found: bytes | None) -> bool:
        holder = LockHolder.from_bytes(found)
        return holder is not None and holder.token == self._mine.token

    def _whose(self, found: bytes | None) -> str:
        holder = LockHolder.from_bytes(found)
        return (
            f"the lock {self.file.path} of {holder}"
            if holder
            else f"the lock {self.file.path}, which cannot be read,"
        )

    def _refusal(self, found: bytes) -> str:
        holder = LockHolder.from_bytes(found)
        return (
            f"another run works on this job: {holder or 'its lock cannot be read'}; wait until it ends (its lock "
            f"{self.file.path} is taken over when it has ended, or {format_time(self.pace.stale)} after its last heartbeat)"
        )


def lock_in(folder: str) -> str:
    """The lock of a folder of results: whoever writes there takes it, whatever its work folder."""
    return f"{folder.rstrip('/')}/.lock.json"


def lock_next_to(folder: str) -> str:
    """The lock of a folder that appears as a whole."""
    parent, slash, name = folder.rstrip("/").rpartition("/")
    return f"{parent}{slash}.{name}.lock.json"


def release_all() -> None:
    """Release what this process holds, where no block will come to its end."""
    for lock in list(HELD):
        lock.release()


def _moment(seconds: float) -> str:
    """A time on the clock of this machine, such as ``2026-03-01 04:00:12+01:00``."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return "at no time"
