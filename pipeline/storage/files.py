"""Files that appear whole or not at all, on any filesystem that Beam knows."""

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
"""What files of this process are not allowed; it can only be read by setting it, which threads must not do."""
os.umask(UMASK)

_DRAFT_BEGINS = 200
"""How many bytes of a name its draft has too."""


def _remote() -> ModuleType:
    """Files of other machines, imported where a path is one of them: Beam is behind it."""
    from terraseam.pipeline.storage import remote_files

    return remote_files


def join(*parts: str) -> str:
    """A path of parts, on the filesystem of the first."""
    if is_local(parts[0]):
        return str(Path(*parts))
    return "/".join([parts[0].rstrip("/"), *(part.strip("/") for part in parts[1:])])


def exists(path: str) -> bool:
    """Whether a file exists."""
    return Path(path).exists() if is_local(path) else bool(_remote().exists(path))


def matching(pattern: str) -> list[Listed]:
    """The files of another machine whose paths match a pattern."""
    return list(_remote().match(pattern))


def names(folder: str) -> list[str]:
    """Names of the whole files in a folder; none where it does not exist."""
    if is_local(folder):
        found = Path(folder).iterdir() if Path(folder).is_dir() else ()
        return sorted(file.name for file in found if not file.name.startswith("."))
    return sorted(sizes(folder))


def sizes(folder: str) -> dict[str, int]:
    """Sizes in bytes of the files in a folder of another machine, by name; none where it does not exist."""
    listed = _remote().match(join(folder, "*"))
    return {found.path.rpartition("/")[2]: found.size for found in listed}


def listing(folder: str) -> list[Listed]:
    """All files in a folder and in those within it; none where it does not exist."""
    if not is_local(folder):
        return matching(join(folder, "**"))
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
    """Open a file for reading; one of another machine is fetched first, whole."""
    if is_local(path):
        return Path(path).open("rb")
    fetched: BinaryIO = _remote().open_whole(path)
    return fetched


def read_bytes(path: str) -> bytes:
    """Everything in a file."""
    with ACTIVITY.operation(), open_bytes(path) as file:
        return file.read()


def write_bytes(path: str, *pieces: bytes) -> None:
    """Write a file of one piece after the other, whole or not at all; one that exists is replaced."""
    with writing(path) as file:
        for piece in pieces:
            file.write(piece)


def write_packed(path: str, data: bytes) -> None:
    """Write a file, compressed."""
    write_bytes(path, zstandard.ZstdCompressor(level=1).compress(data))


def read_packed(path: str) -> bytes:
    """What `write_packed` wrote."""
    return zstandard.ZstdDecompressor().decompress(read_bytes(path))


def write_json(path: str, record: Mapping[str, Any]) -> None:
    """Write a record as JSON for people to read, whole or not at all, without secrets of addresses."""
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
    write_bytes(path, without_secrets(text).encode() + b"\n")


def draft_of(target: Path) -> Path:
    """Where a file is written before it appears: a hidden name that no other file has, and that filesystems take."""
    begins = target.name.encode(errors="surrogateescape")[:_DRAFT_BEGINS].decode(errors="ignore")
    return target.with_name(f".{begins}.{uuid.uuid4().hex}")


@contextlib.contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` when the block ends without an error."""
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
    """A local folder for results that are to appear; it is gone behind the block.

    Args:
        parent: Where results are on their way: it is made there, or among this machine's temporary files where
            that is on another one.
    """
    here = is_local(parent)
    place = Path(parent if here else tempfile.gettempdir())
    with writes_to(place):
        if here:
            place.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place))
    try:
        with writes_to(place):  # Before what was written is removed: how full the disk is now is the cause.
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def ready(staged: Sequence[Path], parent: str) -> list[str]:
    """Bring staged files to where they need but another name to appear, and see that they have arrived.

    Args:
        staged: Local files.
        parent: Where results are on their way, as it was said to `staging`.

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
    """Let a file that is ready appear under its final path, whole, in place of one that may be there."""
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
    """Remove a file, where it exists."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        _remote().delete([path])


def remove_empty(folder: str) -> None:
    """Remove a folder in which nothing is left; elsewhere folders are but parts of names."""
    if is_local(folder) and Path(folder).is_dir() and not any(Path(folder).iterdir()):
        Path(folder).rmdir()


def remove_tree(path: str) -> None:
    """Remove a folder with everything in it, where it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        _remote().delete([found.path for found in listing(path)])


def folders(parent: str, prefix: str = "") -> list[str]:
    """Paths of the folders in a folder whose names begin with a prefix; none where it does not exist."""
    if is_local(parent):
        return sorted(str(path) for path in Path(parent).glob(f"{prefix}*") if path.is_dir())
    start = join(parent, "")
    below = (found.path.removeprefix(start) for found in _remote().match(f"{start}{prefix}**"))
    return sorted({join(parent, path.partition("/")[0]) for path in below if "/" in path})
