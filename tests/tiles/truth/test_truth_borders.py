"""Weights between things: the map of the U-Net paper, by the plain way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from terraseam.tiles.truth.borders import border_weights, nearest_two


def random_ids(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 60, 2)
    ids = np.zeros((height, width), np.int32)
    for number in rng.permutation(rng.integers(1, 12)) + 1:
        row, col = rng.integers(0, height), rng.integers(0, width)
        ids[row : row + rng.integers(1, 9), col : col + rng.integers(1, 9)] = number * 7
    return ids


def all_distances(ids):
    """Distance to each thing from each pixel, nearest first, infinite behind the last."""
    found = [distance_transform_edt(ids != number) for number in np.unique(ids[ids > 0])]
    return np.sort(np.stack([*found, np.full(ids.shape, np.inf), np.full(ids.shape, np.inf)]), axis=0)


@pytest.mark.parametrize("seed", range(40))
def test_distances_equal_those_of_one_transform_for_each_thing(seed):
    ids = random_ids(seed)
    expected, ground = all_distances(ids), ids == 0
    for found, other in zip(nearest_two(ids, 100), expected, strict=False):
        assert np.allclose(found[ground], other[ground], rtol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_weights_equal_the_formula_where_things_are_near_and_vanish_elsewhere(seed):
    ids = random_ids(seed)
    first, second = all_distances(ids)[:2]
    expected = np.where(ids == 0, 8 * np.exp(-((first + second) ** 2) / (2 * 2.5**2)), 0)
    assert np.allclose(border_weights(ids, 8, 2.5), expected, atol=8 * 4e-6)


def test_two_rectangles_four_pixels_apart():
    ids = np.zeros((9, 21), np.int32)
    ids[2:7, 2:8], ids[2:7, 12:18] = 1, 2
    weights = border_weights(ids)
    assert weights[4, 9] == pytest.approx(10 * math.exp(-((2 + 3) ** 2) / 50))
    assert weights[0, 8] == pytest.approx(10 * math.exp(-((math.hypot(2, 1) + math.hypot(2, 4)) ** 2) / 50))
    assert not weights[ids > 0].any() and weights.dtype == np.float32


def test_things_that_touch_weigh_the_ground_beside_both():
    ids = np.zeros((5, 8), np.int32)
    ids[1:4, 1:4], ids[1:4, 4:7] = 1, 2
    assert border_weights(ids)[0, 3] == pytest.approx(10 * math.exp(-((1 + math.sqrt(2)) ** 2) / 50))


def test_one_thing_or_none_has_no_border_to_another():
    ids = np.zeros((7, 5), np.int32)
    assert not border_weights(ids).any()
    ids[2:4, 1:3] = 3
    assert not border_weights(ids).any()


@pytest.mark.parametrize(("w0", "sigma"), [(-1, 5), (10, 0), (10, math.nan)])
def test_weights_need_sensible_numbers(w0, sigma):
    with pytest.raises(ValueError, match="w0 of 0 or more and sigma above 0"):
        border_weights(np.zeros((3, 3), np.int32), w0, sigma)
