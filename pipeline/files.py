"""Files that appear whole or not at all, on any filesystem that Beam knows."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tiles.inspect import is_local

UMASK = os.umask(0)
"""What files of this process are not allowed; it can only be read by setting it, which threads must not do."""
os.umask(UMASK)

SPOOL_BYTES = 1 << 26
"""What is kept in memory of a file that is uploaded when it is whole; the rest waits on disk."""


def _beam() -> Any:
    """Beam's filesystems, imported where a path is not on this machine."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _as_they_are() -> dict[str, str]:
    """Options that keep Beam from guessing a compression by a file's name."""
    from apache_beam.io.filesystem import CompressionTypes

    return {"compression_type": CompressionTypes.UNCOMPRESSED}


def join(*parts: str) -> str:
    """A path of parts, on the filesystem of the first."""
    return str(Path(*parts)) if is_local(parts[0]) else _beam().join(*parts)


def exists(path: str) -> bool:
    """Whether a file exists."""
    return Path(path).exists() if is_local(path) else _beam().exists(path)


def names(folder: str) -> list[str]:
    """Names of the whole files in a folder; none where it does not exist."""
    if is_local(folder):
        found = Path(folder).iterdir() if Path(folder).is_dir() else ()
        return sorted(file.name for file in found if not file.name.startswith("."))
    (match,) = _beam().match([join(folder, "*")])
    return sorted(found.path.rpartition("/")[2] for found in match.metadata_list)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a folder.

    Attributes:
        path: Its path.
        size: In bytes.
        changed: When it was written or used last, in seconds since the epoch.
        draft: Whether it is one that is being written, or was when its run was killed.
    """

    path: str
    size: int
    changed: float
    draft: bool


def listing(folder: str) -> list[Listed]:
    """All files in a folder and in those within it; none where it does not exist."""
    if not is_local(folder):
        (match,) = _beam().match([join(folder, "**")])
        return [
            Listed(found.path, found.size_in_bytes, found.last_updated_in_seconds or 0.0, False)
            for found in match.metadata_list
        ]
    found = []
    for path in sorted(Path(folder).rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                state = path.stat()
                found.append(Listed(str(path), state.st_size, state.st_mtime, path.name.startswith(".")))
    return found


def touch(path: str) -> None:
    """Note that a file was used, where files have such a note."""
    if is_local(path):
        with contextlib.suppress(OSError):
            os.utime(path)


def open_bytes(path: str) -> BinaryIO:
    """Open a file for reading."""
    return Path(path).open("rb") if is_local(path) else _beam().open(path, **_as_they_are())


def read_bytes(path: str) -> bytes:
    """Everything in a file."""
    with open_bytes(path) as file:
        return file.read()


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole or not at all; one that exists is replaced."""
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` when the block ends without an error."""
    if not is_local(path):
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            yield cast("BinaryIO", spool)
            spool.seek(0)
            with _beam().create(path, **_as_they_are()) as file:
                shutil.copyfileobj(spool, file)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def staging(parent: str | None) -> Iterator[Path]:
    """A local folder for results that `publish` lets appear; it is gone behind the block.

    Args:
        parent: Where to make it; None for where this machine keeps temporary files.
    """
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(staged: Path, path: str) -> None:
    """Let a staged file appear under its final path."""
    if is_local(path):
        staged.chmod(0o666 & ~UMASK)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)
        return
    with staged.open("rb") as source, writing(path) as target:
        shutil.copyfileobj(source, target)


def remove(path: str) -> None:
    """Remove a file, where it exists."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    elif _beam().exists(path):
        _beam().delete([path])


def remove_empty(folder: str) -> None:
    """Remove a folder in which nothing is left; elsewhere folders are but parts of names."""
    if is_local(folder) and Path(folder).is_dir() and not any(Path(folder).iterdir()):
        Path(folder).rmdir()


def remove_tree(path: str) -> None:
    """Remove a folder with everything in it, where it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    elif _beam().match([join(path, "**")])[0].metadata_list:
        _beam().delete([path.rstrip("/") + "/"])
