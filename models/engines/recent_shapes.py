"""Keep what an engine has built for the chip shapes of its latest calls, and drop what it has built for others."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Shape = tuple[int, ...]
Value = TypeVar("Value")

RASTER_SHAPES = 4
"""Most shapes of the chips of one raster: inside it, in its last column, in its last row, and in its last corner."""


class RecentShapes(Generic[Value]):
    """One value for each chip shape, built on first use, of which only the most recently used stay; thread-safe.

    A run over many small rasters has chips of many shapes, and what engines build for a shape takes memory.

    Args:
        build: Function that builds the value of a shape; it is called by one thread at a time.
        most: Number of values that are kept.
        release: Function that frees the working memory of a value that is not in use, and returns whether it did.
            Working memory is only kept for shapes that together have no more elements than the largest shape so far.
    """

    def __init__(
        self,
        build: Callable[[Shape], Value],
        most: int = RASTER_SHAPES,
        release: Callable[[Value], bool] | None = None,
    ) -> None:
        self._build, self._most, self._release = build, most, release
        self._lock = threading.Lock()
        self._values: OrderedDict[Shape, Value] = OrderedDict()
        self._holding: set[Shape] = set()
        self._largest = 0

    def __len__(self) -> int:
        """Return the number of values that are kept."""
        return len(self._values)

    def get(self, shape: Shape) -> Value:
        """Return the value of a shape, which is about to be used."""
        with self._lock:
            self._largest = max(self._largest, math.prod(shape))
            self._release_others(shape)
            if shape not in self._values:
                self._drop_oldest()
                self._values[shape] = self._build(shape)
            self._holding.add(shape)
            self._values.move_to_end(shape)
            return self._values[shape]

    def _drop_oldest(self) -> None:
        """Make room for one more value."""
        while len(self._values) >= self._most:
            shape, value = self._values.popitem(last=False)
            if shape in self._holding:
                # A thread that is about to use it, or has just done so, may keep it alive for a while.
                self._holding.remove(shape)
                self._release_one(value)

    def _release_others(self, shape: Shape) -> None:
        """Free the working memory of the least recently used shapes, as far as there is too much of it."""
        for other, value in self._values.items():
            if sum(map(math.prod, self._holding | {shape})) <= self._largest:
                return
            if other != shape and other in self._holding and self._release_one(value):
                self._holding.remove(other)

    def _release_one(self, value: Value) -> bool:
        return self._release is None or self._release(value)
