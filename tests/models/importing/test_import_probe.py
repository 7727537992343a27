"""The probe against the reach that is read from Keras graphs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import small_unet
from random_networks import random_network

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import SHIPPED
from terraseam.models.importing.probe import ProbeResult, find_stride, probe_reach
from terraseam.models.reach.network import network_reach
from terraseam.models.reach.reach import Reach

layers = keras.layers


def sides(reach):
    return np.array([reach.top, reach.bottom, reach.left, reach.right])


def run(model):
    return lambda chips: np.asarray(model(chips))


def of_floats(seed):
    """A random network that computes in float32, as networks from elsewhere do."""
    inner = random_network(seed)
    chip = keras.Input((None, None, 1))
    return inner, keras.Model(chip, inner(chip))


def check_probe_is_within_a_stride_of_the_graph(seeds):
    for seed in seeds:
        inner, model = of_floats(seed)
        stride, reach = network_reach(inner)
        measured = probe_reach(run(model), 1, stride)
        assert (sides(measured.observed) <= sides(reach)).all(), (seed, measured, reach)
        assert (sides(measured.with_margin()) >= sides(reach)).all(), (seed, measured, reach)


def test_probe_is_within_a_stride_of_the_graph():
    check_probe_is_within_a_stride_of_the_graph(range(2))


@pytest.mark.slow
def test_probe_of_many_networks_is_within_a_stride_of_the_graph():
    check_probe_is_within_a_stride_of_the_graph(range(2, 30))


@pytest.mark.slow
def test_probe_of_a_trained_network_is_within_a_stride_of_the_graph():
    model = load_model(SHIPPED / "coast")
    stride, reach = network_reach(model)
    call = tf.function(lambda chips: model(chips, training=False))
    measured = probe_reach(lambda chips: call(chips).numpy(), 3, stride)
    assert (sides(measured.observed) <= sides(reach)).all() and (
        sides(reach) - sides(measured.observed) < stride
    ).all()


@pytest.mark.slow
def test_stride_is_found_by_shifting_chips():
    for seed in range(3):
        inner, model = of_floats(seed)
        assert network_reach(inner)[0] % find_stride(run(model), 1) == 0
    assert find_stride(run(small_unet()), 3) == 4


def test_stride_counts_where_any_size_is_taken():
    """Answers are cut to the chip, so that any size works; yet the network repeats itself every 4 pixels."""
    model = small_unet()

    def padded(chips):
        height, width = chips.shape[1:3]
        more = [(0, 0), (0, -height % 4), (0, -width % 4), (0, 0)]
        return np.asarray(model(np.pad(chips, more)))[:, :height, :width]

    assert find_stride(padded, 3) == 4
    assert probe_reach(padded, 3, 4).observed == network_reach(model)[1]


def test_networks_that_cut_and_pad_get_the_margin_that_they_need():
    inner, model = of_floats(28)
    stride, reach = network_reach(inner)
    measured = probe_reach(run(model), 1, stride)
    assert measured.margin > stride and (sides(measured.with_margin()) >= sides(reach)).all()


def test_margin_is_added_on_each_side():
    assert ProbeResult(Reach(1, 2, 3, 0), 8).with_margin() == Reach(9, 10, 11, 8)
    assert ProbeResult(None, 8).with_margin() is None


def test_far_pixels_are_seen_with_nothing_in_between():
    def far(chips):
        return chips + np.pad(chips, [(0, 0), (400, 0), (0, 0), (0, 0)])[:, : chips.shape[1]]

    assert probe_reach(far, 1, 1).observed == Reach(400, 0, 0, 0)


def far_to_the_right(chips):
    padded = np.pad(chips, [(0, 0), (0, 0), (0, 900), (0, 0)])
    return sum(padded[:, :, step : step + chips.shape[2]] for step in range(0, 901, 100))


def test_long_reaches_are_measured_on_longer_chips():
    assert probe_reach(far_to_the_right, 1, 1).observed == Reach(0, 0, 0, 900)


def test_answers_that_change_up_to_the_border_of_the_largest_chip_have_no_reach():
    assert probe_reach(far_to_the_right, 1, 1, longest=1024).observed is None


def whole_chip(chips):
    return chips * chips.mean(axis=(1, 2), keepdims=True)


def row_number(chips):
    """Looks at its own pixel alone, and adds the number of its row."""
    return chips + np.arange(chips.shape[1])[:, None, None]


@pytest.mark.parametrize("network", [whole_chip, row_number])
def test_networks_that_see_the_whole_chip_or_their_place_have_no_reach(network):
    assert probe_reach(network, 2, 1).observed is None


def test_networks_that_run_on_no_size_say_why():
    def fails(_):
        raise RuntimeError("wants a moon\nof cheese")

    with pytest.raises(ValueError, match=r"multiples of 128 px it fails: wants a moon$"):
        find_stride(fails, 1)
    with pytest.raises(ValueError, match="it outputs"):
        find_stride(lambda chips: chips[:, ::2], 1)
