"""The reach read from the graph, against what networks do when they are run."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
from models.card import Reach
from models.graph import GraphError, UnknownLayerError
from models.memory import memory_per_pixel
from models.reach import network_reach

layers = keras.layers
PX = 1000


@pytest.fixture(autouse=True)
def _float64():
    """Whole-number weights and float64 make every sum exact, so that equal means equal."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def _chip():
    return keras.Input((None, None, 1), dtype="float64")


def _odds(rng, low, high):
    return tuple(int(n) for n in rng.integers(low, high + 1, 2))


def _convolution(rng, x):
    dilation = _odds(rng, 1, 3)
    padding = str(rng.choice(["same", "valid"]))
    return layers.Conv2D(1, _odds(rng, 1, 4), dilation_rate=dilation, padding=padding)(x)


def _strided_convolution(rng, x):
    padding = str(rng.choice(["same", "valid"]))
    return layers.Conv2D(1, _odds(rng, 1, 5), strides=_odds(rng, 1, 3), padding=padding)(x)


def _depthwise(rng, x):
    step = int(rng.integers(1, 3))
    return layers.DepthwiseConv2D(_odds(rng, 1, 4), strides=step, padding="same")(x)


def _separable(rng, x):
    dilation = _odds(rng, 1, 2)
    return layers.SeparableConv2D(1, _odds(rng, 1, 4), dilation_rate=dilation, padding="same")(x)


def _max_pooling(rng, x):
    padding = str(rng.choice(["same", "valid"]))
    return layers.MaxPooling2D(_odds(rng, 1, 3), strides=_odds(rng, 1, 3), padding=padding)(x)


def _average_pooling(rng, x):
    size = tuple(int(n) for n in rng.choice([1, 2, 4], 2))
    padding = str(rng.choice(["same", "valid"]))
    return layers.AveragePooling2D(size, strides=_odds(rng, 1, 2), padding=padding)(x)


def _framing(rng, x):
    """Cut real values off and put zeros in their place."""
    cut = ((int(rng.integers(0, 3)), int(rng.integers(0, 3))), (int(rng.integers(0, 3)), int(rng.integers(0, 3))))
    return layers.ZeroPadding2D(cut)(layers.Cropping2D(cut)(x))


def _pointwise(_, x):
    x = layers.BatchNormalization(epsilon=1e-300)(x)
    return layers.Activation("linear")(layers.Dropout(0.5)(x))


def _branches(rng, x):
    """Two ways of one scale, cut to one size."""
    ways = [_convolution(rng, x), layers.SeparableConv2D(1, _odds(rng, 1, 3), padding="valid")(x)]
    ways = _cut_to_one_size(rng, ways)
    join = [layers.Add, layers.Maximum, layers.Concatenate][int(rng.integers(3))]()
    return layers.Conv2D(1, 1)(join(ways))


def _nested(rng, x):
    """A model used as a layer."""
    chip = _chip()
    return keras.Model(chip, _convolution(rng, _pointwise(rng, chip)))(x)


KINDS = [
    _convolution,
    _strided_convolution,
    _depthwise,
    _separable,
    _max_pooling,
    _average_pooling,
    _framing,
    _pointwise,
    _branches,
    _nested,
]


def _size(chip, x, side=PX):
    """How many rows and columns `x` has for a chip of `side` pixels."""
    return keras.Model(chip, x).compute_output_shape((1, side, side, 1))[1:3]


def _cut(rng, x, surplus):
    """Cut off, or add as zeros, so many rows and columns, split between both ends by chance."""
    frames = [(int(part := rng.integers(0, abs(n) + 1)), abs(n) - int(part)) for n in surplus]
    cropped = layers.Cropping2D([f if n > 0 else (0, 0) for f, n in zip(frames, surplus, strict=True)])(x)
    return layers.ZeroPadding2D([f if n < 0 else (0, 0) for f, n in zip(frames, surplus, strict=True)])(cropped)


def _cut_to_one_size(rng, ways):
    chip = keras.utils.get_source_inputs(ways[0])
    sizes = np.array([_size(chip, way) for way in ways])
    return [_cut(rng, way, size - sizes.min(axis=0)) for way, size in zip(ways, sizes, strict=True)]
