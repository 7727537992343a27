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
        at_once: Most items at the same time; with 1, items are processed in the calling thread.
        weigh: Function that returns the weight of an item; None for items that weigh nothing.
        room: Most that items at the same time may weigh together; one item may weigh more.

    Attributes:
        stopped: Set after a failure: calls in progress may then end without a result.
    """

    def __init__(
        self, work: Callable[[A], B], at_once: int, weigh: Callable[[A], int] | None = None, room: int = 1
    ) -> None:
        self.stopped = threading.Event()
        self._work = work
        self._at_once = at_once
        self._weigh = weigh or (lambda _: 0)
        self._room = room
        self._load = 0
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="ahead") if at_once > 1 else None
        self._begun: deque[tuple[Future[B], int]] = deque()

    def put(self, item: A) -> Iterator[B]:
        """Submit an item as soon as there is room; while the pool is full, wait for the oldest and yield its result.

        Raises:
            BaseException: The error that the function raised; pending items are cancelled.
        """
        if self._pool is None:
            yield self._work(item)
            return
        weight = self._weigh(item)
        results = []
        while self._begun and self._load + weight > self._room:
            results.append(self._oldest())
        self._begun.append((self._pool.submit(self._work, item), weight))
        self._load += weight
        # The item is being worked on while the caller does what it does with results.
        yield from results
        if len(self._begun) >= self._at_once or self._load >= self._room:
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
        future, weight = self._begun.popleft()
        self._load -= weight
        try:
            return future.result()
        except BaseException:
            self.stopped.set()
            for pending, _ in self._begun:
                pending.cancel()
            self._begun.clear()
            self._load = 0
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
