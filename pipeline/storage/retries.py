"""Retry operations that may succeed later, above all network reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

WAITS_S = (0.5, 2.0)
"""Seconds to wait before each retry."""


class GaveUpError(RuntimeError):
    """An operation that failed at every attempt; its cause is the last error.

    Attributes:
        attempts: Number of attempts.
    """

    def __init__(self, attempts: int) -> None:
        super().__init__(f"gave up after {attempts} attempts")
        self.attempts = attempts


def with_retries(
    work: Callable[[], T],
    worth_it: Callable[[Exception], bool],
    between: Callable[[], None] = lambda: None,
    waits: Sequence[float] | None = None,
) -> tuple[T, int]:
    """Run an operation, and retry it with growing waits if it fails.

    Args:
        work: The operation.
        worth_it: Returns whether a retry may succeed after an error; other errors are raised at once.
        between: Called before each retry.
        waits: Seconds to wait before each retry; None for `WAITS_S`.

    Returns:
        The operation's result, and the number of attempts.

    Raises:
        GaveUpError: If it failed every time; the last error is its cause.
    """
    waits = WAITS_S if waits is None else waits
    attempt = 1
    while True:
        try:
            return work(), attempt
        except Exception as error:
            if not worth_it(error):
                raise
            if attempt > len(waits):
                raise GaveUpError(attempt) from error
        time.sleep(waits[attempt - 1])
        between()
        attempt += 1
