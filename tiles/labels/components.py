"""Find the 4-connected components of a label map, numbered in the order of their first pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The 4-connected components of one sheet.

    Attributes:
        numbers: Component of each pixel, from 1; 0 where there is none. The sheet is padded by a frame of zeros, one
            pixel wide. int32, shape ``(height + 2, width + 2)``.
        first: First pixel ``(row, col)`` of each component in row-major order, int64, ``(components, 2)``.
        last: Last row of each, int32, shape ``(components,)``.
        pixels: Number of pixels of each component, int64, shape ``(components,)``.
        score_sum: Sum of their uint8 scores, int64, shape ``(components,)``.
    """

    numbers: np.ndarray
    first: np.ndarray
    last: np.ndarray
    pixels: np.ndarray
    score_sum: np.ndarray


def find_components(labels: np.ndarray, scores: np.ndarray, keep: np.ndarray) -> Components:
    """Number the 4-connected components of equal label, and sum up their pixels and scores.

    Args:
        labels: Label map, uint8, or codes of one, uint16; shape ``(height, width)``.
        scores: Score of each pixel, uint8, same shape.
        keep: Whether each label counts; pixels of other labels belong to no component. Bool, one per possible label.
    """
    numbers, parents = _provisional_numbers(labels, keep)
    final, count = _final_numbers(parents)
    return Components(numbers, *_renumber(numbers, final, count, scores))


@njit(cache=True, nogil=True)
def find_root(parents, i):  # type: ignore[no-untyped-def]
    """Return the root of `i` in a forest of parent indices, halving the path on the way."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def join(parents, i, j):  # type: ignore[no-untyped-def]
    """Join the trees of `i` and `j`; the smaller root stays root."""
    i, j = find_root(parents, i), find_root(parents, j)
    if i < j:
        parents[j] = i
    elif j < i:
        parents[i] = j


@njit(cache=True, nogil=True)
def _provisional_numbers(labels, keep):  # type: ignore[no-untyped-def]
    """Number components from the neighbours above and to the left, with the forest of numbers that meet later."""
    height, width = labels.shape
    numbers = np.zeros((height + 2, width + 2), np.int32)
    parents = np.empty(height * width + 1, np.int32)
    count = 1
    for row in range(height):
        for col in range(width):
            label = labels[row, col]
            if not keep[label]:
                continue
            above = numbers[row, col + 1] if row and labels[row - 1, col] == label else 0
            left = numbers[row + 1, col] if col and labels[row, col - 1] == label else 0
            if above and left and above != left:
                join(parents, above, left)
            if not (above or left):
                parents[count] = count
                left = count
                count += 1
            numbers[row + 1, col + 1] = left or above
    return numbers, parents[:count].copy()


@njit(cache=True, nogil=True)
def _final_numbers(parents):  # type: ignore[no-untyped-def]
    """Renumber without gaps. A root is the smallest number of its tree, so the order of first pixels is preserved."""
    final = np.zeros(len(parents), np.int32)
    count = 0
    for i in range(1, len(parents)):
        if parents[i] == i:
            count += 1
            final[i] = count
        else:
            final[i] = final[find_root(parents, i)]
    return final, count


@njit(cache=True, nogil=True)
def _renumber(numbers, final, count, scores):  # type: ignore[no-untyped-def]
    """Write the final numbers in place; return first pixel, last row, pixel count and score sum of each component."""
    first = np.zeros((count, 2), np.int64)
    last = np.zeros(count, np.int32)
    pixels = np.zeros(count, np.int64)
    score_sum = np.zeros(count, np.int64)
    height, width = scores.shape
    for row in range(height):
        for col in range(width):
            number = final[numbers[row + 1, col + 1]]
            if number == 0:
                continue
            numbers[row + 1, col + 1] = number
            if pixels[number - 1] == 0:
                first[number - 1, 0] = row
                first[number - 1, 1] = col
            last[number - 1] = row
            pixels[number - 1] += 1
            score_sum[number - 1] += scores[row, col]
    return first, last, pixels, score_sum
