"""Which Terraseam this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """Return the version that is installed, in words where none is; its record is read once, not with every sheet."""
    try:
        return metadata.version("terraseam")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
