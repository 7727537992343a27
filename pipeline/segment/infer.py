"""Run the network on the tiles of a sheet, in several concurrent calls."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from terraseam.pipeline.activity import ACTIVITY
from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.raster.source import Chip

Tile = tuple[int, int]


Output = TypeVar("Output")


def infer_tiles(
    ask: Callable[[np.ndarray], Iterable[Output]],
    chip: Chip,
    lattice: Lattice,
    tiles: Iterable[Tile],
    samples: int,
    at_once: int,
) -> Iterator[tuple[Tile, Output]]:
    """Run the network on tiles, and yield its outputs in order.

    Args:
        ask: Function from raster samples ``(n, height, width, bands)`` to one output per chip, such as
            `Engine.logits`; it may be called from several threads.
        chip: The read window of the sheet; it contains those of all tiles.
        lattice: The tiles of the raster.
        tiles: Row and column of each tile.
        samples: Tiles per call of the network.
        at_once: Concurrent calls; does not affect results.

    Yields:
        A tile and the network's output for its read window.
    """

    def call(batch: tuple[Tile, ...]) -> Iterable[Output]:
        with ACTIVITY.operation():
            return ask(np.stack([chip.cut(lattice.read_window(*tile)) for tile in batch]))

    batches = _batches(iter(tiles), samples)
    waiting: deque[tuple[tuple[Tile, ...], Future[Iterable[Output]]]] = deque()
    pool = calling_pool(at_once)
    waiting.extend((batch, pool.submit(call, batch)) for batch in islice(batches, at_once))
    while waiting:
        batch, future = waiting.popleft()
        outputs = future.result()
        waiting.extend((following, pool.submit(call, following)) for following in islice(batches, 1))
        yield from zip(batch, outputs, strict=True)


def _batches(tiles: Iterator[Tile], samples: int) -> Iterator[tuple[Tile, ...]]:
    while batch := tuple(islice(tiles, samples)):
        yield batch


@functools.cache
def calling_pool(at_once: int) -> ThreadPoolExecutor:
    """Return this process's thread pool for calling the network, shared by Beam's threads."""
    return ThreadPoolExecutor(at_once, thread_name_prefix="infer")
