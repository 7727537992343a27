"""Whether a raster is the one that an earlier run saw, without reading a pixel of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.remote import EXTRAS
from pipeline.remote_errors import is_web, scheme_of
from pipeline.signatures import unsigned
from pipeline.web import FAILURES, headers_of
from tiles.inspect import is_local

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
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest() if seen else None


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
    from pipeline.remote_files import version

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
