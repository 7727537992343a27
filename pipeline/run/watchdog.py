"""What the driver of a local run looks after: worker processes that end or stop, and runs in which nothing is finished.

Time is counted in looks of the driver, not by a clock: what passes while the machine sleeps, or the driver itself is
stopped, does not count.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from terraseam.pipeline import terminal
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.exit_status import FAILED, fail, report_error
from terraseam.pipeline.interrupts import was_interrupted
from terraseam.pipeline.run.heartbeat import Beat
from terraseam.pipeline.units import format_time

LONGER = 20
"""How many times as long as the longest operation before nothing may be finished, without a word of it."""

BUSY_S = 1.0
"""Processor time, in seconds, that a process takes alone to be known to work; one that is stuck takes hardly any."""


_CLOSING_S = 0.5
"""For how long a process may still be there, in seconds, once its connections are closed."""


@dataclass(frozen=True)
class WatchIntervals:
    """How often the driver looks, and how long it waits; all in seconds.

    Attributes:
        look: Between two looks.
        beat: Between two beats of a worker.
        silent: Without a sign of life, after which a worker counts as stopped.
        interrupted: The same where the run is about to end anyway.
        gone: For which the status of a worker that has ended is waited for.
        stalled: In which nothing is finished, at least, before that is said.
    """

    look: float = 1.0
    beat: float = 2.0
    silent: float = 60.0
    interrupted: float = 5.0
    gone: float = 2.0
    stalled: float = 300.0


PACE = WatchIntervals()


@dataclass(frozen=True)
class WorkerFiles:
    """Files of the worker processes of a run.

    Attributes:
        log: What they write to their standard error.
        heartbeats: The folder of their heartbeats.
    """

    log: Path
    heartbeats: Path


@dataclass
class Worker:
    """A worker process as the driver sees it.

    Attributes:
        file: Its heartbeat.
        beat: The last beat that was seen.
        silent: For how long there was no sign of life, in seconds.
        gone: For how long its process is known to have ended, in seconds.
    """

    file: Path
    beat: Beat = field(default_factory=Beat)
    silent: float = 0.0
    gone: float = 0.0
    _cpu: float = 0.0

    @property
    def pid(self) -> int:
        """The number of its process."""
        return int(self.file.name)

    def look(self, seconds: float) -> bool:
        """See how it is, so long after the last time; returns whether it has ended as it should."""
        try:
            beat = Beat.from_bytes(self.file.read_bytes())
        except FileNotFoundError:
            return True
        cpu = _processor_time(self.pid)
        self.gone = 0.0 if cpu is not None else self.gone + seconds
        if beat != self.beat or (cpu or 0.0) >= self._cpu + BUSY_S:
            self.beat, self._cpu, self.silent = beat, cpu or 0.0, 0.0
        else:
            self.silent += seconds
        return False

    def trouble(self, pace: WatchIntervals) -> str | None:
        """Return what is wrong with it, in a sentence; None while nothing is."""
        if self.gone > 0:
            ended = "a worker process died (it ended with status 0 in the middle of its work)"
            return ended if self.gone > pace.gone else None
        limit = pace.interrupted if was_interrupted() else pace.silent
        if self.silent < limit:
            return None
        state = "is stopped" if _is_stopped(self.pid) else "hangs"
        return f"worker process {self.pid} {state}: it has given no sign of life for {format_time(limit)}"


class Stall:
    """Knows for how long nothing was finished, and when that is to be said.

    Args:
        pace: How long is too long.
    """

    def __init__(self, pace: WatchIntervals) -> None:
        self._pace = pace
        self._finished = 0
        self._idle = self._next = 0.0

    def look(self, finished: int, longest: float, seconds: float) -> float | None:
        """Return for how long nothing was finished, in seconds, if that is to be said now.

        Args:
            finished: Operations that have finished.
            longest: What the longest of them took, in seconds.
            seconds: Time since the last look.
        """
        if finished != self._finished:
            self._finished, self._idle, self._next = finished, 0.0, 0.0
            return None
        self._idle += seconds
        if self._idle < max(self._next, self._pace.stalled, LONGER * longest):
            return None
        self._next = self._idle + self._pace.stalled
        return self._idle


def describe_stall(idle: float, longest: float, operation: str, hope: str) -> str:
    """Return a sentence that says that nothing was finished for a while.

    Args:
        idle: For how long, in seconds.
        longest: What the longest operation so far took, in seconds; 0 where there was none.
        operation: What may be finished.
        hope: What is said of the same command.
    """
    before = f"the longest so far took {max(1, longest):,.0f} s" if longest else "none was finished before"
    return (
        f"no {operation} was finished for {format_time(idle)} ({before}), and the run waits on; see whether the disks "
        f"and servers that it uses answer, and how busy the machine is; Ctrl-C ends it ({hope})"
    )


def _fail(sentence: str) -> int:
    return fail(sentence, FAILED)


class Watchdog:
    """Looks after a run, in a thread of its own.

    Args:
        hope: What is said of the same command where nothing is finished.
        operation: What may be finished.
        tell: Tells the user what ends this process, and returns its exit status.
        files: Files of its worker processes; None where it has none.
    """

    def __init__(
        self,
        hope: str,
        operation: str = "tile, read or write",
        *,
        tell: Callable[[str], int] = _fail,
        files: WorkerFiles | None = None,
    ) -> None:
        self._words = partial(describe_stall, operation=operation, hope=hope)
        self._tell, self._files = tell, files
        self._pace = PACE
        self._workers: dict[Path, Worker] = {}
        self._stall = Stall(self._pace)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._ending = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look after what a block does; the process ends in it where a worker ends or stops.

        No exception can do that: the runner's own clean-up waits for the lost worker, too.
        """
        if self._files is not None:
            self._files.heartbeats.mkdir(mode=0o700)
        hook, threading.excepthook = threading.excepthook, self._on_thread_error
        self._hook = hook
        self._thread.start()
        try:
            yield
        except Exception:
            self._wait_for_lost_worker()
            raise
        finally:
            self._over.set()
            threading.excepthook = hook
            self._thread.join()
            self._remove_heartbeats()

    def _wait_for_lost_worker(self) -> None:
        """Wait where a worker has ended, which the watch says and ends: the runner may see its closed connection first."""
        until = time.monotonic() + _CLOSING_S
        while self._files is not None and time.monotonic() < until:
            if any(_processor_time(int(file.name)) is None for file in self._files.heartbeats.iterdir()):
                time.sleep(self._pace.gone + 3 * self._pace.look)
                return
            time.sleep(0.02)

    def _watch(self) -> None:
        while not self._over.wait(self._pace.look):
            self._look_at_workers()
            beats = [worker.beat for worker in self._workers.values()]
            finished = ACTIVITY.finished + sum(beat.finished for beat in beats)
            longest = max([ACTIVITY.longest, *(beat.longest for beat in beats)])
            idle = self._stall.look(finished, longest, self._pace.look)
            if idle is not None:
                _say(self._words(idle, longest))

    def _look_at_workers(self) -> None:
        """Look at all workers, and end this process if one of them has ended or stopped."""
        if self._files is not None:
            for file in self._files.heartbeats.iterdir():
                self._workers.setdefault(file, Worker(file))
        for worker in list(self._workers.values()):
            if worker.look(self._pace.look):
                del self._workers[worker.file]
            elif trouble := worker.trouble(self._pace):
                self._end(trouble)

    def _on_thread_error(self, args: Any) -> None:
        """Take the exception of a thread: one of the runner's waits for each worker process, others talk with them."""
        if args.thread is not None and args.thread.name == "run_worker":
            self._end(describe_death(str(args.exc_value)))
        elif self._files is not None and _is_of_grpc(args.exc_value):
            with contextlib.suppress(OSError), self._files.log.open("a") as log:
                traceback.print_exception(args.exc_value, file=log)
        else:
            self._hook(args)

    def _end(self, sentence: str) -> None:
        """End this process and its workers; whoever comes second waits here for that."""
        self._ending.acquire()
        status = self._tell(sentence)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        self._remove_heartbeats()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)

    def _remove_heartbeats(self) -> None:
        if self._files is not None:
            shutil.rmtree(self._files.heartbeats, ignore_errors=True)


def describe_death(cause: str) -> str:
    """Return a sentence that says how a worker process has ended, from what the runner says of it."""
    found = re.search(r"return code (-?\d+)", cause)
    if found is None:
        return f"a worker process died ({cause.rstrip('.')})"
    code = int(found[1])
    if code >= 0:
        return f"a worker process died (it ended with status {code})"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        by_system = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return f"a worker process died (it was ended by {name}{by_system})"
    return f"a worker process died (it was ended by signal {-code})"


def _say(sentence: str) -> None:
    """Tell the user something; their terminal may be closed, or show a line of progress."""
    with contextlib.suppress(OSError):
        if terminal.watched():
            terminal.show()
        report_error(sentence)


def _is_of_grpc(error: BaseException | None) -> bool:
    """Whether an error comes from the connection with a worker."""
    import grpc

    while error is not None and not isinstance(error, grpc.RpcError):
        error = error.__cause__ or error.__context__
    return error is not None


def _processor_time(pid: int) -> float | None:
    """Return the processor time that a process has taken, in seconds; None where it has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False
