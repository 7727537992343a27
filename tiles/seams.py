"""Which fragments of regions, seen on different sheets, are one region in the whole raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from tiles.components import find_root, join

Key = tuple[int, int]


def sides(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The outermost pixels of an array: top, bottom, left and right."""
    return pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]


def crossing_lines(framed: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where regions go on behind the sides of a sheet: top, bottom, left and right, bool, each a side long.

    Args:
        framed: Label map of the sheet and of one pixel around it, or its codes, shape ``(height + 2, width + 2)``.
        keep: Labels or codes that count, bool, as many as there can be.
    """
    own = sides(framed[1:-1, 1:-1])
    return tuple((line == beyond[1:-1]) & keep[line] for line, beyond in zip(own, sides(framed), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class SeamSummary:
    """What the neighbours of a sheet need to know of its fragments; small, plain arrays.

    Attributes:
        labels: Label of each fragment, or its code, uint8 or uint16, shape ``(fragments,)``.
        first: First pixel ``(row, col)`` of each fragment, int64, shape ``(fragments, 2)``.
        top: Runs ``(length, fragment)`` along the topmost pixels, -1 where there is no fragment, int32, shape
            ``(runs, 2)``.
        bottom: The same along the lowest pixels.
        left: The same along the leftmost pixels.
        right: The same along the rightmost pixels.
    """

    labels: np.ndarray
    first: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


def summarize_seams(numbers: np.ndarray, labels: np.ndarray, first: np.ndarray) -> SeamSummary:
    """Say which fragments lie along the seams of a sheet.

    Args:
        numbers: Fragment of each pixel, -1 where there is none, int32, shape ``(height, width)``.
        labels: Label of each fragment, or its code, shape ``(fragments,)``.
        first: Its first pixel ``(row, col)``, shape ``(fragments, 2)``.
    """
    top, bottom, left, right = (runs(line[:, None]) for line in sides(numbers))
    return SeamSummary(labels, first, top, bottom, left, right)


def unite(summaries: Mapping[Key, SeamSummary]) -> dict[Key, np.ndarray]:
    """Find the region of every fragment: fragments of equal label that share a piece of a seam are one.

    Args:
        summaries: Summary of each sheet of one raster, by ``(sheet row, sheet column)``, in any order.

    Returns:
        For each sheet the first pixel ``(row, col)`` of the region that each of its fragments belongs to, which
        names the region; int64, shape ``(fragments, 2)``.

    Raises:
        ValueError: If two sheets that lie side by side do not have the same length there.
    """
    keys = sorted(summaries)
    counts = [len(summaries[key].labels) for key in keys]
    ends = np.cumsum(counts, dtype=np.int64)
    base = {key: int(end) - count for key, end, count in zip(keys, ends, counts, strict=True)}
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for key in keys:
        row, col = key
        for other, side, opposite in (((row, col + 1), "right", "left"), ((row + 1, col), "bottom", "top")):
            if other in summaries:
                shared = _shared(summaries, (key, side), (other, opposite))
                pairs.append(shared + np.array([base[key], base[other]]))
    joined = roots(int(sum(counts)), np.concatenate(pairs))
    first = np.concatenate([np.zeros((0, 2), dtype=np.int64)] + [summaries[key].first for key in keys])
    homes = _homes(joined, first)
    return {key: homes[base[key] : end] for key, end in zip(keys, ends, strict=True)}


def runs(line: np.ndarray) -> np.ndarray:
    """Runs ``(length, value, ...)`` of equal rows of values, int32, of rows of shape ``(n, values)``."""
    starts = np.flatnonzero(np.concatenate([[True], (line[1:] != line[:-1]).any(axis=1)]))
    lengths = np.diff(np.concatenate([starts, [len(line)]]))
    return np.column_stack([lengths, line[starts]]).astype(np.int32)


def spread(line: np.ndarray) -> np.ndarray:
    """The rows of values of some `runs`, int64, shape ``(n, values)``."""
    return np.repeat(line[:, 1:], line[:, 0], axis=0).astype(np.int64)


def _shared(summaries: Mapping[Key, SeamSummary], near: tuple[Key, str], far: tuple[Key, str]) -> np.ndarray:
    """Pairs of fragments of equal label that share a piece of the seam between two sheets: ``(pairs, 2)``."""
    lines = []
    for key, side in (near, far):
        lines.append(spread(getattr(summaries[key], side))[:, 0])
    if len(lines[0]) != len(lines[1]):
        raise ValueError(
            f"sheet {near[0]} is {len(lines[0])} px long on its {near[1]} side, "
            f"but sheet {far[0]} beside it {len(lines[1])} px"
        )
    both = np.stack(lines, axis=1)
    both = both[(both >= 0).all(axis=1)]
    same = summaries[near[0]].labels[both[:, 0]] == summaries[far[0]].labels[both[:, 1]]
    return np.unique(both[same], axis=0)


@njit(cache=True, nogil=True)
def roots(count, pairs):  # type: ignore[no-untyped-def]
    """The smallest index that each of `count` items is joined with by `pairs`."""
    parents = np.arange(count)
    for k in range(len(pairs)):
        join(parents, pairs[k, 0], pairs[k, 1])
    for i in range(count):
        parents[i] = find_root(parents, i)
    return parents


def _homes(joined: np.ndarray, first: np.ndarray) -> np.ndarray:
    """First pixel of the region of each fragment, by the root of each; shape ``(fragments, 2)``."""
    order = np.lexsort((first[:, 1], first[:, 0], joined))
    _, starts, inverse = np.unique(joined[order], return_index=True, return_inverse=True)
    home = np.empty_like(first)
    home[order] = first[order][starts[inverse]]
    return home
