"""How many rasters a thread keeps open: of thousands, those that it opened last."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any, Protocol

MOST_OPEN = 64
"""Datasets that a thread keeps open."""
_local = threading.local()


class DatasetHolder(Protocol):
    """Something that keeps a dataset open for each thread, as ``_local.dataset``."""

    _local: threading.local


def close(holder: DatasetHolder) -> None:
    """Close the dataset of this thread, of which something cannot be read.

    GDAL says so once: blocks that a decoder has made up, and mosaics of which a part is missing, would be read without
    a word the next time.
    """
    dataset = getattr(holder._local, "dataset", None)
    holder._local.dataset = None
    if dataset is not None:
        dataset.close()
        held = _held()
        for one in [one for one in held if one() is holder]:
            held.remove(one)


def keep_open(holder: DatasetHolder, dataset: Any) -> Any:
    """Keep a dataset open for this thread, and close the one that it opened `MOST_OPEN` datasets ago."""
    held = _held()
    holder._local.dataset = dataset
    held.append(weakref.ref(holder))
    while len(held) > MOST_OPEN:
        oldest = held.popleft()()
        if oldest is not None:
            oldest._local.dataset = None
    return dataset


def _held() -> deque[weakref.ref[Any]]:
    """Who holds datasets of this thread, the oldest first."""
    held: deque[weakref.ref[Any]] = _local.__dict__.setdefault("held", deque())
    return held
