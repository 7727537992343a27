"""Compute weights for the ground between instances that nearly touch: the weight map of the U-Net paper."""

from __future__ import annotations

import math

import numpy as np

from terraseam.tiles.compiled import njit

_REACH_SIGMAS = 5.0


def border_weights(ids: np.ndarray, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """Compute weights that teach a network to separate instances, to be added to those of the classes.

    ``w0 * exp(-(d1 + d2)**2 / (2 * sigma**2))`` of equation 2 in https://arxiv.org/abs/1505.04597, where d1 and d2
    are the distances in pixels to the nearest pixel of the nearest and of the second nearest instance. It is 0 on
    instances, and where an instance is more than five sigma away (an error of less than ``4e-6 * w0``).

    Args:
        ids: Instance of each pixel, 0 for none; int ``(height, width)``.
        w0: Weight between two touching instances.
        sigma: Scale of its decay with distance, in pixels.

    Returns:
        float32 ``(height, width)``.
    """
    if ids.ndim != 2:
        raise ValueError(f"ids have the shape (height, width), got {ids.shape}")
    if not (w0 >= 0 and 0 < sigma < math.inf):
        raise ValueError(f"border weights need w0 of 0 or more and sigma above 0, got {w0} and {sigma}")
    first, second = nearest_two(np.ascontiguousarray(ids), math.ceil(_REACH_SIGMAS * sigma))
    weights = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(ids == 0, weights, 0).astype(np.float32)


def nearest_two(ids: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute distances to the nearest pixel of the nearest and of the second nearest instance.

    Args:
        ids: Instance of each pixel, 0 for none; int ``(height, width)``.
        reach: Largest distance that is searched, in pixels.

    Returns:
        Two arrays of float32 ``(height, width)``, in pixels; infinite where there is no such instance, 0 on
        instances.
    """
    squares = _squares(ids, *_along_columns(ids, reach), reach)
    distances = np.sqrt(squares, dtype=np.float32)
    return distances[0], distances[1]


@njit(cache=True, nogil=True)
def _along_columns(ids: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the two nearest instances in the column of each pixel: ids and distances ``(2, height, width)``."""
    height, width = ids.shape
    nearest = np.zeros((2, height, width), ids.dtype)
    far = np.full((2, height, width), reach + 1, np.int32)
    for turn in range(2):
        # The last instance passed, and where its last pixel was; then the same of the last other instance.
        here, here_at = np.zeros(width, ids.dtype), np.full(width, -1, np.int64)
        other, other_at = np.zeros(width, ids.dtype), np.full(width, -1, np.int64)
        for step in range(height):
            row = step if turn == 0 else height - 1 - step
            for col in range(width):
                if ids[row, col] != 0:
                    if ids[row, col] != here[col]:
                        other[col], other_at[col] = here[col], here_at[col]
                    here[col], here_at[col] = ids[row, col], step
                if here[col] != 0:
                    _keep(nearest, far, row, col, here[col], step - here_at[col])
                if other[col] != 0:
                    _keep(nearest, far, row, col, other[col], step - other_at[col])
    return nearest, far


@njit(cache=True, nogil=True)
def _keep(nearest: np.ndarray, far: np.ndarray, row: int, col: int, instance: int, distance: int) -> None:
    """Record an instance if it is among the two nearest different ones."""
    if distance < far[0, row, col]:
        if instance != nearest[0, row, col]:
            nearest[1, row, col], far[1, row, col] = nearest[0, row, col], far[0, row, col]
        nearest[0, row, col], far[0, row, col] = instance, distance
    elif instance != nearest[0, row, col] and distance < far[1, row, col]:
        nearest[1, row, col], far[1, row, col] = instance, distance


@njit(cache=True, nogil=True)
def _squares(ids: np.ndarray, nearest: np.ndarray, far: np.ndarray, reach: int) -> np.ndarray:
    """Compute squared distances to the two nearest instances over all columns, float32 ``(2, height, width)``.

    An instance that is not among the two nearest in a column cannot be among the two nearest overall by its pixels
    there.
    """
    height, width = ids.shape
    squares = np.zeros((2, height, width), np.float32)
    limit = (reach + 1) ** 2
    for row in range(height):
        for col in range(width):
            if ids[row, col] != 0:
                continue
            best = (0, limit, limit)
            for step in range(reach + 1):
                if step * step >= best[2]:
                    break
                if col >= step:
                    best = _nearer(best, nearest[:, row, col - step], far[:, row, col - step], step * step)
                if step and col + step < width:
                    best = _nearer(best, nearest[:, row, col + step], far[:, row, col + step], step * step)
            squares[0, row, col] = best[1] if best[1] < limit else np.inf
            squares[1, row, col] = best[2] if best[2] < limit else np.inf
    return squares


@njit(cache=True, nogil=True)
def _nearer(
    best: tuple[int, int, int], instances: np.ndarray, far: np.ndarray, across: int
) -> tuple[int, int, int]:
    """Update the nearest instance, its squared distance and that of the second nearest by one more column."""
    nearest, first, second = best
    for rank in range(2):
        other, square = int(instances[rank]), across + int(far[rank]) ** 2
        if other == 0:
            continue
        if other == nearest:
            first = min(first, square)
        elif square < first:
            nearest, first, second = other, square, first
        else:
            second = min(second, square)
    return nearest, first, second
