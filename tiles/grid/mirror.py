"""Pixel positions beyond a raster's edges, where the raster is repeatedly mirrored."""

from __future__ import annotations

import numpy as np


def mirror_index(start: int, stop: int, size: int) -> np.ndarray:
    """Return the pixels of an axis that the positions `start` to `stop` show.

    The axis is reflected at its ends without repeating the edge pixel (``2 1 0 1 2 1 0``), as
    ``numpy.pad`` does with ``mode="reflect"``; an axis of one pixel repeats it.

    Args:
        start: First position; negative before the axis.
        stop: Position after the last one.
        size: Pixels along the axis.

    Returns:
        Indices from 0 to ``size - 1``, shape ``(stop - start,)``.
    """
    if size < 1 or stop < start:
        raise ValueError(f"cannot mirror {start}..{stop} on an axis of {size} px")
    return folded(np.arange(start, stop), size)


def folded(places: np.ndarray, size: int) -> np.ndarray:
    """Return the pixels of an axis of `size` px that whole positions show; see `mirror_index`."""
    period = max(1, 2 * (size - 1))
    places = places % period
    return np.minimum(places, period - places)
