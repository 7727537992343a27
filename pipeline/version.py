"""Find the installed version of Terraseam."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """Return the installed version, or a text if there is none; its metadata is read once, not for every sheet."""
    try:
        return metadata.version("terraseam")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
