"""Files that are no files: who opens a named pipe waits for its writer, for ever where there is none."""

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
    """Say in a sentence that a path is no regular file; None where it is one, a folder, or nothing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - mosaics have thousands, of which each is asked for
    except (OSError, ValueError):
        return None
    kind = next((kind for is_kind, kind in KINDS if is_kind(mode)), None)
    return kind and f"{path} is {kind}, not a regular file; write what it holds to a file, and name that"
