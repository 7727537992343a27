"""Monitor a local run from its driver: worker processes that exit or hang, and runs that make no progress.

Time is measured in polls of the driver, not by a clock, so time while the machine sleeps or the driver itself is
stopped does not count.
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
"""Multiple of the longest operation so far without any progress after which a stall is reported."""

BUSY_S = 1.0
"""CPU time, in seconds, that shows a process is working without heartbeats; one that is stuck uses hardly any."""


_CLOSING_S = 0.5
"""Time that a process may remain after its connections are closed, in seconds."""


@dataclass(frozen=True)
class WatchIntervals:
    """Polling intervals and timeouts of the watchdog, all in seconds.

    Attributes:
        poll: Interval between polls.
        beat: Interval between heartbeats of a worker.
        silent: Time without a heartbeat or CPU time after which a worker counts as hung.
        interrupted: The same once the run has been interrupted.
        gone: Time to wait for the exit status of a worker that has exited.
        stalled: Minimum time without progress before a stall is reported.
    """

    poll: float = 1.0
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
        log: File with their standard error.
        heartbeats: Folder of their heartbeats.
    """

    log: Path
    heartbeats: Path


@dataclass
class Worker:
    """The state of a worker process as seen by the driver.

    Attributes:
        file: Its heartbeat file.
        beat: Its last known heartbeat.
        silent: Time since its last heartbeat or CPU time, in seconds.
        gone: Time since its process was found to have exited, in seconds.
    """

    file: Path
    beat: Beat = field(default_factory=Beat)
    silent: float = 0.0
    gone: float = 0.0
    _cpu: float = 0.0

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self.file.name)

    def poll(self, seconds: float) -> bool:
        """Update the state, `seconds` after the last poll; return whether the worker has exited normally."""
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
        """Return a sentence on what is wrong with the worker; None if nothing is."""
        if self.gone > 0:
            ended = "a worker process died (it exited with status 0 in the middle of its work)"
            return ended if self.gone > pace.gone else None
        limit = pace.interrupted if was_interrupted() else pace.silent
        if self.silent < limit:
            return None
        state = "is stopped" if _is_stopped(self.pid) else "hangs"
        return f"worker process {self.pid} {state}: no heartbeat for {format_time(limit)}"


class Stall:
    """A detector of runs that make no progress.

    Args:
        pace: The intervals of the watchdog.
    """

    def __init__(self, pace: WatchIntervals) -> None:
        self._pace = pace
        self._finished = 0
        self._idle = self._next = 0.0

    def poll(self, finished: int, longest: float, seconds: float) -> float | None:
        """Return the time without progress, in seconds, if a stall is to be reported now; else None.

        Args:
            finished: Number of finished operations.
            longest: Duration of the longest of them, in seconds.
            seconds: Time since the last poll, in seconds.
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
    """Return a sentence that reports a stall.

    Args:
        idle: Time without progress, in seconds.
        longest: Duration of the longest operation so far, in seconds; 0 if there was none.
        operation: Name of the operations that count as progress.
        hope: Advice on running the same command again.
    """
    before = f"the longest so far took {max(1, longest):,.0f} s" if longest else "none has finished yet"
    return (
        f"no {operation} has finished for {format_time(idle)} ({before}), and the run is still waiting; check "
        f"whether the disks and servers it uses respond, and how busy the machine is; Ctrl-C ends it ({hope})"
    )


def _fail(sentence: str) -> int:
    return fail(sentence, FAILED)


class Watchdog:
    """A monitor of a run, in its own thread.

    Args:
        hope: Advice on running the same command again, for messages about stalls.
        operation: Name of the operations that count as progress.
        tell: Reports to the user why this process ends, and returns its exit status.
        files: Files of its worker processes; None if it has none.
    """

    def __init__(
        self,
        hope: str,
        operation: str = "tile, read or write",
        *,
        report: Callable[[str], int] = _fail,
        files: WorkerFiles | None = None,
    ) -> None:
        self._describe_stall = partial(describe_stall, operation=operation, hope=hope)
        self._report, self._files = report, files
        self._pace = PACE
        self._workers: dict[Path, Worker] = {}
        self._stall = Stall(self._pace)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._ending = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Monitor the run in a block; the process exits if a worker dies or hangs.

        Raising an exception is not enough: the runner's clean-up would wait for the lost worker.
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
        """Let the watchdog report a dead worker, as the runner may notice its closed connection first."""
        until = time.monotonic() + _CLOSING_S
        while self._files is not None and time.monotonic() < until:
            if any(_processor_time(int(file.name)) is None for file in self._files.heartbeats.iterdir()):
                time.sleep(self._pace.gone + 3 * self._pace.poll)
                return
            time.sleep(0.02)

    def _watch(self) -> None:
        while not self._over.wait(self._pace.poll):
            self._poll_workers()
            beats = [worker.beat for worker in self._workers.values()]
            finished = ACTIVITY.finished + sum(beat.finished for beat in beats)
            longest = max([ACTIVITY.longest, *(beat.longest for beat in beats)])
            idle = self._stall.poll(finished, longest, self._pace.poll)
            if idle is not None:
                _report_note(self._describe_stall(idle, longest))

    def _poll_workers(self) -> None:
        """Poll all workers, and end this process if one of them has died or hangs."""
        if self._files is not None:
            for file in self._files.heartbeats.iterdir():
                self._workers.setdefault(file, Worker(file))
        for worker in list(self._workers.values()):
            if worker.poll(self._pace.poll):
                del self._workers[worker.file]
            elif trouble := worker.trouble(self._pace):
                self._end(trouble)

    def _on_thread_error(self, args: Any) -> None:
        """Handle exceptions of the runner's threads that wait for worker processes or communicate with them."""
        if args.thread is not None and args.thread.name == "run_worker":
            self._end(describe_death(str(args.exc_value)))
        elif self._files is not None and _is_of_grpc(args.exc_value):
            with contextlib.suppress(OSError), self._files.log.open("a") as log:
                traceback.print_exception(args.exc_value, file=log)
        else:
            self._hook(args)

    def _end(self, sentence: str) -> None:
        """End this process and its workers; a second caller blocks here."""
        self._ending.acquire()
        status = self._report(sentence)
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
    """Return a sentence on how a worker process ended, from the runner's error message."""
    match = re.search(r"return code (-?\d+)", cause)
    if match is None:
        return f"a worker process died ({cause.rstrip('.')})"
    code = int(match[1])
    if code >= 0:
        return f"a worker process died (it exited with status {code})"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        by_system = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"a worker process died (it was killed by {name}{by_system})"
    return f"a worker process died (it was killed by signal {-code})"


def _report_note(sentence: str) -> None:
    """Report a note, even if the terminal is closed or shows a progress line."""
    with contextlib.suppress(OSError):
        if terminal.watched():
            terminal.show()
        report_error(sentence)


def _is_of_grpc(error: BaseException | None) -> bool:
    """Return whether an error comes from the connection to a worker."""
    import grpc

    while error is not None and not isinstance(error, grpc.RpcError):
        error = error.__cause__ or error.__context__
    return error is not None


def _processor_time(pid: int) -> float | None:
    """Return the CPU time of a process, in seconds; None if it has exited."""
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
