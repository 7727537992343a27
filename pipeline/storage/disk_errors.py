"""Turn write errors, ours or those of libraries, into one sentence that names the folder and the cause."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from terraseam.pipeline.units import format_bytes

CAUSES = {
    errno.ENOSPC: "no space left on device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EROFS: "read-only file system",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EIO: "input/output error",
    errno.EFBIG: "file too large",
}
"""Cause of a failed write, by errno."""

WORDS = {
    "no space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "permission denied": errno.EACCES,
    "input/output error": errno.EIO,
    "disk i/o error": errno.EIO,
    "file too large": errno.EFBIG,
}
"""Phrases in library errors, and the errno they stand for."""

WRITERS = frozenset({"rasterio", "pyogrio", "pyarrow", "sqlite3"})
"""Libraries that write files for us."""

LEAST_FREE = 1 << 20
"""Free bytes below which a disk counts as full if a library does not name the cause."""


class DiskError(OSError):
    """A failed write to a folder, as one sentence that names it."""


@contextlib.contextmanager
def writes_to(folder: Path) -> Iterator[None]:
    """Turn write errors raised in the block into errors that name the folder.

    Raises:
        DiskError: If the disk is full or not writable.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        if not _may_be_of(error, folder):
            raise
        raise DiskError(_sentence(folder, error)) from error


def _may_be_of(error: Exception, folder: Path) -> bool:
    """Return whether an error may come from writing to a folder: a system error, or one of a library that writes."""
    if not isinstance(error, OSError):
        return type(error).__module__.partition(".")[0] in WRITERS
    named = error.filename
    inside = not isinstance(named, str) or folder.absolute() in [
        Path(named).absolute(),
        *Path(named).absolute().parents,
    ]
    return inside and (error.errno in CAUSES or not error.errno)


def _sentence(folder: Path, error: BaseException) -> str:
    """Return the message for a folder that cannot be written."""
    usage = shutil.disk_usage(nearest_existing(folder))
    cause = _cause(error) or (errno.ENOSPC if usage.total and usage.free < LEAST_FREE else None)
    reason = CAUSES[cause] if cause else " ".join(str(error).split()).rstrip(".")
    message = f"{folder} cannot be written: {reason}"
    if cause not in (None, errno.ENOSPC, errno.EDQUOT):
        return message
    return (
        f"{message} ({format_bytes(usage.free)} of {format_bytes(usage.total)} are free there); free some space, or choose "
        "another disk with --output, --work or TMPDIR"
    )


def _cause(error: BaseException | None) -> int | None:
    """Return the errno of a disk problem named by an error or its causes; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in CAUSES:
            return error.errno
        text = str(error).lower()
        code = next((number for phrase, number in WORDS.items() if phrase in text), None)
        if code is not None:
            return code
        error = error.__cause__ or error.__context__
    return None


def fullest(folders: Sequence[str]) -> Path:
    """Return the local folder with the least free space."""
    return min(
        (nearest_existing(Path(folder)) for folder in folders),
        key=lambda place: shutil.disk_usage(place).free,
    )


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def size_of(folders: list[str]) -> int:
    """Return the total size in bytes of the files in local folders, counting hard links once."""
    sizes: dict[tuple[int, int], int] = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    state = (Path(base) / name).lstat()
                    sizes[state.st_dev, state.st_ino] = state.st_size
    return sum(sizes.values())
