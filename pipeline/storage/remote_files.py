"""Files on other machines: read and written whole, again where a server does not answer as it should."""

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
"""What is kept in memory of a file on its way; the rest waits on disk."""

WAITS_S = (0.5, 2.0, 5.0, 10.0)
"""How long to wait before each further attempt; the clients have tried some times by themselves before each."""

HASTY_WAITS = 2
"""How many of them there are while a run is planned."""


def with_remote_retries(path: str, what: str, work: Callable[[], T]) -> T:
    """Do something with a file, again where that may help, and count how often it was tried again.

    Args:
        path: The file.
        what: What is done to it, such as ``read``.
        work: Does it.

    Raises:
        FileNotFoundError: If it is not there.
        RemoteFileError: If it could not be done; one sentence.
    """
    try:
        waits = WAITS_S[:HASTY_WAITS] if HASTY.get() else WAITS_S
        return with_retries(work, may_pass, between=_count_retry, waits=waits)[0]
    except (FileNotFoundError, RemoteFileError):
        raise
    except GaveUpError as given_up:
        cause = given_up.__cause__ or given_up
        raise RemoteFileError(f"{sentence(path, what, cause)}, after {given_up.attempts} attempts") from cause
    except Exception as error:
        if is_absent(error):
            raise FileNotFoundError(f"{path} does not exist") from error
        raise RemoteFileError(sentence(path, what, error)) from error


@contextlib.contextmanager
def failing_fast() -> Iterator[None]:
    """A block in which somebody waits for an answer: little is tried again."""
    token = HASTY.set(True)
    try:
        yield
    finally:
        HASTY.reset(token)


def _count_retry() -> None:
    from apache_beam.metrics import Metrics

    Metrics.counter("terraseam", "io_retries").inc()


def exists(path: str) -> bool:
    """Whether a file exists."""
    try:
        version(path)
    except FileNotFoundError:
        return False
    return True


def match(pattern: str) -> list[Listed]:
    """The files that match a pattern; none where nothing does, or the bucket does not exist."""
    start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    try:
        return matching(
            pattern, with_remote_retries(pattern, "listed", lambda: list(object_store(start).below(start)))
        )
    except FileNotFoundError:
        return []


def open_whole(path: str) -> BinaryIO:
    """A copy of a file, open for reading; it is gone when it is closed."""
    copy = cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115 - whoever opens it closes it

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
    """A binary file that appears under `path` when the block ends without an error."""
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        yield cast("BinaryIO", spool)
        upload(cast("BinaryIO", spool), path)


def upload(file: BinaryIO, path: str) -> None:
    """Let a file appear whole, in place of one that may be there."""
    size = file.seek(0, os.SEEK_END)
    with_remote_retries(path, "written", lambda: object_store(path).upload(file, size, path))


def check_size(path: str, size: int) -> None:
    """Check that a file has arrived whole.

    Raises:
        RemoteFileError: If it has another size.
    """
    found = with_remote_retries(path, "looked at", lambda: object_store(path).version(path))[1]
    if found != size:
        raise RemoteFileError(f"{path} has {found} bytes instead of {size}; run the same command again")


def copy(source: str, target: str) -> None:
    """Copy a file within a filesystem; it appears whole, in place of one that may be there."""
    with_remote_retries(target, "written", lambda: object_store(source).copy(source, target))


def delete(paths: Sequence[str]) -> None:
    """Remove files; those that are not there do no harm."""
    if paths:
        with contextlib.suppress(FileNotFoundError):
            with_remote_retries(paths[0], "removed", lambda: object_store(paths[0]).delete(paths))


def version(path: str) -> tuple[str, ...] | None:
    """What a file's content is known by without reading it: checksum, or time of change, and size; None for nothing."""
    known, size = with_remote_retries(path, "looked at", lambda: object_store(path).version(path))
    return (known, str(size)) if known else None


def read_revision(path: str) -> tuple[bytes, str | None]:
    """Read a small file, and its revision: what its store names this content by; None where it names none.

    Raises:
        FileNotFoundError: If it is not there.
    """
    return with_remote_retries(path, "read", lambda: object_store(path).read_revision(path))


def write_if(path: str, data: bytes, revision: str | None) -> None:
    """Write a small file if it still has a revision, or is absent (`ABSENT`), in one step of its store.

    An attempt whose answer was lost may have written it: then the next one finds it changed.

    Raises:
        ChangedError: If it has another revision.
        UnconditionalError: If the store takes no conditions, or `revision` is None.
    """
    if revision is None:
        raise UnconditionalError(f"{path} has no revision")
    with_remote_retries(path, "written", lambda: object_store(path).write_if(path, data, revision))


def delete_if(path: str, revision: str | None) -> None:
    """Remove a file if it still has a revision; raises the errors of `write_if`."""
    if revision is None:
        raise UnconditionalError(f"{path} has no revision")
    with_remote_retries(path, "removed", lambda: object_store(path).delete_if(path, revision))
