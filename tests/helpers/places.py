"""Paths that tests use."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""

HELPERS = tuple(ROOT / "tests" / name for name in ("helpers", "networks", "rasters"))
"""Folders of shared test modules, which are imported by their bare names."""


def python_path(*folders: Path) -> str:
    """Return the ``PYTHONPATH`` of a process that imports Terraseam and the shared test modules.

    Args:
        folders: Further folders.
    """
    return os.pathsep.join([*map(str, (ROOT, *HELPERS, *folders)), os.environ.get("PYTHONPATH", "")])
