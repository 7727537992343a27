"""What a process has finished: tiles, reads and writes, by which it is seen that a run goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class Activity:
    """Counts operations as they are finished; several threads may do so at once.

    Attributes:
        finished: How many operations have finished.
        longest: What the longest of them took, in seconds.
    """

    def __init__(self) -> None:
        self.finished = 0
        self.longest = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count an operation that has taken so long."""
        with self._lock:
            self.finished += 1
            self.longest = max(self.longest, seconds)

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Count what a block does when it has ended, with an error too."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(time.monotonic() - start)


ACTIVITY = Activity()
"""That of this process."""
