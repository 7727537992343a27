"""What is done a raster, counted and not timed: lines of ours that are run, and questions to the filesystem."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from places import ROOT

OURS = tuple(f"{ROOT / package}{os.sep}" for package in ("models", "pipeline", "tiles"))
LINKED = f"{ROOT / 'terraseam'}{os.sep}"
FILE_CALLS = frozenset({os.stat, os.lstat, os.open, io.open, os.scandir, os.listdir, os.access, os.pathconf})
"""What of Python's own asks the filesystem."""


A_WORD = 0.1
"""Lines a raster that may differ: large numbers take some more to be put into words, once."""


@contextmanager
def counted():
    """Count the lines of ours that are run, by function, and the questions to the filesystem, by kind.

    A comprehension counts a line for every turn, so that a walk over all rasters shows wherever it is written.
    """
    counts: Counter[str] = Counter()

    def is_ours(frame) -> bool:
        return frame.f_code.co_filename.startswith((*OURS, LINKED))

    def trace_line(frame, event, _):
        if event == "line":
            counts[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1
        return trace_line

    def trace(frame, *_):
        return trace_line if is_ours(frame) else None

    def profile(frame, event, called):
        # Python's own imports look for modules again where a folder has changed.
        if event == "c_call" and called in FILE_CALLS and "importlib" not in frame.f_code.co_filename:
            counts[f"os.{called.__name__}"] += 1

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])


def growth(work: Callable[[int], object], sizes: tuple[int, int, int]) -> dict[str, tuple[float, float]]:
    """Return of which functions some work runs more lines a raster with many rasters than with few, and both numbers."""
    work(sizes[0])  # What is only done once has been done then.
    found = []
    for size in sizes:
        with counted() as counts:
            work(size)
        found.append(counts)
    few, more, many = found
    a_raster = {
        name: (
            (more[name] - few[name]) / (sizes[1] - sizes[0]),
            (many[name] - more[name]) / (sizes[2] - sizes[1]),
        )
        for name in many
    }
    assert any(first > 0 for first, _ in a_raster.values()), "nothing is counted"
    return {name: (first, then) for name, (first, then) in a_raster.items() if abs(then - first) > A_WORD}
