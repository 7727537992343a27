"""Working on a few things at once, whose results keep their order, and never on the same thing twice."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class OrderedPool(Generic[A, B]):
    """Does the same with one thing after another, with a few at once; what comes of them keeps their order.

    Args:
        work: What is done; with more than one thing at once it is called from several threads.
        at_once: Things at once; one is worked on in the thread that asks.

    Attributes:
        stopped: Set when something has failed: what was begun may end without a result then.
    """

    def __init__(self, work: Callable[[A], B], at_once: int) -> None:
        self.stopped = threading.Event()
        self._work = work
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead") if at_once > 1 else None
        self._begun: deque[Future[B]] = deque()

    def put(self, thing: A) -> Iterator[B]:
        """Begin with a thing; gives what has come of the oldest one where there are as many as may be.

        Raises:
            BaseException: What the work has raised; what was begun is given up then.
        """
        if self._pool is None:
            yield self._work(thing)
            return
        self._begun.append(self._pool.submit(self._work, thing))
        if len(self._begun) >= self._at_once:
            yield self._oldest()

    def rest(self) -> Iterator[B]:
        """What comes of all that was begun.

        Raises:
            BaseException: As `put`.
        """
        while self._begun:
            yield self._oldest()

    def end(self) -> None:
        """End the threads, as soon as what they do allows it."""
        self.stopped.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _oldest(self) -> B:
        try:
            return self._begun.popleft().result()
        except BaseException:
            self.stopped.set()
            for future in self._begun:
                future.cancel()
            self._begun.clear()
            raise


class KeyedLock:
    """Lets one thread at a time into a block of some name; those of other names go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Be the only one in a block of a name."""
        with self._lock:
            lock, inside = self._names.get(name, (threading.Lock(), 0))
            self._names[name] = lock, inside + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, inside = self._names.pop(name)
                if inside > 1:
                    self._names[name] = lock, inside - 1
