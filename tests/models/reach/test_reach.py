"""The reach read from the graph, against what networks do when they are run."""

import math

import keras
import numpy as np
import pytest
from random_networks import KINDS, LINEAR, Builder, random_network, whole_weights
from reach_cases import Raster, run, sides, up

from terraseam.models.reach.graph import GraphError, UnknownLayerError
from terraseam.models.reach.memory import WORKING_COPIES, memory_per_pixel
from terraseam.models.reach.network import network_reach
from terraseam.models.reach.reach import Reach

layers = keras.layers


@pytest.fixture(autouse=True)
def _exact_sums():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def probed_reach(model, stride, farthest):
    """Light one pixel after the other in the dark and see how far from their strides outputs notice."""
    margin = up(farthest, stride) + 2 * stride
    steps = np.arange(stride)
    chips = np.zeros((stride, 2 * margin + stride, 2 * margin + 3 * stride, 1))
    chips[steps, margin + steps, margin + stride + steps] = 1
    lit = run(model, chips) != 0
    found = []
    for axis, start in ((2, margin), (1, margin + stride)):
        pixels, outputs = np.nonzero(lit.any(axis=axis))
        pixels, first = pixels + start, outputs // stride * stride
        found += [(first - pixels).max(), (pixels - first - stride + 1).max()]
    return np.maximum(found, 0)


def check_no_output_looks_farther(seed, kinds=KINDS):
    model = random_network(seed, kinds)
    stride, reach = network_reach(model)
    found = probed_reach(model, stride, sides(reach).max())
    assert (found <= sides(reach)).all(), f"seed {seed}: {found} px seen, {reach} read from the graph"


def check_probe_comes_within_one_stride(seed):
    model = random_network(seed, LINEAR, paddings=("same",))
    stride, reach = network_reach(model)
    found = probed_reach(model, stride, sides(reach).max())
    assert (found <= sides(reach)).all() and (sides(reach) - found < stride).all(), (
        f"seed {seed}: {found}, {reach}"
    )


def check_halo_of_the_reach_is_exact(seed):
    model = random_network(seed)
    stride, reach = network_reach(model)
    halo = up(sides(reach), stride)
    assert Raster(model, stride, halo, seed).same_with(halo), f"seed {seed}: {reach} is too short"


def check_one_stride_less_is_not_exact(seed):
    model = random_network(seed, LINEAR)
    stride, reach = network_reach(model)
    halo = up(sides(reach), stride)
    raster = Raster(model, stride, halo, seed)
    assert raster.same_with(halo)
    for side in np.flatnonzero(halo):
        less = halo.copy()
        less[side] -= stride
        assert not raster.same_with(less), f"seed {seed}: {reach} is longer than needed on side {side}"


CHECKS = [
    check_no_output_looks_farther,
    check_probe_comes_within_one_stride,
    check_halo_of_the_reach_is_exact,
    check_one_stride_less_is_not_exact,
]


@pytest.mark.parametrize("check", CHECKS)
def test_reach_of_random_networks(check):
    for seed in range(12):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_reach_of_many_random_networks(check):
    for seed in range(12, 72):
        check(seed)


def small_network(*stack, bands=1):
    """A network of single layers, its frame cut to that of the chip."""
    net = Builder(np.random.default_rng(0))
    net.chip = net.x = keras.Input((None, None, bands), dtype="float64")
    for layer in stack:
        net.x = layer(net.x)
    surplus = net.size(net.x) - net.size(net.chip)
    model = keras.Model(net.chip, net.cut(net.x, surplus))
    whole_weights(model, np.random.default_rng(1))
    return model


SINGLE_LAYERS = {
    "even kernel": lambda: [layers.Conv2D(1, (4, 2), padding="same")],
    "dilation": lambda: [layers.Conv2D(1, (3, 2), dilation_rate=(5, 3), padding="same")],
    "cut and padded": lambda: [layers.Cropping2D(((3, 1), (0, 2))), layers.ZeroPadding2D(((3, 1), (0, 2)))],
    "mean of what is there": lambda: [layers.AveragePooling2D((4, 2), strides=1, padding="same")],
    "bilinear at the edge": lambda: [
        layers.MaxPooling2D((2, 4)),
        layers.UpSampling2D((2, 4), interpolation="bilinear"),
    ],
    "kernel below its stride": lambda: [
        layers.Conv2D(1, 5, strides=3),
        layers.Conv2DTranspose(1, 2, strides=3),
    ],
    "transposed, valid": lambda: [
        layers.Conv2D(1, 2, strides=2),
        layers.Conv2DTranspose(1, (5, 2), strides=2),
    ],
    "transposed, no output padding": lambda: [
        layers.Conv2D(1, 2, strides=2),
        layers.Conv2DTranspose(1, (5, 3), strides=2, padding="same", output_padding=0),
    ],
    "transposed, output padding": lambda: [
        layers.Conv2D(1, 2, strides=2),
        layers.Conv2DTranspose(1, (5, 4), strides=2, padding="same", output_padding=1),
    ],
    "separable, strided": lambda: [
        layers.SeparableConv2D(1, (3, 5), strides=2, padding="valid"),
        layers.UpSampling2D(2),
    ],
    "stride on an odd frame": lambda: [
        layers.ZeroPadding2D(((1, 0), (2, 1))),
        layers.Conv2D(1, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same"),
    ],
}


@pytest.mark.parametrize("name", SINGLE_LAYERS)
def test_halo_of_the_reach_is_exact_and_one_stride_less_is_not(name):
    model = small_network(*SINGLE_LAYERS[name]())
    stride, reach = network_reach(model)
    halo = up(sides(reach), stride)
    raster = Raster(model, stride, halo, seed=2)
    assert raster.same_with(halo)
    less = np.maximum(halo - stride, 0)
    assert halo.any() and not raster.same_with(less)


def test_reach_counts_by_hand():
    convolution = small_network(layers.Conv2D(1, (3, 4), padding="same"))
    assert network_reach(convolution) == (1, Reach(1, 1, 1, 2))
    strided = small_network(layers.Conv2D(1, 3, strides=2, padding="same"), layers.UpSampling2D(2))
    assert network_reach(strided) == (2, Reach(0, 1, 0, 1))
    spread = small_network(layers.Conv2DTranspose(1, (3, 2), dilation_rate=2, padding="same"))
    assert network_reach(spread) == (1, Reach(2, 2, 1, 1))
    framed = small_network(layers.Cropping2D(1), layers.ZeroPadding2D(1))
    assert network_reach(framed) == (1, Reach(1, 1, 1, 1))


def test_stride_is_the_least_multiple_of_all_steps():
    model = small_network(
        layers.MaxPooling2D((3, 1)),
        layers.MaxPooling2D((1, 2)),
        layers.MaxPooling2D(2),
        layers.UpSampling2D((6, 4)),
    )
    assert network_reach(model)[0] == 12


POINTWISE = {
    "normalization": lambda: [
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.UnitNormalization(),
    ],
    "activations": lambda: [layers.ReLU(), layers.LeakyReLU(), layers.Activation("gelu"), layers.Softmax()],
    "slopes": lambda: [layers.PReLU(shared_axes=[1, 2])],
    "chance": lambda: [layers.Dropout(0.2), layers.SpatialDropout2D(0.2), layers.GaussianNoise(0.1)],
    "scaling": lambda: [layers.Rescaling(2.0, 1.0), layers.Identity(), layers.Dense(4)],
    "operations": lambda: [lambda x: keras.ops.relu(x + 3.0) / 6.0, lambda x: x * np.array([1.0, 2.0])],
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_layers_look_nowhere(name):
    chip = x = keras.Input((None, None, 2))
    for layer in POINTWISE[name]():
        x = layer(x)
    assert network_reach(keras.Model(chip, x)) == (1, Reach(0, 0, 0, 0))


def pooled_gate(x):
    gate = layers.Dense(2, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, gate])


WHOLE_CHIP = {
    "global pooling": pooled_gate,
    "attention": lambda x: layers.MultiHeadAttention(1, 2, attention_axes=(1, 2))(x, x),
    "group normalization": layers.GroupNormalization(groups=2),
    "normalization over rows": layers.LayerNormalization(axis=[1, 3]),
    "softmax over columns": layers.Softmax(axis=2),
    "flatten": lambda x: layers.Reshape((8, 6, 2))(layers.Dense(96)(layers.Flatten()(x))),
}


@pytest.mark.parametrize("name", WHOLE_CHIP)
def test_layers_that_see_the_whole_chip_make_the_reach_infinite(name):
    chip = keras.Input((8, 6, 2))
    x = layers.Conv2D(2, 3, strides=2, padding="same")(chip)
    x = layers.UpSampling2D(2)(x)
    x = WHOLE_CHIP[name](x)
    model = keras.Model(chip, layers.Conv2D(3, 3, padding="same")(x))
    assert network_reach(model) == (2, None)


def test_infinite_reach_stays_infinite_behind_further_layers():
    chip = keras.Input((None, None, 2))
    x = layers.MaxPooling2D(2)(pooled_gate(chip))
    x = layers.Conv2DTranspose(2, 4, strides=2, padding="same")(x)
    assert network_reach(keras.Model(chip, layers.Add()([x, chip]))) == (2, None)


def test_nested_models_are_walked_into():
    inner = keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(1, 3, padding="same")])
    chip = keras.Input((None, None, 1))
    twice = keras.Model(chip, inner(inner(chip)))
    assert network_reach(twice) == (1, Reach(2, 2, 2, 2))
    assert network_reach(keras.Sequential([keras.Input((None, None, 1)), twice, inner])) == (
        1,
        Reach(3, 3, 3, 3),
    )


@keras.saving.register_keras_serializable("tests")
class Mystery(layers.Layer):
    def call(self, x):
        return x


class OwnConvolution(layers.Conv2D):
    pass


def network(layer, shape=(None, None, 2)):
    chip = keras.Input(shape)
    return keras.Model(chip, layer(chip))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Mystery(name="riddle"), "layer 'riddle' is a Mystery: its reach is not known"),
        (lambda: OwnConvolution(2, 1, name="mine"), "layer 'mine' is a OwnConvolution"),
        (lambda: layers.UpSampling2D(2, interpolation="bicubic"), "interpolation is bicubic, not nearest"),
        (lambda: layers.Conv2D(2, 1, activation=np.tanh), "activation is not a Keras activation"),
        (lambda: lambda x: keras.ops.flip(x, axis=1), "is a Flip: its reach is not known"),
    ],
)
def test_unknown_layers_are_named(layer, words):
    with pytest.raises(UnknownLayerError, match=words):
        network_reach(network(layer()))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (layers.PReLU, "slopes differ between pixels"),
        (lambda: layers.BatchNormalization(axis=1), "axis is 1, not that of the channels"),
        (lambda: lambda x: x + np.ones((8, 6, 1)), "an array whose values differ between pixels"),
    ],
)
def test_layers_that_depend_on_the_place_are_refused(layer, words):
    with pytest.raises(UnknownLayerError, match=words):
        network_reach(network(layer(), (8, 6, 2)))


def two_inputs():
    chips = [keras.Input((None, None, 1)) for _ in range(2)]
    return keras.Model(chips, layers.Add()(chips))


def odd_join():
    chip = keras.Input((None, None, 1))
    other = layers.Conv2D(1, 3)(chip)
    return keras.Model(
        chip, layers.Add(name="odd")([layers.ZeroPadding2D(1)(other), layers.ZeroPadding2D(2)(other)])
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (two_inputs, "2 inputs and 1 outputs"),
        (odd_join, r"layer 'odd' joins maps of 1\*k and 1\*k\+2 elements"),
        (lambda: network(layers.MaxPooling2D(2)), r"makes 1\*k elements from chips of 2\*k px"),
        (lambda: network(layers.Conv2D(1, 3)), r"makes 1\*k-2 elements from chips of 1\*k px"),
        (lambda: network(layers.GlobalMaxPooling2D()), "they must be equal"),
        (lambda: network(layers.MaxPooling2D(1, data_format="channels_first")), "has channels first"),
        (lambda: network(layers.Identity(), (None, 2)), "it must take"),
        (lambda: keras.Sequential([layers.Conv2D(1, 3)]), "is not built"),
    ],
)
def test_networks_that_do_not_map_chips_to_logits_are_refused(model, words):
    with pytest.raises(GraphError, match=words):
        network_reach(model())


def test_memory_counts_live_maps():
    chip = keras.Input((None, None, 3))
    wide = layers.Conv2D(16, 3, padding="same")(chip)
    half = layers.Conv2D(8, 3, strides=2, padding="same")(layers.ReLU()(wide))
    out = layers.Conv2D(2, 1)(layers.UpSampling2D(2)(half))
    live = 8 * (16 + 8 / 4)
    assert memory_per_pixel(keras.Model(chip, out)) == math.ceil(WORKING_COPIES * live + 4 * 3 + 8 * 2)


def test_memory_keeps_maps_that_are_read_again():
    chip = keras.Input((None, None, 1))
    first = layers.Conv2D(16, 1)(chip)
    second = layers.Conv2D(16, 1)(layers.Conv2D(1, 1)(first))
    joined = layers.Concatenate()([second, first])
    live = 8 * (16 + 16 + 32)
    model = keras.Model(chip, layers.Conv2D(2, 1)(joined))
    assert memory_per_pixel(model) == math.ceil(WORKING_COPIES * live + 4 * 1 + 8 * 2)
