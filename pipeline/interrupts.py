"""Being ended by the user or the system in the middle of what others' code does.

Python raises what a signal asks for wherever the main thread happens to be. In a finalizer it is dropped, and
libraries turn it into errors of their own; so it is remembered here, and raised again where it was dropped.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

_AGAIN = 0.05
"""Seconds after which an interruption that was dropped is raised again."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command: Ctrl-C, the system, and a terminal that is closed."""

_asked = threading.Event()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread, where a block runs, on each of `SIGNALS`.

    Those that are ignored stay so: Ctrl-C by programs in the background, a closed terminal by those under ``nohup``.
    """
    _asked.clear()
    again = _Again(sys.unraisablehook)
    wanted = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in wanted}
    sys.unraisablehook = again
    try:
        try:
            yield
        finally:
            dropped = again.end()
    finally:
        sys.unraisablehook = again.hook
        for number, handler in before.items():
            signal.signal(number, handler)
    if dropped:
        raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether the process was asked to end since it listens."""
    return _asked.is_set()


def interrupt_main_thread() -> None:
    """Interrupt what the main thread does, as Ctrl-C would; programs in the background may ignore that one."""
    asked = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
    signal.pthread_kill(threading.main_thread().ident or 0, asked)


def _interrupt(*_: object) -> None:
    _asked.set()
    raise KeyboardInterrupt


class _Again:
    """Takes exceptions that Python drops; an interruption is raised again, outside of what dropped it.

    Args:
        hook: What takes all others.
    """

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook
        self._timer: threading.Timer | None = None

    def __call__(self, dropped: Any) -> None:
        """Take one."""
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            self._timer = threading.Timer(_AGAIN, _interrupt_outside_hooks)
            self._timer.start()
        else:
            self.hook(dropped)

    def end(self) -> bool:
        """Raise none again from now on; return whether there was one that was not yet."""
        if self._timer is None:
            return False
        waited = self._timer.finished.is_set()
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()
        return not waited


def _interrupt_outside_hooks() -> None:
    """Interrupt the main thread once it has left `_Again`: what is raised in there is dropped for good."""
    main = threading.main_thread().ident or 0
    while _runs(_Again.__call__.__code__, sys._current_frames().get(main)):
        time.sleep(0.001)
    interrupt_main_thread()


def _runs(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
