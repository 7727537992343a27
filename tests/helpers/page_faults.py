"""Run the program, and print how many pages it takes from the system for each megapixel that its network computes.

The first half of the calls is left out, in which what is kept is taken. Huge pages are off, as on most machines.
"""

from __future__ import annotations

import ctypes
import resource
import sys

import numpy as np

from terraseam.models.engines.engine import Engine
from terraseam.pipeline.program import main

DISABLE_HUGE_PAGES = 41
"""Number of PR_SET_THP_DISABLE in Linux's prctl.h."""


def counted() -> tuple[int, float]:
    """Run the command line; return its exit status, and page faults for each megapixel."""
    assert ctypes.CDLL(None).prctl(DISABLE_HUGE_PAGES, 1, 0, 0, 0) == 0
    faults, megapixels = [], []
    call = Engine.logits

    def counting(engine: Engine, chips: np.ndarray) -> np.ndarray:
        logits = call(engine, chips)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        megapixels.append(logits.size / logits.shape[-1] / 1e6)
        return logits

    Engine.logits = counting  # type: ignore[method-assign]
    status = main()
    half = len(faults) // 2
    return status, (faults[-1] - faults[half - 1]) / sum(megapixels[half:])


if __name__ == "__main__":
    status, rate = counted()
    print(rate)
    sys.exit(status)
