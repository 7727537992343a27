"""Memory of a network that no graph tells of: it runs on chips of two sizes, in a process of its own."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

MARGIN = 1.3
"""Memory to reckon with, for each byte that was measured."""
SIDES = (512, 1536)
"""Sides of the two chips, in pixels, before they are rounded up to multiples of the stride."""
FLOOR = 64
"""Least memory that is believed, in bytes per pixel."""

PROGRAM = """
import sys
import numpy as np
from models.importing.measure import peak_memory, runner
path, name, bands, axis, *sides = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
run = runner(path, name)
for side in sides:
    shape = [1, side, side]
    shape.insert(axis, bands)
    run(np.zeros(shape, np.float32))
    print(peak_memory())
"""


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


def runner(path: str, name: str) -> Callable[[np.ndarray], object]:
    """Load a network in a process that measures it."""
    from models.engines.tensorflow import import_tensorflow

    tf = import_tensorflow()
    if name == "saved_model":
        from models.engines.saved_model import load_saved_model

        call = load_saved_model(Path(path), tf)
        return lambda chips: call(tf.constant(chips))
    from models.importing.keras_network import read_network

    network = read_network(Path(path))
    return lambda chips: network(chips, training=False)


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes.

    Linux lets a process inherit ``ru_maxrss`` of the one that started it, so its own mark is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) * 1024  # type: ignore[index]
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peaks(words: list[str]) -> list[int]:
    """Highest resident memory of a process after it ran a network on each of several chips, in bytes."""
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return [int(line) for line in done.stdout.split()[-2:]]
