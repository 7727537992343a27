"""Kill a run again and again, in every stage, until it is left to finish.

A random time alone would say little: the duration of a run depends on other load of the machine, and on the results
of earlier ones. So a stage is chosen for each start, and the run is killed a random short time after it was seen
there.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = ("labels.tif", "polygons.geojson", "polygons.gpkg")
LONGEST_RUN = 900.0
"""Seconds after which a run counts as hanging."""
POLL_S = 0.002
"""Polling interval, in seconds."""


def _has(folder: Path, pattern: str = "*") -> bool:
    return next(folder.glob(pattern), None) is not None


STAGES: dict[str, Callable[[Path, Path], bool]] = {
    "start": lambda _work, _staging: True,
    "load": lambda work, _: work.exists(),
    "segment": lambda work, _: _has(work / "sheets"),
    "vectorize": lambda work, _: _has(work / "closed") or _has(work / "open"),
    "close": lambda work, _: _has(work / "sent") or _has(work / "joined"),
    "publish": lambda _, staging: _has(staging),
}
"""Predicates for whether a run has reached a stage, from its work folder and its staging folder of results."""

LINGER = {"start": 0.2, "load": 0.1, "segment": 0.2, "vectorize": 0.01, "close": 0.01, "publish": 0.02}
"""Maximum time that a run continues after it was seen in a stage, as a share of an undisturbed run's duration."""


@dataclass(frozen=True)
class Job:
    """The job whose runs are killed.

    Attributes:
        command: Returns the command of a run into a given folder of results.
        folder: Working directory.
        seconds: Duration of an undisturbed run.
    """

    command: Callable[[Path], Sequence[str]]
    folder: Path
    seconds: float


@dataclass
class Life:
    """History of one folder of results.

    Attributes:
        out: The folder.
        stages: The stage of each kill.
        lost: Entries of the store that existed at a kill and were written again.
    """

    out: Path
    stages: list[str] = field(default_factory=list)
    lost: int = 0
    _kept: dict[Path, int] = field(default_factory=dict)

    def entries(self) -> dict[Path, int]:
        """Return the complete entries of the prediction store, with their inode numbers."""
        return {path: path.stat().st_ino for path in self.out.glob(".work/store/*/[!.]*.sheet")}

    def update(self) -> None:
        """Count the entries that have been rewritten, and remember the current ones."""
        now = self.entries()
        self.lost += sum(now.get(path) != number for path, number in self._kept.items())
        self._kept = now


def stage_of(out: Path, pid: int) -> str:
    """Return the last stage that a run has reached."""
    runs = [*(out / ".work" / "runs").glob(f"{pid}-*"), out / "nowhere"]
    work, staging = runs[0], out / f".staging-{runs[0].name}"
    return next(name for name in reversed(STAGES) if STAGES[name](work, staging))


def kill_in(command: Sequence[str], folder: Path, life: Life, wanted: str, linger: float) -> bool:
    """Start a run and kill it with all its children, some time after it has reached a stage.

    Args:
        command: The run.
        folder: Working directory.
        life: History of its folder of results, to which the kill is added.
        wanted: The stage.
        linger: Seconds between reaching the stage and the kill.

    Returns:
        Whether it was killed; False if it finished before.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    order, until = list(STAGES), time.monotonic() + LONGEST_RUN
    with subprocess.Popen(command, cwd=folder, start_new_session=True, **quiet) as run:
        try:
            while order.index(stage_of(life.out, run.pid)) < order.index(wanted) and run.poll() is None:
                if time.monotonic() > until:
                    raise TimeoutError(f"the run has not come to the stage {wanted} in {LONGEST_RUN} s")
                time.sleep(POLL_S)
            run.wait(linger)
        except subprocess.TimeoutExpired:
            pass
        finally:
            killed = run.poll() is None
            if killed:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
        if killed:
            life.stages.append(stage_of(life.out, run.pid))
        elif run.returncode:
            raise RuntimeError(f"the run ended with {run.returncode}: {run.stderr.read().decode()}")
    life.update()
    return killed


def run_whole(command: Sequence[str], folder: Path) -> float:
    """Run to the end, and return the duration in seconds."""
    start = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - start


def survive(job: Job, outs: Iterator[Path], kills: int, seed: int) -> Iterator[Life]:
    """Kill runs the given number of times, in as many folders of results as it takes.

    In each folder, runs are started until one finishes or ten were killed; then one is left undisturbed. The first
    runs of a folder are killed as soon as they are seen in a stage, in the order of the stages, later ones in a
    random stage, a random time later.

    Args:
        job: The job.
        outs: Folders of results, none of which exists.
        kills: Number of kills.
        seed: Seed of the random choices.

    Yields:
        The history of each folder, when its last run has ended.
    """
    rng, left = random.Random(seed), kills
    while left:
        life, going = Life(next(outs)), True
        command = job.command(life.out)
        while going and len(life.stages) < min(left, 10):
            unseen = [name for name in STAGES if name not in life.stages]
            wanted = unseen[0] if unseen else rng.choice(list(STAGES))
            at_once = unseen and wanted != "start"
            linger = 0.0 if at_once else rng.uniform(0, LINGER[wanted]) * job.seconds
            going = kill_in(command, job.folder, life, wanted, linger)
        left -= len(life.stages)
        run_whole(command, job.folder)
        life.update()
        yield life


def results(out: Path) -> dict[str, bytes]:
    """Return the bytes of all results."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.glob("*/*"))
        if path.name in RESULTS
    }
