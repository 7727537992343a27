"""Resample pixels that were read to the pixels of a chip."""

from __future__ import annotations

import numpy as np

from terraseam.tiles.compiled import njit


def resample(
    pixels: np.ndarray,
    valid: np.ndarray,
    rows: tuple[float, float, int],
    cols: tuple[float, float, int],
    least: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample an array to another grid, averaging where pixels get larger and interpolating where they get smaller.

    Larger pixels are the mean of the area that they cover; smaller ones are interpolated between the centres of the
    old ones. Pixels that are not valid are left out.

    Args:
        pixels: Shape ``(height, width, bands)``.
        valid: Shape ``(height, width)``; True where `pixels` are valid.
        rows: Start of the first new row and height of a row, both in old pixels, and the number of rows.
        cols: The same for columns.
        least: Share of a new pixel that must be valid for it to be valid.

    Returns:
        float32 ``(rows, cols, bands)``, 0 where not valid; and the validity, bool ``(rows, cols)``.
    """
    down, across = _weights(*rows, pixels.shape[0]), _weights(*cols, pixels.shape[1])
    sums, shares = _gather(np.ascontiguousarray(pixels), np.ascontiguousarray(valid), *across, *down)
    known = shares >= least
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known[..., None], sums / shares[..., None], np.float32(0))
    return mean.astype(np.float32), known


def _weights(start: float, step: float, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the first old pixel and the weights from it on, for each new pixel along one axis.

    Returns:
        int64 ``(count,)``, and float32 ``(count, n)``; rows sum to one.
    """
    centres = start + (np.arange(count) + 0.5) * step
    half = max(step, 1.0) / 2 if step > 1 else 1.0
    first = np.floor(centres - half).astype(np.int64)
    reached = first[:, None] + np.arange(int(np.ceil(2 * half)) + 1)
    if step > 1:
        low, high = centres[:, None] - half, centres[:, None] + half
        shares = np.minimum(reached + 1, high) - np.maximum(reached, low)
    else:
        shares = 1 - np.abs(reached + 0.5 - centres[:, None])
    shares = np.clip(shares, 0, None)
    inside = np.clip(reached, 0, size - 1)
    begin = np.clip(first, 0, size - 1)
    # Weights outside are added to the nearest pixel inside.
    weights = np.zeros((count, shares.shape[1]), np.float64)
    np.add.at(weights, (np.arange(count)[:, None], inside - begin[:, None]), shares)
    return begin, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@njit(cache=True, nogil=True)
def _gather(
    pixels: np.ndarray,
    valid: np.ndarray,
    col_first: np.ndarray,
    col_weights: np.ndarray,
    row_first: np.ndarray,
    row_weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum valid pixels by weight, ``(rows, cols, bands)``, and their weights, ``(rows, cols)``."""
    rows, cols, bands = row_first.size, col_first.size, pixels.shape[2]
    narrow = np.zeros((pixels.shape[0], cols, bands + 1), np.float32)
    for row in range(row_first[0], min(pixels.shape[0], row_first[-1] + row_weights.shape[1])):
        _gather_row(pixels[row], valid[row], col_first, col_weights, narrow[row])
    sums = np.zeros((rows, cols, bands + 1), np.float32)
    for row in range(rows):
        for place in range(row_weights.shape[1]):
            if row_weights[row, place] > 0:
                sums[row] += row_weights[row, place] * narrow[row_first[row] + place]
    return sums[..., :bands], sums[..., bands]


@njit(cache=True, nogil=True)
def _gather_row(
    pixels: np.ndarray, valid: np.ndarray, first: np.ndarray, weights: np.ndarray, sums: np.ndarray
) -> None:
    """Add the valid pixels of a row, ``(width, bands)``, and their weights to `sums`, ``(cols, bands + 1)``."""
    bands = pixels.shape[1]
    for col in range(first.size):
        for place in range(weights.shape[1]):
            old, weight = first[col] + place, weights[col, place]
            if weight > 0 and valid[old]:
                for band in range(bands):
                    sums[col, band] += weight * pixels[old, band]
                sums[col, bands] += weight
