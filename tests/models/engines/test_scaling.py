"""Scaling of raw values."""

from __future__ import annotations

import numpy as np
import pytest

from terraseam.models.bundle.values import Scaling
from terraseam.models.engines.scaling import scale

SCALING = Scaling(scale=(0.1, 2.0, 1 / 255), offset=(-1.0, 0.0, 0.25))


@pytest.mark.parametrize("shape", [(3,), (5, 3), (7, 5, 3), (2, 7, 5, 3), (0, 7, 5, 3), (2, 7, 0, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_each_band_has_its_own_scale_and_offset_to_the_last_bit(shape: tuple[int, ...], dtype: str):
    chips = (np.random.default_rng(3).random(shape) * 255).astype(dtype)
    kept = chips.copy()
    scaled = scale(chips, SCALING)
    assert scaled.dtype == np.float32
    assert scaled.shape == shape
    for band in range(3):
        by_hand = chips[..., band].astype(np.float32) * np.float32(SCALING.scale[band])
        assert np.array_equal(scaled[..., band], by_hand + np.float32(SCALING.offset[band]))
    assert np.array_equal(chips, kept)


def test_chips_that_are_views_are_scaled_as_copies_are():
    chips = np.random.default_rng(4).integers(0, 255, (2, 3, 9, 8)).astype(np.uint8)
    turned = np.moveaxis(chips, 1, -1)[:, ::-1, ::2]
    kept = turned.copy()
    assert np.array_equal(scale(turned, SCALING), scale(turned.copy(), SCALING))
    assert np.array_equal(turned, kept)


def test_another_number_of_bands_is_refused():
    with pytest.raises(ValueError, match="chips have 4 bands, the scaling has 3"):
        scale(np.zeros((2, 2, 4)), SCALING)
