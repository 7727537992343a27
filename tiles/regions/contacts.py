"""Where regions of one label touch at a corner alone: with connectivity 8 they are one feature of several polygons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.labels.components import Components
from terraseam.tiles.regions.seams import roots


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which components of a sheet hang together by corners.

    Attributes:
        leader: The first component of each one's group, from 0, int64, shape ``(components,)``.
        outside: Whether it touches a pixel of its label beyond the sheet at a corner, bool, shape ``(components,)``.
    """

    leader: np.ndarray
    outside: np.ndarray

    def of_any(self, chosen: np.ndarray) -> np.ndarray:
        """Whether a component or another one of its group is `chosen`, bool of shape ``(components,)``."""
        reached = np.zeros_like(chosen)
        reached[self.leader[chosen]] = True
        return reached[self.leader]


def no_groups(components: Components) -> Groups:
    """Every component by itself."""
    count = len(components.pixels)
    return Groups(np.arange(count), np.zeros(count, bool))


def find_groups(components: Components, framed: np.ndarray) -> Groups:
    """Group the components that touch at corners, directly or over others.

    Args:
        components: The components of a sheet.
        framed: Its labels or codes with one pixel around it, shape ``(height + 2, width + 2)``.
    """
    count = len(components.pixels)
    pairs, outside = _contacts(components.numbers, framed, count)
    return Groups(roots(count, pairs), outside)


@njit(cache=True, nogil=True)
def _contacts(numbers, framed, count):  # type: ignore[no-untyped-def]
    """Pairs of components, from 0, that touch at a corner, and which touch their label beyond the sheet there."""
    height, width = numbers.shape
    pairs = np.empty((1 << 8, 2), np.int64)
    outside = np.zeros(count, np.bool_)
    n = 0
    for y in range(height - 1):
        for x in range(width - 1):
            falling = framed[y, x] == framed[y + 1, x + 1]
            rising = framed[y, x + 1] == framed[y + 1, x]
            if framed[y, x] == framed[y, x + 1] or not (falling or rising):
                continue
            if n + 2 > len(pairs):
                pairs = np.concatenate((pairs, np.empty_like(pairs)))
            if falling:
                n = _add(numbers[y, x] - 1, numbers[y + 1, x + 1] - 1, (pairs, n), outside)
            if rising:
                n = _add(numbers[y, x + 1] - 1, numbers[y + 1, x] - 1, (pairs, n), outside)
    return pairs[:n], outside


@njit(cache=True, nogil=True)
def _add(one, other, found, outside):  # type: ignore[no-untyped-def]
    """Note a contact of two components, either of which is -1 beyond the sheet; gives the number of pairs."""
    pairs, n = found
    if one >= 0 and other >= 0:
        pairs[n, 0], pairs[n, 1] = one, other
        return n + 1
    if one >= 0:
        outside[one] = True
    if other >= 0:
        outside[other] = True
    return n
