"""Trying again what may work a little later: reading over a network, above all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

WAITS_S = (0.5, 2.0)
"""How long to wait before each further attempt."""


class GaveUpError(RuntimeError):
    """Something that failed at every attempt; its cause is the last error.

    Attributes:
        attempts: How often it was tried.
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
    """Do something, again and again where it fails, with growing waits.

    Args:
        work: What is done.
        worth_it: Whether an error may be another one the next time, or none; others are raised at once.
        between: What is done before each further attempt.
        waits: How long to wait before each of them, in seconds; None for `WAITS_S`.

    Returns:
        What came of it, and the number of attempts.

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
