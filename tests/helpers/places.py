"""Where things are that tests look at."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""

HELPERS = tuple(ROOT / "tests" / name for name in ("helpers", "networks", "rasters"))
"""Folders of what tests share, which they import by its name alone."""


def python_path(*folders: Path) -> str:
    """Return the ``PYTHONPATH`` of a process that imports Terraseam and what tests share.

    Args:
        folders: Others that it imports from.
    """
    return os.pathsep.join([*map(str, (ROOT, *HELPERS, *folders)), os.environ.get("PYTHONPATH", "")])
