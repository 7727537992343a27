"""Count the operations a process has finished (tiles, reads and writes) to show that a run makes progress."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class Activity:
    """A thread-safe count of finished operations.

    Attributes:
        finished: Number of finished operations.
        longest: Duration of the longest of them, in seconds.
    """

    def __init__(self) -> None:
        self.finished = 0
        self.longest = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count an operation that took `seconds`."""
        with self._lock:
            self.finished += 1
            self.longest = max(self.longest, seconds)

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Count a block as an operation when it ends, even with an error."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(time.monotonic() - start)


ACTIVITY = Activity()
"""The activity of this process."""
