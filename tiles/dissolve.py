"""Regions that are dissolved into their neighbours, the smallest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


class Graph:
    """Small regions and their borders, while they are dissolved one after the other; see `tiles.sieve` for the rule.

    Args:
        labels: Label of each region.
        size: Size of each.
        first: First pixel ``(row, col)`` of each.
        large: The size from which on a region stays.
    """

    def __init__(
        self, labels: Sequence[int], size: Sequence[int], first: Sequence[Sequence[int]], large: int
    ) -> None:
        count = len(size)
        self.labels = list(labels)
        self._size = list(size)
        self._first = [tuple(one) for one in first]
        self._large = large
        self._parents = list(range(count))
        self._near: list[dict[int, int]] = [{} for _ in range(count)]
        self._around: list[dict[int, int]] = [{} for _ in range(count)]
        self._hard = [False] * count
        self._queue = [(self._size[i], self._first[i], i) for i in range(count)]
        heapq.heapify(self._queue)

    def join(self, pairs: Iterable[Sequence[int]], borders: Iterable[Sequence[int]]) -> None:
        """Say what borders on what.

        Args:
            pairs: Two regions and the pixel edges that they share.
            borders: A region, the label of large ones beside it, and the edges it shares with them.
        """
        for a, b, edges in pairs:
            _add(self._near[a], b, edges)
            _add(self._near[b], a, edges)
        for a, label, edges in borders:
            _add(self._around[a], label, edges)

    def find(self, one: int) -> int:
        """The region that a patch is part of by now."""
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one

    def smallest(self) -> int | None:
        """The next small region; None where none is left."""
        while self._queue:
            size, _, one = heapq.heappop(self._queue)
            if self._parents[one] == one and not self._hard[one] and self._size[one] == size:
                return one
        return None

    def dissolve(self, one: int) -> None:
        """Let a small region take the label that it shares most with; without a neighbour it stays."""
        shared = dict(self._around[one])
        for other, edges in self._near[one].items():
            _add(shared, self.labels[other], edges)
        if not shared:
            return
        label = min(shared, key=lambda label: (-shared[label], label))
        self.labels[one] = label
        for equal in [other for other in self._near[one] if self.labels[other] == label]:
            self._absorb(one, equal)
        if label in self._around[one] or self._size[one] >= self._large:
            self.harden(one)
        else:
            heapq.heappush(self._queue, (self._size[one], self._first[one], one))

    def harden(self, one: int) -> None:
        """A region is large: to its neighbours it is a label from now on."""
        self._hard[one] = True
        for other, edges in self._near[one].items():
            del self._near[other][one]
            _add(self._around[other], self.labels[one], edges)
        self._near[one] = {}

    def _absorb(self, one: int, other: int) -> None:
        """Make one region of two."""
        self._parents[other] = one
        self._size[one] += self._size[other]
        self._first[one] = min(self._first[one], self._first[other])
        del self._near[one][other], self._near[other][one]
        for third, edges in self._near[other].items():
            del self._near[third][other]
            _add(self._near[third], one, edges)
            _add(self._near[one], third, edges)
        for label, edges in self._around[other].items():
            _add(self._around[one], label, edges)
        self._near[other] = {}


def _add(counts: dict[int, int], key: int, edges: int) -> None:
    counts[key] = counts.get(key, 0) + edges
