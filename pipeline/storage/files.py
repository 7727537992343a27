"""Read, list and atomically write files on any filesystem that Beam supports."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import orjson
import zstandard

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.secrets import without_secrets
from terraseam.pipeline.storage.disk_errors import writes_to
from terraseam.pipeline.storage.listed import Listed
from terraseam.tiles.raster.inspect import is_local

UMASK = os.umask(0)
"""The umask of this process; it can only be read by setting it, which is not thread-safe."""
os.umask(UMASK)

_DRAFT_BEGINS = 200
"""Bytes of a file's name that the name of its draft begins with."""


def _remote() -> ModuleType:
    """Import the module for remote files only when a path is remote, because it imports Beam."""
    from terraseam.pipeline.storage import remote_files

    return remote_files


def join(*parts: str) -> str:
    """Join parts to a path on the filesystem of the first."""
    if is_local(parts[0]):
        return str(Path(*parts))
    return "/".join([parts[0].rstrip("/"), *(part.strip("/") for part in parts[1:])])


def exists(path: str) -> bool:
    """Return whether a file exists."""
    return Path(path).exists() if is_local(path) else bool(_remote().exists(path))


def matching(pattern: str) -> list[Listed]:
    """Return the remote files whose paths match a pattern."""
    return list(_remote().match(pattern))


def names(folder: str) -> list[str]:
    """Return the names of the complete files in a folder; none if it does not exist."""
    if is_local(folder):
        entries = Path(folder).iterdir() if Path(folder).is_dir() else ()
        return sorted(file.name for file in entries if not file.name.startswith("."))
    return sorted(sizes(folder))


def sizes(folder: str) -> dict[str, int]:
    """Return the sizes in bytes of the files in a remote folder, by name; none if it does not exist."""
    listed = _remote().match(join(folder, "*"))
    return {file.path.rpartition("/")[2]: file.size for file in listed}


def listing(folder: str) -> list[Listed]:
    """Return all files below a folder, recursively; none if it does not exist."""
    if not is_local(folder):
        return matching(join(folder, "**"))
    entries = []
    for path in sorted(Path(folder).rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                state = path.stat()
                entries.append(Listed(str(path), state.st_size, state.st_mtime, path.name.startswith(".")))
    return entries


def touch(path: str) -> None:
    """Update the modification time of a local file; do nothing for remote ones."""
    if is_local(path):
        with contextlib.suppress(OSError):
            os.utime(path)


def open_bytes(path: str) -> BinaryIO:
    """Open a file for reading; a remote file is downloaded completely first."""
    if is_local(path):
        return Path(path).open("rb")
    fetched: BinaryIO = _remote().open_whole(path)
    return fetched


def read_bytes(path: str) -> bytes:
    """Read a whole file."""
    with ACTIVITY.operation(), open_bytes(path) as file:
        return file.read()


def write_bytes(path: str, *pieces: bytes) -> None:
    """Write pieces one after another to a file, atomically; an existing file is replaced."""
    with writing(path) as file:
        for piece in pieces:
            file.write(piece)


def write_packed(path: str, data: bytes) -> None:
    """Write a file, compressed with Zstandard."""
    write_bytes(path, zstandard.ZstdCompressor(level=1).compress(data))


def read_packed(path: str) -> bytes:
    """Read a file written by `write_packed`."""
    return zstandard.ZstdDecompressor().decompress(read_bytes(path))


def write_json(path: str, record: Mapping[str, Any]) -> None:
    """Write a record as indented JSON, atomically, with the credentials in URLs removed."""
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
    write_bytes(path, without_secrets(text).encode() + b"\n")


def draft_of(target: Path) -> Path:
    """Return a unique hidden path beside a file, under which it is written before it is renamed."""
    begins = target.name.encode(errors="surrogateescape")[:_DRAFT_BEGINS].decode(errors="ignore")
    return target.with_name(f".{begins}.{uuid.uuid4().hex}")


@contextlib.contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """Yield a binary file that appears under `path` when the block ends without an error."""
    if not is_local(path):
        with ACTIVITY.operation(), _remote().writing(path) as file:
            yield file
        return
    target = Path(path)
    draft = draft_of(target)
    with ACTIVITY.operation(), writes_to(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                yield file
            draft.replace(target)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


@contextlib.contextmanager
def staging(parent: str) -> Iterator[Path]:
    """Yield a temporary local folder for results to be published; it is removed after the block.

    Args:
        parent: Staging folder of the results; the temporary folder is created in it, or in this machine's default
            temporary folder if it is remote.
    """
    here = is_local(parent)
    place = Path(parent if here else tempfile.gettempdir())
    with writes_to(place):
        if here:
            place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=place))
    try:
        with writes_to(place):  # Checked before the folder is removed, while the disk is still full.
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ready(staged: Sequence[Path], parent: str) -> list[str]:
    """Move staged files to where renaming them is enough to publish them, and check their sizes.

    Args:
        staged: Local files.
        parent: Staging folder of the results, as passed to `staging`.

    Returns:
        Their paths there, for `appear`.
    """
    if is_local(parent):
        return list(map(str, staged))
    drafts = [join(parent, path.parent.name, path.name) for path in staged]
    for path, draft in zip(staged, drafts, strict=True):
        with path.open("rb") as file:
            _remote().upload(file, draft)
        _remote().check_size(draft, path.stat().st_size)
    return drafts


def appear(draft: str, path: str) -> None:
    """Move a staged file to its final path atomically, replacing an existing one."""
    if not is_local(path):
        _remote().copy(draft, path)
        _remote().delete([draft])
        return
    target = Path(path)
    with writes_to(target.parent):
        Path(draft).chmod(0o666 & ~UMASK)
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(draft).replace(target)


def remove(path: str) -> None:
    """Remove a file if it exists."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        _remote().delete([path])


def remove_empty(folder: str) -> None:
    """Remove a local folder if it is empty; remote folders are only parts of names."""
    if is_local(folder) and Path(folder).is_dir() and not any(Path(folder).iterdir()):
        Path(folder).rmdir()


def remove_tree(path: str) -> None:
    """Remove a folder and everything in it, if it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        _remote().delete([file.path for file in listing(path)])


def folders(parent: str, prefix: str = "") -> list[str]:
    """Return the paths of subfolders whose names begin with a prefix; none if the folder does not exist."""
    if is_local(parent):
        return sorted(str(path) for path in Path(parent).glob(f"{prefix}*") if path.is_dir())
    start = join(parent, "")
    below = (file.path.removeprefix(start) for file in _remote().match(f"{start}{prefix}**"))
    return sorted({join(parent, path.partition("/")[0]) for path in below if "/" in path})
