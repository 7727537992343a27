"""Disks that take no more: what is said where a file cannot be written, by us or by a library that writes for us."""

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
"""What is wrong with a place where something is to be written, by the system's numbers of errors."""

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
"""How libraries say so."""

WRITERS = frozenset({"rasterio", "pyogrio", "pyarrow", "sqlite3"})
"""Libraries that write files for us."""

LEAST_FREE = 1 << 20
"""Bytes below which a disk is full, where a library says nothing of the cause."""


class DiskError(OSError):
    """A folder cannot be written; one sentence that names it."""


@contextlib.contextmanager
def writes_to(folder: Path) -> Iterator[None]:
    """A block that writes into a folder; what the disk refuses is said with its name.

    Raises:
        DiskError: If the disk is full or takes nothing.
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
    """Whether an error may be one of writing into a folder: of the system, or of a library that writes."""
    if not isinstance(error, OSError):
        return type(error).__module__.partition(".")[0] in WRITERS
    named = error.filename
    inside = not isinstance(named, str) or folder.absolute() in [
        Path(named).absolute(),
        *Path(named).absolute().parents,
    ]
    return inside and (error.errno in CAUSES or not error.errno)


def _sentence(folder: Path, error: BaseException) -> str:
    """What is said of a folder that cannot be written."""
    usage = shutil.disk_usage(nearest_existing(folder))
    cause = _cause(error) or (errno.ENOSPC if usage.total and usage.free < LEAST_FREE else None)
    words = CAUSES[cause] if cause else " ".join(str(error).split()).rstrip(".")
    said = f"{folder} cannot be written: {words}"
    if cause not in (None, errno.ENOSPC, errno.EDQUOT):
        return said
    return (
        f"{said} ({format_bytes(usage.free)} of {format_bytes(usage.total)} are free there); make room, or choose another "
        "disk with --output, --work or TMPDIR"
    )


def _cause(error: BaseException | None) -> int | None:
    """The number of what is wrong with a disk, as an error or what it came of says; None where none does."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in CAUSES:
            return error.errno
        said = str(error).lower()
        found = next((number for words, number in WORDS.items() if words in said), None)
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def fullest(folders: Sequence[str]) -> Path:
    """Which of some local folders has the least room."""
    return min(
        (nearest_existing(Path(folder)) for folder in folders),
        key=lambda place: shutil.disk_usage(place).free,
    )


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def size_of(folders: list[str]) -> int:
    """Bytes that the files in local folders take, each once."""
    found: dict[tuple[int, int], int] = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    state = (Path(base) / name).lstat()
                    found[state.st_dev, state.st_ino] = state.st_size
    return sum(found.values())
