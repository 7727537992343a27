"""Read and write whole remote files, with retries when a server fails."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar, cast

from terraseam.pipeline.storage.errors import (
    RemoteFileError,
    UnconditionalError,
    is_absent,
    may_pass,
    sentence,
)
from terraseam.pipeline.storage.listed import Listed
from terraseam.pipeline.storage.object_stores import HASTY, matching, object_store
from terraseam.pipeline.storage.retries import GaveUpError, with_retries

T = TypeVar("T")

SPOOL_BYTES = 1 << 26
"""Size in bytes up to which a file in transfer is kept in memory; larger ones go to disk."""

WAITS_S = (0.5, 2.0, 5.0, 10.0)
"""Seconds to wait before each retry; the clients also retry by themselves in each attempt."""

HASTY_WAITS = 2
"""Number of retries while a run is planned."""


def with_remote_retries(path: str, what: str, work: Callable[[], T]) -> T:
    """Run an operation on a file with retries, and count the retries.

    Args:
        path: The file.
        what: The operation, as a past participle such as ``read``.
        work: Function that does it.

    Raises:
        FileNotFoundError: If the file does not exist.
        RemoteFileError: If the operation failed; one sentence.
    """
    try:
        waits = WAITS_S[:HASTY_WAITS] if HASTY.get() else WAITS_S
        return with_retries(work, may_pass, between=_count_retry, waits=waits)[0]
    except (FileNotFoundError, RemoteFileError):
        raise
    except GaveUpError as failure:
        cause = failure.__cause__ or failure
        raise RemoteFileError(f"{sentence(path, what, cause)}, after {failure.attempts} attempts") from cause
    except Exception as error:
        if is_absent(error):
            raise FileNotFoundError(f"{path} does not exist") from error
        raise RemoteFileError(sentence(path, what, error)) from error


@contextlib.contextmanager
def failing_fast() -> Iterator[None]:
    """Retry less in the block, because a user is waiting."""
    token = HASTY.set(True)
    try:
        yield
    finally:
        HASTY.reset(token)


def _count_retry() -> None:
    from apache_beam.metrics import Metrics

    Metrics.counter("terraseam", "io_retries").inc()


def exists(path: str) -> bool:
    """Return whether a file exists."""
    try:
        version(path)
    except FileNotFoundError:
        return False
    return True


def match(pattern: str) -> list[Listed]:
    """Return the files that match a pattern; none if the bucket does not exist."""
    start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    try:
        return matching(
            pattern, with_remote_retries(pattern, "listed", lambda: list(object_store(start).below(start)))
        )
    except FileNotFoundError:
        return []


def open_whole(path: str) -> BinaryIO:
    """Download a temporary copy of a file and open it for reading; closing it removes it."""
    copy = cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115 - the caller closes it

    def fetch() -> None:
        copy.seek(0)
        copy.truncate()
        object_store(path).read(path, copy)

    try:
        with_remote_retries(path, "read", fetch)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


@contextlib.contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """Yield a binary file that appears under `path` when the block ends without an error."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        yield cast("BinaryIO", spool)
        upload(cast("BinaryIO", spool), path)


def upload(file: BinaryIO, path: str) -> None:
    """Upload a file atomically, replacing an existing one."""
    size = file.seek(0, os.SEEK_END)
    with_remote_retries(path, "written", lambda: object_store(path).upload(file, size, path))


def check_size(path: str, size: int) -> None:
    """Check that a file was uploaded completely.

    Raises:
        RemoteFileError: If its size differs.
    """
    stored_size = with_remote_retries(path, "accessed", lambda: object_store(path).version(path))[1]
    if stored_size != size:
        raise RemoteFileError(f"{path} has {stored_size} bytes instead of {size}; run the same command again")


def copy(source: str, target: str) -> None:
    """Copy a file within a filesystem atomically, replacing an existing one."""
    with_remote_retries(target, "written", lambda: object_store(source).copy(source, target))


def delete(paths: Sequence[str]) -> None:
    """Remove files; missing ones are ignored."""
    if paths:
        with contextlib.suppress(FileNotFoundError):
            with_remote_retries(paths[0], "removed", lambda: object_store(paths[0]).delete(paths))


def version(path: str) -> tuple[str, ...] | None:
    """Return checksum or modification time, and size, to identify a file's content; None if unknown."""
    known, size = with_remote_retries(path, "accessed", lambda: object_store(path).version(path))
    return (known, str(size)) if known else None


def read_revision(path: str) -> tuple[bytes, str | None]:
    """Read a small file and its revision, the store's identifier of this content; None if it has none.

    Raises:
        FileNotFoundError: If the file does not exist.
    """
    return with_remote_retries(path, "read", lambda: object_store(path).read_revision(path))


def write_if(path: str, data: bytes, revision: str | None) -> None:
    """Write a small file if it still has a revision, or does not exist (`ABSENT`); the store does so atomically.

    An attempt whose response was lost may have written it; the next attempt then finds it changed.

    Raises:
        ChangedError: If it has another revision.
        UnconditionalError: If the store does not support conditions, or `revision` is None.
    """
    if revision is None:
        raise UnconditionalError(f"{path} has no revision")
    with_remote_retries(path, "written", lambda: object_store(path).write_if(path, data, revision))


def delete_if(path: str, revision: str | None) -> None:
    """Remove a file if it still has a revision; raise the errors of `write_if`."""
    if revision is None:
        raise UnconditionalError(f"{path} has no revision")
    with_remote_retries(path, "removed", lambda: object_store(path).delete_if(path, revision))
