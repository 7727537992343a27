"""Find which fragments of regions on different sheets belong to one region of the raster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.labels.components import find_root, join

Key = tuple[int, int]
Side = tuple[Key, str]
"""A sheet and the name of one of its sides."""

_NO_PAIRS = np.zeros((0, 2), np.int64)


def sides(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the outermost pixels of an array: top, bottom, left and right."""
    return pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]


def crossing_lines(framed: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return where regions continue beyond the sides of a sheet: top, bottom, left and right, bool, one per pixel.

    Args:
        framed: Label map of the sheet with a one-pixel frame, or its codes, shape ``(height + 2, width + 2)``.
        keep: Whether each label or code counts, bool, one per possible label.
    """
    own = sides(framed[1:-1, 1:-1])
    return tuple((line == beyond[1:-1]) & keep[line] for line, beyond in zip(own, sides(framed), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class SeamSummary:
    """Summary of a sheet's fragments for its neighbours, in small, plain arrays.

    Attributes:
        labels: Label of each fragment, or its code, integers, shape ``(fragments,)``.
        first: First pixel ``(row, col)`` of each fragment, int64, shape ``(fragments, 2)``.
        groups: First pixel of the first fragment of each fragment's group on this sheet, int64, shape
            ``(fragments, 2)``; fragments of one group touch at corners, if that counts.
        top: Runs ``(length, fragment)`` along the topmost pixels, -1 where there is no fragment, int32, shape
            ``(runs, 2)``.
        bottom: The same along the bottommost pixels.
        left: The same along the leftmost pixels.
        right: The same along the rightmost pixels.
    """

    labels: np.ndarray
    first: np.ndarray
    groups: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Homes:
    """The regions and groups that the fragments of a sheet belong to.

    Attributes:
        regions: First pixel ``(row, col)`` of the region of each, which identifies it, int64, shape
            ``(fragments, 2)``.
        groups: First pixel of the first region of its group, shape ``(fragments, 2)``.
    """

    regions: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.regions)

    def take(self, indices: np.ndarray) -> Homes:
        """Return those of the fragments at `indices` (integers, shape ``(n,)``), in that order."""
        return Homes(self.regions[indices], self.groups[indices])

    @staticmethod
    def concatenate(parts: Sequence[Homes]) -> Homes:
        """Concatenate those of all `parts`."""
        return Homes(
            np.concatenate([part.regions for part in parts]), np.concatenate([part.groups for part in parts])
        )


def summarize_seams(
    lines: Sequence[np.ndarray], labels: np.ndarray, first: np.ndarray, groups: np.ndarray
) -> SeamSummary:
    """Summarize which fragments lie along the seams of a sheet.

    Args:
        lines: Fragment of each of the outermost pixels, -1 where there is none: top, bottom, left and right, int32.
        labels: Label of each fragment, or its code, shape ``(fragments,)``.
        first: Its first pixel ``(row, col)``, shape ``(fragments, 2)``.
        groups: First pixel of the first fragment of its group on this sheet, shape ``(fragments, 2)``.
    """
    top, bottom, left, right = (runs(line[:, None]) for line in lines)
    return SeamSummary(labels, first, groups, top, bottom, left, right)


def merge_seams(summaries: Mapping[Key, SeamSummary], *, by_corners: bool = False) -> dict[Key, Homes]:
    """Find the region of every fragment: fragments of equal label that share part of a seam are one region.

    Args:
        summaries: Summary of each sheet of one raster, by ``(sheet row, sheet column)``, in any order.
        by_corners: Whether regions of one label that touch at a corner are one group, as in tracing.

    Returns:
        For each sheet, the regions and groups of its fragments.

    Raises:
        ValueError: If the shared sides of two neighbouring sheets differ in length.
    """
    keys = sorted(summaries)
    ends = np.cumsum([len(summaries[key].labels) for key in keys], dtype=np.int64).tolist()
    spans = {key: slice(start, end) for key, start, end in zip(keys, [0, *ends], ends, strict=False)}
    first = np.concatenate([_NO_PAIRS, *(summaries[key].first for key in keys)])
    sharing = np.concatenate([_NO_PAIRS, *_sharing(summaries, spans)])
    regions = groups = _homes(roots(len(first), sharing), first)
    if by_corners:
        pairs = np.concatenate([sharing, *_touching(summaries, spans)])
        groups = _homes(roots(len(first), pairs), first)
    return {key: Homes(regions[span], groups[span]) for key, span in spans.items()}


def runs(line: np.ndarray) -> np.ndarray:
    """Encode equal consecutive rows of shape ``(n, values)`` as runs ``(length, value, ...)`` of the same type."""
    starts = np.flatnonzero(np.concatenate([[True], (line[1:] != line[:-1]).any(axis=1)]))
    lengths = np.diff(np.concatenate([starts, [len(line)]]))
    return np.column_stack([lengths, line[starts]]).astype(line.dtype)


def spread(line: np.ndarray) -> np.ndarray:
    """Decode `runs` to rows of values, int64, shape ``(n, values)``."""
    return np.repeat(line[:, 1:], line[:, 0], axis=0).astype(np.int64)


def _sharing(summaries: Mapping[Key, SeamSummary], spans: Mapping[Key, slice]) -> Iterator[np.ndarray]:
    """Yield pairs of fragments of all sheets that share part of a seam: arrays of shape ``(pairs, 2)``."""
    for (key, side), (other, opposite) in _seams(summaries):
        near, far = _line(summaries[key], side), _line(summaries[other], opposite)
        if len(near) != len(far):
            raise ValueError(
                f"sheet {key} is {len(near)} px long on its {side} side, but sheet {other} beside it {len(far)} px"
            )
        yield _pairs(near, far) + np.array([spans[key].start, spans[other].start])


def _touching(summaries: Mapping[Key, SeamSummary], spans: Mapping[Key, slice]) -> Iterator[np.ndarray]:
    """Yield pairs of fragments that touch at a corner, on one sheet, along a seam or where four sheets meet."""
    for (key, side), (other, opposite) in _seams(summaries):
        near, far = _line(summaries[key], side), _line(summaries[other], opposite)
        start = np.array([spans[key].start, spans[other].start])
        yield _pairs(near[:-1], far[1:]) + start
        yield _pairs(near[1:], far[:-1]) + start
    for key, summary in summaries.items():
        row, col = key
        yield _within(summary) + spans[key].start
        for other, end in (((row + 1, col - 1), 0), ((row + 1, col + 1), -1)):
            if other in summaries:
                near, far = _line(summary, "bottom")[[end]], _line(summaries[other], "top")[[-1 - end]]
                yield _pairs(near, far) + np.array([spans[key].start, spans[other].start])


def _seams(keys: Mapping[Key, SeamSummary]) -> Iterator[tuple[Side, Side]]:
    """Yield neighbouring sheets, with the sides that they share."""
    for row, col in keys:
        for other, side, opposite in (((row, col + 1), "right", "left"), ((row + 1, col), "bottom", "top")):
            if other in keys:
                yield ((row, col), side), (other, opposite)


def _line(summary: SeamSummary, side: str) -> np.ndarray:
    """Return fragment, -1 where there is none, and label of each pixel along a side: int64, shape ``(pixels, 2)``."""
    fragments = spread(getattr(summary, side))[:, 0]
    return np.stack([fragments, np.append(summary.labels, 0)[fragments]], axis=1).astype(np.int64)


def _pairs(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return pairs of fragments of equal label at the same positions of two lines: ``(pairs, 2)``."""
    same = (near[:, 0] >= 0) & (far[:, 0] >= 0) & (near[:, 1] == far[:, 1])
    return np.unique(np.stack([near[same, 0], far[same, 0]], axis=1), axis=0)


def _within(summary: SeamSummary) -> np.ndarray:
    """Pair each fragment of a sheet with the first one of its group: ``(fragments, 2)``."""
    _, leader, group = np.unique(summary.groups, axis=0, return_index=True, return_inverse=True)
    return np.stack([np.arange(len(summary.groups)), leader[group.reshape(-1)]], axis=1)


@njit(cache=True, nogil=True)
def roots(count, pairs):  # type: ignore[no-untyped-def]
    """Return the smallest index that each of `count` items is connected to by `pairs`."""
    parents = np.arange(count)
    for k in range(len(pairs)):
        join(parents, pairs[k, 0], pairs[k, 1])
    for i in range(count):
        parents[i] = find_root(parents, i)
    return parents


def _homes(joined: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the first pixel of the region of each fragment, from the root of each; shape ``(fragments, 2)``."""
    order = np.lexsort((first[:, 1], first[:, 0], joined))
    _, starts, inverse = np.unique(joined[order], return_index=True, return_inverse=True)
    home = np.empty_like(first)
    home[order] = first[order][starts[inverse]]
    return home
