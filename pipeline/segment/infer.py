"""Running the network on the tiles of a sheet, several at once."""

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


Answer = TypeVar("Answer")


def infer_tiles(
    ask: Callable[[np.ndarray], Iterable[Answer]],
    chip: Chip,
    lattice: Lattice,
    tiles: Iterable[Tile],
    samples: int,
    at_once: int,
) -> Iterator[tuple[Tile, Answer]]:
    """What a network says of tiles, in order.

    Args:
        ask: From raster samples ``(n, height, width, bands)`` to an answer a chip, such as `Engine.logits`; it
            may be called from several threads.
        chip: The read window of the sheet; it holds those of all tiles.
        lattice: The tiles of the raster.
        tiles: Row and column of each tile.
        samples: Tiles a call of the network.
        at_once: Calls at the same time; it changes no result.

    Yields:
        A tile and what the network says of its read window.
    """

    def call(batch: tuple[Tile, ...]) -> Iterable[Answer]:
        with ACTIVITY.operation():
            return ask(np.stack([chip.cut(lattice.read_window(*tile)) for tile in batch]))

    batches = _batches(iter(tiles), samples)
    waiting: deque[tuple[tuple[Tile, ...], Future[Iterable[Answer]]]] = deque()
    pool = calling_pool(at_once)
    waiting.extend((batch, pool.submit(call, batch)) for batch in islice(batches, at_once))
    while waiting:
        batch, future = waiting.popleft()
        answers = future.result()
        waiting.extend((following, pool.submit(call, following)) for following in islice(batches, 1))
        yield from zip(batch, answers, strict=True)


def _batches(tiles: Iterator[Tile], samples: int) -> Iterator[tuple[Tile, ...]]:
    while batch := tuple(islice(tiles, samples)):
        yield batch


@functools.cache
def calling_pool(at_once: int) -> ThreadPoolExecutor:
    """The threads of this process that call the network; Beam's own threads share them."""
    return ThreadPoolExecutor(at_once, thread_name_prefix="infer")
