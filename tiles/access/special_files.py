"""Recognize special files: opening a named pipe blocks until it has a writer, possibly forever."""

from __future__ import annotations

import os
import stat

KINDS = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def special_reason(path: str) -> str | None:
    """Return a sentence saying that a path is a special file; None for a regular file, a folder or a missing path."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - mosaics have thousands, of which each is asked for
    except (OSError, ValueError):
        return None
    kind = next((kind for is_kind, kind in KINDS if is_kind(mode)), None)
    return kind and f"{path} is {kind}, not a regular file; write its contents to a file, and name that"
