"""Which fragments of regions, seen on different sheets, are one region in the whole raster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from tiles.components import find_root, join
from tiles.fragments import Fragments

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seams:
    """The sides of a sheet on which another sheet lies."""

    top: bool
    bottom: bool
    left: bool
    right: bool

    def sides(self, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """The outermost pixels of a sheet along each of its seams."""
        lines = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        flags = (self.top, self.bottom, self.left, self.right)
        return (line for line, flag in zip(lines, flags, strict=True) if flag)


@dataclass(frozen=True, slots=True, eq=False)
class SeamSummary:
    """What the neighbours of a sheet need to know of its fragments; small, plain arrays.

    Attributes:
        labels: Label of each fragment, uint8, shape ``(fragments,)``.
        first: First pixel ``(row, col)`` of each fragment, int64, shape ``(fragments, 2)``.
        top: Runs ``(length, fragment)`` along the topmost pixels, -1 where there is no fragment, int32, shape
            ``(runs, 2)``; no runs where no sheet lies on this side.
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


@dataclass(frozen=True, slots=True, eq=False)
class Homes:
    """The region of the whole raster that each fragment of a sheet belongs to.

    Attributes:
        first: First pixel ``(row, col)`` of that region, which names it; int64, shape ``(fragments, 2)``.
        alone: True where the fragment is the whole region, bool, shape ``(fragments,)``.
    """

    first: np.ndarray
    alone: np.ndarray


def summarize_seams(numbers: np.ndarray, fragments: Fragments, seams: Seams) -> SeamSummary:
    """Say which fragments lie along the seams of a sheet.

    Args:
        numbers: Fragment of each pixel, -1 where there is none, int32, shape ``(height, width)``.
        fragments: The fragments of the sheet.
        seams: The sides on which another sheet lies.
    """
    none = np.zeros((0, 2), dtype=np.int32)
    return SeamSummary(
        fragments.parts.labels,
        fragments.parts.first,
        _runs(numbers[0]) if seams.top else none,
        _runs(numbers[-1]) if seams.bottom else none,
        _runs(numbers[:, 0]) if seams.left else none,
        _runs(numbers[:, -1]) if seams.right else none,
    )


def unite(summaries: Mapping[Key, SeamSummary]) -> dict[Key, Homes]:
    """Find the region of every fragment: fragments of equal label that share a piece of a seam are one.

    Args:
        summaries: Summary of each sheet of one raster, by ``(sheet row, sheet column)``, in any order.

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
    roots = _roots(int(sum(counts)), np.concatenate(pairs))
    first = np.concatenate([np.zeros((0, 2), dtype=np.int64)] + [summaries[key].first for key in keys])
    homes = _homes(roots, first)
    return {
        key: Homes(homes.first[base[key] : end], homes.alone[base[key] : end])
        for key, end in zip(keys, ends, strict=True)
    }


def _runs(line: np.ndarray) -> np.ndarray:
    """Runs ``(length, value)`` of equal values, int32, shape ``(runs, 2)``."""
    starts = np.flatnonzero(np.concatenate([[True], line[1:] != line[:-1]]))
    lengths = np.diff(np.concatenate([starts, [len(line)]]))
    return np.stack([lengths, line[starts]], axis=1).astype(np.int32)


def _shared(summaries: Mapping[Key, SeamSummary], near: tuple[Key, str], far: tuple[Key, str]) -> np.ndarray:
    """Pairs of fragments of equal label that share a piece of the seam between two sheets: ``(pairs, 2)``."""
    lines = []
    for key, side in (near, far):
        runs = getattr(summaries[key], side)
        lines.append(np.repeat(runs[:, 1], runs[:, 0]).astype(np.int64))
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
def _roots(count, pairs):  # type: ignore[no-untyped-def]
    """The smallest index that each of `count` items is joined with by `pairs`."""
    parents = np.arange(count)
    for k in range(len(pairs)):
        join(parents, pairs[k, 0], pairs[k, 1])
    for i in range(count):
        parents[i] = find_root(parents, i)
    return parents


def _homes(roots: np.ndarray, first: np.ndarray) -> Homes:
    """First pixel and loneliness of each fragment's region, by the root of each fragment."""
    order = np.lexsort((first[:, 1], first[:, 0], roots))
    _, starts, inverse, sizes = np.unique(
        roots[order], return_index=True, return_inverse=True, return_counts=True
    )
    home = np.empty_like(first)
    home[order] = first[order][starts[inverse]]
    alone = np.empty(len(roots), dtype=bool)
    alone[order] = sizes[inverse] == 1
    return Homes(home, alone)
