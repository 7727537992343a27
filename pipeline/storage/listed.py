"""Define the entry of a file in a listing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A file in a listing.

    Attributes:
        path: Its path.
        size: Size, in bytes.
        changed: Time of its last write or use, in seconds since the epoch; 0 if unknown.
        draft: Whether it is incomplete: still being written, or left by a killed run.
    """

    path: str
    size: int
    changed: float
    draft: bool = False
