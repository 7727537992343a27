"""Chips change their looks by a seed, each by itself, and not at all where nothing is asked for."""

from __future__ import annotations

import colorsys
from dataclasses import fields, replace

import numpy as np
import pytest

from terraseam.models.training.augment import UNCHANGED, Augmentation, change

ALWAYS = replace(Augmentation(), share=1.0)
STRONG = Augmentation(0.9, 0.9, 0.9, 0.5, 2.0, 0.5, 1.0, 0.5, 1.0)
NUMBERS = [field.name for field in fields(Augmentation) if field.name != "share"]


def some_chips(count: int = 4, bands: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(40, 200, (count, 24, 17, bands)).astype(np.float32)


def only(name: str, value: float = 0.4) -> Augmentation:
    return replace(UNCHANGED, **{name: value}, share=1.0)


def test_the_same_seed_gives_the_same_bits_and_another_others():
    chips = some_chips()
    assert np.array_equal(change(chips, ALWAYS, 3), change(chips, ALWAYS, 3))
    assert not np.array_equal(change(chips, ALWAYS, 3), change(chips, ALWAYS, 30))


def test_a_chip_is_changed_alike_in_any_batch():
    chips = some_chips()
    whole = change(chips, ALWAYS, [5, 9, 2, 7])
    assert np.array_equal(change(chips[[2, 0]], ALWAYS, [2, 5]), whole[[2, 0]])


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_changes_chips_and_each_chip_in_its_own_way(name):
    chips = np.repeat(some_chips(1), 4, axis=0)
    made = change(chips, only(name, 6.0 if name == "blur" else 0.4), 1)
    assert all(np.abs(one - chips[0]).max() > 0.5 for one in made)
    assert len({one.tobytes() for one in made}) == 4


def test_nothing_asked_for_changes_not_a_bit():
    chips = some_chips()
    assert np.array_equal(change(chips, UNCHANGED, 1), chips)
    assert np.array_equal(change(chips, replace(UNCHANGED, share=1.0), 1), chips)
    assert np.array_equal(change(chips, replace(Augmentation(), share=0.0), 1), chips)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_0_leaves_its_own_change_out(name):
    chips = some_chips()
    assert not np.array_equal(change(chips, replace(ALWAYS, **{name: 0.0}), 1), change(chips, ALWAYS, 1))


def test_about_the_share_of_chips_is_changed():
    chips = np.repeat(some_chips(1), 400, axis=0)[:, :2, :2]
    made = change(chips, replace(only("brightness"), share=0.3), 11)
    changed = (made != chips).any(axis=(1, 2, 3)).mean()
    assert 0.22 < changed < 0.38


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_other_than_three_bands_have_no_colours_to_change(bands):
    chips = some_chips(bands=bands)
    assert np.array_equal(change(chips, only("hue"), 1), chips)
    assert np.array_equal(change(chips, only("saturation"), 1), chips)
    assert not np.array_equal(change(chips, ALWAYS, 1), chips)


def test_values_stay_within_those_of_pixels():
    made = change(np.concatenate([some_chips() * 3 - 200, some_chips()]).clip(0, 255), STRONG, 1)
    assert made.min() >= 0 and made.max() <= 255 and made.dtype == np.float32
    assert np.isfinite(made).all()


def beyond_white() -> np.ndarray:
    """Chips of which some values lie outside 0 to 255, as those of rasters do that hold no bytes."""
    return some_chips() * 3 - 200


@pytest.mark.parametrize("name", NUMBERS)
def test_values_beyond_white_and_black_stay_what_they_were_but_for_what_is_drawn(name):
    chips = beyond_white()
    assert chips.min() < -50 and chips.max() > 350
    assert np.allclose(change(chips, only(name, 1e-6), 1), chips, atol=0.01)


def test_no_change_goes_further_beyond_than_the_chip_itself():
    for chip, made in zip(beyond_white(), change(beyond_white(), STRONG, 1), strict=True):
        assert chip.min() <= made.min() and made.max() <= chip.max() and np.isfinite(made).all()
        assert not np.allclose(made, chip, atol=1)


def test_chips_are_not_written_to():
    chips = some_chips()
    before = chips.copy()
    change(chips, ALWAYS, 1)
    assert np.array_equal(chips, before)


def test_a_turn_of_the_hue_keeps_greys_and_brightest_values():
    grey = np.repeat(some_chips(bands=1), 3, axis=-1)
    assert np.allclose(change(grey, only("hue"), 1), grey, atol=1e-2)
    chips = some_chips()
    assert np.allclose(change(chips, only("hue"), 1).max(axis=-1), chips.max(axis=-1), atol=1e-2)


def hues(chips: np.ndarray) -> np.ndarray:
    """Hue of the first pixel of each chip."""
    return np.array([colorsys.rgb_to_hsv(*chip[0, 0])[0] for chip in chips.astype(float)])


def test_the_hue_of_red_turns_both_ways_by_no_more_than_asked_for():
    red = np.zeros((40, 4, 4, 3), np.float32) + np.float32([200, 20, 20])
    turns = (hues(change(red, only("hue", 0.1), 1)) + 0.5) % 1 - 0.5
    assert np.abs(turns).max() < 0.1001
    assert np.abs(turns).max() > 0.08 and turns.min() < -0.05 and turns.max() > 0.05
    assert abs(turns.mean()) < 0.03


def test_saturation_goes_no_further_than_pure_colours():
    orange = np.zeros((20, 4, 4, 3), np.float32) + np.float32([200, 90, 20])
    made = change(orange, only("saturation", 1.0), 1)
    assert made.min() == 0 and np.allclose(made.max(axis=-1), 200, atol=1e-2)
    assert np.allclose(hues(made), hues(orange), atol=1e-3)


def test_contrast_and_noise_keep_the_mean_of_a_chip():
    chips = some_chips(8)
    for name in ("contrast", "noise"):
        made = change(chips, only(name, 0.1), 1)
        assert np.allclose(made.mean(axis=(1, 2)), chips.mean(axis=(1, 2)), atol=3.5)


def test_a_blur_leaves_even_chips_even_up_to_their_edges():
    even = np.full((6, 19, 23, 3), 130, np.float32)
    assert np.allclose(change(even, only("blur", 2.0), 1), even, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_blur_spreads_a_point_by_no_more_than_its_deviation(seed):
    point = np.zeros((1, 41, 41, 1), np.float32)
    point[0, 20, 20] = 255
    made = change(point, only("blur", 3.0), seed)[0, ..., 0]
    places = np.arange(41) - 20
    assert made.sum() == pytest.approx(255, rel=1e-4)
    for axis in (0, 1):
        spread = np.sqrt((made.sum(axis=axis) * places**2).sum() / made.sum())
        assert 0 < spread < 3
    assert np.allclose(made, made.T, atol=1e-4) and np.allclose(made, made[::-1], atol=1e-4)


def test_numbers_out_of_range_are_told():
    with pytest.raises(ValueError, match=r"hue of the augmentation must be 0 to 0.5, got 0.6"):
        Augmentation(hue=0.6)
    with pytest.raises(ValueError, match="4 chips need as many seeds, got 1"):
        change(some_chips(), Augmentation(), [1])
