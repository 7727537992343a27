"""The reach of every network of the zoo, against what narrow ones do when they are run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from nets import SEMANTIC, tiny_options
from random_networks import whole_weights
from reach_cases import Raster, sides, up

from terraseam.models import zoo
from terraseam.models.layers.bilinear import EnlargeLike2D
from terraseam.models.layers.pooling import BinMean2D, IndexedMaxPooling2D, Unpooling2D
from terraseam.models.networks.pspnet import pspnet, without_auxiliary
from terraseam.models.reach.graph import GraphError
from terraseam.models.reach.network import network_reach

layers = keras.layers
FINITE = [names for names in SEMANTIC if zoo.find(*names).reach is not None]
WHOLE_CHIP = [names for names in SEMANTIC if zoo.find(*names).reach is None]


@pytest.fixture(autouse=True)
def _double_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def bright_network(architecture, encoder):
    """A narrow network with weights above zero and no biases: dark chips stay dark, and light goes everywhere it can."""
    model = zoo.build(architecture, encoder, 1, 2, **tiny_options(architecture, encoder))
    whole_weights(model, np.random.default_rng(1))
    for variable in model.variables:
        if variable.name == "bias":
            variable.assign(np.zeros(variable.shape))
    return model


def probed_reach(model, stride, farthest, across):
    """Light one pixel after the other of a strip and see how far from their strides outputs notice.

    In the dark any light is noticed, however faint. Pooling with places needs noise, since it puts values back to
    the first place of dark windows alone; light without end is noticed in noise as well.
    """
    pooled = any(isinstance(layer, IndexedMaxPooling2D) for layer in model.layers)
    margin = up(farthest, stride) + 2 * stride
    pixels = margin + np.arange(stride)
    shape = (stride, 2 * margin + stride, 4 * stride, 1)
    chips = np.random.default_rng(0).uniform(size=shape) if pooled else np.zeros(shape)
    chips[np.arange(stride), pixels, 2 * stride] = np.inf if pooled else 1
    chips = chips.transpose(0, 2, 1, 3) if across else chips
    made = np.concatenate([model(few) for few in np.array_split(chips, max(1, stride // 4))])
    lit = ~np.isfinite(made) if pooled else made != 0
    chip, outputs = np.nonzero(lit.any(axis=(1, 3) if across else (2, 3)))
    first = outputs // stride * stride
    return max(0, (first - pixels[chip]).max()), max(0, (pixels[chip] - first - stride + 1).max())


def check_reach(architecture, encoder):
    row = zoo.find(architecture, encoder)
    model = bright_network(architecture, encoder)
    assert network_reach(model) == (row.stride, row.reach)
    farthest = sides(row.reach).max()
    found = [probed_reach(model, row.stride, farthest, across) for across in (False, True)]
    assert np.ravel(found).tolist() == sides(row.reach).tolist()


QUICK = [("fcn8s", "vgg16"), ("segnet_basic", None), ("unet", None), ("unet", "mobilenet")]


@pytest.mark.parametrize(("architecture", "encoder"), QUICK)
def test_networks_look_as_far_as_the_zoo_says_and_no_farther(architecture, encoder):
    check_reach(architecture, encoder)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), [names for names in FINITE if names not in QUICK])
def test_the_other_networks_look_as_far_as_the_zoo_says_and_no_farther(architecture, encoder):
    check_reach(architecture, encoder)


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [pytest.param(*names, marks=[pytest.mark.slow] * (names[1] != "mobilenet")) for names in WHOLE_CHIP],
)
def test_networks_that_see_the_whole_chip_have_no_reach(architecture, encoder):
    model = bright_network(architecture, encoder)
    assert network_reach(model) == (8, None)
    dark = np.zeros((1, 48, 256, 1))
    lit = dark.copy()
    lit[0, 0, 0] = 1
    assert (np.asarray(model(dark)) == 0).all()
    everywhere = (
        np.asarray(model(lit)) != 0
    )  # bilinear enlargement is float32, where so much light is infinite
    assert everywhere.all()


def test_the_auxiliary_head_must_be_dropped_for_a_reach():
    model = pspnet(1, 2, encoder="mobilenet", auxiliary=True, encoder_width=1 / 16)
    with pytest.raises(GraphError, match="1 inputs and 2 outputs"):
        network_reach(model)
    assert network_reach(without_auxiliary(model)) == (8, None)


def pooled_network(seed, kernels):
    """Convolutions around two levels of pooling with places, with whole-number weights, all sums exact."""
    rng = np.random.default_rng(seed)
    chip = keras.Input((None, None, 1), dtype="float64")

    def convolution(x, size):
        return layers.Conv2D(1, size, padding="same", use_bias=False)(x)

    fine, fine_places = IndexedMaxPooling2D()(convolution(chip, kernels[0]))
    coarse, coarse_places = IndexedMaxPooling2D()(convolution(fine, kernels[1]))
    x = Unpooling2D()([convolution(coarse, kernels[2]), coarse_places])
    x = Unpooling2D()([convolution(x, kernels[1]), fine_places])
    model = keras.Model(chip, convolution(x, kernels[0]))
    for variable in model.variables:
        variable.assign(rng.integers(1, 3, variable.shape).astype(float))
    return model


@pytest.mark.parametrize("seed", range(6))
def test_pooling_with_places_is_exact_with_a_halo_of_its_reach_and_not_with_one_stride_less(seed):
    model = pooled_network(seed, [(3, 2), (1, 3), (3, 3)] if seed % 2 else [(1, 5), (4, 1), (2, 3)])
    stride, reach = network_reach(model)
    assert stride == 4
    halo = up(sides(reach), stride)
    raster = Raster(model, stride, halo, seed)
    assert raster.same_with(halo)
    assert not raster.same_with(np.maximum(halo - stride, 0))


def test_places_of_another_size_than_the_values_are_refused():
    chip = keras.Input((None, None, 1))
    values, _ = IndexedMaxPooling2D()(chip)
    _, places = IndexedMaxPooling2D()(values)
    with pytest.raises(GraphError, match=r"joins maps of 2\*k and 1\*k elements"):
        network_reach(keras.Model(chip, Unpooling2D(name="mixed")([values, places])))


def test_means_over_bins_are_no_logits():
    chip = keras.Input((None, None, 1))
    with pytest.raises(GraphError, match="they must be equal"):
        network_reach(keras.Model(chip, BinMean2D(2)(chip)))


def test_logits_of_another_size_are_noticed_behind_the_whole_chip():
    chip = keras.Input((None, None, 1))
    half = layers.MaxPooling2D(2)(chip)
    model = keras.Model(chip, EnlargeLike2D()([BinMean2D(2)(chip), half]))
    with pytest.raises(GraphError, match=r"makes 1\*k elements from chips of 2\*k px"):
        network_reach(model)
