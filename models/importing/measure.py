"""Memory of a network that no graph tells of: it runs on chips of two sizes, in a process of its own."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

MARGIN = 1.3
"""Memory to reckon with, for each byte that was measured."""
SIDES = (512, 1536)
"""Sides of the two chips, in pixels, before they are rounded up to multiples of the stride."""
FLOOR = 64
"""Least memory that is believed, in bytes per pixel."""


def measured_memory(path: Path, name: str, layout: str, bands: int, stride: int) -> tuple[int, str]:
    """Measure the memory of a call: the difference between chips of two sizes, in bytes per pixel, and a margin.

    Args:
        path: The network's file, which must have been checked.
        name: What it is called in a bundle.
        layout: ``channels_last`` or ``channels_first``.
        bands: Bands of a chip.
        stride: Sides of chips must be multiples of this many pixels.

    Returns:
        Bytes per pixel, and how they are known.
    """
    axis = 1 if layout == "channels_first" else 3
    near, far = (-(-side // stride) * stride for side in SIDES)
    words = [str(path), name, *map(str, (bands, axis, near, far))]
    small, large = _peaks(words)
    difference = (large - small) / (far**2 - near**2)
    return max(math.ceil(MARGIN * difference), FLOOR), (
        f"measured on chips of {near} and {far} px, with {MARGIN - 1:.0%} added"
    )


def _peaks(words: list[str]) -> list[int]:
    """Highest resident memory of a process after it ran a network on each of several chips, in bytes."""
    command = [sys.executable, "-m", "models.importing.measured_run", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return [int(line) for line in done.stdout.split()[-2:]]
