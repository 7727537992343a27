"""Which Terraseam this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version that is installed, in words where none is."""
    try:
        return metadata.version("terraseam")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
