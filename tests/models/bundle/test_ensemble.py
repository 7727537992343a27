"""Several bundles as one: the mean of their scores, and every promise kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from exact_tiles import assert_exact, random_scene, reach_of
from lopsided_network import lopsided
from nets import card_fields, make_bundle, small_unet

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.combined import combined_card, mismatches
from terraseam.models.bundle.values import ClassInfo, NetworkFile, Scaling
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.ensemble import Ensemble
from terraseam.models.engines.outputs import scores_of
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.reach.reach import Reach
from terraseam.tiles.grid.lattice import Halo, Lattice


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Members of stride 2 and 4, of different reach and scaling."""
    folder = tmp_path_factory.mktemp("bundles")
    scaling = Scaling((1 / 60, 1 / 90, 1 / 127.5), (-1.0, 0.5, 0.0))
    bundles = [
        make_bundle(folder / "a", lopsided(5, ((4, 0), (0, 6)), step=1), name="a", scaling=scaling),
        make_bundle(folder / "b", lopsided(), name="b", version="2.0.0"),
    ]
    return [Engine(bundle, execution_profile()) for bundle in bundles]


@pytest.fixture(scope="module")
def ensemble(engines):
    return Ensemble(engines, augment=False)


def test_scores_are_the_mean_of_the_members_each_with_its_own_scaling(engines, ensemble):
    chips = random_scene(24, 40)[None]
    members = [scores_of(engine.logits(chips)) for engine in engines]
    np.testing.assert_allclose(scores_of(ensemble.logits(chips)), np.mean(members, axis=0), atol=1e-6)
    assert np.abs(members[0] - members[1]).max() > 0.3


def test_logits_are_logarithms_of_the_mean_scores(ensemble):
    logits = ensemble.logits(random_scene(24, 40)[None])
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, atol=1e-5)


def test_the_card_holds_for_all_members(engines, ensemble):
    a, b = (engine.card for engine in engines)
    card = ensemble.card
    assert (a.stride, b.stride, card.stride) == (2, 4, 4)
    sides = [dataclasses.astuple(one.reach) for one in (a, b, card)]
    assert sides[2] == tuple(map(max, sides[0], sides[1])) and sides[2] not in sides[:2]
    assert card.memory_per_pixel > a.memory_per_pixel + b.memory_per_pixel
    assert (card.name, card.version) == ("a + b", "1.0.0 + 2.0.0")
    assert card.classes == a.classes and len({a.weights_sha256, b.weights_sha256, card.weights_sha256}) == 3


def changed(engine, **changes):
    return dataclasses.replace(engine.card, **changes)


def test_strides_meet_in_their_least_multiple(engines):
    cards = [changed(engines[0], stride=6), changed(engines[1], stride=4)]
    assert combined_card(cards).stride == 12


def test_a_member_without_finite_reach_leaves_none_and_its_halo_counts(engines):
    whole = changed(engines[0], reach=None, reach_source="declared", halo=96)
    card = combined_card([whole, engines[1].card])
    assert (card.reach, card.halo, card.reach_source) == (None, 96, "declared")
    far = changed(engines[1], reach=Reach(8, 200, 8, 8))
    assert combined_card([whole, far]).halo == 200
    assert combined_card([changed(engines[0], reach=None), far]).halo is None


def test_the_least_certain_reach_is_that_of_all(engines):
    sources = ("graph", "measured", "declared")
    for first in sources:
        for second in sources:
            cards = [changed(engines[0], reach_source=first), changed(engines[1], reach_source=second)]
            assert combined_card(cards).reach_source == max(first, second, key=sources.index)


CASES = [(75, 53, 16, 0, 1), (75, 53, 32, 1, 2), (9, 90, 16, 0, 3), (5, 3, 16, 2, 1)]


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_tiles_of_an_ensemble_equal_the_whole_mirrored_raster(engines, augment, case):
    together = Ensemble(engines, augment)
    height, width, core, more, sheet_cores = case
    halo = Halo(*(side + more * 4 for side in reach_of(together).sides))
    lattice = Lattice(height, width, core, halo, sheet_cores)
    assert_exact(together, random_scene(height, width, 1), lattice, halo)


def test_an_augmented_ensemble_averages_over_members_and_sides(engines):
    chips = random_scene(24, 24)[None]
    sides = [Ensemble([engine], augment=True) for engine in engines]
    want = np.mean([scores_of(one.logits(chips)) for one in sides], axis=0)
    both = Ensemble(engines, augment=True)
    np.testing.assert_allclose(scores_of(both.logits(chips)), want, atol=1e-6)
    before = both.calls
    both.logits(chips)
    assert both.calls - before == 16


def card(**changes) -> Card:
    base = {"format": 2, "encoder": None, "task": "semantic", "network": NetworkFile(), "stride": 2, "reach": None,
            "reach_source": "graph", "halo": None, "memory_per_pixel": 1, "weights_sha256": "0" * 64, "training": {},
            "metrics": {}}  # fmt: skip
    return Card(**{**base, **card_fields(3, 3, name="a"), **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": (ClassInfo("water", "#000000"), ClassInfo("land", "#000001"), ClassInfo("lake", "#000002"))},
         "a 1.0.0 and b 1.0.0 cannot be averaged: one has the classes land, water, lake, the other water, land, lake"),
        ({"bands": ("red", "green"), "fill": (0.0, 0.0), "scaling": Scaling((1.0, 1.0), (0.0, 0.0))},
         "a 1.0.0 and b 1.0.0 cannot be averaged: one expects 3 bands, the other 2"),
        ({"task": "instances", "network": NetworkFile(answer="instances")},
         "b 1.0.0 finds instances, but an ensemble averages pixel scores; run it alone"),
    ],
)  # fmt: skip
def test_bundles_that_do_not_go_together_are_named_with_what_differs(changes, words):
    assert mismatches([card(), card(name="b", **changes)]) == [words]


def test_every_mismatch_is_collected():
    two = (
        {"bands": ("red",), "fill": (0.0,), "scaling": Scaling((1.0,), (0.0,))},
        {"classes": (ClassInfo("ice", "#000000"),)},
    )
    found = mismatches([card(), card(name="b", **two[0]), card(name="c", **two[1])])
    assert len(found) == 2 and "b 1.0.0" in found[0] and "c 1.0.0" in found[1]
    colours = card(
        name="b", classes=tuple(dataclasses.replace(info, color="#ffffff") for info in card().classes)
    )
    assert mismatches([card(), colours]) == [] == mismatches([card()])


def test_engines_that_do_not_go_together_are_refused(engines, tmp_path):
    two = Engine(make_bundle(tmp_path / "two", small_unet(classes=2)), execution_profile())
    with pytest.raises(EngineError, match=": one has the classes land, water, lake, the other land, water"):
        Ensemble([engines[0], two], augment=False)
