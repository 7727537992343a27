"""Run a network to measure its memory, in a process started by `terraseam.models.importing.measure`.

python -m terraseam.models.importing.measured_run PATH NAME BANDS AXIS SIDE...
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil


def main() -> None:
    """Run a network on square chips, from small to large, and print the peak memory of each.

    Stop before a chip that would exceed the free memory if memory grew with the square of pixels.
    """
    path, name, bands, axis, *sides = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    run = runner(path, name)
    run(_chip(sides[0], bands, axis))
    peaks: list[int] = []
    for number, side in enumerate(sides):
        if number > 1:
            grown = max(peaks[-1] - peaks[-2], 0) * (side / sides[number - 1]) ** 4
            if grown > psutil.virtual_memory().available:
                break
        forget_peak()
        run(_chip(side, bands, axis))
        peaks.append(peak_memory())
        print("peak", side, peaks[-1], flush=True)


def _chip(side: int, bands: int, axis: int) -> np.ndarray:
    shape = [1, side, side]
    shape.insert(axis, bands)
    return np.zeros(shape, np.float32)


def forget_peak() -> None:
    """Reset this process's peak memory, where the system allows: loading may have taken more."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def runner(path: str, name: str) -> Callable[[np.ndarray], object]:
    """Load a network and return a function that runs it."""
    from terraseam.models.engines.quiet import import_tensorflow

    tf = import_tensorflow()
    if name == "saved_model":
        from terraseam.models.engines.saved_model import load_saved_model

        call = load_saved_model(Path(path), tf)
        return lambda chips: call(tf.constant(chips))
    from terraseam.models.importing.keras_network import read_network

    network = read_network(Path(path))
    return lambda chips: network(chips, training=False)


def peak_memory() -> int:
    """Return the peak resident memory of this process, in bytes.

    On Linux a process inherits ``ru_maxrss`` of its parent, so ``VmHWM`` is read where available.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) * 1024  # type: ignore[index]
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
