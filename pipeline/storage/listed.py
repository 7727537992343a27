"""What a filesystem says of a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a folder.

    Attributes:
        path: Its path.
        size: In bytes.
        changed: When it was written or used last, in seconds since the epoch; 0 where that is not known.
        draft: Whether it is one that is being written, or was when its run was killed.
    """

    path: str
    size: int
    changed: float
    draft: bool = False
