"""Measure the rate of float32 matrix products with numpy, and print it in GFLOP/s.

    OPENBLAS_NUM_THREADS=1 python benchmarks/matrix.py

The number of threads is read from the environment when numpy is imported: a process for each number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
SIDE = 2048
LEAST_S = 1.0


def rate(side: int = SIDE, least: float = LEAST_S) -> float:
    """Return the best rate of the product of two square matrices, in GFLOP/s, over at least some seconds."""
    one, other = np.random.default_rng(0).random((2, side, side), np.float32)
    one @ other
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < least:
        start = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def rate_with(threads: int | None) -> float:
    """Return the rate in a new process, with a number of threads; None for numpy's own choice, all processors."""
    chosen = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    done = subprocess.run(
        [sys.executable, __file__], env={**kept, **chosen}, stdout=subprocess.PIPE, check=True
    )
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    print(rate())
