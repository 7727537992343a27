"""Half precision changes logits a little and labels hardly."""

from __future__ import annotations

import dataclasses

import nets
import numpy as np
import pytest
from engine_bundles import saved_model_bundle
from exact_tiles import random_scene
from keras import layers

from terraseam.models.bundle.card import find_bundle
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import EngineError, execution_profile

HALVES = ("bfloat16", "float16")
CLOSE = {"bfloat16": 2e-2, "float16": 3e-3}
"""Error of logits against their spread: some units in the last of 8 and 11 bits."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet(width=8))


def logits(bundle, precision, chips):
    return Engine(bundle, execution_profile(precision=precision)).logits(chips)


@pytest.mark.parametrize("precision", HALVES)
def test_logits_change_a_little_and_labels_hardly(bundle, precision):
    chips = random_scene(96, 128)[None]
    want, got = logits(bundle, "float32", chips), logits(bundle, precision, chips)
    assert got.dtype == np.float32
    error = np.abs(got - want).max() / np.ptp(want)
    assert 1e-5 < error < CLOSE[precision]
    assert 0.97 < (got.argmax(-1) == want.argmax(-1)).mean() <= 1


def test_half_precision_is_that_of_the_whole_network_with_weights_in_float32(bundle):
    engine = Engine(bundle, execution_profile(precision="bfloat16"))
    model = engine._network._network.func
    assert {layer.compute_dtype for layer in model.layers if not isinstance(layer, layers.InputLayer)} == {
        "bfloat16"
    }
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", HALVES)
def test_labels_of_a_trained_network_hardly_change(precision):
    chips = random_scene(256, 256)[None]
    want = logits(find_bundle("coast"), "float32", chips).argmax(-1)
    assert (logits(find_bundle("coast"), precision, chips).argmax(-1) == want).mean() > 0.99


def test_precision_belongs_to_the_profile():
    profiles = [execution_profile(precision=name).to_json() for name in ("float32", *HALVES)]
    assert [profile["precision"] for profile in profiles] == ["float32", *HALVES]


def test_a_saved_model_keeps_its_own_precision(tmp_path):
    saved = saved_model_bundle(tmp_path / "saved", nets.brightest_band())
    with pytest.raises(EngineError, match="computes in its own precision; leave out --precision"):
        Engine(saved, dataclasses.replace(execution_profile(), precision="float16"))
