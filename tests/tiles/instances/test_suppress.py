"""Instances that show one object twice are left out, whatever the sheets."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from planted_things import disk

from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref, tighten
from terraseam.tiles.instances.paint import patches
from terraseam.tiles.instances.resolve import ResolvedInstance
from terraseam.tiles.instances.suppress import overlaps, suppress

HEIGHT, WIDTH = 150, 170


def instance(number, mask, label=1, score=200):
    window, cut = tighten(Window(0, 0, *mask.shape), mask)
    return ResolvedInstance(label, score, ((window, cut),), (), Ref(0, 0, number))


def random_instances(seed):
    """Disks in heaps, many of which lie nearly on each other, a few of another class, with few scores."""
    rng = np.random.default_rng(seed)
    heaps = rng.integers(20, 130, (8, 2))
    found = []
    for number in range(60):
        row, col = heaps[rng.integers(8)] + rng.integers(-6, 7, 2)
        mask = disk(HEIGHT, WIDTH, int(row), int(col), int(rng.integers(6, 22)))
        found.append((mask, instance(number, mask, int(rng.integers(1, 3)), int(rng.integers(1, 4)))))
    return found


def greedy(found):
    """Names of what a plain loop over whole masks leaves out."""

    def order(pair):
        mask, thing = pair
        row, col = np.argwhere(mask)[0]
        return -thing.score, row, col, -mask.sum(), -thing.ref.number

    kept, left_out = [], []
    for mask, thing in sorted(found, key=order):
        double = any(
            other.label == thing.label and 2 * (mask & there).sum() >= (mask | there).sum()
            for there, other in kept
        )
        (left_out if double else kept).append((mask, thing))
    return sorted(thing.ref for _, thing in left_out)


def left_out_by_sheets(found, side, seed=0):
    shown = [(sheet, patch) for _, thing in found for sheet, patch in patches(thing, side)]
    random.Random(seed).shuffle(shown)
    shown.sort(key=lambda pair: pair[0])
    shared = [
        overlap
        for _, group in itertools.groupby(shown, key=lambda pair: pair[0])
        for overlap in overlaps([patch for _, patch in group])
    ]
    random.Random(seed).shuffle(shared)
    return [candidate.ref for candidate in suppress(shared)]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_out_is_that_of_a_loop_over_whole_masks_whatever_the_sheets(seed):
    found = random_instances(seed)
    want = greedy(found)
    assert 5 < len(want) < 55
    for side in (16, 48, 64, 500):
        assert left_out_by_sheets(found, side, seed) == want


def test_no_pair_of_one_class_that_is_left_shares_half_of_its_union():
    found = random_instances(99)
    out = set(left_out_by_sheets(found, 32))
    left = [(mask, thing) for mask, thing in found if thing.ref not in out]
    for (mask, one), (there, other) in itertools.combinations(left, 2):
        assert one.label != other.label or 2 * (mask & there).sum() < (mask | there).sum()


def test_an_instance_that_is_left_out_leaves_none_out_itself():
    """Three squares in a row: the middle one goes because of the first, and the last stays."""
    masks = np.zeros((3, HEIGHT, WIDTH), bool)
    for number, mask in enumerate(masks):
        mask[10:40, 10 + 8 * number : 40 + 8 * number] = True
    found = [
        (mask, instance(n, mask, score=score))
        for n, (mask, score) in enumerate(zip(masks, (9, 8, 7), strict=True))
    ]
    assert left_out_by_sheets(found, 16) == [Ref(0, 0, 1)]


def test_a_part_that_is_less_than_half_of_the_whole_stays():
    whole, part = np.zeros((2, HEIGHT, WIDTH), bool)
    whole[10:50, 10:50] = part[10:29, 10:50] = True
    found = [(whole, instance(0, whole)), (part, instance(1, part))]
    assert left_out_by_sheets(found, 20) == []
    part[29] = whole[29]
    found[1] = (part, instance(1, part))
    assert left_out_by_sheets(found, 20) == [Ref(0, 0, 1)]
