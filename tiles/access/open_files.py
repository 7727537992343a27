"""Limit how many datasets a thread keeps open to those that it opened last."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any, Protocol

MOST_OPEN = 64
"""Maximum number of datasets that a thread keeps open."""
_local = threading.local()


class DatasetHolder(Protocol):
    """An object that keeps one dataset open per thread, as ``_local.dataset``."""

    _local: threading.local


def close(holder: DatasetHolder) -> None:
    """Close the dataset of this thread after a failed read.

    GDAL reports such a failure only once: the next read would silently return blocks that a decoder made up, or
    mosaics with missing parts.
    """
    dataset = getattr(holder._local, "dataset", None)
    holder._local.dataset = None
    if dataset is not None:
        dataset.close()
        held = _held()
        for reference in [reference for reference in held if reference() is holder]:
            held.remove(reference)


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
    """Return the holders of this thread's open datasets, oldest first."""
    held: deque[weakref.ref[Any]] = _local.__dict__.setdefault("held", deque())
    return held
