"""Chips seen from all eight sides: the mean is the same for a turned scene, and tiles still equal the whole raster."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import nets
import numpy as np
import pytest
from exact_tiles import assert_exact, random_scene, reach_of, tiled, whole_logits
from lopsided_network import lopsided

from terraseam.models.bundle.combined import combined_card
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.ensemble import Ensemble, shared_ensemble
from terraseam.models.engines.outputs import scores_of
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.engines.symmetry import SYMMETRIES, Symmetry
from terraseam.models.engines.workplace import Workplace
from terraseam.tiles.grid.lattice import Halo, Lattice


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "lopsided"
    return Engine(nets.make_bundle(folder, lopsided()), execution_profile())


@pytest.fixture(scope="module")
def augmented(engine):
    return Ensemble([engine], augment=True)


def test_there_are_eight_symmetries_and_each_is_undone():
    maps = np.arange(2 * 3 * 5 * 2).reshape(2, 3, 5, 2)
    turned = [symmetry.turned(maps) for symmetry in SYMMETRIES]
    assert len({(t.shape, t.tobytes()) for t in turned}) == 8
    assert turned[0] is maps or np.array_equal(turned[0], maps)
    for symmetry, made in zip(SYMMETRIES, turned, strict=True):
        assert np.array_equal(symmetry.turned_back(made), maps)
        assert made.shape == ((2, 5, 3, 2) if symmetry.quarters % 2 else maps.shape)


def test_scores_are_the_mean_of_those_of_all_turned_chips(engine, augmented):
    chips = random_scene(24, 40)[None]
    parts = []
    for quarters in range(4):
        for flip in (lambda x: x, np.fliplr):
            turned = np.stack([np.rot90(flip(chip), quarters) for chip in chips])
            made = scores_of(engine.logits(np.ascontiguousarray(turned)))
            parts.append(np.stack([flip(np.rot90(one, -quarters)) for one in made]))
    np.testing.assert_allclose(scores_of(augmented.logits(chips)), np.mean(parts, axis=0), atol=1e-6)
    assert np.abs(scores_of(augmented.logits(chips)) - parts[0]).max() > 0.01


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_turned_scene_gets_the_turned_answer(augmented, symmetry):
    chips = random_scene(40, 28, 1)[None]
    turned = augmented.logits(np.ascontiguousarray(symmetry.turned(chips)))
    np.testing.assert_allclose(symmetry.turned_back(turned), augmented.logits(chips), atol=1e-5)


def test_the_plain_network_is_not_symmetric(engine):
    chips = random_scene(40, 28, 1)[None]
    mirror = Symmetry(mirrored=True, quarters=0)
    turned = engine.logits(np.ascontiguousarray(mirror.turned(chips)))
    assert np.abs(mirror.turned_back(turned) - engine.logits(chips)).max() > 0.1


def test_the_reach_to_one_side_is_the_reach_to_every_side(engine, augmented):
    plain, reach = engine.card.reach, augmented.card.reach
    sides = (plain.top, plain.bottom, plain.left, plain.right)
    assert len(set(sides)) > 2 and plain.right < plain.left
    assert (reach.top, reach.bottom, reach.left, reach.right) == (max(sides),) * 4
    assert augmented.card.memory_per_pixel > engine.card.memory_per_pixel


CASES = [(75, 53, 16, 0, 1), (75, 53, 32, 1, 2), (9, 90, 16, 0, 3), (5, 3, 16, 2, 1)]


@pytest.mark.parametrize("case", CASES)
def test_tiles_of_an_augmented_network_equal_the_whole_mirrored_raster(augmented, case):
    height, width, core, more, sheet_cores = case
    halo = Halo(*(side + more * 4 for side in reach_of(augmented).sides))
    lattice = Lattice(height, width, core, halo, sheet_cores)
    assert_exact(augmented, random_scene(height, width, 1), lattice, halo)


def test_the_plain_networks_own_halo_is_not_enough(engine, augmented):
    scene, own = random_scene(75, 80, 2), reach_of(engine)
    want = whole_logits(augmented, scene, reach_of(augmented))
    full, _ = tiled(augmented, scene, Lattice(75, 80, 16, reach_of(augmented), 2))
    less, _ = tiled(augmented, scene, Lattice(75, 80, 16, own, 2))
    assert np.abs(full - want).max() < 1e-4 < np.abs(less - want).max() / 10


def test_many_chips_and_threads_change_no_bit(augmented):
    chips = np.stack([random_scene(24, 40, seed) for seed in range(6)])
    chips.flags.writeable = False
    alone = [augmented.logits(chip[None])[0] for chip in chips]
    assert np.array_equal(augmented.logits(chips), alone)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda chip: augmented.logits(chip[None])[0], chips))
    assert np.array_equal(together, alone)


def test_calls_are_eight_for_each_chip(augmented):
    before = augmented.calls
    augmented.logits(random_scene(8, 8)[None])
    assert augmented.calls - before == 8


def test_a_single_bundle_that_is_not_augmented_is_its_engine(tmp_path):
    bundle = nets.make_bundle(tmp_path / "bright", nets.brightest_band())
    workplace, profile = Workplace(None, 1), execution_profile()
    alone = shared_ensemble([bundle], profile, workplace)
    assert isinstance(alone, Engine) and combined_card([alone.card]) is alone.card
    assert isinstance(shared_ensemble([bundle], profile, workplace, augment=True), Ensemble)


def test_detectors_are_not_augmented(engine):
    class Finder:
        card = dataclasses.replace(engine.card, task="instances", network=NetworkFile(answer="instances"))

    with pytest.raises(
        EngineError, match="finds instances, which cannot be averaged over rotated and flipped chips"
    ):
        Ensemble([Finder()], augment=True)
