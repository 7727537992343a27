"""Suppress duplicates: instances of an object that another instance of the raster already shows.

A network may detect one object twice on one chip: with its mirror image and alone, or as a whole and as its larger
part. Such pairs pass the network's own non-maximum suppression, which compares boxes, and no link between tiles joins
them. Here masks are compared, over the whole raster, so the result depends neither on sheets nor on any order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.paint import Patch


class Candidate(NamedTuple):
    """An instance that shares pixels with another one.

    Attributes:
        ref: Its first view, which identifies it.
        rank: Score, and negated row and column of its first pixel: the higher rank is kept.
        pixels: Number of its pixels.
        bounds: Its bounding rectangle, in pixels of the raster.
    """

    ref: Ref
    rank: tuple[int, int, int]
    pixels: int
    bounds: Window


class Overlap(NamedTuple):
    """The pixels that two instances of one class share on one sheet.

    Attributes:
        first: One instance.
        second: The other one, with the greater identifier.
        pixels: Number of pixels that both cover on the sheet.
    """

    first: Candidate
    second: Candidate
    pixels: int


def overlaps(patches: Sequence[Patch]) -> list[Overlap]:
    """Count the shared pixels of pairs of one class on a sheet that could share half of their union.

    Args:
        patches: All parts of instances on the sheet, in any order.
    """
    shared: Counter[tuple[Ref, Ref]] = Counter()
    masks = [patch.mask() for patch in patches]
    for i, j in _comparable(patches):
        patch, other = patches[i], patches[j]
        common = patch.window.intersection(other.window)
        if common is not None:
            both = masks[i][common.within(patch.window)] & masks[j][common.within(other.window)]
            shared[min(patch.ref, other.ref), max(patch.ref, other.ref)] += int(np.count_nonzero(both))
    candidates = {
        patch.ref: Candidate(patch.ref, patch.rank, patch.pixels, patch.bounds) for patch in patches
    }
    return [
        Overlap(candidates[first], candidates[second], pixels)
        for (first, second), pixels in sorted(shared.items())
        if pixels
    ]


def _comparable(patches: Sequence[Patch]) -> list[tuple[int, int]]:
    """Return pairs of overlapping patches of one class and two instances, of similar size (a factor of 2)."""
    if len(patches) < 2:
        return []
    names = {ref: number for number, ref in enumerate(sorted({patch.ref for patch in patches}))}
    rows = []
    for patch in patches:
        window = patch.window
        corners = window.row_off, window.col_off, window.row_end, window.col_end
        rows.append((*corners, patch.label, patch.pixels, names[patch.ref]))
    table = np.array(rows, np.int64).T
    (row0, col0, row1, col1, label, pixels, name), others = table[:, :, None], table[:, None, :]
    meet = (row0 < others[2]) & (others[0] < row1) & (col0 < others[3]) & (others[1] < col1)
    similar = (2 * pixels >= others[5]) & (2 * others[5] >= pixels)
    return [
        (i, j) for i, j in np.argwhere(meet & similar & (label == others[4]) & (name < others[6])).tolist()
    ]


def suppress(overlaps: Iterable[Overlap]) -> list[Candidate]:
    """Choose the instances to drop, so that no two of one class share half of their union or more.

    Of such a pair the one with the higher score is kept, or of equal scores the one whose first pixel comes first; a
    dropped instance suppresses none itself.

    Args:
        overlaps: The overlaps on all sheets of a raster, in any order.
    """
    shared: Counter[tuple[Ref, Ref]] = Counter()
    candidates: dict[Ref, Candidate] = {}
    for first, second, pixels in overlaps:
        shared[first.ref, second.ref] += pixels
        candidates[first.ref], candidates[second.ref] = first, second
    doubles: dict[Ref, list[Ref]] = defaultdict(list)
    for (first_ref, second_ref), pixels in shared.items():
        if 3 * pixels >= candidates[first_ref].pixels + candidates[second_ref].pixels:
            doubles[first_ref].append(second_ref)
            doubles[second_ref].append(first_ref)
    left_out: set[Ref] = set()
    for ref in sorted(
        doubles, key=lambda ref: (candidates[ref].rank, candidates[ref].pixels, ref), reverse=True
    ):
        if ref not in left_out:
            left_out.update(doubles[ref])
    return [candidates[ref] for ref in sorted(left_out)]
