"""The process in which a network is measured; `models.importing.measure` starts it.

python -m models.importing.measured_run PATH NAME BANDS AXIS SIDE...
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main() -> None:
    """Run a network on square chips, one size after the other, and print the peak of memory after each."""
    path, name, bands, axis, *sides = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    run = runner(path, name)
    for side in sides:
        shape = [1, side, side]
        shape.insert(axis, bands)
        run(np.zeros(shape, np.float32))
        print(peak_memory())


def runner(path: str, name: str) -> Callable[[np.ndarray], object]:
    """Load a network in a process that measures it."""
    from models.engines.quiet import import_tensorflow

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


if __name__ == "__main__":
    main()
