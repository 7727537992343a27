"""Group regions of one label that touch only at corners.

With connectivity 8, such regions are one feature of several polygons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.labels.components import Components
from terraseam.tiles.regions.seams import roots


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Groups of components of a sheet that are connected by corners.

    Attributes:
        leader: The first component of the group of each component, from 0, int64, shape ``(components,)``.
        outside: Whether each touches a pixel of its label beyond the sheet at a corner, bool, shape
            ``(components,)``.
    """

    leader: np.ndarray
    outside: np.ndarray

    def of_any(self, chosen: np.ndarray) -> np.ndarray:
        """Return whether each component or another one of its group is `chosen`, bool of shape ``(components,)``."""
        reached = np.zeros_like(chosen)
        reached[self.leader[chosen]] = True
        return reached[self.leader]


def no_groups(components: Components) -> Groups:
    """Return groups of single components."""
    count = len(components.pixels)
    return Groups(np.arange(count), np.zeros(count, bool))


def find_groups(components: Components, framed: np.ndarray) -> Groups:
    """Group the components that touch at corners, directly or via others.

    Args:
        components: The components of a sheet.
        framed: Its labels or codes with a one-pixel frame, shape ``(height + 2, width + 2)``.
    """
    count = len(components.pixels)
    pairs, outside = _contacts(components.numbers, framed, count)
    return Groups(roots(count, pairs), outside)


@njit(cache=True, nogil=True)
def _contacts(numbers, framed, count):  # type: ignore[no-untyped-def]
    """Return pairs of components, from 0, that touch at a corner, and whether each does so beyond the sheet."""
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
def _add(first, second, table, outside):  # type: ignore[no-untyped-def]
    """Record a contact of two components, of which -1 is beyond the sheet; return the number of pairs."""
    pairs, n = table
    if first >= 0 and second >= 0:
        pairs[n, 0], pairs[n, 1] = first, second
        return n + 1
    if first >= 0:
        outside[first] = True
    if second >= 0:
        outside[second] = True
    return n
