"""Whether a raster is the one that an earlier run saw, without reading a pixel of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terraseam.pipeline.secrets import unsigned
from terraseam.pipeline.storage.errors import is_web, scheme_of
from terraseam.pipeline.storage.servers import EXTRAS
from terraseam.pipeline.storage.web import FAILURES, headers_of
from terraseam.tiles.raster.inspect import is_local

BESIDE = (".msk", ".aux.xml", ".ovr")
"""Ends of the names of files that GDAL reads with a raster as soon as they are there."""

COARSE_S = 2.0
"""A file younger than this whose clock ticks in whole seconds may change again within the same tick."""


def fingerprint(path: str, files: Sequence[str]) -> str | None:
    """A digest of name, size and time of change, or ETag, of every file of a raster.

    Args:
        path: What GDAL opens.
        files: All files that GDAL reads for it: sidecars, and the sources of a VRT among them.

    Returns:
        The digest; None where a file does not say enough of itself, and the raster must be read to know.
    """
    seen = []
    for file in sorted(set(files) | ({path} if is_local(path) else set())):
        state = _local_state(file) if is_local(file) else _remote_state(file)
        if state is None:
            return None
        seen.append([_name(file, path), *state])
    return _digest(seen) if seen else None


@dataclass(frozen=True, slots=True)
class FileStates:
    """What local files of a raster were like at a moment.

    Attributes:
        contents: Digest of their names, sizes and times of change.
        entries: Digest of their inodes and times of the last change of status, which another file of the same size and
            time does not share.
        devices: Digest of the devices that they lie on, by the numbers that this machine has for them.
    """

    contents: str
    entries: str
    devices: str

    @property
    def marks(self) -> tuple[str, str]:
        """What differs, beside the fingerprint, where a file has been replaced."""
        return self.entries, self.devices


def look_at(path: str, files: Sequence[str]) -> FileStates | None:
    """Look at the local files of a raster; None where it has none.

    Args:
        path: What GDAL opens.
        files: All files that GDAL reads for it.
    """
    local = local_files(path, files)
    contents: list[list[str | int]] = []
    entries, devices = [], []
    for file in sorted({*local, *(file + end for file in local for end in BESIDE)}):
        try:
            found = os.stat(file)  # noqa: PTH116 - a third of the time, for mosaics of thousands of files
        except OSError:
            contents += [[_name(file, path)]] if file in local else []
            continue
        contents.append([_name(file, path), found.st_size, found.st_mtime_ns])
        entries.append([found.st_ino, found.st_ctime_ns])
        devices.append(found.st_dev)
    return FileStates(_digest(contents), _digest(entries), _digest(devices)) if local else None


def local_files(path: str, files: Sequence[str]) -> set[str]:
    """The files of a raster that are on this machine."""
    return {file for file in (*files, path) if is_local(file)}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _name(file: str, path: str) -> str:
    """The name of a file seen from its raster, so that a folder may be called by any path, and signed anew."""
    if is_local(file) and is_local(path):
        return os.path.relpath(file, Path(path).parent)
    return unsigned(file)


def _local_state(file: str) -> tuple[int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    whole_seconds = found.st_mtime_ns % 10**9 == 0
    if whole_seconds and time.time() - found.st_mtime < COARSE_S:
        return None
    return found.st_size, found.st_mtime_ns


def _remote_state(file: str) -> tuple[str, ...] | None:
    """What a server says of a file."""
    url = file.removeprefix("/vsicurl/")
    if is_web(url):
        return _web_state(url)
    for prefix, scheme in (("/vsigs/", "gs://"), ("/vsis3/", "s3://")):
        if file.startswith(prefix):
            url = scheme + file.removeprefix(prefix)
    if scheme_of(url) not in EXTRAS:
        return None
    from terraseam.pipeline.storage.remote_files import version

    try:
        return version(url)
    except OSError:
        # A raster that cannot be asked about is read.
        return None


def _web_state(url: str) -> tuple[str, ...] | None:
    try:
        headers = headers_of(url)
    except FAILURES:
        return None
    version = headers.get("ETag") or headers.get("Last-Modified")
    return (version, headers.get("Content-Length", "")) if version else None
