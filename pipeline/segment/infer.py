"""Run the network on the tiles of a sheet, in several concurrent calls."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from terraseam.pipeline.activity import ACTIVITY
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.source import Chip

Tile = tuple[int, int]


Output = TypeVar("Output")


def infer_tiles(
    ask: Callable[[np.ndarray], Iterable[Output]],
    chip: Chip,
    reads: Mapping[Tile, Window],
    samples: int,
    at_once: int,
    all_submitted: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Tile, Output]]:
    """Run the network on tiles, those with chips of one shape after another, and yield its outputs in that order.

    Args:
        ask: Function from raster samples ``(n, height, width, bands)`` to one output per chip, such as
            `Engine.logits`; it may be called from several threads.
        chip: The read window of the sheet; it contains those of all tiles.
        reads: Read window of each tile.
        samples: Tiles per call of the network; those of one call have chips of one shape.
        at_once: Concurrent calls; does not affect results.
        all_submitted: Called when no tile is left to submit, while the last ones may still be running.

    Yields:
        A tile and the network's output for its read window.
    """

    def call(batch: tuple[Tile, ...]) -> Iterable[Output]:
        with ACTIVITY.operation():
            return ask(np.stack([chip.cut(reads[tile]) for tile in batch]))

    def submit() -> None:
        batch = waiting.popleft()
        running.append((batch, pool.submit(call, batch)))
        if not waiting:
            all_submitted()

    waiting = deque(_batches(reads, samples))
    running: deque[tuple[tuple[Tile, ...], Future[Iterable[Output]]]] = deque()
    pool = calling_pool(at_once)
    for _ in range(min(at_once, len(waiting))):
        submit()
    while running:
        batch, future = running.popleft()
        outputs = future.result()
        if waiting:
            submit()
        yield from zip(batch, outputs, strict=True)


def _batches(reads: Mapping[Tile, Window], samples: int) -> Iterator[tuple[Tile, ...]]:
    """Yield the tiles of each call; shapes come in the order of their first tiles."""
    by_shape: dict[tuple[int, int], list[Tile]] = {}
    for tile, window in reads.items():
        by_shape.setdefault(window.shape, []).append(tile)
    for alike in by_shape.values():
        for first in range(0, len(alike), samples):
            yield tuple(alike[first : first + samples])


@functools.cache
def calling_pool(at_once: int) -> ThreadPoolExecutor:
    """Return this process's thread pool for calling the network, shared by Beam's threads."""
    return ThreadPoolExecutor(at_once, thread_name_prefix="infer")
