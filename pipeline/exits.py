"""How a command ends: its exit status, and the sentence where it did not do what it was asked for."""

from __future__ import annotations

import sys

DONE, FAILED, IMPOSSIBLE, INTERRUPTED = 0, 1, 2, 130


def fail(message: str, status: int) -> int:
    """Tell the user why, and return the exit status."""
    print(f"terraseam: {message}", file=sys.stderr)
    return status


def fail_on_file(error: OSError) -> int:
    """Tell the user which file cannot be read or written, and return the exit status."""
    return fail(f"{error.strerror or error}: {error.filename or 'a file'} cannot be read or written", FAILED)
