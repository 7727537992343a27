"""Handle SIGINT, SIGTERM and SIGHUP while third-party code runs.

Python raises KeyboardInterrupt wherever the main thread happens to be. Finalizers drop it, and libraries turn it into
their own errors; so this module remembers it, and raises it again if it was dropped.
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
"""Signals that end a command: Ctrl-C, termination by the system, and a closed terminal."""

_requested = threading.Event()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread, which runs the block, on each of `SIGNALS`.

    Signals that are ignored stay so, such as SIGINT in background processes and SIGHUP under ``nohup``.
    """
    _requested.clear()
    again = _Again(sys.unraisablehook)
    signal_numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in signal_numbers}
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
    """Return whether a signal has interrupted the process since `listening` began."""
    return _requested.is_set()


def interrupt_main_thread() -> None:
    """Interrupt the main thread as Ctrl-C would, with SIGTERM if possible, as background processes ignore SIGINT."""
    signal_number = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
    signal.pthread_kill(threading.main_thread().ident or 0, signal_number)


def _interrupt(*_: object) -> None:
    _requested.set()
    raise KeyboardInterrupt


class _Again:
    """A hook for exceptions that Python drops, which raises interruptions again outside of the dropping code.

    Args:
        hook: The hook for all other exceptions.
    """

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook
        self._timer: threading.Timer | None = None

    def __call__(self, dropped: Any) -> None:
        """Handle a dropped exception."""
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            self._timer = threading.Timer(_AGAIN, _interrupt_outside_hooks)
            self._timer.start()
        else:
            self.hook(dropped)

    def end(self) -> bool:
        """Stop raising interruptions again; return whether one is still pending."""
        if self._timer is None:
            return False
        waited = self._timer.finished.is_set()
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()
        return not waited


def _interrupt_outside_hooks() -> None:
    """Interrupt the main thread once it has left `_Again`: exceptions raised in there are lost."""
    main = threading.main_thread().ident or 0
    while _runs(_Again.__call__.__code__, sys._current_frames().get(main)):
        time.sleep(0.001)
    interrupt_main_thread()


def _runs(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
