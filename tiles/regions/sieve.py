"""Dissolve small regions into their neighbours, so that regions still cover the whole raster.

The smallest region goes first, of equals the one whose first pixel comes first. It takes the label that it shares the
longest border with (of equals the lowest), and merges with its neighbours of that label. This is repeated until no
region is small except those without neighbours. The result for a region depends only on the small regions that it is
connected with, and on the labels of the large ones around them: each cluster of small regions is resolved by itself,
on its sheet if it touches no seam, and otherwise from the summaries of all sheets. Sizes are integers, so that sums
do not depend on their order: 2**32 is the size that regions must have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from terraseam.tiles.labels.components import find_components
from terraseam.tiles.labels.label_codes import NOTHING, CodedLabels, merge_tables
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.regions.dissolve import dissolve
from terraseam.tiles.regions.seams import Key, roots, runs, sides, spread

LARGE = 1 << 32
"""The size from which a region is kept."""

PixelSizes = Callable[[np.ndarray], np.ndarray]
"""Sizes of pixels ``(row, col)``, integers of shape ``(n, 2)``: int64, shape ``(n,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Regions that may be small, or their parts on one sheet, with their borders.

    Attributes:
        labels: Label of each patch, int64, shape ``(patches,)``.
        pixels: Number of pixels of each, int64.
        first: First pixel ``(row, col)`` of each, int64, shape ``(patches, 2)``.
        pairs: Rows of two patches and the number of pixel edges that they share, int64, shape ``(pairs, 3)``.
        borders: Rows of a patch, the label of large regions beside it, and the number of shared edges, int64,
            ``(borders, 3)``.
    """

    labels: np.ndarray
    pixels: np.ndarray
    first: np.ndarray
    pairs: np.ndarray
    borders: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class SieveSummary:
    """The part of a sheet that is needed to resolve the small regions on its seams.

    Attributes:
        patches: Its patches that are connected with one on a seam.
        lines: Top, bottom, left and right: runs ``(length, patch, label)`` along the outermost pixels, patch -1 where
            there is none, label `NOTHING` where not valid; int64, each of shape ``(runs, 3)``.
    """

    patches: Patches
    lines: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class SheetSieve:
    """A sheet whose small regions are resolved, except those that depend on its seams.

    Attributes:
        labels: Its label map, shape ``(height, width)``.
        numbers: The unresolved patch of each pixel, from 1; 0 where there is none; int32, same shape.
        summary: Its summary for the other sheets.
    """

    labels: CodedLabels
    numbers: np.ndarray
    summary: SieveSummary


def sieve_sheet(framed: CodedLabels, offset: tuple[int, int], sizes: PixelSizes) -> SheetSieve:
    """Resolve the small regions of one sheet that do not depend on its seams.

    Args:
        framed: Label map of the sheet with a one-pixel frame, shape ``(height + 2, width + 2)``; nodata beyond the
            raster.
        offset: First pixel ``(row, col)`` of the sheet in the raster.
        sizes: Sizes of pixels.
    """
    codes, table = np.ascontiguousarray(framed.inner(1).codes), framed.table
    components = find_components(codes, np.zeros(codes.shape, np.uint8), table != NOTHING)
    numbers = np.ascontiguousarray(components.numbers[1:-1, 1:-1])
    own = codes[tuple(components.first.T)]
    of_number = np.append(NODATA, own)
    beyond = [line[1:-1] != NODATA for line in sides(framed.codes)]
    at_seam, goes_on = np.zeros((2, len(own) + 1), bool)
    for line, there, label in zip(sides(numbers), beyond, sides(framed.codes), strict=True):
        at_seam[line[there]] = True
        goes_on[line[(label[1:-1] == of_number[line]) & there]] = True
    at_seam, goes_on = at_seam[1:], goes_on[1:]
    first = components.first + np.array(offset)
    size = components.pixels * sizes(first)
    # A region that continues on other sheets may get another first pixel and so another size: it is certain to be
    # large only with a margin.
    small = np.where(goes_on, size < 2 * LARGE, size < LARGE)
    place = np.cumsum(small, dtype=np.int32) - 1
    chosen = np.flatnonzero(small)
    pairs, borders = _edges(numbers, own, small, place)
    # Codes are in the order of labels, so both give the same result; other sheets only know labels.
    patches = Patches(own[chosen].astype(np.int64), components.pixels[chosen], first[chosen], pairs, borders)
    is_open = _spread_over_clusters(pairs, at_seam[chosen])
    resolved = _resolve(_take(patches, np.flatnonzero(~is_open)), sizes)
    new = own.copy()
    new[chosen[~is_open]] = resolved
    new_codes = np.append(NODATA, new).astype(codes.dtype)[numbers]
    left = np.zeros(len(own) + 1, np.int32)
    left[1 + chosen[is_open]] = np.arange(1, int(is_open.sum()) + 1)
    lines = [
        runs(np.stack([left[line] - 1, table[code]], axis=1))
        for line, code in zip(sides(numbers), sides(codes), strict=True)
    ]
    summary = SieveSummary(_decoded(_take(patches, np.flatnonzero(is_open)), table), lines)
    return SheetSieve(CodedLabels(new_codes, table), left[numbers], summary)


def _decoded(patches: Patches, table: np.ndarray) -> Patches:
    """Return the same patches with labels instead of codes."""
    borders = patches.borders.copy()
    borders[:, 1] = table[borders[:, 1]]
    return replace(patches, labels=table[patches.labels], borders=borders)


def sieve_seams(summaries: Mapping[Key, SieveSummary], sizes: PixelSizes) -> dict[Key, np.ndarray]:
    """Resolve the small regions that the sheets of one raster have left open.

    Args:
        summaries: Summary of each sheet, by ``(sheet row, sheet column)``, in any order.
        sizes: Sizes of pixels.

    Returns:
        New label of each unresolved patch of each sheet, int64, shape ``(patches,)``.
    """
    keys = sorted(summaries)
    counts = [len(summaries[key].patches.labels) for key in keys]
    ends = np.cumsum(counts, dtype=np.int64).tolist()
    base = {key: end - count for key, end, count in zip(keys, ends, counts, strict=True)}
    patches = [summaries[key].patches for key in keys]
    labels = np.concatenate([np.zeros(0, np.int64), *(part.labels for part in patches)])
    same, pairs, borders, large = _across(summaries, base)
    home = roots(len(labels), same)
    regions, region = np.unique(home, return_inverse=True)
    pixels = np.zeros(len(regions), np.int64)
    np.add.at(pixels, region, np.concatenate([[], *(part.pixels for part in patches)]).astype(np.int64))
    first = np.concatenate([np.zeros((0, 2), np.int64), *(part.first for part in patches)])
    order = np.lexsort((first[:, 1], first[:, 0], region))
    first = first[order][np.searchsorted(region[order], np.arange(len(regions)))]
    is_large = np.zeros(len(regions), bool)
    is_large[region[large]] = True
    shift = [base[key] for key in keys]
    pairs += [part.pairs + np.array([start, start, 0]) for part, start in zip(patches, shift, strict=True)]
    borders += [part.borders + np.array([start, 0, 0]) for part, start in zip(patches, shift, strict=True)]
    pairs_of_regions = np.concatenate(pairs).astype(np.int64)
    pairs_of_regions[:, :2] = region[pairs_of_regions[:, :2]]
    borders_of_regions = np.concatenate(borders).astype(np.int64)
    borders_of_regions[:, 0] = region[borders_of_regions[:, 0]]
    merged = Patches(labels[regions], pixels, first, pairs_of_regions, borders_of_regions)
    resolved = _resolve(merged, sizes, is_large)[region]
    return {key: resolved[base[key] : end] for key, end in zip(keys, ends, strict=True)}


def apply_sieve(sheet: SheetSieve, resolved: np.ndarray) -> CodedLabels:
    """Return the label map of a sheet with the new labels of its unresolved patches."""
    if not len(resolved):
        return sheet.labels
    patches = CodedLabels.encode(resolved, np.ones(len(resolved), bool))
    (codes, of_patches), table = merge_tables([sheet.labels, patches])
    of_pixels = np.append(0, of_patches).astype(codes.dtype)[sheet.numbers]
    return CodedLabels(np.where(sheet.numbers > 0, of_pixels, codes), table)


def _edges(
    numbers: np.ndarray, own: np.ndarray, small: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of patches, and borders of patches with large regions; see `Patches`."""
    before, after = (
        np.concatenate([part.ravel() for part in parts]) - 1
        for parts in ((numbers[:, :-1], numbers[:-1]), (numbers[:, 1:], numbers[1:]))
    )
    at_border = (before != after) & (before >= 0) & (after >= 0)
    before, after = before[at_border], after[at_border]
    both, first = small[before] & small[after], small[before]
    pairs = _counted(place[before[both]], place[after[both]])
    mixed = first != small[after]
    ours, theirs = np.where(first, before, after)[mixed], np.where(first, after, before)[mixed]
    return pairs, _counted(place[ours], own[theirs].astype(np.int64))


def _counted(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Count equal pairs: rows ``(a, b, count)``, sorted; int64."""
    if not len(first):
        return np.zeros((0, 3), np.int64)
    least, most = int(second.min()), int(second.max())
    kinds = None if most - least < 1 << 31 else np.unique(second)
    number, span = (
        (second - least, most - least + 1) if kinds is None else (np.searchsorted(kinds, second), len(kinds))
    )
    keys = np.sort(first * np.int64(span) + number)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.empty((len(starts), 3), np.int64)
    counts[:, 0], number = np.divmod(keys[starts], span)
    counts[:, 1] = number + least if kinds is None else kinds[number]
    counts[:, 2] = np.diff(starts, append=len(keys))
    return counts


def _spread_over_clusters(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return whether each patch is connected with a chosen one; bool."""
    cluster = roots(len(chosen), pairs[:, :2])
    return np.isin(cluster, cluster[chosen])


def _take(patches: Patches, chosen: np.ndarray) -> Patches:
    """Return some of the patches, in whole clusters."""
    if len(chosen) == len(patches.labels):
        return patches
    place = np.full(len(patches.labels), -1)
    place[chosen] = np.arange(len(chosen))
    pairs, borders = (rows[place[rows[:, 0]] >= 0] for rows in (patches.pairs, patches.borders))
    pairs[:, :2], borders[:, 0] = place[pairs[:, :2]], place[borders[:, 0]]
    return Patches(
        patches.labels[chosen],
        patches.pixels[chosen],
        patches.first[chosen],
        pairs,
        borders,
    )


def _across(
    summaries: Mapping[Key, SieveSummary], base: Mapping[Key, int]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return what seams add: patches of the same region, pairs and borders, and patches of large regions."""
    same, pairs, borders, large = [], [], [], []
    for (row, col), summary in sorted(summaries.items()):
        for other, side, opposite in (((row, col + 1), 3, 2), ((row + 1, col), 1, 0)):
            if other not in summaries:
                continue
            near = _global(summary.lines[side], base[row, col])
            far = _global(summaries[other].lines[opposite], base[other])
            known = (near[:, 1] != NOTHING) & (far[:, 1] != NOTHING)
            near, far = near[known], far[known]
            both = (near[:, 0] >= 0) & (far[:, 0] >= 0)
            equal = near[:, 1] == far[:, 1]
            same.append(np.stack([near[both & equal, 0], far[both & equal, 0]], axis=1))
            pairs.append(_counted(near[both & ~equal, 0], far[both & ~equal, 0]))
            for ours, theirs in ((near, far), (far, near)):
                alone = (ours[:, 0] >= 0) & (theirs[:, 0] < 0)
                large.append(ours[alone & equal, 0])
                borders.append(_counted(ours[alone & ~equal, 0], theirs[alone & ~equal, 1]))
    none, nothing = np.zeros((0, 2), np.int64), np.zeros((0, 3), np.int64)
    return (
        np.concatenate([none, *same]),
        [nothing, *pairs],
        [nothing, *borders],
        np.concatenate([none[:, 0], *large]),
    )


def _global(line: np.ndarray, base: int) -> np.ndarray:
    """Return pixels ``(patch, label)`` of runs along a side, with patches numbered across the raster; int64."""
    pixels = spread(line)
    return np.stack([np.where(pixels[:, 0] >= 0, pixels[:, 0] + base, -1), pixels[:, 1]], axis=1)


def _resolve(patches: Patches, sizes: PixelSizes, is_large: np.ndarray | None = None) -> np.ndarray:
    """Return the final label of each patch, int64. Patches must be whole regions."""
    size = patches.pixels * sizes(patches.first)
    large = np.zeros(len(size), bool) if is_large is None else is_large
    order = np.lexsort((patches.first[:, 1], patches.first[:, 0]))
    return dissolve(patches.labels, size, order, (patches.pairs, patches.borders), large, LARGE)
