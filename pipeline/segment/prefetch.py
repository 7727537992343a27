"""Process a few items concurrently, preserving their order and never working on the same item twice."""

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
    """A small thread pool that applies a function to a stream of items, preserving order.

    Args:
        work: The function; it is called from several threads if `at_once` is more than 1.
        at_once: Items at the same time; with 1, items are processed in the calling thread.

    Attributes:
        stopped: Set after a failure: calls in progress may then end without a result.
    """

    def __init__(self, work: Callable[[A], B], at_once: int) -> None:
        self.stopped = threading.Event()
        self._work = work
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead") if at_once > 1 else None
        self._begun: deque[Future[B]] = deque()

    def put(self, item: A) -> Iterator[B]:
        """Submit an item; if the pool is full, wait for the oldest item and yield its result.

        Raises:
            BaseException: The error that the function raised; pending items are cancelled.
        """
        if self._pool is None:
            yield self._work(item)
            return
        self._begun.append(self._pool.submit(self._work, item))
        if len(self._begun) >= self._at_once:
            yield self._oldest()

    def rest(self) -> Iterator[B]:
        """Yield the results of all pending items.

        Raises:
            BaseException: As `put`.
        """
        while self._begun:
            yield self._oldest()

    def end(self) -> None:
        """Stop the threads as soon as their current items are finished."""
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
    """A set of locks by name: one thread at a time in blocks of the same name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold the lock of a name in a block."""
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
