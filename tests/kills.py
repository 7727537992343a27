"""Kill a run again and again, at random moments, until it gets to its end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = ("labels.tif", "polygons.geojson", "polygons.gpkg")
STAGES = {
    "nothing yet": lambda _: True,
    "segment": lambda out: any(out.glob(".work/store/*/*.sheet")),
    "vectorize": lambda out: any(out.glob(".work/runs/*/closed/*")),
    "close": lambda out: any(out.glob(".work/runs/*/joined/*")),
    "publish": lambda out: any(out.glob(".staging-*")) or any(out.glob("*/labels.tif")),
}
"""How to see that a run has come to a stage, the last one first to be asked."""


@dataclass(frozen=True)
class Survived:
    """What became of a run that was killed.

    Attributes:
        stages: The stage of each kill.
        lost: Entries of the store that were there at a kill and were inferred again.
    """

    stages: tuple[str, ...]
    lost: int


def run_whole(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Run to the end without a kill; returns the seconds that it took."""
    start = time.monotonic()
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, capture_output=True)
    return time.monotonic() - start


def run_killed(command: Sequence[str], folder: Path, out: Path, moments: Sequence[float]) -> Survived:
    """Start a run for each moment and kill it with all its children then; at last run it to the end.

    Args:
        command: The run.
        folder: Where it is started.
        out: Its folder of results.
        moments: Seconds behind each start.
    """
    stages, kept = [], {}
    for moment in moments:
        run = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            run.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            stages.append(next(name for name in reversed(STAGES) if STAGES[name](out)))
        kept.update({path: path.stat().st_ino for path in out.glob(".work/store/*/*.sheet")})
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    lost = sum(path.stat().st_ino != inode for path, inode in kept.items())
    return Survived(tuple(stages), lost)


def moments(count: int, seconds: float, seed: int) -> list[float]:
    """Random moments within the time that a run takes."""
    rng = random.Random(seed)
    return [rng.uniform(0.05, 1.0) * seconds for _ in range(count)]


def results(out: Path) -> dict[str, bytes]:
    """The bytes of all results."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.glob("*/*"))
        if path.name in RESULTS
    }
