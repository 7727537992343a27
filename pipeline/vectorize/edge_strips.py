"""Cache the edge strips of neighbouring sheets in a worker."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.labels.neighbour_context import (
    EdgeStrip,
    SheetOffset,
    edge_strip_of,
    with_neighbour_context,
)

KEPT = 64
"""Edge strips cached per worker: for uint8 labels and sheets of 2048 px, 8 kB per pixel of depth."""

K = TypeVar("K", bound=Hashable)


class EdgeStrips(Generic[K]):
    """A cache of the edge strips of sheets, by any hashable key of a sheet.

    Args:
        read: Function that reads the label map of a sheet.
    """

    def __init__(self, read: Callable[[K], CodedLabels]) -> None:
        self._read = read
        self._edge_strip = lru_cache(KEPT)(self._read_strip)

    def with_neighbour_context(
        self, labels: CodedLabels, around: Mapping[SheetOffset, K], depth: int
    ) -> CodedLabels:
        """Extend the labels of a sheet by `depth` pixels; see `neighbour_context.with_neighbour_context`."""
        return with_neighbour_context(
            labels, {offset: self._edge_strip(name, depth) for offset, name in around.items()}, depth
        )

    def _read_strip(self, name: K, depth: int) -> EdgeStrip:
        return edge_strip_of(self._read(name), depth)
