"""Promise 4: every instance appears once and whole, for any detector whose answers do not depend on the tile."""

from __future__ import annotations

import numpy as np
import pytest
from planted_things import Detector, bar, disk, find_things, mask_of, overlaps, plant, random_scene

from terraseam.models.detection.instances import ChipInstance
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref, SheetInstances, TileInstance, tile_instances
from terraseam.tiles.instances.links import Link, agreement, later_neighbours, link_tiles
from terraseam.tiles.instances.resolve import gather_views, resolve_instance


def lattice_of(scene, core=32, halo=(16, 16, 16, 16), sheet_cores=2):
    return Lattice(*scene.shape, core, Halo(*halo), sheet_cores)


def planted_count(scene):
    return len(np.unique(scene[scene > 0]))


@pytest.mark.parametrize("seed", range(12))
def test_each_thing_is_found_once_and_exactly(seed):
    scene = random_scene(150, 117, seed, largest=90)
    things = find_things(scene, lattice_of(scene, halo=(16, 24, 8, 16)), Detector())
    assert len(things) == planted_count(scene)
    assert min(overlaps(things, scene)) == 1


@pytest.mark.parametrize("seed", range(12))
def test_masks_that_differ_by_a_pixel_between_tiles_are_still_one_thing(seed):
    scene = random_scene(230, 190, 100 + seed, largest=60)
    things = find_things(scene, lattice_of(scene), Detector(jitter=True, seed=seed))
    assert len(things) == planted_count(scene)
    assert min(overlaps(things, scene)) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("jitter", [False, True])
def test_every_shift_of_the_lattice_finds_the_same_things(jitter):
    side = 300
    masks = [
        disk(side, side, 96, 96, 45),
        disk(side, side, 200, 60, 22),
        bar(side, side, (190, 190), (150, 60), 30),
    ]
    whole = plant(masks)
    for shift in range(0, 32, 1 if not jitter else 3):
        scene = whole[shift:, (shift * 5) % 32 :]
        things = find_things(
            scene, lattice_of(scene, core=32, halo=(16, 16, 16, 16)), Detector(jitter, shift)
        )
        assert len(things) == planted_count(scene) == 3, shift
        assert min(overlaps(things, scene)) >= (0.9 if jitter else 1), shift


def test_a_large_thing_with_masks_off_by_a_pixel_keeps_an_overlap_of_99_percent():
    scene = plant([disk(900, 900, 450, 450, 330), disk(900, 900, 70, 800, 60)])
    lattice = lattice_of(scene, core=128, halo=(64, 64, 64, 64))
    things = find_things(scene, lattice, Detector(jitter=True))
    assert len(things) == 2
    large, small = overlaps(things, scene)
    assert large >= 0.99 and small >= 0.95


@pytest.mark.parametrize("sheet_cores", [1, 2, 3, 9])
@pytest.mark.parametrize("jitter", [False, True])
def test_sheets_change_nothing(sheet_cores, jitter):
    scene = random_scene(170, 211, 7, largest=110)
    detector = Detector(jitter)
    alone = find_things(scene, lattice_of(scene, sheet_cores=1), detector)
    things = find_things(scene, lattice_of(scene, sheet_cores=sheet_cores), detector)
    assert [(t.label, t.score) for t in things] == [(t.label, t.score) for t in alone]
    for ours, theirs in zip(things, alone, strict=True):
        assert np.array_equal(mask_of(ours, scene.shape), mask_of(theirs, scene.shape))


def test_a_thing_on_the_corner_of_four_sheets_is_one():
    scene = plant([disk(128, 128, 64, 64, 20), disk(128, 128, 64, 100, 9)])
    things = find_things(scene, lattice_of(scene, core=32, sheet_cores=2), Detector())
    assert len(things) == 2
    assert overlaps(things, scene) == [1, 1]


def test_a_thing_larger_than_any_tile_is_one():
    scene = plant([bar(400, 420, (200, 210), (380, 90), 37), disk(400, 420, 60, 60, 25)])
    things = find_things(scene, lattice_of(scene, core=32, halo=(8, 8, 8, 8), sheet_cores=3), Detector())
    assert len(things) == 2
    assert overlaps(things, scene) == [1, 1]


def test_things_that_touch_stay_apart():
    scene = np.zeros((128, 200), np.int32)
    for number in range(12):
        scene[30:100, 10 + 15 * number : 25 + 15 * number] = number + 1
    things = find_things(scene, lattice_of(scene, core=32, halo=(16, 16, 16, 16)), Detector())
    assert len(things) == 12
    assert min(overlaps(things, scene)) == 1


def test_things_of_crossing_boxes_stay_apart():
    """Boxes of diagonal neighbours overlap by more than half, their masks not at all."""
    masks = [bar(300, 300, (130 + 14 * n, 150 + 14 * n), (220, 10), -45) for n in range(3)]
    scene = plant(masks)
    for halo in (16, 64):
        things = find_things(scene, lattice_of(scene, core=64, halo=(halo,) * 4), Detector())
        assert len(things) == 3
        assert min(overlaps(things, scene)) == 1


def test_pixels_that_were_not_measured_belong_to_nothing():
    scene = random_scene(120, 140, 3, largest=50)
    valid = np.ones(scene.shape, bool)
    valid[40:70, 50:] = False
    lattice = lattice_of(scene)
    things = find_things(scene, lattice, Detector(), valid)
    for thing in things:
        assert not (mask_of(thing, scene.shape) & ~valid).any()


def view(ref, row, col, mask, room=1000, score=200):
    return TileInstance(Ref(*ref), Window(row, col, *mask.shape), mask, 1, score, room)


def block(height, width):
    return np.ones((height, width), bool)


def link(first, second, share, whole=(True, True)):
    return Link(first, second, share, share >= 0.5, whole)


def test_the_adversarial_chain_stays_three_things():
    """Three whole things, each half over the next, of which each tile saw one: they never become one."""
    refs = [Ref(0, n, 0) for n in range(3)]
    chain = [link(refs[0], refs[1], 0.45), link(refs[1], refs[2], 0.45), link(refs[0], refs[2], 0.2)]
    assert gather_views(chain) == []
    closer = [link(refs[0], refs[1], 0.6), link(refs[1], refs[2], 0.55), link(refs[0], refs[2], 0.25)]
    assert gather_views(closer) == [(refs[0], refs[1])]
    same = [link(refs[0], refs[1], 0.65), link(refs[1], refs[2], 0.6), link(refs[0], refs[2], 0.45)]
    assert gather_views(same) == [tuple(refs)]
    cut = [one._replace(whole=(False, False)) for one in closer]
    assert gather_views(cut) == [tuple(refs)]


def test_things_that_lie_half_over_each_other_stay_three():
    """Each tile finds all that it sees; boxes and masks overlap, and every next one links two others."""

    class Overlapping:
        def find(self, chip, tile):
            bits = [(chip & bit) > 0 for bit in (1, 2, 4)]
            return [one for mask in bits for one in Detector().find(mask.astype(int), tile)]

    masks = [bar(120, 200, (60, 70 + 24 * n), (60, 30), 0) for n in range(3)]
    scene = sum(mask * bit for mask, bit in zip(masks, (1, 2, 4), strict=True))
    for shift in range(0, 64, 7):
        moved = scene[:, shift:]
        things = find_things(moved, lattice_of(moved, core=64, halo=(48,) * 4), Overlapping())
        found = sorted(mask_of(thing, moved.shape).tobytes() for thing in things)
        assert found == sorted(mask[:, shift:].tobytes() for mask in masks)


def test_instances_of_one_tile_never_meet():
    one, two, between = Ref(0, 0, 0), Ref(0, 0, 1), Ref(0, 1, 0)
    cut = (False, False)
    assert gather_views([link(one, between, 0.9, cut), link(two, between, 0.8, cut)]) == [(one, between)]


def test_the_order_of_links_changes_nothing():
    rng = np.random.default_rng(5)
    links = []
    for _ in range(60):
        a, b = sorted(rng.choice(30, 2, replace=False).tolist())
        first, second = Ref(0, a // 2, a % 2), Ref(0, b // 2, b % 2)
        if first.tile != second.tile:
            links.append(link(first, second, float(rng.choice([0.3, 0.6, 0.9])), (a % 3 == 0, b % 3 == 0)))
    expected = gather_views(links)
    assert expected
    for seed in range(5):
        assert (
            gather_views([links[i] for i in np.random.default_rng(seed).permutation(len(links))]) == expected
        )


def test_a_cut_view_is_compared_where_both_tiles_saw():
    views = (Window(0, 0, 40, 40), Window(0, 20, 40, 40))
    left, right = (
        view((0, 0, 0), 10, 5, block(10, 35), room=0),
        view((0, 1, 0), 10, 20, block(10, 35), room=0),
    )
    assert agreement(left, right, views) == 1
    whole, part = view((0, 0, 0), 10, 5, block(10, 35), room=9), block(10, 20)
    assert agreement(whole, view((0, 1, 0), 10, 20, part, room=9), views) == pytest.approx(41 / (110 - 41))
    assert agreement(whole, view((0, 1, 0), 10, 20, part, room=0), views) == 1


def test_outlines_a_pixel_apart_agree_and_neighbours_do_not():
    views = (Window(0, 0, 100, 100), Window(0, 10, 100, 100))
    disks = [disk(100, 100, 50, 50, radius) for radius in (4, 5, 6)]
    near, between, far = (view((0, n, 0), 0, 0, mask) for n, mask in enumerate(disks))
    assert min(agreement(near, between, views), agreement(between, far, views)) > 0.9
    assert 0.5 < agreement(near, far, views) < 1
    beside = [view((0, n, 0), 10, 20 + 12 * n, block(30, 12)) for n in range(2)]
    assert agreement(*beside, views) == 0
    over = [view((0, n, 0), 10, 20 + 9 * n, block(30, 12)) for n in range(2)]
    assert agreement(*over, views) == pytest.approx(8 / (48 - 8))


def test_a_whole_view_with_the_most_room_is_the_thing():
    lattice = Lattice(64, 64, 32, Halo(16, 16, 16, 16), 2)
    near = view((0, 0, 0), 20, 20, block(8, 8), room=6, score=250)
    far = view((0, 1, 0), 20, 20, block(9, 9), room=12, score=100)
    thing = resolve_instance([near, far], lattice)
    assert (thing.score, thing.parts[0][0]) == (100, far.window) and thing.cores == ()


def test_cores_say_which_pixels_belong_to_a_thing_that_no_tile_saw_whole():
    lattice = Lattice(64, 64, 32, Halo(16, 16, 16, 16), 2)
    left = view((0, 0, 0), 0, 0, block(20, 48), room=0, score=100)
    right = view((0, 1, 0), 2, 16, block(20, 48), room=0, score=200)
    thing = resolve_instance([right, left], lattice)
    mask = mask_of(thing, (64, 64))
    assert mask[:20, :32].all() and not mask[20:, :32].any()
    assert mask[2:22, 32:].all() and not mask[:2, 32:].any()
    assert thing.score == 150 and thing.cores == ((0, 0), (0, 1))


def test_only_what_has_a_pixel_in_the_core_is_kept_and_named_by_its_place():
    lattice = Lattice(64, 64, 32, Halo(16, 16, 16, 16), 2)
    scene = plant([disk(64, 64, 10, 10, 6), disk(64, 64, 10, 42, 6), disk(64, 64, 30, 28, 6)])
    chip = scene[np.ix_(np.abs(np.arange(-16, 48)), np.abs(np.arange(-16, 48)))]
    kept = tile_instances(Detector().find(chip, (0, 0)), lattice, (0, 0), np.ones((64, 64), bool))
    # Mirrored copies of the first one lie beyond the raster, the second one in the halo.
    middles = [
        (one.window.row_off + one.window.height // 2, one.window.col_off + one.window.width // 2)
        for one in kept
    ]
    numbers = [scene[middle] for middle in middles]
    assert numbers == [1, 3]
    assert [one.whole for one in kept] == [True, True]
    assert len({one.ref for one in kept}) == 2


def test_what_the_store_keeps_is_what_was_put():
    lattice = Lattice(61, 47, 32, Halo(16, 16, 16, 16), 2)
    scene = random_scene(61, 47, 2)
    chip = scene[np.ix_(np.abs(np.arange(-16, 48)), np.abs(np.arange(-16, 48)) % 47)]
    found = tile_instances(Detector().find(chip, (0, 0)), lattice, (0, 0), np.ones((64, 64), bool))
    valid = np.random.default_rng(0).random((61, 47)) < 0.5
    stored = SheetInstances.from_bytes(SheetInstances(valid, tuple(found)).to_bytes())
    assert np.array_equal(stored.valid, valid)
    assert len(stored.instances) == len(found) > 0
    for ours, theirs in zip(stored.instances, found, strict=True):
        assert (ours.ref, ours.window, ours.label, ours.score, ours.room) == (
            theirs.ref, theirs.window, theirs.label, theirs.score, theirs.room,
        )  # fmt: skip
        assert np.array_equal(ours.mask, theirs.mask)


def test_neighbours_are_the_tiles_whose_views_overlap():
    lattice = Lattice(320, 320, 32, Halo(16, 16, 0, 40), 2)
    for tile in ((0, 0), (3, 5), (9, 9)):
        read = lattice.read_window(*tile)
        expected = [
            (r, c) for r in range(10) for c in range(10)
            if (r, c) > tile and lattice.read_window(r, c).intersection(read) is not None
        ]  # fmt: skip
        assert later_neighbours(lattice, tile) == expected


def test_the_mirror_image_of_a_thing_near_the_edge_is_no_thing():
    lattice = Lattice(64, 64, 32, Halo(16, 16, 16, 16), 2)
    measured = np.ones((64, 64), bool)
    strayed = ChipInstance(4, 20, block(13, 12), 1, 0.9)
    assert tile_instances([strayed], lattice, (0, 0), measured) == []
    on_the_edge = ChipInstance(8, 20, block(15, 12), 1, 0.9)
    (kept,) = tile_instances([on_the_edge], lattice, (0, 0), measured)
    assert kept.window == Window(0, 4, 7, 12)


def test_only_the_best_match_of_both_sides_is_a_match():
    views = (Window(0, 0, 100, 100), Window(0, 10, 100, 100))
    ours = [view((0, 0, n), 10, 20, block(20, width)) for n, width in enumerate((30, 40))]
    theirs = [view((0, 1, 0), 10, 20, block(20, 38))]
    links = list(link_tiles(ours, theirs, views))
    assert [(found.first.number, found.matched) for found in links] == [(0, False), (1, True)]
    assert min(found.agreement for found in links) > 0.5
